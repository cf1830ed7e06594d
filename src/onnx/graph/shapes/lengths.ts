/** Extents that depend on names: sums of names times numbers, with parts of such sums, rounded down, as further names. */
import type { Extent } from '../../model/types.ts';

interface Term {
  readonly factor: number;
  /** Where the name stands for a sum that was divided and rounded down. */
  readonly part: { readonly of: Length; readonly by: number } | undefined;
}

/** A constant, and names with their factors. */
export interface Length {
  readonly constant: number;
  readonly terms: ReadonlyMap<string, Term>;
}

/** Longer texts help nobody, and could double with each node of a file that wants that. */
const MOST_TEXT = 400;

function short(text: string): string {
  if (text.length > MOST_TEXT) throw new RangeError('the length of an extent takes too many words');
  return text;
}

const NO_TERMS: Length['terms'] = new Map();

export function known(constant: number): Length {
  return { constant, terms: NO_TERMS };
}

export function named(name: string): Length {
  return { constant: 0, terms: new Map([[name, { factor: 1, part: undefined }]]) };
}

export function lengthOf(extent: Extent): Length {
  return typeof extent === 'number' ? known(extent) : named(extent);
}

/** The number, where it depends on no name. */
export function numberOf({ constant, terms }: Length): number | undefined {
  return terms.size === 0 ? constant : undefined;
}

export function plus(a: Length, b: Length): Length {
  if (b.terms.size === 0) return b.constant === 0 ? a : { constant: a.constant + b.constant, terms: a.terms };
  const terms = new Map(a.terms);
  for (const [name, { factor, part }] of b.terms) {
    const sum = (terms.get(name)?.factor ?? 0) + factor;
    if (sum === 0) terms.delete(name);
    else terms.set(name, { factor: sum, part });
  }
  return { constant: a.constant + b.constant, terms };
}

function scaled(length: Length, by: number): Length {
  if (by === 0) return known(0);
  if (by === 1) return length;
  const { constant, terms } = length;
  const all = [...terms].map(([name, { factor, part }]) => [name, { factor: factor * by, part }] as const);
  return { constant: constant * by, terms: new Map(all) };
}

export function minus(a: Length, b: Length): Length {
  return plus(a, scaled(b, -1));
}

export function times(a: Length, b: Length): Length {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined) return scaled(b, x);
  if (y !== undefined) return scaled(a, y);
  return named(short([a, b].map(inBrackets).sort().join(' * ')));
}

/** a / by, rounded down. What can be divided is; a part of a part is one part. */
export function over(a: Length, by: number): Length {
  if (by === 1) return a;
  const whole = [...a.terms].filter(([, { factor }]) => factor % by === 0);
  const rest = [...a.terms].filter(([, { factor }]) => factor % by !== 0);
  const divided: Length = {
    constant: 0,
    terms: new Map(whole.map(([name, { factor, part }]) => [name, { factor: factor / by, part }])),
  };
  if (rest.length === 0) return plus(divided, known(Math.floor(a.constant / by)));
  // (x + 5) / 4 is 1 + (x + 1) / 4
  const outside = Math.floor(a.constant / by);
  const inside: Length = { constant: a.constant - outside * by, terms: new Map(rest) };
  return plus(plus(divided, known(outside)), partOf(inside, by));
}

function partOf(of: Length, by: number): Length {
  const [only] = of.terms.values();
  const part = of.terms.size === 1 && only!.factor === 1 ? only!.part : undefined;
  if (part) return over(plus(part.of, known(of.constant * part.by)), part.by * by);
  const name = short(`floor(${inBrackets(of)} / ${by})`);
  return { constant: 0, terms: new Map([[name, { factor: 1, part: { of, by } }]]) };
}

/** As text: the same for the same length. */
export function textOf({ constant, terms }: Length): string {
  const parts = [...terms]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { factor }]) => {
      const size = Math.abs(factor);
      return `${factor < 0 ? '-' : '+'} ${size === 1 ? '' : `${size} * `}${name}`;
    });
  if (constant !== 0 || parts.length === 0) parts.push(`${constant < 0 ? '-' : '+'} ${Math.abs(constant)}`);
  return parts.join(' ').replace(/^\+ /, '').replace(/^- /, '-');
}

function inBrackets(length: Length): string {
  const text = textOf(length);
  return length.terms.size + (length.constant === 0 ? 0 : 1) > 1 ? `(${text})` : text;
}

export function extentOf(length: Length): Extent {
  return numberOf(length) ?? textOf(length);
}

export function isSame(a: Length, b: Length): boolean {
  if (a === b) return true;
  if (a.constant !== b.constant || a.terms.size !== b.terms.size) return false;
  for (const [name, { factor }] of a.terms) if (b.terms.get(name)?.factor !== factor) return false;
  return true;
}

/** A number times one name, or 1 times the length. */
function factored(length: Length): { readonly factor: number; readonly of: Length } {
  const [only] = length.terms;
  if (length.constant !== 0 || length.terms.size !== 1) return { factor: 1, of: length };
  const [name, { factor, part }] = only!;
  return { factor, of: { constant: 0, terms: new Map([[name, { factor: 1, part }]]) } };
}

/** The product of some lengths by that of others, as far as these are among them; undefined where they are not. */
export function quotient(above: readonly Length[], below: readonly Length[]): Length | undefined {
  const left = above.map(factored);
  let by = 1;
  for (const length of below) {
    const number = numberOf(length);
    const { factor, of } = factored(length);
    by *= number ?? factor;
    if (number !== undefined) continue;
    const at = left.findIndex((one) => isSame(one.of, of));
    if (at < 0) return undefined;
    left[at] = { factor: left[at]!.factor, of: known(1) };
  }
  const product = left.reduce((all, { factor, of }) => times(all, times(known(factor), of)), known(1));
  return by > 0 ? over(product, by) : undefined;
}
