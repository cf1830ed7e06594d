/** A problem of 8-bit integers set up to be tuned: random bytes in memory, and a check of random elements of the answer. */
import { sumAt } from '../../backends/reference/conv.ts';
import { operandElements, requantised } from '../../backends/reference/quantized.ts';
import { roundUp } from '../../core/math.ts';
import { randomFrom } from '../../core/random.ts';
import type { Plan } from '../../plan/plan.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { resultElements } from '../../problem/problem.ts';
import type { QuantizedProblem } from '../../problem/quantized.ts';
import type { Operands } from '../../schedule/operands.ts';
import type { FormMaker } from '../conv-weights.ts';
import { type Heap, viewOf } from '../tensor.ts';
import { filterOperands, IntegerFilters } from './filters.ts';
import { Parameters } from './operands.ts';

const SPOT_CHECKS = 24;
/** Sums of random bytes, scaled so that results are spread over the range of 8 bits and beyond. */
const SCALE = 2 ** -12;

export interface IntegerTrial {
  readonly c: number;
  operands(plan: Plan): Operands;
  check(): string | undefined;
}

/** The sum behind one element of the result. */
function sumOf(p: QuantizedProblem, a: ArrayLike<number>, b: ArrayLike<number>, index: number): number {
  return p.op === 'qmatmul' ? productSum(p.plain, a, b, index) : convolutionSum(p.plain, a, b, index);
}

function productSum(p: MatmulProblem, a: ArrayLike<number>, b: ArrayLike<number>, index: number): number {
  const [j, row] = [index % p.n, Math.floor(index / p.n)];
  const [i, member] = [row % p.m, Math.floor(row / p.m)];
  const aAt = ((p.sharedA ? 0 : member) * p.m + i) * p.k;
  const bAt = (p.sharedB ? 0 : member) * p.k * p.n;
  let sum = 0;
  for (let x = 0; x < p.k; x++) sum += a[aAt + x]! * b[bAt + (p.transposeB ? j * p.k + x : x * p.n + j)]!;
  return sum;
}

function convolutionSum(p: ConvProblem, x: ArrayLike<number>, w: ArrayLike<number>, index: number): number {
  const { outC, outH, outW, layout } = p;
  const pixels = outH * outW;
  const [oc, pixel] =
    layout === 'nchw'
      ? [Math.floor(index / pixels) % outC, index % pixels]
      : [index % outC, Math.floor(index / outC) % pixels];
  const n = Math.floor(index / (pixels * outC));
  return sumAt(p, x, w, { n, oc, oy: Math.floor(pixel / outW), ox: pixel % outW });
}

/** Zero points that leave values as large as the problem says that they may be. */
function zeroOf(p: QuantizedProblem, side: 'a' | 'b'): number {
  const [type, most] = p.op === 'qconv' ? ([p[`${side}Type`], p[`${side}Most`]] as const) : [undefined, 255];
  return type === 'u8' && most === 128 ? 128 : 0;
}

function lessZero(values: ArrayLike<number>, zero: number): ArrayLike<number> {
  return zero === 0 ? values : Int16Array.from(values, (value) => value - zero);
}

function operandBytes(p: QuantizedProblem): { first: number; second: number } {
  if (p.op === 'qmatmul') {
    const { plain } = p;
    // random panels: their time does not depend on their values
    // and those of bytes are smaller, but for what they have of each column
    const panels = plain.panel ? (2 * roundUp(plain.k, 2) + 16) * roundUp(plain.n, plain.panel.nr) : 0;
    return { first: operandElements(plain, 'a'), second: plain.panel ? panels : operandElements(plain, 'b') };
  }
  const { batch, inC, inH, inW, outC, groups, kH, kW } = p.plain;
  return { first: batch * inC * inH * inW, second: (outC * inC * kH * kW) / groups };
}

/** Filters of a problem that says that they are prepacked, with the bytes at an address. */
function keptFilters(
  heap: Heap,
  p: QuantizedProblem,
  from: number,
  count: number,
  zero: number,
): IntegerFilters | undefined {
  if (p.op !== 'qconv' || !p.plain.prepacked) return undefined;
  const { outC, inC, groups, kH, kW } = p.plain;
  const filters = new IntegerFilters(heap, [outC, inC / groups, kH, kW], p.bType, [zero]);
  viewOf(heap, p.bType, filters.place(), count).set(viewOf(heap, p.bType, from, count));
  filters.done();
  return filters;
}

export function integerTrial(
  core: FormMaker,
  p: QuantizedProblem,
  take: (count: number, seed: number) => number,
  keep: (own: { dispose(): void }) => void,
): IntegerTrial {
  const { heap } = core;
  const { first, second } = operandBytes(p);
  const x = take(Math.ceil(first / 4), 1);
  const w = take(Math.ceil(second / 4), 2);
  const c = take(resultElements(p), 3);
  const bias = take(p.op === 'qmatmul' ? p.plain.n : p.plain.outC, 4);
  const swapped = p.op === 'qconv' && p.plain.layout === 'nchw';
  const one = [1];
  const zeroA = zeroOf(p, 'a');
  const zeroB = zeroOf(p, 'b');
  const quantization = {
    ...{ zeroA: [zeroA], zeroB: [zeroB], scaleA: one, scaleB: one },
    ...{ scaleY: 1 / SCALE, zeroY: 3 },
  };
  const parameters = new Parameters(heap, () => quantization, { swapped });
  const quantized = parameters.place();
  keep({ dispose: () => parameters.done() });
  const panel = p.op === 'qmatmul' ? p.plain.panel : undefined;
  const operands: Operands = {
    ...(swapped ? { a: w, b: x } : { a: x, b: w }),
    ...{ c, bias, slope: bias, alpha: 1, beta: 0, p0: -1, p1: 1, quantized },
    packedB: panel ? w : undefined,
  };
  // a batch that is broadcast along some extents is left to the tests
  const checked = panel === undefined && p.output !== 'f32' && !(p.op === 'qmatmul' && p.plain.leading);
  const check = () => {
    if (!checked) return undefined;
    const count = resultElements(p);
    const { output } = p;
    const a = lessZero(viewOf(heap, p.aType, x, first), zeroA);
    const b = lessZero(viewOf(heap, p.bType, w, second), zeroB);
    const got = viewOf(heap, output, c, count);
    const next = randomFrom(11);
    for (let i = 0; i < SPOT_CHECKS; i++) {
      const index = Math.floor(next() * count);
      const sum = sumOf(p, a, b, index) | 0;
      const wanted = output === 'i32' || output === 'f32' ? sum : requantised(sum, SCALE, 3, output);
      if (got[index] !== wanted) return `element ${index} is ${got[index]}, not ${wanted}`;
    }
    return undefined;
  };
  const filters = keptFilters(heap, p, w, second, zeroB);
  if (!filters || p.op !== 'qconv') return { c, operands: () => operands, check };
  keep(filters);
  const formed = (plan: Plan) => filterOperands(filters.formFor(core, p, plan), swapped, x, w);
  return { c, operands: (plan) => ({ ...operands, ...formed(plan) }), check };
}
