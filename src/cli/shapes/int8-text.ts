/**
 * Products of 8-bit integers as text: `int8 128x768x3072` is m x k x n, unsigned activations times signed constant weights.
 * Zero points follow as words where they are not the usual ones: `azero=128 bzero=-3`.
 */
import { checkExtent, MAX_ELEMENTS, ShapeSyntaxError } from './syntax.ts';
import type { QmatmulShape } from './types.ts';

const FORM = 'int8 m x k x n, for instance int8 128x768x3072 azero=128 bzero=-3';
const HEAD = /^int8\s+(\d+)x(\d+)x(\d+)(?=\s|$)/i;

/** Activations have some zero point inside their range, weights are mostly symmetric. */
const USUAL = { aZeroPoint: 131, bZeroPoint: 0 } as const;

/** What a word sets, and the range of the type that it belongs to. */
const WORDS = {
  azero: { field: 'aZeroPoint', least: 0, most: 255 },
  bzero: { field: 'bZeroPoint', least: -128, most: 127 },
} as const;

type Draft = { -readonly [K in keyof QmatmulShape]: QmatmulShape[K] };

/** Whether a text means to be such a product, well-formed or not. */
export function isInt8Text(text: string): boolean {
  return /^\s*int8(\s|$)/i.test(text);
}

export function parseInt8(text: string): QmatmulShape {
  const spaced = text
    .trim()
    .replace(/^int8\s+/i, 'int8 ')
    .replaceAll(/(\d)\s*[x×*]\s*(?=\d)/gi, '$1x');
  const head = HEAD.exec(spaced);
  if (!head) throw new ShapeSyntaxError(`"${text.trim()}" is no shape; write ${FORM}`);
  const [m = 0, k = 0, n = 0] = head.slice(1).map(Number);
  for (const [name, extent] of Object.entries({ m, k, n })) checkExtent(name, extent);
  const shape: Draft = { kind: 'qmatmul', name: '', source: 'given', m, k, n, ...USUAL };
  for (const word of spaced.slice(head[0].length).split(/\s+/).filter(Boolean)) applyWord(shape, word);
  shape.name = printInt8(shape);
  if (Math.max(m * k, k * n, m * n) > MAX_ELEMENTS)
    throw new ShapeSyntaxError(`${shape.name} does not fit: an operand would take more than 4 GiB`);
  return shape;
}

function applyWord(shape: Draft, word: string): void {
  const [, name = '', digits = ''] = /^(azero|bzero)=(-?\d+)$/i.exec(word) ?? [];
  const known = Object.entries(WORDS).find(([key]) => key === name.toLowerCase())?.[1];
  if (known === undefined)
    throw new ShapeSyntaxError(`unknown word "${word}"; known are azero=131, bzero=0 and other zero points`);
  const value = Number(digits);
  const { field, least, most } = known;
  if (value < least || value > most)
    throw new ShapeSyntaxError(`"${word}": a zero point there is from ${least} to ${most}`);
  shape[field] = value;
}

/** The canonical text: the zero points only where they are not the usual ones. */
export function printInt8({ m, k, n, aZeroPoint, bZeroPoint }: QmatmulShape): string {
  const words = [`int8 ${m}x${k}x${n}`];
  if (aZeroPoint !== USUAL.aZeroPoint) words.push(`azero=${aZeroPoint}`);
  if (bZeroPoint !== USUAL.bZeroPoint) words.push(`bzero=${bZeroPoint}`);
  return words.join(' ');
}
