/**
 * The race: all contestants of one shape, verified, warmed up, then sampled in turn until the time is spent.
 * Every round takes one sample of each, and each round begins with another contestant, so whatever else the
 * machine does meets all of them alike and ratios are taken within a round.
 */
import type { Shape } from '../shapes/index.ts';
import type { Control } from './control.ts';
import { summarize } from './stats.ts';
import { type Contestant, type Entry, isUnsupported, type Outcome } from './types.ts';
import type { MeasuredError, Verdict, VerifyMethod } from './verify.ts';

export interface RaceOptions {
  /** Time to spend on samples of each contestant. */
  readonly timeMs: number;
  readonly warmUpMs: number;
  /** A sample lasts at least this long: calls are repeated inside it. */
  readonly sampleMs: number;
  readonly minRounds: number;
  readonly maxRounds: number;
  /** Whose first call takes longer is named with that one time and runs no race. */
  readonly slowMs: number;
  readonly signal?: AbortSignal;
  /** Timed once a round: see control.ts. */
  readonly control?: Control;
  /** Called after each round with the share that is done. */
  readonly onProgress?: (share: number) => void;
}

/**
 * minRounds 16: a Mann-Whitney test of 16 against 16 can reach p = 2e-6, so `compare` can decide over hundreds
 * of rows. sampleMs 5 is some 5000 times the clock's resolution.
 */
export const RACE_DEFAULTS: RaceOptions = {
  timeMs: 400,
  warmUpMs: 100,
  sampleMs: 5,
  minRounds: 16,
  maxRounds: 60,
  slowMs: 1500,
};

export interface RaceResult {
  /** In the order of the contestants. */
  readonly outcomes: readonly Outcome[];
  /** Milliseconds of the control, one a round; empty without one. */
  readonly control: readonly number[];
}

interface Runner {
  readonly id: string;
  readonly entry: Entry;
  readonly firstMs: number;
  readonly verified: VerifyMethod;
  readonly error: MeasuredError;
  iterations: number;
  readonly samples: number[];
}

export async function race(
  contestants: readonly Contestant[],
  shape: Shape,
  options: RaceOptions,
): Promise<RaceResult> {
  const outcomes = new Map<string, Outcome>();
  const opened: Entry[] = [];
  const runners: Runner[] = [];
  const control: number[] = [];
  try {
    for (const contestant of contestants) {
      options.signal?.throwIfAborted();
      const { id } = contestant.info;
      const start = await attempt(id, outcomes, () => begin(contestant, shape, options, opened));
      if (start === undefined) continue;
      if ('status' in start) outcomes.set(id, start);
      else runners.push(start);
    }
    for (const runner of runners) await attempt(runner.id, outcomes, () => calibrate(runner, options));
    const ready = runners.filter((runner) => !outcomes.has(runner.id));
    await sampleInTurn(ready, outcomes, control, options);
    for (const runner of ready) {
      const outcome = outcomes.has(runner.id)
        ? undefined
        : await attempt(runner.id, outcomes, () => finish(runner));
      if (outcome !== undefined) outcomes.set(runner.id, outcome);
    }
    options.signal?.throwIfAborted();
  } finally {
    for (const entry of opened) await entry.release().catch(() => undefined);
  }
  return { outcomes: contestants.flatMap(({ info }) => outcomes.get(info.id) ?? []), control };
}

/** A contestant that throws is out, with its reason; the others go on. An abort ends the race. */
async function attempt<T>(
  id: string,
  outcomes: Map<string, Outcome>,
  step: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof Error && error.name === 'AbortError') throw error;
    outcomes.set(id, {
      id,
      status: 'failed',
      reason: error instanceof Error ? error.message : String(error),
    });
    return undefined;
  }
}

async function begin(
  contestant: Contestant,
  shape: Shape,
  options: RaceOptions,
  opened: Entry[],
): Promise<Runner | Outcome> {
  const { id } = contestant.info;
  const entry = await contestant.open(shape);
  if (isUnsupported(entry)) return { id, status: 'unsupported', reason: entry.unsupported };
  opened.push(entry);
  const { ms: firstMs, verdict } = await entry.first(options.slowMs);
  if (!verdict.ok) return { id, status: 'wrong', reason: verdict.reason };
  const error = errorOf(verdict);
  if (firstMs > options.slowMs) return { id, status: 'slow', firstMs, verified: verdict.method, ...error };
  return { id, entry, firstMs, verified: verdict.method, error, iterations: 1, samples: [] };
}

function errorOf(verdict: Verdict): MeasuredError {
  if (!verdict.ok || verdict.maxAbsError === undefined) return {};
  const { maxAbsError, relativeError = 0 } = verdict;
  return { maxAbsError, relativeError };
}

/** Warms up, then grows the calls of a sample until one lasts long enough. */
async function calibrate(runner: Runner, { warmUpMs, sampleMs, signal }: RaceOptions): Promise<void> {
  await runner.entry.warmUp(warmUpMs);
  for (;;) {
    signal?.throwIfAborted();
    const ms = await runner.entry.sample(runner.iterations);
    if (ms >= sampleMs) return;
    // Aims a fifth beyond the goal; at most tenfold, because a first small time says little.
    const factor = ms > 0 ? (1.2 * sampleMs) / ms : 10;
    runner.iterations = Math.ceil(runner.iterations * Math.min(10, Math.max(1.2, factor)));
  }
}

async function sampleInTurn(
  runners: readonly Runner[],
  outcomes: Map<string, Outcome>,
  control: number[],
  options: RaceOptions,
): Promise<void> {
  const { timeMs, minRounds, maxRounds, signal, onProgress } = options;
  let spent = 0;
  for (let round = 0; round < maxRounds; round++) {
    // All of them together get timeMs each, so that a slow one does not keep the others at few samples.
    if (round >= minRounds && spent >= timeMs * runners.length) break;
    if (options.control) control.push(options.control());
    for (let turn = 0; turn < runners.length; turn++) {
      signal?.throwIfAborted();
      const runner = runners[(round + turn) % runners.length];
      if (runner === undefined || outcomes.has(runner.id)) continue;
      const ms = await attempt(runner.id, outcomes, () => runner.entry.sample(runner.iterations));
      if (ms === undefined) continue;
      runner.samples.push(ms / runner.iterations);
      spent += ms;
    }
    onProgress?.(
      Math.min(1, Math.max((round + 1) / maxRounds, spent / (timeMs * Math.max(1, runners.length)))),
    );
  }
}

/** The answer is checked once more: a race condition shows under repetition, not in the first call. */
async function finish(runner: Runner): Promise<Outcome> {
  const { id, entry, firstMs, iterations, samples, verified } = runner;
  const verdict = await entry.verify();
  if (!verdict.ok)
    return { id, status: 'wrong', reason: `after ${samples.length} samples: ${verdict.reason}` };
  const plan = await entry.plan();
  const later = errorOf(verdict);
  const error = (later.maxAbsError ?? 0) > (runner.error.maxAbsError ?? 0) ? later : runner.error;
  const outcome = {
    id,
    status: 'timed',
    firstMs,
    iterations,
    samples,
    summary: summarize(samples),
    verified,
    ...error,
  } as const;
  const deviceMs = await entry.deviceMs();
  return {
    ...outcome,
    ...(plan !== undefined && { plan }),
    ...(deviceMs !== undefined && { deviceMs }),
  };
}
