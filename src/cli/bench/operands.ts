/** Seeded operands: the same numbers for every contestant, in whichever process it lives. */
import {
  type ConvShape,
  convExtents,
  isDepthwise,
  type MatmulShape,
  printShape,
  type QmatmulShape,
  type Shape,
} from '../shapes/index.ts';

export interface MatmulOperands {
  readonly kind: 'matmul';
  readonly shape: MatmulShape;
  readonly batch: number;
  /** batch x m x k. */
  readonly a: Float32Array;
  /** batch x k x n, or batch x n x k if the shape says transposeB. */
  readonly b: Float32Array;
  /** n values for a row bias, m for a column bias. */
  readonly bias: Float32Array | undefined;
}

export interface ConvOperands {
  readonly kind: 'conv';
  readonly shape: ConvShape;
  /** batch x inC x inH x inW. */
  readonly x: Float32Array;
  /** outC x inC / groups x kH x kW. */
  readonly w: Float32Array;
  /** outC values. */
  readonly bias: Float32Array | undefined;
}

export interface QmatmulOperands {
  readonly kind: 'qmatmul';
  readonly shape: QmatmulShape;
  /** m x k. */
  readonly a: Uint8Array;
  /** k x n. */
  readonly b: Int8Array;
}

export type Operands = MatmulOperands | ConvOperands | QmatmulOperands;

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

export function makeOperands(shape: MatmulShape, seed?: number): MatmulOperands;
export function makeOperands(shape: ConvShape, seed?: number): ConvOperands;
export function makeOperands(shape: QmatmulShape, seed?: number): QmatmulOperands;
export function makeOperands(shape: Shape, seed?: number): Operands;
export function makeOperands(shape: Shape, seed = seedOf(printShape(shape))): Operands {
  const random = randomSource(seed);
  switch (shape.kind) {
    case 'conv':
      return convOperands(shape, random);
    case 'qmatmul':
      return qmatmulOperands(shape, random);
    case 'matmul':
    case undefined:
      return matmulOperands(shape, random);
    default:
      return shape satisfies never;
  }
}

function matmulOperands(shape: MatmulShape, random: () => number): MatmulOperands {
  const { batch = 1, m, k, n } = shape;
  const a = filled(batch * m, k, random);
  const b = shape.transposeB ? filled(batch * n, k, random) : filled(batch * k, n, random);
  // results neither vanish nor overflow along a chain
  if (shape.chain) for (const [i, value] of b.entries()) b[i] = (2 * value) / Math.sqrt(k);
  if (shape.half) for (const values of [a, b]) toHalves(values);
  const biasSize = shape.bias === undefined ? 0 : shape.bias === 'row' ? n : m;
  return {
    kind: 'matmul',
    shape,
    batch,
    a,
    b,
    bias: biasSize === 0 ? undefined : filled(1, biasSize, random),
  };
}

/** Eleven significant bits: magnitudes are below 2. */
function toHalves(values: Float32Array): void {
  for (const [i, value] of values.entries()) values[i] = Math.round(value * 512) / 512;
}

/** Rows of the image and filters differ in magnitude: a window that is off by one row gives another answer, as does a
 *  filter at another's place. */
function convOperands(shape: ConvShape, random: () => number): ConvOperands {
  const { batch, inC, inH, inW, outC, bias } = shape;
  const x = filled(batch * inC * inH, inW, random);
  const w = filled(outC, convExtents(shape).terms, random);
  return { kind: 'conv', shape, x, w, bias: bias ? filled(1, outC, random) : undefined };
}

/** The whole range, its ends more often than the rest: next to each other they overflow what saturates at 16 bits. */
function qmatmulOperands(shape: QmatmulShape, random: () => number): QmatmulOperands {
  const { m, k, n } = shape;
  const byte = () => {
    const value = Math.floor(random() * 320) - 32;
    return Math.min(255, Math.max(0, value));
  };
  const a = Uint8Array.from({ length: m * k }, byte);
  return { kind: 'qmatmul', shape, a, b: Int8Array.from({ length: k * n }, () => byte() - 128) };
}

/** Operations, a multiplication and an addition each, that the user's shape asks for, whatever a kernel pads or skips. */
export function flopsOf(shape: Shape): number {
  if (shape.kind === 'conv') {
    const { output, terms } = convExtents(shape);
    return 2 * output * terms;
  }
  const products = (shape.kind !== 'qmatmul' && shape.chain) || 1;
  return 2 * products * batchOf(shape) * shape.m * shape.k * shape.n;
}

/** Bytes that must be read and written once at the least. Of a convolution the images: its weights are few or stay in cache. */
export function bytesOf(shape: Shape): number {
  if (shape.kind === 'conv') {
    const { input, output } = convExtents(shape);
    return 4 * (input + output);
  }
  const { m, k, n } = shape;
  if (shape.kind === 'qmatmul') return m * k + k * n + 4 * m * n;
  return 4 * batchOf(shape) * (m * k + k * n + m * n);
}

function batchOf(shape: MatmulShape | QmatmulShape): number {
  return shape.kind === 'qmatmul' ? 1 : (shape.batch ?? 1);
}

/** So little arithmetic for each byte that bandwidth is what to judge by: one row or column of a product, depthwise layers. */
export function isMemoryBound(shape: Shape): boolean {
  return shape.kind === 'conv' ? isDepthwise(shape) : shape.m === 1 || shape.n === 1;
}
