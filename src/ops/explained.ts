/** What `explain` says: the plan of a call from memory to memory, and everything that was considered, wherever it would run. */

import { gpuCandidates } from '../plan/gpu.ts';
import type { Candidate } from '../plan/plan.ts';
import type { Planned } from '../plan/planner.ts';
import type { Core } from './core.ts';
import type { Explanation } from './types.ts';

function timeOf({ measuredMs, estimateMs }: Candidate): number {
  return measuredMs ?? estimateMs;
}

export function explained(core: Core, planned: Planned): Explanation {
  const { key, problem, plan, source, effort } = planned;
  const here = core.planner.measured(key) ?? core.planner.candidates(problem);
  const { gpu } = core;
  const there = gpu ? gpuCandidates(problem, gpu.plans(problem), gpu.profile) : [];
  const [best] = there;
  const goesThere = best !== undefined && gpu!.takesOver(timeOf(best), planned.ms);
  return {
    key,
    problem,
    plan: goesThere ? best.plan : plan,
    source: goesThere ? 'estimate' : source,
    effort: goesThere ? 'estimate' : effort,
    candidates: there.length === 0 ? here : [...here, ...there].sort((a, b) => timeOf(a) - timeOf(b)),
    quarantined: [...core.quarantined, ...(gpu?.quarantined ?? [])],
  };
}
