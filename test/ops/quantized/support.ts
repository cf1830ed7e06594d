/** Random problems of 8-bit integers, and the exact answer that a result must equal. */
import {
  type Quantization,
  type ReferenceIntegers,
  referenceQuantized,
} from '../../../src/backends/reference/quantized.ts';
import type { QuantizedProblem } from '../../../src/problem/quantized.ts';
import type { Random } from '../../support/seed.ts';

export type ByteType = 'u8' | 'i8';
export type Bytes = Uint8Array | Int8Array;

export const BYTE_TYPES: readonly ByteType[] = ['u8', 'i8'];

export function lowest(type: ByteType): number {
  return type === 'u8' ? 0 : -128;
}

/** Bytes of all values, or only those at both ends of the range: what saturates and overflows if anything does. */
export function randomBytes(random: Random, count: number, type: ByteType, extreme: boolean): Bytes {
  const bytes = type === 'u8' ? new Uint8Array(count) : new Int8Array(count);
  for (let i = 0; i < count; i++)
    bytes[i] = lowest(type) + (extreme ? (random.chance(0.5) ? 0 : 255) : random.int(0, 255));
  return bytes;
}

/** A tensor's array as the public types want it: the type of its elements is known only at run time. */
export function bytesOf(
  data: Bytes,
  shape: readonly number[],
): { data: Uint8Array; shape: readonly number[] } {
  return { data: data as Uint8Array, shape };
}

export function randomZeros(random: Random, type: ByteType, lines: number): number[] {
  const count = random.chance(0.5) ? lines : 1;
  return Array.from({ length: count }, () => lowest(type) + random.int(0, 255));
}

export function randomScales(random: Random, lines: number, size: number): number[] {
  const count = random.chance(0.5) ? lines : 1;
  return Array.from({ length: count }, () => size * (0.1 + random.next()));
}

export const NO_SCALES = { scaleA: [1], scaleB: [1], scaleY: 1, zeroY: 0 } as const;

export interface Asked extends Quantization {
  readonly a: Bytes;
  readonly b: Bytes;
  readonly bias?: Int32Array | Float32Array | undefined;
}

export type Answer = Int32Array | Uint8Array | Int8Array | Float32Array;

export function exactAnswer(p: QuantizedProblem, asked: Asked, count: number): Answer {
  const out = { i32: Int32Array, u8: Uint8Array, i8: Int8Array, f32: Float32Array }[p.output];
  const values = new out(count);
  const operands: ReferenceIntegers = { ...asked, p0: 0, p1: 0 };
  referenceQuantized(p, operands, values);
  return values;
}

/** What is wrong with a result that must be equal, or undefined. */
export function difference(got: ArrayLike<number>, wanted: ArrayLike<number>): string | undefined {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  for (let i = 0; i < wanted.length; i++)
    if (got[i] !== wanted[i]) return `element ${i} of ${wanted.length} is ${got[i]}, not ${wanted[i]}`;
  return undefined;
}
