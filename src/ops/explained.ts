/** What `explain` says: the plan of a call from memory to memory, and everything that was considered, wherever it would run. */

import { gpuCandidates } from '../plan/gpu.ts';
import { type Candidate, samePlan } from '../plan/plan.ts';
import type { Planned } from '../plan/planner.ts';
import type { Core } from './core.ts';
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
  const { gpu } = core;
  const quarantined = [...core.quarantined, ...(gpu?.quarantined ?? [])];
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
