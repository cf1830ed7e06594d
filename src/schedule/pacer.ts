/**
 * How much of the machine a runtime takes, and when: what its owner allows, and what waits meanwhile. Jobs stand aside between two of
 * their tiles, so that nothing is lost and nothing is computed twice.
 */
import type { Priority } from '../backends/types.ts';

/** What a runtime may take of the machine. */
export interface Budget {
  /** Threads that compute at once. */
  readonly threads: number;
  /** Part of the time in which they may, above 0 up to 1. Interactive calls do not count. */
  readonly dutyCycle: number;
  readonly pauseOnBattery: boolean;
  /** How far the threads give way to other programs: 0 not at all, 19 entirely (the `nice` of Unix). */
  readonly nice: number;
}

/** The team, as far as it is paced. */
export interface Paced {
  readonly isQuiet: boolean;
  isWorking(priority: Priority): boolean;
  hold(from: Priority): void;
  release(): void;
}

/** How long threads compute at a stretch where they may not always, in milliseconds: some tiles, and less than anyone notices. */
const STRETCH_MS = 10;
/** So long threads are waited for that were to stand aside: one that is stuck is found out when its job goes on. */
const MOST_WAIT_MS = 2000;
/** How often threads that are to stand aside are looked at. */
const LOOK_MS = 1;

export type PauseReason = 'asked' | 'battery';

type Timer = ReturnType<typeof setTimeout>;

/** Timers as a parameter, so that tests can move them. */
export interface PacerClock {
  now(): number;
  after(ms: number, run: () => void): Timer;
  cancel(timer: Timer | undefined): void;
}

export const systemPacerClock: PacerClock = {
  now: () => performance.now(),
  after: (ms, run) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer),
};

export class Pacer {
  readonly #team: Paced;
  readonly #clock: PacerClock;
  readonly #pauses = new Set<PauseReason>();
  readonly #waiting = new Set<() => void>();
  #duty = 1;
  /** Milliseconds that may be computed now; negative where tiles took longer than was left. */
  #credit = STRETCH_MS;
  #creditAt: number;
  /** Since when threads have been computing, or undefined. */
  #workingSince: number | undefined;
  #resting = false;
  #timer: Timer | undefined;

  constructor(team: Paced, clock: PacerClock = systemPacerClock) {
    this.#team = team;
    this.#clock = clock;
    this.#creditAt = clock.now();
  }

  get pauses(): readonly PauseReason[] {
    return [...this.#pauses];
  }

  /** Whether a call of this priority must wait, or be watched over while it runs: then it is the team's, not the calling thread's. */
  isPaced(priority: Priority): boolean {
    return this.#pauses.size > 0 || (this.#duty < 1 && priority !== 'interactive');
  }

  setDuty(duty: number): void {
    this.#settle();
    this.#duty = duty;
    this.#credit = Math.min(this.#credit, STRETCH_MS);
    if (this.#resting) this.#endRest();
    this.workChanged();
  }

  pause(reason: PauseReason): void {
    this.#pauses.add(reason);
    this.#apply();
  }

  resume(reason: PauseReason): void {
    this.#pauses.delete(reason);
    this.#apply();
  }

  /** Resolves when no thread computes any more. */
  async quiet(): Promise<void> {
    while (!this.#team.isQuiet) await new Promise<void>((resolve) => this.#clock.after(LOOK_MS, resolve));
  }

  /** Work that the team does not do: begins when it may, and counts, as `share` of a machine that is all at work. */
  async during<T>(
    { priority = 'normal', signal }: { priority?: Priority | undefined; signal?: AbortSignal | undefined },
    work: () => Promise<T>,
    share = 1,
  ): Promise<T> {
    if (!this.isPaced(priority)) return work();
    await this.#admit(priority, signal);
    const start = this.#clock.now();
    try {
      return await work();
    } finally {
      this.#charge(priority, share * (this.#clock.now() - start));
    }
  }

  async #admit(priority: Priority, signal: AbortSignal | undefined): Promise<void> {
    while (this.#pauses.size > 0 || (this.#resting && priority !== 'interactive')) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal?.addEventListener('abort', wake, { once: true });
      });
    }
    signal?.throwIfAborted();
  }

  #charge(priority: Priority, ms: number): void {
    if (this.#duty >= 1 || priority === 'interactive') return;
    this.#settle();
    this.#credit -= ms;
    if (this.#credit <= 0 && !this.#resting) this.#rest();
  }

  /** To be called whenever the team has begun or ended to work. */
  workChanged(): void {
    const isWorking = this.#duty < 1 && this.#team.isWorking('normal');
    if (isWorking === (this.#workingSince !== undefined)) return;
    this.#settle();
    this.#workingSince = isWorking ? this.#clock.now() : undefined;
    if (this.#resting) return;
    this.#clock.cancel(this.#timer);
    if (isWorking) this.#timer = this.#clock.after(Math.max(0, this.#credit), () => this.#rest());
  }

  close(): void {
    this.#clock.cancel(this.#timer);
    this.#pauses.clear();
    this.#resting = false;
    this.#wake();
  }

  /** Counts the time since the last count: what was computed is spent, the rest is earned. */
  #settle(): void {
    const now = this.#clock.now();
    const ms = now - this.#creditAt;
    this.#creditAt = now;
    if (this.#duty >= 1) this.#credit = STRETCH_MS;
    else if (this.#workingSince !== undefined) this.#credit -= ms;
    else this.#credit = Math.min(STRETCH_MS, this.#credit + (ms * this.#duty) / (1 - this.#duty));
  }

  /** Jobs stand aside until the time that they took is earned again, counted from when the last thread was through with its tile. */
  #rest(): void {
    this.#resting = true;
    this.#clock.cancel(this.#timer);
    const deadline = this.#clock.now() + MOST_WAIT_MS;
    const through = () => {
      if (!this.#resting) return;
      if (!this.#team.isQuiet && this.#workingSince !== undefined && this.#clock.now() < deadline) {
        this.#timer = this.#clock.after(LOOK_MS, through);
        return;
      }
      this.#settle();
      this.#workingSince = undefined;
      const missing = STRETCH_MS - this.#credit;
      this.#timer = this.#clock.after((missing * (1 - this.#duty)) / this.#duty, () => this.#endRest());
    };
    const since = this.#workingSince;
    this.#apply();
    // standing aside is no end of the work until the threads are out
    this.#workingSince = since;
    through();
  }

  #endRest(): void {
    this.#clock.cancel(this.#timer);
    this.#resting = false;
    this.#settle();
    this.#apply();
  }

  #apply(): void {
    if (this.#pauses.size > 0) this.#team.hold('interactive');
    else if (this.#resting) this.#team.hold('normal');
    else this.#team.release();
    if (this.#pauses.size === 0) this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
