/** The self-check of shaders: each is compared with float64 on the user's own device before it is trusted. */

import type { WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import type { Plan } from '../../plan/plan.ts';
import { isArrayProblem, type Problem } from '../../problem/problem.ts';
import type { Core } from '../core.ts';
import { makeTrial } from '../trial.ts';
import { arrayTrial, type GpuTrial } from './array-trial.ts';
import { launchFor } from './launch.ts';
import type { GpuPlace } from './place.ts';

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
  return problem;
}

/** Checks a shader's answer at its first use on a device, on random operands of the size that was asked for. */
export async function trusted(core: Core, place: GpuPlace, problem: Problem, plan: Plan): Promise<boolean> {
  // planners hand out one plan for a problem: naming its shader once is enough
  if (place.trusted.has(plan)) return true;
  const plain = bare(problem);
  const { key } = launchFor(plain, plan.kernel);
  if (!place.checked.has(key)) {
    const fault = await trialOnGpu(core, place.backend, plain, plan);
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
  backend: WebGpuBackend,
  problem: Problem,
  plan: Plan,
): Promise<string | undefined> {
  const trial = isArrayProblem(problem) ? arrayTrial(problem) : productTrial(core, problem, plan);
  const launch = launchFor(trial.problem, plan.kernel);
  const pipeline = await backend.pipeline(launch);
  const taken: GpuBlock[] = [];
  const upload = (values: Float32Array) => {
    const block = backend.buffers.upload(values);
    taken.push(block);
    return block;
  };
  try {
    const result = await backend.watched(launch.key, () => {
      const c = upload(trial.result().fill(Number.NaN));
      const operands = Object.entries(trial.operands()).map(([name, values]) => [name, upload(values)]);
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
