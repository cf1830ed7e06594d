/** Seeded operands: the same numbers for every contestant, in whichever process it lives. */
import { printShape, type Shape } from '../shapes/index.ts';

export interface Operands {
  readonly shape: Shape;
  readonly batch: number;
  /** batch x m x k. */
  readonly a: Float32Array;
  /** batch x k x n, or batch x n x k if the shape says transposeB. */
  readonly b: Float32Array;
  /** n values for a row bias, m for a column bias. */
  readonly bias: Float32Array | undefined;
}

/** A 32-bit generator (mulberry32, public domain): fast, seedable, and good enough to fill matrices. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** FNV-1a of the text, so that a shape has its own numbers that no other shape in the list changes. */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * Neither constant nor uniform: signs cancel, and magnitudes differ by row. A kernel that skips, repeats or
 * swaps rows, columns or steps of k gives another answer.
 */
function filled(rows: number, columns: number, random: () => number): Float32Array {
  const values = new Float32Array(rows * columns);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    const scale = 0.5 + ((row * 7) % 11) / 8;
    for (let column = 0; column < columns; column++) values[at++] = scale * (random() + random() - 1);
  }
  return values;
}

export function makeOperands(shape: Shape, seed = seedOf(printShape(shape))): Operands {
  const { batch = 1, m, k, n } = shape;
  const random = randomSource(seed);
  const a = filled(batch * m, k, random);
  const b = shape.transposeB ? filled(batch * n, k, random) : filled(batch * k, n, random);
  const biasSize = shape.bias === undefined ? 0 : shape.bias === 'row' ? n : m;
  return { shape, batch, a, b, bias: biasSize === 0 ? undefined : filled(1, biasSize, random) };
}

/** Floating-point operations that the user's shape asks for, whatever a kernel pads or skips. */
export function flopsOf({ batch = 1, m, k, n }: Shape): number {
  return 2 * batch * m * k * n;
}

/** Bytes that must be read and written once at the least. */
export function bytesOf({ batch = 1, m, k, n }: Shape): number {
  return 4 * batch * (m * k + k * n + m * n);
}

/** One row or one column of a result: bound by memory, so judged by bandwidth. */
export function isGemv({ m, n }: Shape): boolean {
  return m === 1 || n === 1;
}
