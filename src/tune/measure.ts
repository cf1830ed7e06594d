/**
 * The measuring core: how long one run takes, and which of several ways is the fastest. Used by the tuner and by
 * the command line's benches; knows neither plans nor kernels. The clock is passed in, so tests run on a fake one.
 *
 * Habits and where they are from: double the iterations until a sample is long enough, restart when the clock
 * goes backwards (FFTW, `libbench2/speed.c`); stop hopeless candidates early (tinygrad, `codegen/opt/search.py`); a
 * failed candidate is data and not an exception (TVM, `meta_schedule`); successive halving (Karnin, Koren and
 * Somekh, ICML 2013).
 *
 * Each procedure is written once, as a generator that yields where it must wait. `race` and `calibrate` await what
 * it yields; `raceSync` and `calibrateSync` never give the thread away.
 */
import type { Clock } from '../core/clock.ts';
import { abortReason, TesseraeError } from '../core/errors.ts';
import { mad, median, min, pairedRatios } from './stats.ts';

/** Does the work `iterations` times. */
export type Run = (iterations: number) => void | PromiseLike<void>;

export interface RaceCandidate {
  readonly id: string;
  readonly run: Run;
  /** Computes once and checks the answer: why it is wrong, or undefined. Its time does not count as a sample. */
  readonly verify?: (() => string | undefined | PromiseLike<string | undefined>) | undefined;
}

export interface CalibrateOptions {
  /** Shortest time that a sample may take. Default 5 ms: a thousand steps of a browser's coarsened clock. */
  readonly minSampleMs?: number;
}

export interface Calibration {
  /** So many runs make one sample. */
  readonly iterations: number;
  /** Milliseconds of one run within that sample. */
  readonly ms: number;
}

export interface RaceProgress {
  readonly done: number;
  readonly total: number;
  /** The fastest candidate so far. */
  readonly leader: string | undefined;
}

export interface RaceOptions extends CalibrateOptions {
  readonly clock: Clock;
  /** For everything, verification and warm-up included. A run that has begun is never cut short. */
  readonly budgetMs: number;
  /** Samples of each finalist. Default 8, FFTW's number of repeats. */
  readonly rounds?: number;
  /** Candidates are run for so long before anything they do counts. Default 10 ms: V8 compiles hot WebAssembly
   *  anew in the background, within a few milliseconds for kernels of our size. */
  readonly warmupMs?: number;
  /** A candidate this many times slower than the leader is not sampled again. Default 2.5. */
  readonly hopelessFactor?: number;
  /** Whether the worse half drops out after each round. Default true; false compares all to the end. */
  readonly halve?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: RaceProgress) => void) | undefined;
}

export interface RaceResult {
  readonly id: string;
  /** Milliseconds of one run; infinite without samples. */
  readonly min: number;
  readonly median: number;
  /** One per round, from the first round on: equal indices were taken at the same time. */
  readonly samples: readonly number[];
  /** Why it must not be used: a wrong answer, or what it threw. */
  readonly rejected?: string;
  /** Why it has fewer samples than there were rounds. */
  readonly stopped?: 'hopeless' | 'halved' | 'budget';
}

/** A stopped or stepping clock must not make a sample endless. */
const MAX_ITERATIONS = 2 ** 20;
const MAX_RESTARTS = 8;
/** While warming up code may still be in its slow first tier: be patient by this factor more. */
const COLD_PATIENCE = 4;
/** Fewer pairs decide nothing: of three, one disturbed sample moves neither the median ratio nor the minimum. So many
 *  rounds must fit into the budget for another candidate to join. */
const LEAST_PAIRS = 3;
/** Share of the time that a candidate must save to win by fewer pairs: more than one disturbance feigns. */
const CONVINCING = 0.5;
/** Halving stops at so many, the default not counted: between the last ones only more rounds can tell. */
const FINALISTS = 3;
/** A sample of this share of the wanted length still counts. */
const SHORTEST = 0.7;
/** Longest time for which the calling thread's event loop is kept waiting, if runs are that short. */
const BREATH_MS = 10;

// ---- waiting ------------------------------------------------------------------------------------------------

const BREATHE = Symbol('let the event loop turn');
type Steps<T> = Generator<PromiseLike<unknown> | typeof BREATHE, T, unknown>;

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value;
}

function* settled<T>(value: T | PromiseLike<T>): Steps<T> {
  return isPromiseLike(value) ? ((yield value) as T) : value;
}

/** One turn of the event loop: `setImmediate` where there is one, since nested timers are held back to 4 ms. */
function breathe(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (then: () => void) => unknown };
  return new Promise((then) => (setImmediate === undefined ? setTimeout(then, 0) : setImmediate(then)));
}

