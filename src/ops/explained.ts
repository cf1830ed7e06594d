/** What `explain` says: the plan of a call from memory to memory, and everything that was considered, wherever it would run. */

import { gpuCandidates } from '../plan/gpu.ts';
import type { Candidate } from '../plan/plan.ts';
import type { Planned } from '../plan/planner.ts';
import type { Core } from './core.ts';
import type { Explanation } from './types.ts';

function timeOf({ measuredMs, estimateMs }: Candidate): number {
  return measuredMs ?? estimateMs;
}

/** The chosen side's best is the first; all others follow by their times. */
function inOrder(goesThere: boolean, here: readonly Candidate[], there: readonly Candidate[]): Candidate[] {
  const [chosen, other] = goesThere ? [there, here] : [here, there];
  const [first, ...rest] = chosen;
  return [first!, ...[...rest, ...other].sort((a, b) => timeOf(a) - timeOf(b))];
}

export function explained(core: Core, planned: Planned): Explanation {
  const { key, problem, plan, source, effort } = planned;
  const here = core.planner.measured(key) ?? core.planner.candidates(problem);
  const { gpu } = core;
  const there = gpu ? gpuCandidates(problem, gpu.plans(problem), gpu.profile) : [];
  const [best] = there;
  const goesThere = best !== undefined && gpu!.takesOver(timeOf(best), planned.ms);
  const isMeasured = best?.measuredMs !== undefined;
  return {
    key,
    problem,
    plan: goesThere ? best.plan : plan,
    source: goesThere ? (isMeasured ? 'wisdom' : 'estimate') : source,
    effort: goesThere ? (isMeasured ? 'measure' : 'estimate') : effort,
    candidates: there.length === 0 ? here : inOrder(goesThere, here, there),
    quarantined: [...core.quarantined, ...(gpu?.quarantined ?? [])],
  };
}
