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
  /** More blockings for the kernel and packing of a plan, best guess first. */
  neighbours(plan: Plan): readonly Candidate[];
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

/** `measure` first finds the kernels: so many of the best guesses, few of any one kernel, with this share of the budget. */
const FIRST_ROUND = 18;
const FIRST_PER_KERNEL = 2;
const FIRST_PER_ALGORITHM = 2;
const FIRST_SHARE = 0.45;
/** Then it varies the blocking of the best of them. */
const BEST_KERNELS = 3;
const BLOCKINGS_PER_KERNEL = 8;
/** `exhaustive` screens everything with a few samples each, then races this many of the fastest in detail. */
const FINALISTS = 24;
const SCREEN_SHARE = 0.7;
const GUESSES_PER_KERNEL = 3;
/** A kernel whose best guesses all take this much longer than the best is not tried with other blockings. */
const HOPELESS = 1.4;

function kindOf({ plan }: Candidate): string {
  return `${plan.kernel} ${plan.packing}`;
}

/** The first guesses, but not more than a few of any one kernel: a cost model that errs errs for a whole kernel. */
export function diverse(candidates: readonly Candidate[], count: number, perKernel: number): Candidate[] {
  const taken = new Map<string, number>();
  const picked: Candidate[] = [];
  for (const candidate of candidates) {
    const name = kindOf(candidate);
    const used = taken.get(name) ?? 0;
    if (used >= perKernel) continue;
    taken.set(name, used + 1);
    picked.push(candidate);
    if (picked.length === count) break;
  }
  return picked;
}

/** The best guesses, and of each algorithm that is not among them its own: where the cost model errs, it errs for all of an algorithm's kernels,
 *  which can be more than a round takes. */
function firstRound(candidates: readonly Candidate[]): Candidate[] {
  const picked = diverse(candidates, FIRST_ROUND, FIRST_PER_KERNEL);
  const seen = new Set(picked.map(({ plan }) => plan.algorithm));
  const missing = new Set(candidates.map(({ plan }) => plan.algorithm).filter((name) => !seen.has(name)));
  for (const name of missing) {
    const own = candidates.filter(({ plan }) => plan.algorithm === name);
    picked.push(...diverse(own, FIRST_PER_ALGORITHM, 1));
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

/** Screens all kernels by their best guesses, then every blocking of those that are not hopeless; the fastest of them,
 *  the default always first. */
async function finalists(
  task: TuneTask,
  limits: TuneLimits,
  times: Map<string, number>,
): Promise<Candidate[]> {
  const timeOf = ({ plan }: Candidate) => times.get(printPlan(plan)) ?? Number.POSITIVE_INFINITY;
  const screen = async (candidates: readonly Candidate[], share: number) => {
    const results = await raceOf(task, candidates, limits, limits.budgetMs * share, true);
    for (const result of results) if (Number.isFinite(result.min)) times.set(result.id, result.min);
  };
  const guesses = diverse(task.candidates, task.candidates.length, GUESSES_PER_KERNEL);
  await screen(guesses, SCREEN_SHARE / 2);
  const best = Math.min(...guesses.map(timeOf));
  const hopeful = new Set(guesses.filter((guess) => timeOf(guess) < best * HOPELESS).map(kindOf));
  await screen(
    task.candidates.filter(
      (candidate) => hopeful.has(kindOf(candidate)) && !Number.isFinite(timeOf(candidate)),
    ),
    SCREEN_SHARE / 2,
  );
  const [first, ...rest] = task.candidates;
  const fastest = rest.sort((a, b) => timeOf(a) - timeOf(b)).slice(0, FINALISTS);
  return first ? [first, ...fastest] : fastest;
}

/** The fastest kernels of a short first race, each with more blockings than the estimate looked at; the default first. */
async function refined(task: TuneTask, limits: TuneLimits, times: Map<string, number>): Promise<Candidate[]> {
  const entrants = firstRound(task.candidates);
  const results = await raceOf(task, entrants, limits, limits.budgetMs * FIRST_SHARE, false);
  for (const result of results) if (Number.isFinite(result.min)) times.set(result.id, result.min);
  const timeOf = ({ plan }: Candidate) => times.get(printPlan(plan)) ?? Number.POSITIVE_INFINITY;
  const ranked = [...entrants].sort((a, b) => timeOf(a) - timeOf(b));
  const picked = new Map<string, Candidate>();
  const add = (candidate: Candidate | undefined) =>
    candidate && picked.set(printPlan(candidate.plan), candidate);
  add(entrants[0]);
  for (const best of diverse(ranked, BEST_KERNELS, 1)) {
    add(best);
    for (const neighbour of task.neighbours(best.plan).slice(0, BLOCKINGS_PER_KERNEL)) add(neighbour);
  }
  return [...picked.values()];
}

/** Fastest measured first, then the unmeasured ones by estimate. */
function withTimes(
  candidates: readonly Candidate[],
  times: ReadonlyMap<string, number>,
  rejected: ReadonlyMap<string, string>,
): Candidate[] {
  const told = candidates.map((candidate): Candidate => {
    const id = printPlan(candidate.plan);
    const ms = times.get(id);
    const reason = rejected.get(id);
    return {
      ...candidate,
      ...(ms === undefined ? {} : { measuredMs: ms }),
      ...(reason === undefined ? {} : { rejected: reason }),
    };
  });
  return told.sort((a, b) => (a.measuredMs ?? 1e9 + a.estimateMs) - (b.measuredMs ?? 1e9 + b.estimateMs));
}

export async function tunePlan(task: TuneTask, limits: TuneLimits): Promise<Tuned | undefined> {
  const times = new Map<string, number>();
  const rejected = new Map<string, string>();
  const narrow = task.exhaustive ? finalists : refined;
  const entrants = await narrow(task, limits, times);
  const share = task.exhaustive ? 1 - SCREEN_SHARE : 1 - FIRST_SHARE;
  const results = await raceOf(task, entrants, limits, limits.budgetMs * share, false);
  for (const result of results) {
    if (result.rejected) rejected.set(result.id, result.rejected);
    else if (Number.isFinite(result.median)) times.set(result.id, result.median);
  }
  const defaultId = results[0]?.id;
  const winner = defaultId === undefined ? undefined : pickWinner(results, { defaultId });
  if (!winner || defaultId === undefined) return undefined;
  const plan = entrants.find((candidate) => printPlan(candidate.plan) === winner.result.id)!.plan;
  const all = new Map(
    [...task.candidates, ...entrants].map((candidate) => [printPlan(candidate.plan), candidate]),
  );
  const candidates = withTimes([...all.values()], times, rejected);
  return { plan, ms: winner.result.median, defaultMs: results[0]!.median, candidates, measured: times.size };
}
