/**
 * The oracle of 8-bit integers: sums exactly, by the plain oracles on values less their zero points (float64 holds them all), then as
 * ONNX defines what becomes of them. Operations on floats are rounded to f32 one by one, in the order in which kernels do them:
 *   requantised: saturate(round(f32(sum + bias) * ((scaleA * scaleB) / scaleY)) + zeroY), rounding half to even;
 *   dequantised: f32(sum) * (scaleA * scaleB) + bias, then the activation.
 */
import { sizeOf } from '../../core/shape.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { resultElements } from '../../problem/problem.ts';
import type { IntegerOutput, QconvProblem, QuantizedProblem } from '../../problem/quantized.ts';
import { referenceConv } from './conv.ts';
import { referenceActivation, referenceMatmul } from './matmul.ts';

/** Zero points and scales: one value for all, or one for each row of A, column of B, output channel. */
export interface Quantization {
  readonly zeroA: ArrayLike<number>;
  readonly zeroB: ArrayLike<number>;
  readonly scaleA: ArrayLike<number>;
  readonly scaleB: ArrayLike<number>;
  readonly scaleY: number;
  readonly zeroY: number;
}

export interface ReferenceIntegers extends Quantization {
  /** Rows and columns, or image and weights. */
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  /** One for each column or output channel: integers, or floats where the result is f32. */
  readonly bias?: ArrayLike<number> | undefined;
  readonly p0: number;
  readonly p1: number;
}

const RANGE = { u8: [0, 255], i8: [-128, 127] } as const;

/** Round half to even. */
export function roundEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest < 0.5) return low;
  if (rest > 0.5) return low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** A value for each element: `lineOf` says which of the lines' values is its. */
function less(
  values: ArrayLike<number>,
  zeros: ArrayLike<number>,
  lineOf: (index: number) => number,
): Float64Array {
  const shared = zeros.length === 1;
  return Float64Array.from(values, (value, index) => value - zeros[shared ? 0 : lineOf(index)]!);
}

function productSums(p: MatmulProblem, { a, b, zeroA, zeroB }: ReferenceIntegers, sums: Float64Array): void {
  const whole = { ...p, bias: 'none', activation: 'none', prepackedB: false, panel: undefined } as const;
  const operands = {
    a: less(a, zeroA, (index) => Math.floor(index / p.k)),
    b: less(b, zeroB, (index) => (p.transposeB ? Math.floor(index / p.k) % p.n : index % p.n)),
    ...{ alpha: 1, beta: 0, p0: 0, p1: 0 },
  };
  referenceMatmul(whole, operands, sums);
}

function convolutionSums(
  p: ConvProblem,
  { a, b, zeroA, zeroB }: ReferenceIntegers,
  sums: Float64Array,
): void {
  const whole = { ...p, bias: false, residual: false, activation: 'none' } as const;
  const terms = b.length / Math.max(1, p.outC);
  const operands = {
    x: less(a, zeroA, () => 0),
    w: less(b, zeroB, (index) => Math.floor(index / terms)),
    ...{ p0: 0, p1: 0 },
  };
  referenceConv(whole, operands, sums);
}

/** Row of A (0 for images) and column or channel of an element of the result. */
function placeOf(p: QuantizedProblem): (index: number) => { row: number; column: number } {
  if (p.op === 'qmatmul') {
    const { m, n } = p.plain;
    return (index) => ({ row: Math.floor(index / n) % m, column: index % n });
  }
  return channelOf(p);
}

function channelOf({ plain }: QconvProblem): (index: number) => { row: number; column: number } {
  const { outC, outH, outW } = plain;
  return plain.layout === 'nhwc'
    ? (index) => ({ row: 0, column: index % outC })
    : (index) => ({ row: 0, column: Math.floor(index / (outH * outW)) % outC });
}

export function requantised(
  sum: number,
  scale: number,
  zero: number,
  output: Exclude<IntegerOutput, 'i32' | 'f32'>,
): number {
  const [low, high] = RANGE[output];
  const value = roundEven(Math.fround(Math.fround(sum) * scale)) + zero;
  return Math.min(high, Math.max(low, value));
}

/** Fills `out` with the result; sums wrap around as 32-bit integers do. */
export function referenceQuantized(
  p: QuantizedProblem,
  operands: ReferenceIntegers,
  out: Int32Array | Uint8Array | Int8Array | Float32Array,
): void {
  const sums = new Float64Array(resultElements(p));
  if (p.op === 'qmatmul') productSums(p.plain, operands, sums);
  else convolutionSums(p.plain, operands, sums);
  const { scaleA, scaleB, scaleY, zeroY, bias, p0, p1 } = operands;
  const place = placeOf(p);
  const pick = (values: ArrayLike<number>, at: number) => values[values.length === 1 ? 0 : at]!;
  for (let index = 0; index < sums.length; index++) {
    const { row, column } = place(index);
    const sum = sums[index]! | 0;
    const scale = Math.fround(
      Math.fround(Math.fround(pick(scaleA, row)) * Math.fround(pick(scaleB, column))) / Math.fround(scaleY),
    );
    if (p.output === 'i32') out[index] = sum;
    else if (p.output === 'f32') {
      const value = Math.fround(
        Math.fround(Math.fround(sum) * scale) + Math.fround(bias ? bias[column]! : 0),
      );
      out[index] = referenceActivation(p.plain.activation, value, p0, p1);
    } else out[index] = requantised((sum + (bias ? bias[column]! : 0)) | 0, scale, zeroY, p.output);
  }
}

/** Elements of an operand of a product as stored. */
export function operandElements(p: MatmulProblem, side: 'a' | 'b'): number {
  const matrices = p.leading ? sizeOf(p.leading[side]) : (side === 'a' ? p.sharedA : p.sharedB) ? 1 : p.batch;
  return matrices * p.k * (side === 'a' ? p.m : p.n);
}
