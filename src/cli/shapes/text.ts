/**
 * Shapes as text: `[batch x] m x k x n` followed by words, for instance `1x4096x4096 prepacked` or
 * `12x128x64x128 transposeB`; a text that begins with `conv` is a convolution (conv-text.ts), with `int8` a product of
 * integers (int8-text.ts). The printed form parses back to the same shape.
 */
import { isConvText, parseConv, printConv } from './conv-text.ts';
import { isInt8Text, parseInt8, printInt8 } from './int8-text.ts';
import {
  ACTIVATION_WORDS,
  checkExtent,
  MAX_ELEMENTS,
  parseActivation,
  printActivation,
  ShapeSyntaxError,
} from './syntax.ts';
import type { MatmulShape, Shape, ShapeActivation } from './types.ts';

const EXTENTS = /^\d+(?:[x×*]\d+){2,3}$/i;
const FORM = '[batch x] m x k x n, for instance 1x4096x4096';
const WORDS = ['transposeB', 'prepacked', 'f16', 'chain=8', 'bias=row', 'bias=column', ...ACTIVATION_WORDS];

type Draft = { -readonly [K in keyof MatmulShape]: MatmulShape[K] };

export function parseShape(text: string): Shape {
  if (isConvText(text)) return parseConv(text);
  return isInt8Text(text) ? parseInt8(text) : parseMatmul(text);
}

export function parseMatmul(text: string): MatmulShape {
  const [extents = '', ...words] = joinSpacedExtents(text).split(/\s+/);
  if (!EXTENTS.test(extents)) throw new ShapeSyntaxError(`"${text.trim()}" is no shape; write ${FORM}`);
  const numbers = extents.toLowerCase().split(/[x×*]/).map(Number);
  const [n = 0, k = 0, m = 0, batch] = numbers.toReversed();
  const shape: Draft = { name: extents.toLowerCase().replaceAll(/[×*]/g, 'x'), m, k, n, source: 'given' };
  if (batch !== undefined) shape.batch = batch;
  for (const word of words) applyWord(shape, word);
  return checkChain(checkExtents(shape));
}

const CHAIN_MOST = 64;

function checkChain(shape: MatmulShape): MatmulShape {
  const { chain, k, n, batch, transposeB, bias, activation, prepacked } = shape;
  if (chain === undefined) return shape;
  if (!(Number.isInteger(chain) && chain >= 2 && chain <= CHAIN_MOST))
    throw new ShapeSyntaxError(`chain=${chain} is no number of products from 2 to ${CHAIN_MOST}`);
  const isPlain = batch === undefined && !transposeB && !bias && activation === undefined && !prepacked;
  if (k !== n || !isPlain)
    throw new ShapeSyntaxError(
      'a chain multiplies by a square matrix, n = k, and takes no other word but f16',
    );
  return shape;
}

/** `64 x 32 x 16 relu` -> `64x32x16 relu`. */
function joinSpacedExtents(text: string): string {
  return text.trim().replaceAll(/(\d)\s*[x×*]\s*(?=\d)/gi, '$1x');
}

function applyWord(shape: Draft, word: string): void {
  const lower = word.toLowerCase();
  const activation = parseActivation(word);
  if (activation !== undefined) shape.activation = activation;
  else if (lower === 'transposeb') shape.transposeB = true;
  else if (lower === 'prepacked') shape.prepacked = true;
  else if (lower === 'f16') shape.half = true;
  else if (lower.startsWith('chain=')) shape.chain = Number(lower.slice('chain='.length));
  else if (lower === 'bias' || lower === 'bias=row') shape.bias = 'row';
  else if (lower === 'bias=column') shape.bias = 'column';
  else throw new ShapeSyntaxError(`unknown word "${word}"; known are ${WORDS.join(', ')}`);
}

function checkExtents(shape: MatmulShape): MatmulShape {
  const { batch = 1, m, k, n } = shape;
  for (const [name, extent] of Object.entries({ batch, m, k, n })) checkExtent(name, extent);
  if (batch * Math.max(m * k, k * n, m * n) > MAX_ELEMENTS) {
    throw new ShapeSyntaxError(`${printExtents(shape)} does not fit: an operand would take more than 4 GiB`);
  }
  return shape;
}

export function printExtents({ batch, m, k, n }: MatmulShape): string {
  return batch === undefined ? `${m}x${k}x${n}` : `${batch}x${m}x${k}x${n}`;
}

/** The canonical text: extents, then words. Two results are about the same shape if their texts are equal. */
export function printShape(shape: Shape): string {
  switch (shape.kind) {
    case 'conv':
      return printConv(shape);
    case 'qmatmul':
      return printInt8(shape);
    case 'matmul':
    case undefined:
      return printMatmul(shape);
    default:
      return shape satisfies never;
  }
}

function printMatmul(shape: MatmulShape): string {
  const words = [printExtents(shape)];
  if (shape.transposeB) words.push('transposeB');
  if (shape.prepacked) words.push('prepacked');
  if (shape.half) words.push('f16');
  if (shape.chain !== undefined) words.push(`chain=${shape.chain}`);
  if (shape.bias) words.push(`bias=${shape.bias}`);
  const word = printActivation(shape.activation);
  if (word !== undefined) words.push(word);
  return words.join(' ');
}

