/**
 * The oracle: matmul as its definition reads, in float64, one element after the other. Never optimised. Every fast kernel
 * is compared with it, and it answers where no fast kernel may be trusted.
 */
import { broadcastMap, sizeOf } from '../../core/shape.ts';
import type { ActivationKind } from '../../problem/epilogue.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';

export interface ReferenceOperands {
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  readonly bias?: ArrayLike<number> | undefined;
  /** The old result, read where beta is not 0. */
  readonly c0?: ArrayLike<number> | undefined;
  /** One value per column, read by `prelu`. */
  readonly slope?: ArrayLike<number> | undefined;
  readonly alpha: number;
  readonly beta: number;
  readonly p0: number;
  readonly p1: number;
}

/** erf by its Maclaurin series where that is accurate, and by its continued fraction beyond (Lentz's method). */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return Number.NaN;
  if (size > 6) return Math.sign(x);
  if (size < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction));
}

/** An activation in float64; `p0` and `p1` as `readActivation` gives them, `slope` that of the element's channel. */
export function referenceActivation(
  kind: ActivationKind,
  x: number,
  p0: number,
  p1: number,
  slope = Number.NaN,
): number {
  switch (kind) {
    case 'none':
      return x;
    case 'relu':
      return Math.max(0, x);
    case 'clip':
      return Math.min(Math.max(x, p0), p1);
    case 'gelu':
      return 0.5 * x * (1 + erf(x / Math.SQRT2));
    case 'silu':
      return x / (1 + Math.exp(-x));
    case 'tanh':
      return Math.tanh(x);
    case 'sigmoid':
      return 1 / (1 + Math.exp(-x));
    case 'leakyRelu':
      return x < 0 ? p0 * x : x;
    case 'hardSwish':
      return x * Math.max(0, Math.min(1, x / 6 + 0.5));
    case 'affineHardSwish':
      return x * Math.max(0, Math.min(1, x / 6 + 0.5)) * p0 + p1;
    case 'hardSigmoid':
      return Math.max(0, Math.min(1, p0 * x + p1));
    case 'prelu':
      return x < 0 ? slope * x : x;
    default:
      throw new Error(`unknown activation ${kind satisfies never}`);
  }
}

/** Fills `out` (batch x m x n, row-major) with activation(alpha * a x b + beta * c0 + bias). */
export function referenceMatmul(
  p: MatmulProblem,
  operands: ReferenceOperands,
  out: Float32Array | Float64Array,
): void {
  const { a, b, bias, c0, slope, alpha, beta, p0, p1 } = operands;
  const whole = p.leading ? p.leading.out : [p.batch];
  const matrixA = broadcastMap(p.leading ? p.leading.a : [p.sharedA ? 1 : p.batch], whole);
  const matrixB = broadcastMap(p.leading ? p.leading.b : [p.sharedB ? 1 : p.batch], whole);
  for (let q = 0; q < sizeOf(whole); q++) {
    const aAt = matrixA[q]! * p.m * p.k;
    const bAt = matrixB[q]! * p.k * p.n;
    for (let i = 0; i < p.m; i++) {
      for (let j = 0; j < p.n; j++) {
        let sum = 0;
        for (let x = 0; x < p.k; x++) {
          sum +=
            a[aAt + (p.transposeA ? x * p.m + i : i * p.k + x)]! *
            b[bAt + (p.transposeB ? j * p.k + x : x * p.n + j)]!;
        }
        const at = (q * p.m + i) * p.n + j;
        let value = alpha * sum;
        if (beta !== 0) value += beta * c0![at]!;
        if (p.bias === 'row') value += bias![j]!;
        else if (p.bias === 'column') value += bias![i]!;
        out[at] = referenceActivation(p.activation, value, p0, p1, slope?.[j]);
      }
    }
  }
}