async function drive<T>(steps: Steps<T>): Promise<T> {
  let step = steps.next();
  while (!step.done) {
    let value: unknown;
    try {
      value = await (step.value === BREATHE ? breathe() : step.value);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(value);
  }
  return step.value;
}

function driveSync<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) {
    if (step.value !== BREATHE) {
      const hint = 'Use race or calibrate for candidates that return promises.';
      throw new TesseraeError('E_ARGUMENT', 'a synchronous measurement met a promise', {}, hint);
    }
    step = steps.next();
  }
  return step.value;
}

// ---- one sample ---------------------------------------------------------------------------------------------

/** Milliseconds of `iterations` runs. */
function* timed(run: Run, iterations: number, clock: Clock): Steps<number> {
  for (let restart = 0; restart <= MAX_RESTARTS; restart++) {
    const start = clock.now();
    const pending = run(iterations);
    if (isPromiseLike(pending)) yield pending;
    const spent = clock.now() - start;
    if (spent >= 0) return spent;
  }
  const hint = 'Measuring needs a clock that rises; estimated plans work without.';
  throw new TesseraeError('E_ENGINE', 'the clock kept going backwards', { restarts: MAX_RESTARTS }, hint);
}

function* calibrating(run: Run, clock: Clock, minSampleMs: number, from: number): Steps<Calibration> {
  let iterations = from;
  let spent = yield* timed(run, iterations, clock);
  while (spent < minSampleMs && iterations < MAX_ITERATIONS) {
    iterations *= 2;
    spent = yield* timed(run, iterations, clock);
  }
  return { iterations, ms: spent / iterations };
}

/** Doubles the iterations until they take `minSampleMs`. */
export function calibrate(run: Run, clock: Clock, options: CalibrateOptions = {}): Promise<Calibration> {
  return drive(calibrating(run, clock, options.minSampleMs ?? 5, 1));
}

export function calibrateSync(run: Run, clock: Clock, options: CalibrateOptions = {}): Calibration {
  return driveSync(calibrating(run, clock, options.minSampleMs ?? 5, 1));
}

// ---- the race -----------------------------------------------------------------------------------------------

interface Lane {
  readonly candidate: RaceCandidate;
  readonly isDefault: boolean;
  readonly samples: number[];
  iterations: number;
  /** Milliseconds of one run by the best knowledge so far; infinite before the warm-up. */
  best: number;
  rejected?: string;
  stopped?: NonNullable<RaceResult['stopped']>;
}

type Settings = Required<
  Pick<RaceOptions, 'minSampleMs' | 'rounds' | 'warmupMs' | 'hopelessFactor' | 'halve'>
>;
const DEFAULTS: Settings = { minSampleMs: 5, rounds: 8, warmupMs: 10, hopelessFactor: 2.5, halve: true };

class Race {
  readonly #lanes: readonly Lane[];
  readonly #options: RaceOptions & Settings;
  readonly #clock: Clock;
  #lastSeen: number;
  #lastBreath = 0;
  #elapsed = 0;
  #done = 0;

