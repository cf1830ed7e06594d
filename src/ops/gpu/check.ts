/** The self-check of shaders: each is compared with float64 on the user's own device before it is trusted. */

import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import { convert, prepareHalves } from '../../backends/webgpu/halves.ts';
import { roundToHalf } from '../../core/half.ts';
import { ceilDiv } from '../../core/math.ts';
import type { Plan } from '../../plan/plan.ts';
import { type Halves, isHalf } from '../../problem/halves.ts';
import { isArrayProblem, type Problem } from '../../problem/problem.ts';
import type { Core } from '../core.ts';
import { makeTrial, type Trial } from '../trial.ts';
import { arrayTrial, type GpuTrial, windowTrial } from './array-trial.ts';
import type { GpuPlace } from './place.ts';
import { halvesIn } from './stored.ts';

/** What a problem is without what follows the sum: the part that the self-check compares with float64. */
export function bare(problem: Problem): Problem {
  if (problem.op === 'matmul')
    return { ...problem, bias: 'none', activation: 'none', scaled: false, accumulate: false };
  if (problem.op === 'conv')
    return {
      ...problem,
      bias: false,
      activation: 'none',
      residual: false,
      prepacked: false,
      algorithm: undefined,
    };
  if (problem.op === 'fold') return { ...problem, bias: false, activation: 'none', residual: false };
  return problem;
}

/** Extents beyond this are no other case for a shader whose extents are uniforms, and take long. */
const LARGE = 320;
const TRIED = 256;
const PRODUCTS_MOST = 3;

interface Tried {
  readonly problem: Problem;
  readonly plan: Plan;
}

/** A product that the same shaders compute: what their texts depend on are the rests of extents, by 8 at most, and whether k is cut. */
function smaller(p: Problem, plan: Plan): Tried {
  if (p.op !== 'matmul' || p.leading) return { problem: p, plan };
  const least = (extent: number) => (extent <= LARGE ? extent : TRIED + (extent % (LARGE - TRIED)));
  const { batch, m, n, k } = p;
  const problem = { ...p, batch: Math.min(batch, PRODUCTS_MOST), m: least(m), n: least(n), k: least(k) };
  return {
    problem,
    plan: { ...plan, kc: plan.kc < k ? Math.min(plan.kc, ceilDiv(problem.k, 2)) : problem.k },
  };
}

/** Checks a shader's answer at its first use on a device, on random operands. */
export async function trusted(core: Core, place: GpuPlace, problem: Problem, plan: Plan): Promise<boolean> {
  // planners hand out one plan for a problem: naming its shader once is enough
  if (place.trusted.has(plan)) return true;
  const plain = bare(problem);
  const { key } = place.launch(plain, plan);
  if (!place.checked.has(key)) {
    const less = smaller(plain, plan);
    const isAlike = place.launch(less.problem, less.plan).key === key;
    const fault = await trialOnGpu(core, place, isAlike ? less : { problem: plain, plan });
    if (fault !== undefined) {
      place.quarantine(plan.kernel, `${key}: ${fault}`);
      return false;
    }
    place.checked.add(key);
  }
  place.trusted.add(plan);
  return true;
}

/** Why the kernel's answer is wrong, or undefined. */
async function trialOnGpu(
  core: Core,
  place: GpuPlace,
  { problem, plan }: Tried,
): Promise<string | undefined> {
  const { backend } = place;
  const trial =
    problem.op === 'pool' || problem.op === 'fold'
      ? windowTrial(problem)
      : isArrayProblem(problem)
        ? arrayTrial(problem)
        : productTrial(core, problem, plan);
  const launch = place.launch(trial.problem, plan);
  const pipeline = await backend.pipeline(launch);
  const halves = halvesIn(problem);
  if (halves !== 'none') await prepareHalves(backend);
  const taken: GpuBlock[] = [];
  const upload = (values: Float32Array) => {
    const block = backend.buffers.upload(values);
    taken.push(block);
    return block;
  };
  try {
    const result = await backend.watched(launch.key, () => {
      const c = upload(trial.result().fill(Number.NaN));
      const operands = Object.entries(trial.operands()).map(([name, values]) => {
        const block = upload(values);
        if ((name !== 'a' && name !== 'b') || !isHalf(halves, name)) return [name, block];
        taken.push(convert(backend, block, values.length, 'f16'));
        return [name, taken.at(-1)!];
      });
      backend.record(launch, pipeline, { ...Object.fromEntries(operands), c }, trial.scalars);
      return c;
    });
    await backend.download(result, trial.result);
    return trial.check();
  } finally {
    for (const block of taken) if (!backend.lost) backend.buffers.giveBack(block);
    trial.release();
  }
}

/** A problem of the size that was asked for, in memory beside everything else. */
function productTrial(core: Core, problem: Problem, plan: Plan): GpuTrial {
  const trial = makeTrial(core, problem);
  roundSides(trial, halvesIn(problem));
  return {
    problem,
    scalars: { alpha: 1, beta: 0, p0: 0, p1: 0 },
    operands: () => {
      const [a, b] = trial.sides;
      return { a, b };
    },
    result: trial.result,
    check: () => trial.check(plan),
    release: trial.release,
  };
}

/** What is multiplied are the rounded values: those are what the float64 sums are made of. */
function roundSides({ sides: [a, b] }: Trial, halves: Halves): void {
  for (const [name, values] of [
    ['a', a],
    ['b', b],
  ] as const)
    if (isHalf(halves, name)) for (const [i, value] of values.entries()) values[i] = roundToHalf(value);
}
