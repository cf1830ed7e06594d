/** Comparison with the float64 oracle: a bound that follows from the arithmetic, and a report that finds the culprit. */
import { type ReferenceOperands, referenceMatmul } from '../../src/backends/reference/matmul.ts';
import { hashBytes } from '../../src/core/hash.ts';
import type { ActivationKind } from '../../src/problem/epilogue.ts';
import type { MatmulProblem } from '../../src/problem/matmul.ts';
import { SEED } from './seed.ts';

/** Distance from 1 to the next f32. A sum of k products in any order is off by at most about k/2 of it, times magnitude. */
export const EPS = 2 ** -23;

/** The steepest slope of each activation: by how much it may enlarge an error of its argument. */
const SLOPE: Readonly<Record<ActivationKind, number>> = {
  none: 1,
  relu: 1,
  clip: 1,
  tanh: 1,
  sigmoid: 0.25,
  silu: 1.1,
  gelu: 1.13,
  hardSwish: 1.5,
  affineHardSwish: 1.5,
  // the scalars and slopes of random problems are below 1
  leakyRelu: 1,
  hardSigmoid: 1,
  prelu: 1,
};

/** Error of the activation itself, relative to 1 + |argument|: see test/ops/activations.test.ts, which measures it. */
const OWN_ERROR: Readonly<Record<ActivationKind, number>> = {
  none: 0,
  relu: 0,
  clip: 0,
  tanh: 4 * EPS,
  sigmoid: 4 * EPS,
  silu: 4 * EPS,
  gelu: 4 * EPS,
  hardSwish: 4 * EPS,
  affineHardSwish: 5 * EPS,
  leakyRelu: EPS,
  hardSigmoid: 2 * EPS,
  prelu: EPS,
};

export interface Expected {
  readonly values: Float64Array;
  /** How far each element may be off. */
  readonly bounds: Float64Array;
}

function absolute(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values, Math.abs);
}

/** The oracle's answer, and the bound eps * (k + 2) * (sum of the magnitudes of all terms) per element. */
export function expectedMatmul(p: MatmulProblem, operands: ReferenceOperands): Expected {
  const count = p.batch * p.m * p.n;
  const values = new Float64Array(count);
  referenceMatmul(p, operands, values);
  const magnitude = new Float64Array(count);
  const { a, b, bias, c0, alpha, beta } = operands;
  const sizes = {
    a: absolute(a),
    b: absolute(b),
    bias: bias && absolute(bias),
    c0: beta !== 0 && c0 ? absolute(c0) : undefined,
    alpha: Math.abs(alpha),
    beta: Math.abs(beta),
    p0: 0,
    p1: 0,
  };
  referenceMatmul({ ...p, activation: 'none' }, sizes, magnitude);
  const own = OWN_ERROR[p.activation];
  const bounds = magnitude.map(
    (size) => SLOPE[p.activation] * EPS * (p.k + 2) * size + own * (1 + size) + 2 ** -126,
  );
  return { values, bounds };
}

function norm(values: ArrayLike<number>): string {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum).toPrecision(4);
}

/** The worst element that is out of bounds, in words; undefined if there is none. `got` may be longer (guards). */
export function faultOf(
  p: MatmulProblem,
  operands: ReferenceOperands,
  got: ArrayLike<number>,
  expected = expectedMatmul(p, operands),
): string | undefined {
  let worst = -1;
  let excess = 1;
  for (let at = 0; at < expected.values.length; at++) {
    const ratio = Math.abs(got[at]! - expected.values[at]!) / expected.bounds[at]!;
    // a NaN that should not be there is worse than any number
    const weight = Number.isNaN(ratio) ? (Object.is(got[at], expected.values[at]) ? 0 : Infinity) : ratio;
    if (weight > excess) {
      worst = at;
      excess = weight;
    }
  }
  if (worst < 0) return undefined;
  const row = Math.floor(worst / p.n);
  const place = `[${Math.floor(row / p.m)}, ${row % p.m}, ${worst % p.n}]`;
  return (
    `element ${place} of ${p.batch}x${p.m}x${p.n}, k=${p.k}: got ${got[worst]}, want ${expected.values[worst]}, ` +
    `${excess.toPrecision(3)} times the bound ${expected.bounds[worst]!.toExponential(2)}; ` +
    `|a|=${norm(operands.a)} |b|=${norm(operands.b)} seed=${SEED}`
  );
}

/** Hash of an array's bytes. */
export function bytesHash(values: Float32Array): string {
  return hashBytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** The first place where two arrays differ in bits, in words; undefined if they do not. */
export function bitDifference(got: Float32Array, want: Float32Array): string | undefined {
  if (got.length !== want.length) return `lengths ${got.length} and ${want.length}`;
  const x = new Uint32Array(got.slice().buffer);
  const y = new Uint32Array(want.slice().buffer);
  const at = x.findIndex((bits, index) => bits !== y[index]);
  return at < 0
    ? undefined
    : `element ${at}: ${got[at]} (${x[at]!.toString(16)}) and ${want[at]} (${y[at]!.toString(16)})`;
}
