/** Measuring a problem's plans on the GPU, and making them ready ahead of the first call. */

import { type Blocks, deviceLost, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import { timeLaunch } from '../../backends/webgpu/probe.ts';
import { systemClock } from '../../core/clock.ts';
import { abortReason } from '../../core/errors.ts';
import type { GpuPlan } from '../../plan/gpu.ts';
import type { Effort } from '../../plan/plan.ts';
import type { Problem } from '../../problem/problem.ts';
import type { Core } from '../core.ts';
import { makeTrial } from '../trial.ts';
import { bare, trusted } from './check.ts';
import { launchFor } from './launch.ts';
import type { GpuPlace } from './place.ts';

export interface GpuTuneLimits {
  readonly effort: Exclude<Effort, 'estimate'>;
  readonly budgetMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Rows that `measure` tries; `exhaustive` tries all. */
const TRIED = 4;

/** Times the best guesses on operands that lie on the device, and keeps the order that they came in at. */
export async function tuneOnGpu(
  core: Core,
  place: GpuPlace,
  problem: Problem,
  limits: GpuTuneLimits,
): Promise<void> {
  const guesses = place.estimates(problem);
  const tried = limits.effort === 'exhaustive' ? guesses : guesses.slice(0, TRIED);
  if (tried.length === 0) return;
  const plain = bare(problem);
  const measured: GpuPlan[] = [];
  const trial = makeTrial(core, plain);
  const { backend } = place;
  const [a, b] = trial.sides;
  const blocks = {
    a: backend.buffers.upload(a),
    b: backend.buffers.upload(b),
    c: backend.buffers.take(trial.result().byteLength),
  };
  try {
    for (const { plan } of tried) {
      if (limits.signal?.aborted) throw abortReason(limits.signal);
      if (!(await trusted(core, place, problem, plan))) continue;
      const ms = await timed(backend, plain, plan.kernel, blocks, limits.budgetMs / tried.length);
      measured.push({ plan, computeMs: ms, isMeasured: true });
    }
  } finally {
    for (const block of Object.values(blocks)) if (!backend.lost) backend.buffers.giveBack(block);
    trial.release();
  }
  core.checkOpen('tune');
  place.learn(problem, measured, limits.effort);
}

function timed(
  backend: WebGpuBackend,
  problem: Problem,
  kernel: string,
  blocks: Blocks,
  budgetMs: number,
): Promise<number> {
  if (backend.lost) throw deviceLost('while it was measured');
  return timeLaunch(backend, launchFor(problem, kernel), blocks, systemClock, budgetMs);
}

/** Compiles and checks the shaders that a problem's best plan needs. */
export async function prepareOnGpu(core: Core, place: GpuPlace, problem: Problem): Promise<void> {
  const [best] = place.plans(problem);
  if (!best || !place.isWelcome) return;
  if (await trusted(core, place, problem, best.plan))
    await place.backend.pipeline(launchFor(problem, best.plan.kernel));
}
