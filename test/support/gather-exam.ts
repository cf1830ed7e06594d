/** The exam of gpu.js's kernels, in Node and in a page: every text on odd shapes, against the float64 reference. */

import type { GpuJsBackend } from '../../src/backends/gpujs/backend.ts';
import { type GatherProblem, gatherOf } from '../../src/backends/gpujs/texts.ts';
import { referenceConv } from '../../src/backends/reference/conv.ts';
import { referenceMatmul } from '../../src/backends/reference/matmul.ts';
import { referencePool } from '../../src/backends/reference/pool.ts';
import { type ConvProblem, type ConvTraits, type Layout, termsOf } from '../../src/problem/conv.ts';
import { ACTIVATION_KINDS, type ActivationKind } from '../../src/problem/epilogue.ts';
import { type MatmulTraits, matmulFromShapes } from '../../src/problem/matmul.ts';
import type { PoolKind, PoolProblem } from '../../src/problem/pool.ts';
import { resultElements } from '../../src/problem/problem.ts';
import { type WindowOptions, windowOf } from '../../src/problem/window.ts';
import { Random } from './seed.ts';

/** Of a sum of some terms of magnitude 1; exponentials of graphics drivers are less exact than their sums. */
const TOLERANCE = 2e-5;
const SCALARS = { alpha: 0.75, beta: 0, p0: 0.25, p1: 0.5 };

function matmul(a: number[], b: number[], traits: MatmulTraits = {}): GatherProblem {
  return matmulFromShapes(a, b, traits).problem;
}

function conv(
  layout: Layout,
  [batch, inC, height, width]: readonly [number, number, number, number],
  [outC, kH, kW]: readonly [number, number, number],
  options: WindowOptions & ConvTraits = {},
): ConvProblem {
  return {
    ...{ op: 'conv', dtype: 'f32', layout, batch, inC, outC },
    ...{ groups: options.groups ?? 1, bias: options.bias ?? false, activation: options.activation ?? 'none' },
    ...{ residual: false, prepacked: false, algorithm: undefined, exact: false, halves: 'none' },
    ...windowOf({ height, width }, { kH, kW }, options),
  };
}

function pool(
  kind: PoolKind,
  layout: Layout,
  [batch, channels, height, width]: readonly [number, number, number, number],
  [kH, kW]: readonly [number, number],
  options: WindowOptions & { countPadding?: boolean } = {},
): PoolProblem {
  return {
    ...{ op: 'pool', dtype: 'f32', kind, layout, batch, channels },
    ...{ countPadding: options.countPadding ?? false, exact: false },
    ...windowOf({ height, width }, { kH, kW }, options),
  };
}

const WINDOWS: readonly WindowOptions[] = [
  {},
  { padding: 1, stride: 2 },
  { padding: [1, 0, 2, 1], stride: [2, 1], dilation: [1, 2] },
  { padding: 'same' },
];

/** Kinds that have a text: gelu and prelu have none. */
const GATHERED = ACTIVATION_KINDS.filter((kind) => kind !== 'gelu' && kind !== 'prelu');

export const GATHER_PROBLEMS: readonly GatherProblem[] = [
  matmul([5, 7], [7, 3]),
  matmul([1, 1], [1, 1]),
  matmul([7, 13], [11, 13], { transposeB: true, bias: 'row' }),
  matmul([13, 7], [13, 11], { transposeA: true, bias: 'column', activation: 'relu' }),
  matmul([13, 7], [5, 13], { transposeA: true, transposeB: true }),
  matmul([3, 9, 5], [3, 5, 4]),
  matmul([3, 5, 9], [5, 4], { transposeA: true }),
  matmul([9, 5], [3, 5, 4]),
  // beyond the thousand turns at which gpu.js ends loops
  matmul([2, 2500], [2500, 3]),
  ...GATHERED.map((activation: ActivationKind) => matmul([6, 10], [10, 9], { activation, bias: 'row' })),
  ...(['nchw', 'nhwc'] as const).flatMap((layout) => [
    ...WINDOWS.map((window) => conv(layout, [2, 4, 9, 8], [6, 3, 2], { ...window, bias: true })),
    conv(layout, [1, 6, 7, 5], [6, 3, 3], { groups: 6, padding: 1, activation: 'hardSwish' }),
    conv(layout, [1, 6, 7, 5], [4, 1, 1], { groups: 2 }),
    ...(['max', 'average'] as const).flatMap((kind) => [
      ...WINDOWS.map((window) => pool(kind, layout, [2, 3, 9, 8], [3, 2], window)),
      pool(kind, layout, [1, 2, 10, 10], [3, 3], { stride: 2, padding: 1, ceil: true, countPadding: true }),
    ]),
  ]),
];

function fill(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => random.next() * 2 - 1);
}

/** What a kernel takes, in its order, and what it should make of it. */
function question(
  p: GatherProblem,
  random: Random,
): { arrays: Float32Array[]; expected: Float64Array; terms: number } {
  const expected = new Float64Array(resultElements(p));
  if (p.op === 'pool') {
    const x = fill(random, p.batch * p.channels * p.inH * p.inW);
    referencePool(p, x, expected);
    return { arrays: [x], expected, terms: p.kH * p.kW };
  }
  if (p.op === 'conv') {
    const [x, w] = [fill(random, p.batch * p.inC * p.inH * p.inW), fill(random, p.outC * termsOf(p))];
    const bias = p.bias ? fill(random, p.outC) : new Float32Array(1);
    referenceConv(p, { x, w, bias: p.bias ? bias : undefined, p0: SCALARS.p0, p1: SCALARS.p1 }, expected);
    return { arrays: [x, w, bias], expected, terms: termsOf(p) };
  }
  const a = fill(random, (p.sharedA ? 1 : p.batch) * p.m * p.k);
  const b = fill(random, (p.sharedB ? 1 : p.batch) * p.k * p.n);
  const bias = p.bias === 'none' ? new Float32Array(1) : fill(random, p.bias === 'row' ? p.n : p.m);
  referenceMatmul(p, { a, b, bias, ...SCALARS }, expected);
  return { arrays: [a, b, bias], expected, terms: p.k };
}

/** What is wrong, by problem. */
export async function gatherFaults(backend: GpuJsBackend): Promise<string[]> {
  const random = new Random(4711, 5);
  const faults: string[] = [];
  for (const p of GATHER_PROBLEMS) {
    const { arrays, expected, terms } = question(p, random);
    // a convolution has no alpha
    const gather = gatherOf(p, p.op === 'conv' ? { ...SCALARS, alpha: 1 } : SCALARS);
    const got = await backend.run(gather, arrays);
    const bound = TOLERANCE * (1 + terms);
    const at = expected.findIndex((value, i) => !(Math.abs(got[i]! - value) <= bound));
    if (at >= 0 || got.length !== expected.length)
      faults.push(
        `${gather.key} ${JSON.stringify(gather.extents)}: element ${at} is ${got[at]}, not ${expected[at]}`,
      );
  }
  return faults;
}