  constructor(candidates: readonly RaceCandidate[], options: RaceOptions) {
    this.#lanes = candidates.map((candidate, i) => ({
      candidate,
      isDefault: i === 0,
      samples: [],
      iterations: 1,
      best: Number.POSITIVE_INFINITY,
    }));
    this.#options = { ...DEFAULTS, ...options };
    this.#clock = options.clock;
    this.#lastSeen = this.#clock.now();
  }

  *run(): Steps<RaceResult[]> {
    this.#checkAbort();
    for (const lane of this.#lanes) {
      if (!this.#hasAnswer() || this.#canJoin()) yield* this.#admit(lane);
      else lane.stopped = 'budget';
      this.#progress(this.#done + 1);
    }
    for (let round = 0; round < this.#options.rounds; round++) {
      if (!(yield* this.#round(round))) break;
      this.#dropHopeless();
      if (this.#options.halve && round > 0) this.#halve();
      this.#progress(this.#done + 1);
    }
    const total = this.#lanes.length + this.#options.rounds;
    if (this.#done < total) this.#progress(total);
    return this.#lanes.map(toResult);
  }

  /** Verifies and warms up; afterwards the lane is in the race or out of it. */
  *#admit(lane: Lane): Steps<void> {
    yield* this.#guarded(lane, () => this.#verify(lane));
    if (isIn(lane)) yield* this.#guarded(lane, () => this.#warmUp(lane));
    // By now better code may be waiting to be entered; a call after a turn of the event loop finds it.
    yield* this.#breathe(0);
  }

  *#verify(lane: Lane): Steps<void> {
    const fault = yield* settled(lane.candidate.verify?.());
    if (fault !== undefined) lane.rejected = fault;
  }

  *#warmUp(lane: Lane): Steps<void> {
    const { warmupMs, minSampleMs, hopelessFactor } = this.#options;
    const rival = this.#leader()?.best ?? Number.POSITIVE_INFINITY;
    let iterations = 1;
    let spent = yield* timed(lane.candidate.run, iterations, this.#clock);
    for (let total = spent; total < warmupMs && iterations < MAX_ITERATIONS; total += spent) {
      iterations *= 2;
      spent = yield* timed(lane.candidate.run, iterations, this.#clock);
    }
    lane.best = spent / iterations;
    // A first guess: the first sample grows it until it is long enough.
    lane.iterations = Math.max(1, Math.min(iterations, Math.floor(minSampleMs / lane.best)));
    if (!lane.isDefault && lane.best > rival * hopelessFactor * COLD_PATIENCE) lane.stopped = 'hopeless';
  }

  /**
   * One sample of each lane in the race; false once the budget is spent. Every second round goes backwards, so that
   * a drift of the machine favours each of a pair in turn, and every pair of rounds starts one lane further on, so that no
   * candidate always runs behind the same other one, whose data it would find in the cache.
   */
  *#round(round: number): Steps<boolean> {
    const lanes = this.#lanes.filter(isIn);
    const shift = (round >> 1) % Math.max(1, lanes.length);
    const order = [...lanes.slice(shift), ...lanes.slice(0, shift)];
    for (const lane of round % 2 === 0 ? order : order.reverse()) {
      const isOwed = !this.#lanes.some(
        ({ samples, rejected }) => samples.length > 0 && rejected === undefined,
      );
      if (!this.#fits(lane, lane.iterations) && !isOwed) {
        for (const late of lanes) if (isIn(late)) late.stopped = 'budget';
        return false;
      }
      yield* this.#guarded(lane, () => this.#sample(lane));
      yield* this.#breathe(BREATH_MS);
    }
    return lanes.length > 0;
  }

  /** A sample that comes out too short (a first one, or the code has got faster) is thrown away and grown. It may be
   *  a little short: growing for every small wobble would cost more than the few per cent of precision. */
  *#sample(lane: Lane): Steps<void> {
    const { iterations, ms } = yield* calibrating(
      lane.candidate.run,
      this.#clock,
      this.#options.minSampleMs * SHORTEST,
      lane.iterations,
    );
    lane.iterations = iterations;
    lane.samples.push(ms);
    lane.best = min(lane.samples);
  }

  /** What a candidate throws is its result; only an abort ends the race. */
  *#guarded(lane: Lane, work: () => Steps<void>): Steps<void> {
    this.#checkAbort();
    try {
      yield* work();
    } catch (error) {
      lane.rejected = error instanceof Error ? error.message : String(error);
    }
    this.#checkAbort();
  }

  #dropHopeless(): void {
    const limit = (this.#leader()?.best ?? Number.POSITIVE_INFINITY) * this.#options.hopelessFactor;
    for (const lane of this.#lanes) {
      if (isIn(lane) && !lane.isDefault && lane.best > limit) lane.stopped = 'hopeless';
    }
  }

  /** The better half stays, by best sample. The default always does: the decision needs its pairs. */
  #halve(): void {
    const rivals = this.#lanes.filter((lane) => isIn(lane) && !lane.isDefault);
    const kept = Math.max(FINALISTS, Math.ceil(rivals.length / 2));
    rivals.sort((a, b) => a.best - b.best);
    for (const lane of rivals.slice(kept)) lane.stopped = 'halved';
  }

  #leader(): Lane | undefined {
    let leader: Lane | undefined;
    for (const lane of this.#lanes) {
      if (lane.rejected === undefined && lane.best < (leader?.best ?? Number.POSITIVE_INFINITY))
        leader = lane;
    }
    return leader;
  }

  /** Whether some candidate runs and is right, so that the rest may be left out. */
  #hasAnswer(): boolean {
    return this.#leader() !== undefined;
  }

  /** Counted in steps forward only: a clock that is set back must not prolong the race. */
  #spent(): number {
    const now = this.#clock.now();
    this.#elapsed += Math.max(0, now - this.#lastSeen);
    this.#lastSeen = now;
    return this.#elapsed;
  }

  /** Whether the rounds that a decision takes still fit with one lane more, taken to cost what the others do. */
  #canJoin(): boolean {
    const lanes = this.#lanes.filter((lane) => isIn(lane) && Number.isFinite(lane.best));
    const perRound = lanes.reduce((sum, lane) => sum + Math.max(lane.best, this.#options.minSampleMs), 0);
    const sample = perRound / Math.max(1, lanes.length);
    const warmUp = Math.max(sample, this.#options.warmupMs);
    return this.#spent() + warmUp + LEAST_PAIRS * (perRound + sample) <= this.#options.budgetMs;
  }

  #fits(lane: Lane, iterations: number): boolean {
    return this.#spent() + lane.best * iterations <= this.#options.budgetMs;
  }

  *#breathe(afterMs: number): Steps<void> {
    const spent = this.#spent();
    if (spent - this.#lastBreath < afterMs) return;
    yield BREATHE;
    this.#lastBreath = this.#spent();
    this.#checkAbort();
  }

  #checkAbort(): void {
    const { signal } = this.#options;
    if (signal?.aborted) throw abortReason(signal);
  }

  #progress(done: number): void {
    this.#done = done;
    const total = this.#lanes.length + this.#options.rounds;
    this.#options.onProgress?.({ done, total, leader: this.#leader()?.candidate.id });
  }
}

