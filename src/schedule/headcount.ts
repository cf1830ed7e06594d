/**
 * How many threads take part in a run that is repeated: all or, while some are kept waiting, fewer. Cores are not one's own: another program,
 * a virtual machine's host or a hot processor takes one away for seconds, and whoever waits for the thread on it at the end of each wave then
 * waits longer than its help is worth. What runs take says so; now and then a few are made with another number, and the faster one stays.
 */

/** Runs between trials: few after a change, for cores come back; more with each trial that changed nothing. */
const FIRST_WAIT = 16;
const SHORTEST_WAIT = 32;
const LONGEST_WAIT = 128;
/** Runs with each number in a trial, in turns: what a machine does changes from one run to the next. Threads that slept come late to the
 *  first one, which does not count. */
const TRIAL_RUNS = 3;
/** What takes this much longer is given up after one run. */
const HOPELESS = 3;
/** How much less time another number has to take. */
const GAIN = 0.9;
/** The share of a single run in what is usual. */
const WEIGHT = 1 / 8;

interface Rung {
  readonly threads: number;
  /** Milliseconds; 0 before the first run. */
  usual: number;
  /** The least that was ever usual: what to hope for. */
  least: number;
}

interface Trial {
  /** The rung that is tried. */
  readonly at: number;
  readonly times: number[];
}

export class Headcount {
  readonly #rungs: readonly Rung[];
  #at = 0;
  #trial: Trial | undefined;
  #runs = 0;
  #wait = FIRST_WAIT;
  /** The rung that was tried last: they take turns. */
  #tried = 0;

  constructor(most: number) {
    const rungs: Rung[] = [];
    for (let threads = most; ; threads = Math.ceil(threads / 2)) {
      rungs.push({ threads, usual: 0, least: 0 });
      if (threads <= 1) break;
    }
    this.#rungs = rungs;
  }

  /** For the next run. */
  get threads(): number {
    return this.#rungs[this.#next()]!.threads;
  }

  /** Whether that is another number than usual. */
  get isTrial(): boolean {
    return this.#next() !== this.#at;
  }

  /** What the last run took. */
  note(ms: number): void {
    if (this.#rungs.length === 1) return;
    if (this.#trial) this.#noteTrial(this.#trial, ms);
    else this.#noteUsual(ms);
  }

  #noteUsual(ms: number): void {
    const rung = this.#rungs[this.#at]!;
    // a run that somebody interrupted says little of the next one
    rung.usual = rung.usual === 0 ? ms : rung.usual + WEIGHT * (Math.min(ms, 2 * rung.usual) - rung.usual);
    if (++this.#runs < this.#wait) return;
    rung.least = rung.least === 0 ? rung.usual : Math.min(rung.least, rung.usual);
    const at = this.#worthTrying();
    if (at !== undefined) this.#trial = { at, times: [] };
  }

  /** More threads, which may all be there by now, or fewer that were never tried or were faster at their best than this many are now. */
  #worthTrying(): number | undefined {
    const { usual } = this.#rungs[this.#at]!;
    const count = this.#rungs.length;
    for (let step = 1; step <= count; step++) {
      const at = (this.#tried + step) % count;
      if (at < this.#at || (at > this.#at && this.#rungs[at]!.least < GAIN * usual)) return at;
    }
    return undefined;
  }

  /** In a trial twice the other number, and then in turns. */
  #next(): number {
    if (!this.#trial) return this.#at;
    const { at, times } = this.#trial;
    return times.length < 2 || times.length % 2 === 1 ? at : this.#at;
  }

  #noteTrial({ at, times }: Trial, ms: number): void {
    const current = this.#rungs[this.#at]!;
    times.push(ms);
    // fewer threads, of which none has to be woken
    const isHopeless = times.length === 1 && at > this.#at && ms > HOPELESS * current.usual;
    if (isHopeless) this.#endTrial(at, ms, current.usual);
    else if (times.length === 2 * TRIAL_RUNS + 1) this.#endTrial(at, median(times, 1), median(times, 2));
  }

  #endTrial(at: number, tried: number, usual: number): void {
    const rung = this.#rungs[at]!;
    rung.usual = tried;
    rung.least = rung.least === 0 ? tried : Math.min(rung.least, tried);
    this.#rungs[this.#at]!.usual = usual;
    const isBetter = tried < GAIN * usual;
    this.#wait = isBetter ? SHORTEST_WAIT : Math.min(LONGEST_WAIT, 2 * this.#wait);
    if (isBetter) this.#at = at;
    this.#tried = at;
    this.#trial = undefined;
    this.#runs = 0;
  }
}

/** Of every second one, from a place on. */
function median(times: readonly number[], from: number): number {
  const some = times.filter((_, place) => place >= from && (place - from) % 2 === 0).sort((x, y) => x - y);
  return some[some.length >> 1]!;
}
