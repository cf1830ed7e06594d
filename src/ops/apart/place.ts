/**
 * Threads that each have a memory of their own, for pages whose threads may not share one: calls are cut into parts, each part's values go
 * there and its result comes back. Weights that are kept go once.
 */

import { PRIORITIES, type Priority } from '../../backends/types.ts';
import { ApartBackend, type ApartOptions } from '../../backends/wasm/apart/backend.ts';
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import { type Cut, type Share, threadCutOf } from '../../plan/cut.ts';
import type { Problem } from '../../problem/problem.ts';
import { ApartExecutor } from '../../schedule/apart.ts';

/** What moving costs between this thread and the others, as measured when the first one came up. */
export interface ApartProfile {
  /** Milliseconds of a message and its answer. */
  readonly callMs: number;
  /** Bytes a nanosecond, there or back. */
  readonly moveGBs: number;
}

export type ApartSettings = Omit<ApartOptions, 'index'> & {
  readonly threads: number;
  /** Instead of measuring. */
  readonly profile?: ApartProfile | undefined;
};

/** A page's own thread gives away what is expected to take longer, even where that gains nothing: with other work it would stutter. */
const STUTTER_MS = 5;
/** What is saved must be more than plans and prices are usually off by. */
const GAIN = 0.75;
/** No part is longer, as far as plans know: so long an aborted call's last parts go on, and others wait for them. */
const PART_MS = 100;
/** Parts that lie ready at a thread, so that it need not wait for the next. */
const READY_PARTS = 2;
/** Whole blocks of every micro-kernel's rows but for a few. */
const UNITS_STEP = 8;
/** Each part packs the other operand anew: with so many rows that is lost among the multiplying. */
const FEWEST_UNITS = 256;
/** How long threads that did not come up are not tried again. */
const RETRY_MS = 10_000;
const PROBE_BYTES = 1024 * 1024;
const MiB_PER_GB = 1e6;

/** Until it is measured: a first call that may be worth it starts the threads. */
const GUESS: ApartProfile = { callMs: 0.3, moveGBs: 4 };

interface Task {
  readonly rank: number;
  readonly begin: () => Promise<void>;
}

/** A call's parts: where they begin and how many units they have. */
export interface Part {
  readonly first: number;
  readonly units: number;
}

class Machine {
  readonly backend: ApartBackend;
  readonly executor: ApartExecutor;
  readonly #queue: Task[] = [];
  #busy = 0;

  constructor(options: ApartOptions) {
    this.backend = new ApartBackend(options);
    this.executor = new ApartExecutor(this.backend);
  }

  /** The most urgent first; what was sent cannot be overtaken. */
  put(task: Task): void {
    const at = this.#queue.findIndex(({ rank }) => rank > task.rank);
    this.#queue.splice(at < 0 ? this.#queue.length : at, 0, task);
    this.#next();
  }

  #next(): void {
    while (this.#busy < READY_PARTS && this.#queue.length > 0) {
      this.#busy++;
      const done = () => {
        this.#busy--;
        this.#next();
      };
      this.#queue.shift()!.begin().then(done, done);
    }
  }
}

export class ApartPlace {
  readonly #settings: ApartSettings;
  readonly #machines: (Machine | undefined)[] = [];
  #limit: number;
  #profile: ApartProfile | undefined;
  #opening: Promise<string | undefined> | undefined;
  /** Why no thread came up, and when that was. */
  #failed: { readonly reason: string; readonly at: number } | undefined;
  #turn = 0;
  #closed = false;

  constructor(settings: ApartSettings) {
    this.#settings = settings;
    this.#limit = settings.threads;
    this.#profile = settings.profile;
  }

