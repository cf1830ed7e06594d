/**
 * The thread team as its owner sees it: starts workers when first needed, posts one job at a time, hears of its end, and
 * replaces workers that die or get stuck. Whatever goes wrong in a thread reaches the job's caller as an error.
 */
import { TesseraeError } from '../../core/errors.ts';
import type { Job } from '../types.ts';
import type { Host, WorkerHandle, WorkerMessage } from './host.ts';
import { CLOSED, JOB, MAX_WORKERS, TEAM, TEAM_ADDRESS, WORKER, WORKER_BYTES, WORKERS_ADDRESS } from './layout.ts';
import type { KernelExports } from './module.ts';

export type TeamEvent =
  | { readonly type: 'worker-lost'; readonly worker: number; readonly reason: string }
  | { readonly type: 'worker-silent'; readonly worker: number; readonly reason: string };

const STOP_ABORT = 1;
/** How often a job that must come to rest after a lost worker is looked at, in milliseconds. */
const REST_POLL_MS = 1;
/** How long the calling thread spins for the last records of others before it sleeps. */
const CALLER_SPINS = 4000;
const NAP_NS = 50_000_000n;

interface Member {
  readonly handle: WorkerHandle;
  ready: boolean;
  gone: boolean;
}

interface Flight {
  readonly id: number;
  readonly address: number;
  readonly threads: number;
  readonly settle: (error: unknown) => void;
  failure: unknown;
  failed: boolean;
  settled: boolean;
  lastDone: number;
  lastMove: number;
}

