/** Measuring a problem's plans on the GPU, and making them ready ahead of the first call. */

import { deviceLost, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import { bytesOf, convert, prepareHalves } from '../../backends/webgpu/halves.ts';
import { timeLaunches } from '../../backends/webgpu/probe.ts';
import { systemClock } from '../../core/clock.ts';
import { abortReason } from '../../core/errors.ts';
import { fillRandom } from '../../core/random.ts';
import { type GpuPlan, sideElements } from '../../plan/gpu.ts';
import { type Effort, type Plan, samePlan } from '../../plan/plan.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import { isHalf } from '../../problem/halves.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { keyOf, type Problem, resultElements } from '../../problem/problem.ts';
import type { Core } from '../core.ts';
import type { TuneReport } from '../types.ts';
import { bare, trusted } from './check.ts';
import type { GpuPlace } from './place.ts';

export interface GpuTuneLimits {
  readonly effort: Exclude<Effort, 'estimate'>;
  readonly budgetMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Plans that `measure` tries; `exhaustive` tries all. A software adapter takes a second to compile each shader. */
const TRIED = { software: 4, gpu: 24 } as const;

/** Times the best guesses on operands that lie on the device, and keeps the order that they came in at. Undefined where there is no kernel. */
export async function tuneOnGpu(
  core: Core,
  place: GpuPlace,
  problem: Problem,
  limits: GpuTuneLimits,
): Promise<TuneReport | undefined> {
  const guesses = place.estimates(problem);
  const tried =
    limits.effort === 'exhaustive'
      ? guesses
      : guesses.slice(0, TRIED[place.backend.report.software ? 'software' : 'gpu']);
  if (tried.length === 0) return undefined;
  const plain = bare(problem);
  if (plain.op !== 'matmul' && plain.op !== 'conv') return undefined;
  let measured: GpuPlan[] = [];
  const { backend } = place;
  const blocks = await randomBlocks(backend, plain);
  try {
    await compileAll(place, plain, tried);
    const sound: Plan[] = [];
    for (const { plan } of tried) {
      if (limits.signal?.aborted) throw abortReason(limits.signal);
      if (await trusted(core, place, problem, plan)) sound.push(plan);
    }
    if (backend.lost) throw deviceLost('while it was measured');
    if (sound.length === 0) return undefined;
    const launches = sound.map((plan) => place.launch(plain, plan));
    const times = await timeLaunches(backend, launches, blocks, { clock: systemClock, ...limits });
    // calls behind one another share what one of them costs alone
    const { launchMs } = place.profile;
    measured = sound.map((plan, index) => ({ plan, computeMs: times[index]! + launchMs, isMeasured: true }));
  } finally {
    for (const block of Object.values(blocks)) if (!backend.lost) backend.buffers.giveBack(block);
  }
  core.checkOpen('tune');
  place.learn(problem, measured, limits.effort);
  const [best] = place.plans(problem);
  if (!best) return undefined;
  const estimateMs = guesses.find(({ plan }) => samePlan(plan, best.plan))?.computeMs;
  return {
    key: keyOf(problem),
    plan: best.plan,
    ms: best.computeMs,
    estimateMs: estimateMs ?? best.computeMs,
    measured: measured.length,
    candidates: guesses.length,
  };
}

/** Beside one another, ahead of their checks; what the device refuses is found out there. */
async function compileAll(place: GpuPlace, plain: Problem, plans: readonly GpuPlan[]): Promise<void> {
  await Promise.allSettled(plans.map(({ plan }) => place.backend.pipeline(place.launch(plain, plan))));
}

/** Elements of random values that operands are filled with, again and again: their time does not depend on which they are, but zeros
 *  would run at a higher clock. */
const PATTERN = 2 ** 20;

/** Operands and room for the result, on the device. */
async function randomBlocks(backend: WebGpuBackend, p: MatmulProblem | ConvProblem) {
  const { buffers } = backend;
  if (p.halves !== 'none') await prepareHalves(backend);
  const floats = buffers.upload(fillRandom(new Float32Array(PATTERN), 1));
  const filled = (name: 'a' | 'b', elements: number) => {
    const storage = isHalf(p.halves, name) ? 'f16' : 'f32';
    const pattern = storage === 'f16' ? convert(backend, floats, PATTERN, 'f16') : floats;
    const block = buffers.take(bytesOf(elements, storage));
    backend.repeat(pattern, block);
    if (pattern !== floats) buffers.giveBack(pattern);
    return block;
  };
  const [a, b] = sideElements(p);
  const blocks = { a: filled('a', a), b: filled('b', b), c: buffers.take(4 * resultElements(p)) };
  buffers.giveBack(floats);
  return blocks;
}

/** Compiles and checks the shaders that a problem's best plan needs. */
export async function prepareOnGpu(core: Core, place: GpuPlace, problem: Problem): Promise<void> {
  const [best] = place.plans(problem);
  if (!best || !place.isWelcome) return;
  if (await trusted(core, place, problem, best.plan))
    await place.backend.pipeline(place.launch(problem, best.plan));
}