  /** Threads that calls are cut for. */
  get threads(): number {
    return Math.min(this.#limit, this.#settings.threads);
  }

  /** Threads that there are, whatever a budget allows. */
  get size(): number {
    return this.#settings.threads;
  }

  /** Bytes that each may have. */
  get maximumMemory(): number {
    return this.#settings.maximumMemory;
  }

  /** Why there are none, as far as is known. */
  get failed(): string | undefined {
    return this.#failed?.reason;
  }

  get profile(): ApartProfile | undefined {
    return this.#profile;
  }

  limit(threads: number): void {
    this.#limit = threads;
  }

  /** How a call is cut, where that is worth it; `hereMs` is what it takes on this thread, which may be one that must not stand still. */
  claim(problem: Problem, hereMs: number, mayBlock: boolean): Cut | undefined {
    const cut = threadCutOf(problem);
    if (!cut || cut.units < 1) return undefined;
    if (this.#failed && performance.now() - this.#failed.at < RETRY_MS) return undefined;
    if (!mayBlock && hereMs > STUTTER_MS) return cut;
    return this.#msOf(cut, hereMs) < GAIN * hereMs ? cut : undefined;
  }

  /** Starts the threads if need be; why there are none, or undefined. */
  open(): Promise<string | undefined> {
    if (this.#profile && this.#isUp()) return Promise.resolve(undefined);
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  partsOf({ units, byTiles }: Cut, ms: number): Part[] {
    const most = byTiles ? Math.floor(units / FEWEST_UNITS) : units;
    const count = Math.max(this.threads, Math.min(most, Math.ceil(ms / PART_MS)));
    const each = Math.ceil(units / count);
    const step = byTiles ? roundUp(each, UNITS_STEP) : each;
    const parts: Part[] = [];
    for (let first = 0; first < units; first += step)
      parts.push({ first, units: Math.min(step, units - first) });
    return parts;
  }

  /** Does the work on the thread that parts of this number go to; `work` sends everything before it returns. */
  on<T>(nth: number, priority: Priority, work: (executor: ApartExecutor) => Promise<T>): Promise<T> {
    return this.onThread(nth % this.threads, priority, work);
  }

  /** The same on one of all threads, for what lies in its memory. */
  onThread<T>(index: number, priority: Priority, work: (executor: ApartExecutor) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const begin = async () => {
        try {
          resolve(await work(this.#machine(index).executor));
        } catch (error) {
          reject(error);
        }
      };
      this.#machine(index).put({ rank: PRIORITIES.indexOf(priority), begin });
    });
  }

  /** One thread after the other, for work that stays where it is. */
  nextThread(): number {
    return this.#turn++;
  }

  /** Gives back what keepers have left there. */
  sweep(): void {
    for (const machine of this.#machines) machine?.executor.sweep();
  }

  /** Bytes of the memories of all threads, in use. */
  get used(): number {
    return this.#machines.reduce((sum, machine) => sum + (machine?.backend.memoryUse().used ?? 0), 0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#machines.map((machine) => machine?.backend.close()));
    this.#machines.length = 0;
  }

  #isUp(): boolean {
    for (let index = 0; index < this.threads; index++) {
      const machine = this.#machines[index];
      if (!machine || machine.backend.lost) return false;
    }
    return true;
  }

  #msOf({ units, shares }: Cut, hereMs: number): number {
    const { threads } = this;
    const { callMs, moveGBs } = this.#profile ?? GUESS;
    const bytes = ({ fixed, stride }: Share) => 4 * (threads * fixed + stride * units);
    const moved = Object.values(shares).reduce((sum, share) => sum + bytes(share), 0);
    return hereMs / threads + callMs + moved / moveGBs / MiB_PER_GB;
  }

  #machine(index: number): Machine {
    if (this.#closed)
      throw new TesseraeError(
        'E_CLOSED',
        'the runtime was closed while the call was running',
        {},
        'Await calls before close().',
      );
    const known = this.#machines[index];
    if (known && !known.backend.lost) return known;
    const { threads: _threads, profile: _profile, ...options } = this.#settings;
    const made = new Machine({ ...options, index });
    this.#machines[index] = made;
    return made;
  }

  async #open(): Promise<string | undefined> {
    try {
      const profiles = await Promise.all(
        Array.from({ length: this.threads }, (_, index) => probe(this.#machine(index).backend)),
      );
      this.#profile ??= profiles[0];
      this.#failed = undefined;
      return undefined;
    } catch (error) {
      if (this.#closed) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      this.#failed = { reason, at: performance.now() };
      return reason;
    }
  }
}

/** Times a message, and one with data. */
async function probe(backend: ApartBackend): Promise<ApartProfile> {
  const at = backend.allocate(PROBE_BYTES, 'scratch');
  try {
    const values = new Uint8Array(PROBE_BYTES);
    const move = async () => {
      backend.write(at, values);
      await backend.read(at, PROBE_BYTES, () => undefined);
    };
    // the thread comes up, memory is touched, buffers are there for the next time
    await move();
    await move();
    let start = performance.now();
    await backend.read(at, 4, () => undefined);
    const callMs = performance.now() - start;
    start = performance.now();
    await move();
    const moveMs = Math.max(1e-3, performance.now() - start - callMs);
    return { callMs, moveGBs: (2 * PROBE_BYTES) / moveMs / MiB_PER_GB };
  } finally {
    backend.free(at);
  }
}
