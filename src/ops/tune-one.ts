/** Tuning one problem wherever its calls may go. */
import { keyOf, type Problem } from '../problem/problem.ts';
import type { Core } from './core.ts';
import { type GpuTuneLimits, tuneOnGpu } from './gpu/tune.ts';
import { tuneProblem } from './tuning.ts';
import type { TuneReport } from './types.ts';

/** Of the budget, where threads are tuned as well. */
const GPU_SHARE = 0.25;

/** Undefined where nothing could be measured. Where calls go to the GPU whatever they cost, threads are not tuned for them. */
export async function tuneOne(
  core: Core,
  problem: Problem,
  limits: GpuTuneLimits,
): Promise<TuneReport | undefined> {
  const { gpu } = core;
  const { effort, budgetMs, signal } = limits;
  if (gpu?.forced) {
    const there = await tuneOnGpu(core, gpu, problem, limits);
    if (there) return there;
  }
  const tuned = await tuneProblem(core, problem, { effort, budgetMs, ...(signal && { signal }) });
  if (gpu?.isWelcome && !gpu.forced)
    await tuneOnGpu(core, gpu, problem, { ...limits, budgetMs: GPU_SHARE * budgetMs });
  if (!tuned) return undefined;
  const { plan, ms, defaultMs, measured, candidates } = tuned;
  return { key: keyOf(problem), plan, ms, estimateMs: defaultMs, measured, candidates: candidates.length };
}
