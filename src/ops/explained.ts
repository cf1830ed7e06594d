/** What `explain` says: the plan of a call from memory to memory, and everything that was considered, wherever it would run. */

import { gatherBytes } from '../plan/gather.ts';
import { allMoves, gpuCandidates } from '../plan/gpu.ts';
import { type Candidate, samePlan } from '../plan/plan.ts';
import type { Planned } from '../plan/planner.ts';
import type { Core } from './core.ts';
import type { GpuJsPlace } from './gpujs/place.ts';
import type { Explanation } from './types.ts';

function timeOf({ measuredMs, estimateMs }: Candidate): number {
  return measuredMs ?? estimateMs;
}

function byTime(candidates: readonly Candidate[]): Candidate[] {
  return [...candidates].sort((a, b) => timeOf(a) - timeOf(b));
}

export function explained(core: Core, planned: Planned): Explanation {
  const { key, problem, plan, source, effort } = planned;
  const here = core.planner.measured(key) ?? core.planner.candidates(problem);
  const { gpu, gpujs } = core;
  const quarantined = [...core.quarantined, ...(gpu?.quarantined ?? []), ...(gpujs?.quarantined ?? [])];
  if (gpujs) return withGpuJs(gpujs, planned, here, quarantined);
  if (!gpu) return { key, problem, plan, source, effort, candidates: here, quarantined };
  const there = gpuCandidates(problem, gpu.plans(problem), gpu.profile);
  const chosen = gpu.choose(problem, planned.ms);
  if (!chosen)
    return { key, problem, plan, source, effort, candidates: byTime([...here, ...there]), quarantined };
  const first = there.find((candidate) => samePlan(candidate.plan, chosen.plan)) ?? {
    plan: chosen.plan,
    estimateMs: chosen.computeMs,
  };
  return {
    key,
    problem,
    plan: chosen.plan,
    source: chosen.isMeasured ? 'wisdom' : 'estimate',
    effort: chosen.isMeasured ? 'measure' : 'estimate',
    // the chosen one leads, also where it was forced
    candidates: [first, ...byTime([...here, ...there].filter((candidate) => candidate !== first))],
    quarantined,
  };
}

/** With what gpu.js would take, where it can do this. */
function withGpuJs(
  gpujs: GpuJsPlace,
  { key, problem, plan, source, effort, ms: hereMs }: Planned,
  here: readonly Candidate[],
  quarantined: Explanation['quarantined'],
): Explanation {
  const moved = allMoves(problem).upload / 4;
  const there = gpujs.plan(problem);
  const ms = gpujs.ms(problem, [moved]);
  if (!there || ms === undefined)
    return { key, problem, plan, source, effort, candidates: here, quarantined };
  const bytes = gatherBytes(problem, [moved]);
  const candidate: Candidate = {
    plan: there,
    estimateMs: ms,
    transfer: { bytes, ms: bytes / gpujs.profile.moveGBs / 1e6 },
  };
  if (!gpujs.isBetter(ms, () => hereMs))
    return { key, problem, plan, source, effort, candidates: byTime([...here, candidate]), quarantined };
  const candidates = [candidate, ...byTime(here)];
  return { key, problem, plan: there, source: 'estimate', effort: 'estimate', candidates, quarantined };
}
