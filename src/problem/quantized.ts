/**
 * Products and convolutions of 8-bit integers: the geometry of the plain problem, what the operands hold, and what becomes of the
 * sums. Zero points and scales are values of a call; only where they vary (by row, by channel) is of no interest to a plan.
 */
import { type ConvProblem, convKey, termsOf } from './conv.ts';
import { type MatmulProblem, matmulKey } from './matmul.ts';

export type IntegerType = 'u8' | 'i8';

/** `i32`: the sums; `u8`, `i8`: requantised; `f32`: dequantised, then bias and activation of the plain problem. */
export type IntegerOutput = 'i32' | 'u8' | 'i8' | 'f32';

interface Quantized {
  readonly aType: IntegerType;
  readonly bType: IntegerType;
  readonly output: IntegerOutput;
  readonly exact: boolean;
}

export interface QmatmulProblem extends Quantized {
  readonly op: 'qmatmul';
  /** Extents in elements; `prepackedB` and `panel`: words of 16-bit pairs, kc counted in words. */
  readonly plain: MatmulProblem;
  /** The prepacked operand has panels of bytes, too: every eighth bit is free, or this engine does without. */
  readonly bytePanels: boolean;
}

/** The largest size of a value less its zero point: 128 where that is in the middle of the type's range. */
export type Most = 128 | 255;

/** `aType` is the image's, `bType` the weights'. */
export interface QconvProblem extends Quantized {
  readonly op: 'qconv';
  readonly plain: ConvProblem;
  readonly aMost: Most;
  readonly bMost: Most;
}

/** See `Most`; `zeros` are all zero points of an operand. */
export function mostOf(type: IntegerType, zeros: ArrayLike<number>): Most {
  const lowest = type === 'u8' ? 0 : -128;
  const inTheMiddle = Array.from(zeros).every((zero) => Math.max(zero - lowest, lowest + 255 - zero) <= 128);
  return inTheMiddle ? 128 : 255;
}

export type QuantizedProblem = QmatmulProblem | QconvProblem;

/** Terms of each sum. */
export function depthOf(p: QuantizedProblem): number {
  return p.op === 'qmatmul' ? p.plain.k : termsOf(p.plain);
}

/** No sum is larger. */
export function largestSum(p: QuantizedProblem): number {
  return depthOf(p) * (p.op === 'qconv' ? p.aMost * p.bMost : 255 * 255);
}

/** Floats hold all integers up to 2^24: sums that stay below are exact in f32, whatever the order. */
export function fitsFloats(p: QuantizedProblem): boolean {
  return largestSum(p) <= 2 ** 24;
}

/** Canonical key: `int8 u8xi8 i32 matmul f32 64x32x16 nn`, `int8 u8xi8 i32 255x128 conv ...`; the f32 is the plain problem's. */
export function quantizedKey(p: QuantizedProblem): string {
  const plain =
    p.op === 'qmatmul'
      ? `${p.bytePanels ? 'bytes ' : ''}${matmulKey(p.plain)}`
      : `${p.aMost}x${p.bMost} ${convKey(p.plain)}`;
  return `int8 ${p.aType}x${p.bType} ${p.output} ${plain}`;
}
