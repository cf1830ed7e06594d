/**
 * What a public call should give, from shapes alone: NumPy's matmul in float64 by index arithmetic of its own, so that
 * the library's reading of shapes is tested too and not shared with its judge.
 */
import { referenceActivation } from '../../src/backends/reference/matmul.ts';
import type { ArrayWithShape } from '../../src/ops/types.ts';
import { type Activation, readActivation } from '../../src/problem/epilogue.ts';
import { EPS } from './compare.ts';
import type { Random } from './seed.ts';
import { SEED } from './seed.ts';

export interface Asked {
  readonly a: ArrayWithShape;
  readonly b: ArrayWithShape;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: ArrayWithShape | undefined;
  readonly activation?: Activation<ArrayWithShape>;
  readonly alpha?: number;
  readonly beta?: number;
  /** The values of `out` before the call. */
  readonly old?: Float32Array | undefined;
}

export interface Answer {
  readonly shape: readonly number[];
  readonly values: Float64Array;
  readonly bounds: Float64Array;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function array(random: Random, shape: readonly number[], scale = 1): ArrayWithShape {
  return { data: random.floats(sizeOf(shape), scale), shape };
}

/** Element index of a matrix in an operand whose leading extents are broadcast to `out`, member `q` of the batch. */
function matrixOffset(leading: readonly number[], out: readonly number[], q: number, matrix: number): number {
  let index = 0;
  let stride = 1;
  let rest = q;
  for (let axis = out.length - 1; axis >= 0; axis--) {
    const place = rest % out[axis]!;
    rest = Math.floor(rest / out[axis]!);
    const own = leading[axis - out.length + leading.length];
    if (own === undefined) continue;
    if (own !== 1) index += place * stride;
    stride *= own;
  }
  return index * matrix;
}

function broadcastLeading(x: readonly number[], y: readonly number[]): number[] {
  const rank = Math.max(x.length, y.length);
  return Array.from({ length: rank }, (_, axis) => {
    const [p, q] = [x[axis - rank + x.length] ?? 1, y[axis - rank + y.length] ?? 1];
    return p === 1 ? q : p;
  });
}

export function oracle(asked: Asked): Answer {
  const { a, b, transposeA = false, transposeB = false, bias, alpha = 1, beta = 0, old } = asked;
  const [ra, ca] = a.shape.slice(-2) as [number, number];
  const [rb, cb] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [ca, ra] : [ra, ca];
  const n = transposeB ? rb : cb;
  const leadingA = a.shape.slice(0, -2);
  const leadingB = b.shape.slice(0, -2);
  const out = broadcastLeading(leadingA, leadingB);
  const { kind, p0, p1, slope: slopeValue } = readActivation(asked.activation);
  const slope = slopeValue as ArrayWithShape | undefined;
  const batch = sizeOf(out);
  const values = new Float64Array(batch * m * n);
  const bounds = new Float64Array(batch * m * n);
  const columnBias =
    bias?.shape.length === 2 && bias.shape[1] === 1 && bias.shape[0] === m && !(n === 1 && m === 1);
  for (let q = 0; q < batch; q++) {
    const fromA = matrixOffset(leadingA, out, q, m * k);
    const fromB = matrixOffset(leadingB, out, q, k * n);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        let size = 0;
        for (let x = 0; x < k; x++) {
          const term =
            a.data[fromA + (transposeA ? x * m + i : i * k + x)]! *
            b.data[fromB + (transposeB ? j * k + x : x * n + j)]!;
          sum += term;
          size += Math.abs(term);
        }
        const at = (q * m + i) * n + j;
        const kept = beta === 0 ? 0 : beta * old![at]!;
        const added = bias ? bias.data[columnBias ? i : j]! : 0;
        const before = alpha * sum + kept + added;
        values[at] = referenceActivation(kind, before, p0, p1, slope?.data[slope.data.length > 1 ? j : 0]);
        const magnitude = Math.abs(alpha) * size + Math.abs(kept) + Math.abs(added);
        // the steepest activation has slope 1.5 (slopes and scalars that tests give are below 1); each has an error of its own
        // of a few units in the last place
        bounds[at] =
          1.5 * EPS * (k + 3) * magnitude + (kind === 'none' ? 0 : 4 * EPS * (1 + magnitude)) + 2 ** -126;
      }
    }
  }
  return { shape: [...out, m, n], values, bounds };
}

/** Why `got` is not the answer, in words, worst element first; undefined if it is. */
export function answerFault(
  answer: Answer,
  got: { readonly data: Float32Array; readonly shape: readonly number[] },
): string | undefined {
  const { shape, values, bounds } = answer;
  if (got.shape.join() !== shape.join()) return `shape [${got.shape}], not [${shape}]`;
  if (got.data.length !== values.length) return `${got.data.length} elements, not ${values.length}`;
  let worst = -1;
  let excess = 1;
  values.forEach((want, at) => {
    const value = got.data[at]!;
    if (Object.is(value, want) || value === want) return;
    const ratio = Math.abs(value - want) / bounds[at]!;
    const weight = Number.isNaN(ratio) || ratio === Infinity ? Infinity : ratio;
    if (weight > excess) [worst, excess] = [at, weight];
  });
  if (worst < 0) return undefined;
  return `element ${worst} of [${shape}]: got ${got.data[worst]}, want ${values[worst]}, ${excess.toPrecision(3)} times the bound, seed ${SEED}`;
}
