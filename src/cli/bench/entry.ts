/** Times one prepared product in this process: the only place that reads the clock around a call. */
import type { Operands } from './operands.ts';
import type { Clock, Entry, FirstRun, Prepared } from './types.ts';
import { type Verdict, verify } from './verify.ts';

/** A pool that spins after its work (ORT's does, for some 50 ms) counts as asleep below this share of a core. */
const QUIET_SHARE = 0.25;
const QUIET_STEP_MS = 3;
const QUIET_LIMIT_MS = 120;

/** A sample opens with calls that do not count, for so long: after a sleep caches, predictors and clock are cold. */
const OPENING_MS = 1;
/** Calls that take longer need no such opening: cold caches are nothing beside them. */
const OPENING_CALL_LIMIT_MS = 250;

export interface EntryHost {
  readonly now: Clock;
  /** Waits until this process's threads have gone to sleep, so that the next contestant has the machine. */
  settle(): Promise<void>;
}

export class LocalEntry implements Entry {
  readonly #prepared: Prepared;
  readonly #operands: Operands;
  readonly #host: EntryHost;
  /** Milliseconds of the latest measured call, to leave out the opening where it would cost too much. */
  #callMs = 0;

  constructor(prepared: Prepared, operands: Operands, host: EntryHost) {
    this.#prepared = prepared;
    this.#operands = operands;
    this.#host = host;
  }

  async first(slowMs: number): Promise<FirstRun> {
    this.#prepared.poison?.();
    const ms = await this.#time(1);
    if (ms <= slowMs) {
      this.#prepared.poison?.();
      await this.#call();
    }
    const verdict = await this.verify();
    await this.#host.settle();
    return { ms, verdict };
  }

  async warmUp(ms: number): Promise<void> {
    await this.#callFor(ms);
    await this.#host.settle();
  }

  async sample(iterations: number): Promise<number> {
    if (this.#callMs < OPENING_CALL_LIMIT_MS) await this.#callFor(OPENING_MS);
    const ms = await this.#time(iterations);
    await this.#host.settle();
    return ms;
  }

  async verify(): Promise<Verdict> {
    return verify(this.#operands, await this.#prepared.result());
  }

  async deviceMs(): Promise<number | undefined> {
    return this.#prepared.deviceMs?.();
  }

  async plan(): Promise<string | undefined> {
    return this.#prepared.plan?.();
  }

  async release(): Promise<void> {
    this.#prepared.dispose();
  }

  /** At least once. */
  async #callFor(ms: number): Promise<void> {
    const { now } = this.#host;
    const end = now() + ms;
    do await this.#call();
    while (now() < end);
    await this.#prepared.finish?.();
  }

  async #call(): Promise<void> {
    await this.#prepared.run();
  }

  /** A promise is awaited, a plain value is not: synchronous libraries do not pay for a turn of the queue. */
  async #time(iterations: number): Promise<number> {
    const { now } = this.#host;
    const prepared = this.#prepared;
    const start = now();
    for (let i = 0; i < iterations; i++) {
      const pending = prepared.run();
      if (pending instanceof Promise) await pending;
    }
    if (prepared.finish) await prepared.finish();
    const ms = now() - start;
    this.#callMs = ms / iterations;
    return ms;
  }
}

/** The host of a real process. */
export function processHost(): EntryHost {
  return { now: () => performance.now(), settle: settleProcess };
}

async function settleProcess(): Promise<void> {
  const end = performance.now() + QUIET_LIMIT_MS;
  let before = process.cpuUsage();
  let since = performance.now();
  while (performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, QUIET_STEP_MS));
    const used = process.cpuUsage(before);
    const share = (used.user + used.system) / 1000 / (performance.now() - since);
    if (share < QUIET_SHARE) return;
    before = process.cpuUsage();
    since = performance.now();
  }
}
