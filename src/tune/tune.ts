/**
 * Races candidate plans of one problem on the machine at hand and says which to keep. Running a plan and checking an answer
 * are passed in, so that tests use a fake clock and fake plans.
 */
import type { Clock } from '../core/clock.ts';
import { type Candidate, type Plan, printPlan } from '../plan/plan.ts';
import { pickWinner, race } from './measure.ts';

export interface TuneTask {
  /** Best guess first: it is the default that a winner must beat. */
  readonly candidates: readonly Candidate[];
  readonly exhaustive: boolean;
  /** `ms` is what the plan is thought to take: long runs may leave the calling thread. */
  run(plan: Plan, ms: number): void | Promise<void>;
  /** Why the plan's answer is wrong, or undefined if it is right. */
  verify(plan: Plan): string | undefined;
}

export interface TuneLimits {
  readonly clock: Clock;
  readonly budgetMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Tuned {
  readonly plan: Plan;
  readonly ms: number;
  readonly defaultMs: number;
  /** All candidates, measured ones first and fastest first. */
  readonly candidates: readonly Candidate[];
  readonly measured: number;
}

/** How many of the best guesses `measure` races in detail. */
const FIRST_ROUND = 16;
/** `exhaustive` screens everything with a few samples each, then races this many of the fastest in detail. */
const FINALISTS = 24;

/** The first guesses, but not more than a few of any one kernel: a cost model that errs errs for a whole kernel. */
export function diverse(candidates: readonly Candidate[], count: number, perKernel: number): Candidate[] {
  const taken = new Map<string, number>();
  const picked: Candidate[] = [];
  for (const candidate of candidates) {
    const name = `${candidate.plan.kernel} ${candidate.plan.packing}`;
    const used = taken.get(name) ?? 0;
    if (used >= perKernel) continue;
    taken.set(name, used + 1);
    picked.push(candidate);
    if (picked.length === count) break;
  }
  return picked;
}

/** Stays synchronous for as long as the plan's runs are: awaiting each would be timed along with it. */
function runMany(task: TuneTask, plan: Plan, ms: number, iterations: number): void | Promise<void> {
  for (let i = 0; i < iterations; i++) {
    const pending = task.run(plan, ms);
    if (pending) return pending.then(() => runMany(task, plan, ms, iterations - i - 1));
  }
}

function raceOf(
  task: TuneTask,
  candidates: readonly Candidate[],
  limits: TuneLimits,
  budgetMs: number,
  screen: boolean,
) {
  return race(
    candidates.map(({ plan, estimateMs }) => ({
      id: printPlan(plan),
      run: (iterations: number) => runMany(task, plan, estimateMs, iterations),
      verify: () => task.verify(plan),
    })),
    {
      clock: limits.clock,
      budgetMs,
      minSampleMs: screen ? 0.3 : 3,
      rounds: screen ? 2 : 12,
      warmupMs: screen ? 3 : 15,
      halve: !screen,
      ...(limits.signal ? { signal: limits.signal } : {}),
      ...(limits.onProgress
        ? {
            onProgress: ({ done, total }: { done: number; total: number }) =>
              limits.onProgress?.(done, total),
          }
        : {}),
    },
  );
}

/** Screens all candidates quickly and returns the fastest, the default always among them. */
async function finalists(
  task: TuneTask,
  limits: TuneLimits,
  times: Map<string, number>,
): Promise<Candidate[]> {
  const results = await raceOf(task, task.candidates, limits, limits.budgetMs * 0.7, true);
  for (const result of results) if (Number.isFinite(result.min)) times.set(result.id, result.min);
  const timeOf = (candidate: Candidate) => times.get(printPlan(candidate.plan)) ?? Number.POSITIVE_INFINITY;
  const [first, ...rest] = task.candidates;
  const fastest = rest.sort((a, b) => timeOf(a) - timeOf(b)).slice(0, FINALISTS);
  return first ? [first, ...fastest] : fastest;
}

export async function tunePlan(task: TuneTask, limits: TuneLimits): Promise<Tuned | undefined> {
  const times = new Map<string, number>();
  const rejected = new Map<string, string>();
  const entrants = task.exhaustive
    ? await finalists(task, limits, times)
    : diverse(task.candidates, FIRST_ROUND, 3);
  const results = await raceOf(
    task,
    entrants,
    limits,
    task.exhaustive ? limits.budgetMs * 0.3 : limits.budgetMs,
    false,
  );
  for (const result of results) {
    if (result.rejected) rejected.set(result.id, result.rejected);
    else if (Number.isFinite(result.median)) times.set(result.id, result.median);
  }
  const defaultId = results[0]?.id;
  const winner = defaultId === undefined ? undefined : pickWinner(results, { defaultId });
  if (!winner || defaultId === undefined) return undefined;
  const plan = entrants.find((candidate) => printPlan(candidate.plan) === winner.result.id)!.plan;
  const candidates = task.candidates.map((candidate): Candidate => {
    const id = printPlan(candidate.plan);
    const ms = times.get(id);
    const reason = rejected.get(id);
    return {
      ...candidate,
      ...(ms === undefined ? {} : { measuredMs: ms }),
      ...(reason === undefined ? {} : { rejected: reason }),
    };
  });
  candidates.sort((a, b) => (a.measuredMs ?? 1e9 + a.estimateMs) - (b.measuredMs ?? 1e9 + b.estimateMs));
  return { plan, ms: winner.result.median, defaultMs: results[0]!.median, candidates, measured: times.size };
}