function isIn(lane: Lane): boolean {
  return lane.rejected === undefined && lane.stopped === undefined;
}

function toResult({ candidate, samples, rejected, stopped }: Lane): RaceResult {
  const isSampled = samples.length > 0;
  return {
    id: candidate.id,
    min: isSampled ? min(samples) : Number.POSITIVE_INFINITY,
    median: isSampled ? median(samples) : Number.POSITIVE_INFINITY,
    samples,
    ...(rejected === undefined ? {} : { rejected }),
    ...(stopped === undefined ? {} : { stopped }),
  };
}

/**
 * Races the candidates and returns their results in the order given. The first one is the default: it is always
 * sampled, whatever the budget, and stays to the end; if it fails, the next one takes that place. Rejects only if
 * aborted, between two runs: a candidate whose single run is long should heed the signal itself.
 */
export async function race(
  candidates: readonly RaceCandidate[],
  options: RaceOptions,
): Promise<RaceResult[]> {
  return drive(new Race(candidates, options).run());
}

/** The same without ever leaving the calling thread; `signal` is of use only if a candidate fires it. */
export function raceSync(candidates: readonly RaceCandidate[], options: RaceOptions): RaceResult[] {
  return driveSync(new Race(candidates, options).run());
}

// ---- the decision -------------------------------------------------------------------------------------------

export interface WinnerOptions {
  readonly defaultId: string;
  /** A gain of this share or less does not count. Default 0.02. */
  readonly noise?: number;
}

export interface Winner {
  readonly result: RaceResult;
  /** Share of the default's time saved: 0 for the default itself and where the default failed. */
  readonly gain: number;
  readonly reason: string;
}

interface Duel {
  readonly result: RaceResult;
  readonly gain: number;
  readonly margin: number;
}

/** The standard error of a median, by the median absolute deviation: 1.4826 makes it a normal deviation. */
function medianError(values: readonly number[]): number {
  return (1.2533 * 1.4826 * mad(values)) / Math.sqrt(values.length);
}

/** The gain by paired medians or by minima, whichever is less: a disturbance deceives one of them at a time. */
function duel(rival: RaceResult, champion: RaceResult, noise: number): Duel {
  const ratios = pairedRatios(rival.samples, champion.samples);
  const gain = 1 - Math.max(median(ratios), rival.min / champion.min);
  const margin = ratios.length < LEAST_PAIRS ? CONVINCING : Math.max(noise, 2 * medianError(ratios));
  return { result: rival, gain, margin };
}

/**
 * The candidate to use, or undefined if none works. The default is kept unless another is faster beyond the noise, in
 * its median too: so the choice is never slower than the default as measured here.
 */
export function pickWinner(results: readonly RaceResult[], options: WinnerOptions): Winner | undefined {
  const noise = options.noise ?? 0.02;
  const usable = results.filter((result) => result.rejected === undefined && result.samples.length > 0);
  const champion = usable.find((result) => result.id === options.defaultId);
  if (champion === undefined) {
    const [best] = usable.sort((a, b) => a.min - b.min);
    return best && { result: best, gain: 0, reason: 'the default failed; this is the fastest of the others' };
  }
  const rivals = usable.filter(({ id, stopped }) => id !== champion.id && (stopped ?? 'budget') === 'budget');
  const [best] = rivals.map((rival) => duel(rival, champion, noise)).sort((a, b) => b.gain - a.gain);
  if (best === undefined) return { result: champion, gain: 0, reason: 'nothing else was comparable' };
  const percent = `${(best.gain * 100).toFixed(1)} % (margin ${(best.margin * 100).toFixed(1)} %)`;
  if (best.gain <= best.margin || best.result.median > champion.median) {
    return {
      result: champion,
      gain: 0,
      reason: `the default: ${best.result.id} gains ${percent}, within the noise`,
    };
  }
  return { result: best.result, gain: best.gain, reason: `faster than the default by ${percent}` };
}