export class Team {
  readonly #host: Host;
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  readonly #allWords: () => Int32Array;
  readonly #exports: KernelExports;
  readonly #timeoutMs: number;
  readonly #onEvent: (event: TeamEvent) => void;
  readonly #words: Int32Array;
  readonly #members: (Member | undefined)[] = [];
  readonly #queue: Flight[] = [];
  #active: Flight | undefined;
  #watchdog: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(options: {
    host: Host; module: WebAssembly.Module; memory: WebAssembly.Memory; words: () => Int32Array; exports: KernelExports;
    timeoutMs: number; onEvent: (event: TeamEvent) => void;
  }) {
    this.#host = options.host;
    this.#module = options.module;
    this.#memory = options.memory;
    this.#allWords = options.words;
    this.#exports = options.exports;
    this.#timeoutMs = options.timeoutMs;
    this.#onEvent = options.onEvent;
    this.#words = new Int32Array(options.memory.buffer, 0, 65536 / 4);
  }

  /** Workers that have answered. */
  get ready(): number {
    return this.#members.filter((member) => member?.ready).length;
  }

  /** Whether a job may be posted now without waiting for another. */
  get idle(): boolean {
    return this.#active === undefined && !this.#closed;
  }

  /** Makes sure that `count` workers exist; they become ready later. */
  start(count: number): void {
    for (let index = 0; index < Math.min(count, MAX_WORKERS - 1); index++) {
      if (!this.#members[index]) this.#startMember(index);
    }
  }

  /** Resolves when `count` workers are ready, or the deadline for silent ones has passed; true if all came. */
  async whenReady(count: number): Promise<boolean> {
    this.start(count);
    const until = Date.now() + this.#timeoutMs;
    while (this.ready < count && Date.now() < until && !this.#closed) await new Promise((resolve) => setTimeout(resolve, 1));
    return this.ready >= count;
  }

  /** Queues a job whose words are written; it begins when the one before it is done. */
  post(address: number, threads: number): Job {
    let settle: (error: unknown) => void = () => undefined;
    const finished = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    const flight = this.#flight(address, threads, settle);
    this.start(threads);
    this.#queue.push(flight);
    this.#next();
    return {
      finished,
      total: this.#job(address, JOB.LIMIT),
      done: () => this.#job(address, JOB.DONE),
      stop: (reason) => this.#fail(flight, reason),
    };
  }

  /**
   * Runs a job on the calling thread with up to `helpers` workers, where they are ready and nothing else is under way.
   * Throws what went wrong in any of the threads.
   */
  runHere(address: number, helpers: number, scratch: number, words: number): void {
    const helped = helpers > 0 && this.idle;
    const flight = this.#flight(address, helpers, () => undefined);
    if (helped) {
      this.start(helpers);
      this.#active = flight;
      this.#announce(flight);
    } else this.#open(address, 0);
    try {
      this.#exports.drain(address, words, scratch);
    } catch (cause) {
      this.#exports.closeJob(address, STOP_ABORT);
      Atomics.add(this.#view(), (address + JOB.DONE) >> 2, 1);
      flight.failed = true;
      flight.failure = kernelError(cause);
    }
    // also without helpers: a late thread of an earlier job may have joined this one at the same address
    this.#awaitHere(flight);
    if (helped) this.#release(flight);
    if (flight.failed) throw flight.failure;
    if (this.#job(address, JOB.STOP)) throw kernelError(new Error('a helping thread trapped'));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watchdog);
    const reason = new TesseraeError('E_CLOSED', 'the runtime was closed while the call was running', {}, 'Await calls before close().');
    for (const flight of [...this.#queue.splice(0), ...(this.#active ? [this.#active] : [])]) {
      this.#exports.closeJob(flight.address, STOP_ABORT);
      this.#settle(flight, flight.failed ? flight.failure : reason);
    }
    Atomics.store(this.#words, (TEAM_ADDRESS + TEAM.QUIT) >> 2, 1);
    this.#signal();
    await Promise.all(this.#members.map((member) => (member && !member.gone ? member.handle.terminate() : undefined)));
    this.#members.length = 0;
  }

  #flight(address: number, threads: number, settle: (error: unknown) => void): Flight {
    return { id: this.#job(address, JOB.ID), address, threads, settle, failure: undefined, failed: false, settled: false, lastDone: 0, lastMove: Date.now() };
  }

  /** All words of the memory, as they are now: the memory may have grown. */
  #view(): Int32Array {
    return this.#allWords();
  }

  #job(address: number, word: number): number {
    return Atomics.load(this.#view(), (address + word) >> 2);
  }

  #startMember(index: number): void {
    let handle: WorkerHandle;
    this.#word(index, WORKER.BUSY, 0);
    try {
      handle = this.#host.startWorker({ module: this.#module, memory: this.#memory, index });
    } catch (cause) {
      this.#onEvent({ type: 'worker-silent', worker: index, reason: String(cause) });
      return;
    }
    const member: Member = { handle, ready: false, gone: false };
    this.#members[index] = member;
    const deadline = setTimeout(() => {
      this.#onEvent({ type: 'worker-silent', worker: index, reason: `no answer within ${this.#timeoutMs} ms` });
      void handle.terminate();
    }, this.#timeoutMs);
    // keepAlive decides what holds the process; a deadline alone must not
    deadline.unref?.();
    handle.onMessage((message) => {
      if (message.type === 'ready') {
        clearTimeout(deadline);
        member.ready = true;
      } else this.#heard(message);
    });
    handle.onExit((reason) => {
      clearTimeout(deadline);
      this.#lost(index, member, reason);
    });
    if (this.#active) handle.keepAlive(true);
  }

  #word(index: number, word: number, value?: number): number {
    const at = (WORKERS_ADDRESS + index * WORKER_BYTES + word) >> 2;
    return value === undefined ? Atomics.load(this.#words, at) : Atomics.store(this.#words, at, value);
  }

  /** Lets records be claimed: the last thing done to a job's words. A store, not an exchange for CLOSED: a late thread that
   *  still looked at these words may have counted the closed value up. */
  #open(address: number, helpers: number): void {
    Atomics.store(this.#view(), (address + JOB.HELPERS) >> 2, helpers);
    Atomics.store(this.#view(), (address + JOB.NEXT) >> 2, 0);
  }

  #announce(flight: Flight): void {
    this.#open(flight.address, flight.threads);
    Atomics.store(this.#words, (TEAM_ADDRESS + TEAM.JOB) >> 2, flight.address);
    this.#signal();
  }

  #signal(): void {
    Atomics.add(this.#words, (TEAM_ADDRESS + TEAM.SIGNAL) >> 2, 1);
    Atomics.notify(this.#words, (TEAM_ADDRESS + TEAM.SIGNAL) >> 2);
  }

  #next(): void {
    if (this.#active || this.#closed) return;
    const flight = this.#queue.shift();
    if (!flight) {
      this.#watch(false);
      return;
    }
    this.#active = flight;
    if (flight.failed) {
      this.#settle(flight, flight.failure);
      return;
    }
    flight.lastMove = Date.now();
    this.#watch(true);
    this.#announce(flight);
  }

  /** While a job runs, workers keep the process alive and a timer looks for progress. */
  #watch(on: boolean): void {
    for (const member of this.#members) if (member && !member.gone) member.handle.keepAlive(on);
    if (on && this.#watchdog === undefined) {
      this.#watchdog = setInterval(() => this.#checkProgress(), Math.max(5, this.#timeoutMs / 8));
      this.#watchdog.unref?.();
    } else if (!on) {
      clearInterval(this.#watchdog);
      this.#watchdog = undefined;
    }
  }

  #checkProgress(): void {
    const flight = this.#active;
    if (!flight || flight.failed) return;
    const done = this.#job(flight.address, JOB.DONE);
    if (done !== flight.lastDone) {
      flight.lastDone = done;
      flight.lastMove = Date.now();
    } else if (Date.now() - flight.lastMove > this.#timeoutMs) {
      const workers = this.#replaceBusy(flight, `no progress within ${this.#timeoutMs} ms`);
      this.#fail(flight, timeoutError(workers, this.#timeoutMs));
    }
  }

  /** Ends the threads that are inside a job; their exit brings replacements. */
  #replaceBusy(flight: Flight, reason: string): number[] {
    const busy: number[] = [];
    this.#members.forEach((member, index) => {
      if (member && !member.gone && this.#word(index, WORKER.BUSY) === flight.address) {
        busy.push(index);
        this.#onEvent({ type: 'worker-silent', worker: index, reason });
        void member.handle.terminate();
      }
    });
    return busy;
  }

  #heard(message: WorkerMessage): void {
    const flight = this.#active;
    if (!flight || message.type === 'ready' || flight.id !== message.job) return;
    if (message.type === 'fault' && !flight.failed) {
      flight.failed = true;
      flight.failure = kernelError(new Error(message.message));
    }
    this.#finishIfAtRest(flight);
  }

  #finishIfAtRest(flight: Flight): void {
    const words = this.#view();
    const done = Atomics.load(words, (flight.address + JOB.DONE) >> 2);
    if (done >= Atomics.load(words, (flight.address + JOB.LIMIT) >> 2)) this.#settle(flight, flight.failed ? flight.failure : undefined);
  }

  /** Stops a flight with a reason; it settles when no thread is inside. */
  #fail(flight: Flight, reason: unknown): void {
    if (flight.settled || flight.failed) return;
    flight.failed = true;
    flight.failure = reason;
    if (flight !== this.#active) {
      const at = this.#queue.indexOf(flight);
      if (at >= 0) this.#queue.splice(at, 1);
      this.#settle(flight, reason);
      return;
    }
    this.#exports.closeJob(flight.address, STOP_ABORT);
    this.#finishIfAtRest(flight);
  }

  #settle(flight: Flight, error: unknown): void {
    if (flight.settled) return;
    flight.settled = true;
    Atomics.store(this.#view(), (flight.address + JOB.NEXT) >> 2, CLOSED);
    if (this.#active === flight) this.#active = undefined;
    flight.settle(error);
    this.#next();
  }

  #lost(index: number, member: Member, reason: string): void {
    member.gone = true;
    if (this.#closed) return;
    const flight = this.#active;
    const wasInside = flight !== undefined && this.#word(index, WORKER.BUSY) === flight.address;
    this.#onEvent({ type: 'worker-lost', worker: index, reason });
    this.#members[index] = undefined;
    if (!member.ready) return; // it never came up: another try would most likely end the same way
    this.#startMember(index);
    if (flight && wasInside) this.#abandon(flight, index, reason);
  }

  /** A thread ended inside a job: one record will never be done. Waits until no other thread is inside, then rejects. */
  #abandon(flight: Flight, index: number, reason: string): void {
    if (!flight.failed) {
      flight.failed = true;
      flight.failure = new TesseraeError(
        'E_WORKER_DIED',
        `worker ${index} ended while it was computing: ${reason}`,
        { worker: index, reason },
        'The runtime has replaced it; call again.',
      );
    }
    this.#exports.closeJob(flight.address, STOP_ABORT);
    const look = () => {
      const inside = this.#members.some((m, i) => m && !m.gone && this.#word(i, WORKER.BUSY) === flight.address);
      if (inside) setTimeout(look, REST_POLL_MS);
      else this.#settle(flight, flight.failure);
    };
    look();
  }

  /** The calling thread's wait for what others have claimed, with the same patience that async jobs get. */
  #awaitHere(flight: Flight): void {
    const words = this.#view();
    const limit = () => Atomics.load(words, (flight.address + JOB.LIMIT) >> 2);
    let moved = Date.now();
    let before = -1;
    for (;;) {
      const done = this.#exports.awaitJob(flight.address, CALLER_SPINS, NAP_NS);
      if (done >= limit()) break;
      if (done !== before) moved = Date.now();
      else if (Date.now() - moved > this.#timeoutMs) {
        const workers = this.#replaceBusy(flight, `no progress within ${this.#timeoutMs} ms`);
        this.#exports.closeJob(flight.address, STOP_ABORT);
        flight.failed = true;
        flight.failure ??= timeoutError(workers, this.#timeoutMs);
        break;
      }
      before = done;
    }
  }

  /** The team is free for the next job. */
  #release(flight: Flight): void {
    flight.settled = true;
    this.#active = undefined;
    this.#next();
  }
}

function kernelError(cause: unknown): TesseraeError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new TesseraeError('E_KERNEL', `a kernel failed: ${message}`, { message }, 'The call is lost, the runtime works on; please report the shape.', cause);
}

function timeoutError(workers: readonly number[], ms: number): TesseraeError {
  return new TesseraeError(
    'E_WORKER_TIMEOUT',
    `no thread made progress within ${ms} ms`,
    { workers, timeoutMs: ms },
    'The silent threads were replaced; call again, or raise workerTimeoutMs on a very busy machine.',
  );
}
