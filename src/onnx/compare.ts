/** A step of a run beside the float64 reference, on the very operands that it had. */
import { referenceLines, referenceMap, referenceMove, referenceTake } from '../backends/reference/array.ts';
import { referenceConv } from '../backends/reference/conv.ts';
import { referenceMatmul } from '../backends/reference/matmul.ts';
import { unpackedPanels } from '../backends/reference/panels.ts';
import { referencePool } from '../backends/reference/pool.ts';
import type { Core } from '../ops/core.ts';
import type { TapeStep } from '../ops/tape.ts';
import { withKept } from '../ops/weight-store.ts';
import { resultElements } from '../problem/problem.ts';

/** How far a step's result is from float64's, relative to its largest value. */
export interface Departure {
  readonly node: string;
  readonly op: string;
  readonly problem: string;
  readonly kernel: string;
  readonly off: number;
}

export interface Comparison {
  readonly steps: number;
  /** Steps that have no reference of their own: the second half of a transposed convolution. */
  readonly unchecked: number;
  readonly worst: Departure | undefined;
  /** The first step that is further off than the tolerance. */
  readonly departs: Departure | undefined;
}

type Values = ArrayLike<number>;

/** What the reference makes of a step's operands, or undefined where there is none. To be called before the step runs in place. */
export function referenceOf(core: Core, { execution, operands }: TapeStep): Float64Array | undefined {
  const p = execution.problem;
  const at = (address: number | undefined): Values => core.heap.floats().subarray((address ?? 0) >>> 2);
  const { a, b, c0, bias, slope, alpha, beta, p0, p1, packedB } = operands;
  const out = new Float64Array(resultElements(p));
  switch (p.op) {
    case 'conv': {
      const [w, x] = p.layout === 'nchw' ? [a, b] : [b, a];
      const optional = {
        bias: p.bias ? at(bias) : undefined,
        slope: p.activation === 'prelu' ? at(slope) : undefined,
        residual: p.residual ? at(c0) : undefined,
      };
      withKept(core.heap, w, (filters) =>
        referenceConv(p, { x: at(x), w: at(filters), ...optional, p0, p1 }, out),
      );
      return out;
    }
    case 'matmul': {
      const right = p.panel ? unpackedPanels(p.k, p.n, p.panel, at(packedB)) : at(b);
      const optional = { bias: p.bias === 'none' ? undefined : at(bias), slope: undefined, c0: undefined };
      const plain = p.panel ? { ...p, transposeB: false } : p;
      referenceMatmul(plain, { a: at(a), b: right, ...optional, alpha, beta, p0, p1 }, out);
      return out;
    }
    case 'pool':
      referencePool(p, at(b), out);
      return out;
    case 'map':
      referenceMap(p, [at(a), at(b), at(c0)], { p0, p1 }, out);
      return out;
    case 'lines':
      referenceLines(p, { x: at(a), scale: at(b), bias: at(bias), epsilon: alpha }, out);
      return out;
    case 'take':
      referenceTake(p, at(a), new Int32Array(core.heap.floats().buffer, b, p.count), out);
      return out;
    case 'move': {
      // parts are written among what is there already: only dense results are compared
      const isDense = p.strides[1]!.every(
        (stride, axis) => stride === p.extents.slice(axis + 1).reduce((x, y) => x * y, 1),
      );
      if (!isDense) return undefined;
      referenceMove(p, at(a), out);
      return out;
    }
    default:
      return undefined;
  }
}

/** The largest difference relative to the largest value. */
export function departureOf(core: Core, { operands }: TapeStep, wanted: Float64Array): number {
  const first = operands.c >>> 2;
  const got = core.heap.floats().subarray(first, first + wanted.length);
  let [worst, most] = [0, Number.MIN_VALUE];
  for (let i = 0; i < wanted.length; i++) {
    const [is, should] = [got[i]!, wanted[i]!];
    if (Object.is(Math.fround(should), is) || (Number.isNaN(is) && Number.isNaN(should))) continue;
    worst = Math.max(worst, Math.abs(is - should));
    if (Number.isNaN(worst)) return Number.POSITIVE_INFINITY;
  }
  for (const value of wanted) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
  return worst / most;
}
