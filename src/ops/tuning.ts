/** Tuning a problem for real: operands in memory, plans run and their answers checked. */

import { systemClock } from '../core/clock.ts';
import { abortReason } from '../core/errors.ts';
import { kernelsUsed } from '../kernels/table.ts';
import { NARROW, WIDE } from '../plan/ladders.ts';
import type { Candidate, Effort, Plan } from '../plan/plan.ts';
import type { Planner, Setting } from '../plan/planner.ts';
import { keyOf, type Problem } from '../problem/problem.ts';
import { type Tuned, tunePlan } from '../tune/tune.ts';
import { makeTrial, type Trier } from './trial.ts';

/** What tuning needs of a runtime. */
export interface Tunable extends Trier {
  readonly planner: Planner;
  readonly onEvent: (event: { type: 'planned'; key: string; plan: Plan; effort: Effort }) => void;
  trust(kernel: string): boolean;
  checkOpen(what: string): void;
  saveSoon(): void;
}

export interface TuneLimits {
  readonly effort: Exclude<Effort, 'estimate'>;
  readonly budgetMs: number;
  /** Default `call`. */
  readonly setting?: Setting;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** A run longer than this is given to the team, so that the event loop stays free while tuning. */
const OFF_THREAD_MS = 20;

/** Plans that are alike but for their blocking. */
function kindOf({ algorithm, packing }: Plan): string {
  return `${algorithm} ${packing}`;
}

/** Runs the race and remembers its winner. Undefined if no candidate could be measured. */
export async function tuneProblem(
  core: Tunable,
  problem: Problem,
  limits: TuneLimits,
): Promise<Tuned | undefined> {
  const key = keyOf(problem);
  const exhaustive = limits.effort === 'exhaustive';
  const trusted = ({ plan }: Candidate) => kernelsUsed(plan.kernel).every((name) => core.trust(name));
  const { setting = 'call' } = limits;
  const candidates = core.planner
    .candidates(problem, exhaustive ? WIDE : NARROW, { setting })
    .filter(trusted);
  const neighbours = (plan: Plan) =>
    core.planner
      .candidates(problem, WIDE, { only: plan.kernel, setting })
      .filter((other) => kindOf(other.plan) === kindOf(plan));
  const trial = makeTrial(core, problem);
  const run = (plan: Plan, ms: number) => {
    const execution = { key, problem, plan, ms };
    const operands = trial.operands(plan);
    if (ms < OFF_THREAD_MS) return core.executor.runSync(execution, operands);
    return core.executor.run(execution, operands, { signal: limits.signal });
  };
  const verify = (plan: Plan): string | undefined => {
    trial.result().fill(Number.NaN);
    core.executor.runSync({ key, problem, plan, ms: 0 }, trial.operands(plan));
    return trial.check(plan);
  };
  try {
    const tuned = await tunePlan(
      { candidates, exhaustive, neighbours, run, verify },
      { clock: systemClock, ...limits },
    );
    if (limits.signal?.aborted) throw abortReason(limits.signal);
    core.checkOpen('tune');
    if (tuned) {
      core.planner.learn(problem, tuned.plan, limits.effort, tuned.ms, tuned.candidates, setting);
      core.onEvent({ type: 'planned', key, plan: tuned.plan, effort: limits.effort });
      core.saveSoon();
    }
    return tuned;
  } finally {
    trial.release();
  }
}