/** Reads a user's shapes: a JSON array of texts and objects, or text with one shape a line and # comments. */
export function parseShapeFile(content: string): readonly Shape[] {
  const shapes = content.trimStart().startsWith('[') ? parseJsonShapes(content) : parseLines(content);
  if (shapes.length === 0)
    throw new ShapeSyntaxError(
      `no shapes in it; write one a line: ${FORM}, conv 1x64x56x56 64 3x3 or int8 128x768x3072`,
    );
  return shapes;
}

function parseLines(content: string): readonly Shape[] {
  return content.split(/\r?\n/).flatMap((line, index) => {
    const text = line.replace(/#.*$/, '').trim();
    return text === '' ? [] : [atLine(index + 1, () => parseShape(text))];
  });
}

function parseJsonShapes(content: string): readonly Shape[] {
  let entries: unknown;
  try {
    entries = JSON.parse(content);
  } catch (error) {
    throw new ShapeSyntaxError(`not valid JSON: ${(error as Error).message}`, jsonErrorLine(content, error));
  }
  if (!Array.isArray(entries)) throw new ShapeSyntaxError('the JSON must be an array of shapes');
  const lines = entryLines(content, entries.length);
  return entries.map((entry: unknown, index) => atLine(lines[index], () => parseJsonShape(entry)));
}

const OBJECT_KEYS = [
  'name',
  'batch',
  'm',
  'k',
  'n',
  'transposeB',
  'prepacked',
  'half',
  'chain',
  'bias',
  'activation',
  'source',
];
/** The other form of an object: a shape's text with a name and a source of its own. */
const TEXT_KEYS = ['name', 'shape', 'source'];

function parseJsonShape(entry: unknown): Shape {
  if (typeof entry === 'string') return parseShape(entry);
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    throw new ShapeSyntaxError(`a shape is a text or an object, got ${JSON.stringify(entry)}`);
  }
  const fields = entry as Readonly<Record<string, unknown>>;
  const { shape: text, name, source } = fields;
  const known = text === undefined ? OBJECT_KEYS : TEXT_KEYS;
  const stray = Object.keys(fields).find((key) => !known.includes(key));
  if (stray !== undefined) {
    throw new ShapeSyntaxError(`unknown field "${stray}"; known are ${known.join(', ')}`);
  }
  const shape = text === undefined ? parseJsonMatmul(fields) : parseShape(String(text));
  return {
    ...shape,
    ...(typeof name === 'string' && { name }),
    ...(typeof source === 'string' && { source }),
  };
}

function parseJsonMatmul(fields: Readonly<Record<string, unknown>>): MatmulShape {
  const shape: Draft = {
    name: '',
    m: fields.m as number,
    k: fields.k as number,
    n: fields.n as number,
    source: 'given',
  };
  if (fields.batch !== undefined) shape.batch = fields.batch as number;
  checkExtents(shape);
  for (const flag of ['transposeB', 'prepacked', 'half'] as const) {
    const value = fields[flag];
    if (value !== undefined && typeof value !== 'boolean')
      throw new ShapeSyntaxError(`${flag} must be true or false`);
    if (value === true) shape[flag] = true;
  }
  if (fields.bias !== undefined && fields.bias !== 'none') applyWord(shape, `bias=${String(fields.bias)}`);
  if (fields.activation !== undefined && fields.activation !== 'none')
    shape.activation = jsonActivation(fields.activation);
  if (fields.chain !== undefined) shape.chain = fields.chain as number;
  checkChain(shape);
  shape.name = printExtents(shape);
  return shape;
}

function jsonActivation(value: unknown): ShapeActivation {
  const activation = parseActivation(activationWord(value));
  if (activation === undefined) throw new ShapeSyntaxError(`unknown activation ${JSON.stringify(value)}`);
  return activation;
}

/** The word for an activation given as an object; a word stays one, anything else is none. */
function activationWord(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return '';
  const { kind, min, max, slope } = value as Readonly<Record<string, unknown>>;
  if (kind === 'clip') return `clip=${String(min)}:${String(max)}`;
  return kind === 'leakyRelu' ? `leakyRelu=${String(slope)}` : '';
}

function atLine<T>(line: number | undefined, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ShapeSyntaxError && error.line === undefined)
      throw new ShapeSyntaxError(error.message, line);
    throw error;
  }
}

/** Node says "at position 17" (and newer ones the line too); where it does not, the line stays unnamed. */
function jsonErrorLine(content: string, error: unknown): number | undefined {
  const position = /position (\d+)/.exec((error as Error).message)?.[1];
  return position === undefined ? undefined : content.slice(0, Number(position)).split('\n').length;
}

/** The line on which each entry of a JSON array starts: the places at depth 1 after `[` and each comma. */
function entryLines(content: string, count: number): readonly number[] {
  const lines: number[] = [];
  let [depth, line, expecting] = [0, 1, false];
  for (const [token] of content.matchAll(/"(?:\\.|[^"\\])*"|\n|\S/g)) {
    if (token === '\n') {
      line++;
      continue;
    }
    if (expecting && token !== ']') lines.push(line);
    expecting = false;
    if (token === '[' || token === '{') depth++;
    if (token === ']' || token === '}') depth--;
    expecting = depth === 1 && (token === ',' || token === '[');
    if (lines.length === count && depth === 0) break;
  }
  return lines;
}
