/** The self-check of gpu.js's kernels: each text is compared with float64 on a small problem before it is trusted. */
import type { GpuJsBackend } from '../../backends/gpujs/backend.ts';
import { type GatherProblem, gatherOf } from '../../backends/gpujs/texts.ts';
import { referenceConv } from '../../backends/reference/conv.ts';
import { referenceMatmul } from '../../backends/reference/matmul.ts';
import { referencePool } from '../../backends/reference/pool.ts';
import { fillRandom } from '../../core/random.ts';
import { termsOf } from '../../problem/conv.ts';
import { resultElements } from '../../problem/problem.ts';
import { windowOf } from '../../problem/window.ts';

/** Beyond the thousand turns at which gpu.js ends loops whose bound it does not know. */
const TERMS = 1500;
const TOLERANCE = 1e-3;
const SCALARS = { alpha: 0.5, beta: 0, p0: 0.25, p1: 0.75 };
/** Nothing about it is even: a stride, a step or an offset in the wrong place shows. */
const WINDOW = windowOf(
  { height: 9, width: 8 },
  { kH: 3, kW: 2 },
  { stride: [2, 1], dilation: [1, 2], padding: [1, 0, 2, 1] },
);

/** A small problem by the same text. */
function sampleOf(p: GatherProblem): GatherProblem {
  if (p.op === 'matmul') {
    const shape = { batch: 2, m: 3, n: 4, k: TERMS, sharedA: false, sharedB: false, leading: undefined };
    return { ...p, ...shape };
  }
  if (p.op === 'conv') return { ...p, ...WINDOW, batch: 2, groups: 2, inC: 4, outC: 6 };
  return { ...p, ...WINDOW, batch: 2, channels: 3 };
}

interface Question {
  readonly arrays: readonly Float32Array[];
  readonly expected: Float64Array;
}

function ask(p: GatherProblem): Question {
  const expected = new Float64Array(resultElements(p));
  const fill = (count: number, seed: number) => fillRandom(new Float32Array(count), seed);
  if (p.op === 'pool') {
    const x = fill(p.batch * p.channels * p.inH * p.inW, 1);
    referencePool(p, x, expected);
    return { arrays: [x], expected };
  }
  if (p.op === 'conv') {
    const [x, w] = [fill(p.batch * p.inC * p.inH * p.inW, 1), fill(p.outC * termsOf(p), 2)];
    const bias = p.bias ? fill(p.outC, 3) : new Float32Array(1);
    referenceConv(p, { x, w, bias: p.bias ? bias : undefined, p0: SCALARS.p0, p1: SCALARS.p1 }, expected);
    return { arrays: [x, w, bias], expected };
  }
  const [a, b] = [fill(p.batch * p.m * p.k, 1), fill(p.batch * p.k * p.n, 2)];
  const bias = p.bias === 'none' ? new Float32Array(1) : fill(p.bias === 'row' ? p.n : p.m, 3);
  referenceMatmul(p, { a, b, bias, ...SCALARS }, expected);
  return { arrays: [a, b, bias], expected };
}

/** Why the text of a problem may not be trusted here, or undefined. */
export async function gatherFault(backend: GpuJsBackend, p: GatherProblem): Promise<string | undefined> {
  const sample = sampleOf(p);
  const { arrays, expected } = ask(sample);
  const scalars = sample.op === 'conv' ? { ...SCALARS, alpha: 1 } : SCALARS;
  const got = await backend.run(gatherOf(sample, scalars), arrays);
  const at = expected.findIndex(
    (value, i) => !(Math.abs(got[i]! - value) <= TOLERANCE * (1 + Math.abs(value))),
  );
  return at < 0 ? undefined : `element ${at} is ${got[at]}, not ${expected[at]}`;
}
