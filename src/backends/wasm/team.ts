/**
 * The thread team as its owner sees it: starts workers when first needed, posts one job at a time, hears of its end, and
 * replaces workers that die or get stuck. Whatever goes wrong in a thread reaches the job's caller as an error.
 */
import type { TesseraeError } from '../../core/errors.ts';
import type { Job } from '../types.ts';
import { closedError, diedError, type Flight, fail, kernelError, timeoutError } from './flight.ts';
import type { WorkerHandle, WorkerMessage } from './host.ts';
import {
  ARENA_ADDRESS,
  CLOSED,
  JOB,
  MAX_WORKERS,
  SCRATCH_ADDRESS,
  SCRATCH_BYTES,
  TEAM,
  TEAM_ADDRESS,
  WORKER,
  WORKER_BYTES,
  WORKERS_ADDRESS,
} from './layout.ts';
import type { KernelExports } from './module.ts';
import type { TeamOptions } from './team-options.ts';

/** Why a job was stopped; assembly/sync/team.ts has the same numbers. */
const STOP = { abort: 1, fault: 2, silent: 3 } as const;
/** The calling thread's own words and scratch are those of the index that no worker has. */
const CALLER_WORDS = WORKERS_ADDRESS + (MAX_WORKERS - 1) * WORKER_BYTES;
const CALLER_SCRATCH = SCRATCH_ADDRESS + (MAX_WORKERS - 1) * SCRATCH_BYTES;
/** How often a job that must come to rest after a lost worker is looked at, in milliseconds. */
const REST_POLL_MS = 1;
/** How long the calling thread spins for the last records of others before it sleeps. */
const CALLER_SPINS = 4000;
/** NAP of assembly/sync/team.ts in milliseconds. */
const NAP_MS = 20;
/** Looks at a running job within the time that a thread may be silent. They are counted, not timed: after a laptop's sleep
 *  or a long task on the calling thread the clock has jumped, but nobody was silent. */
const WATCH_TICKS = 8;
/** A worker that did not come up is not tried again before this: the reason has most likely not gone away. */
const RETRY_MS = 10_000;

interface Member {
  readonly handle: WorkerHandle;
  /** `ending`: told to end, so that it must not be counted on, but it may still be inside of a job. */
  state: 'starting' | 'ready' | 'ending' | 'gone';
}

export class Team {
  readonly #options: TeamOptions;
  readonly #exports: KernelExports;
  readonly #timeoutMs: number;
  /** Naps of the calling thread in which nothing happens, before it gives up on the others. */
  readonly #patience: number;
  readonly #all: () => Int32Array;
  /** The words below the arena, which never move. */
  readonly #words: Int32Array;
  readonly #members: (Member | undefined)[] = [];
  readonly #retryAt: number[] = [];
  readonly #queue: Flight[] = [];
  readonly #waiting = new Set<() => void>();
  #active: Flight | undefined;
  #ending = 0;
  #watchdog: ReturnType<typeof setInterval> | undefined;
  #closed = false;
  #wasAsked = false;

  constructor(options: TeamOptions) {
    this.#options = options;
    this.#exports = options.exports;
    this.#all = options.words;
    this.#timeoutMs = options.timeoutMs;
    this.#patience = Math.ceil(options.timeoutMs / NAP_MS);
    this.#words = new Int32Array(options.memory.buffer, 0, ARENA_ADDRESS / 4);
  }

  /** Workers that have answered. */
  get ready(): number {
    return this.#count('ready');
  }

  /** False while a thread that was told to end may still write where a failed call told it to: until then, nothing of that
   *  call may be used again. */
  get calm(): boolean {
    return this.#ending === 0;
  }

  /** Makes sure that `count` workers exist; they become ready later. */
  start(count: number): void {
    if (this.#options.host.noThreads !== undefined) return;
    for (let index = 0; index < Math.min(count, MAX_WORKERS - 1); index++) {
      if (!this.#members[index] && !(Date.now() < this.#retryAt[index]!)) this.#startMember(index);
    }
  }

  /** Resolves when `count` workers are ready, or when those that are not will not come; true if all came. */
  async whenReady(count: number): Promise<boolean> {
    this.start(count);
    const over = () => this.ready >= count || this.#count('starting') === 0 || this.#closed;
    if (!over()) {
      await new Promise<void>((resolve) => {
        const look = () => {
          if (!over()) return;
          this.#waiting.delete(look);
          clearTimeout(deadline);
          resolve();
        };
        // also what keeps the process alive meanwhile; a worker that does not answer is given up after timeoutMs
        const deadline = setTimeout(look, this.#timeoutMs + 1000);
        this.#waiting.add(look);
      });
    }
    return this.ready >= count;
  }

  /** Queues a job whose words are written; it begins when the one before it is done. */
  post(address: number, threads: number, kernel: string): Job {
    let settle: (error: unknown) => void = () => undefined;
    const finished = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    const flight = this.#flight(address, threads, kernel, settle);
    if (this.#closed) this.#settle(flight, closedError());
    else {
      this.start(threads);
      this.#queue.push(flight);
      this.#next();
    }
    const total = this.#job(address, JOB.LIMIT);
    // what a stop has skipped counts in DONE too, and is no progress; once settled, the words are somebody else's
    const done = () => (flight.failed ? 0 : flight.settled ? total : this.#job(address, JOB.DONE));
    return {
      finished,
      total,
      done,
      stop: (reason) => this.#stop(flight, reason),
    };
  }

  /**
   * Runs a job on the calling thread with up to `helpers` workers, where they are ready and nothing else is under way; alone on a
   * thread that may not sleep.
   * Throws what went wrong in any of the threads.
   */
  runHere(address: number, helpers: number, kernel: string): void {
    if (this.#closed) throw closedError();
    const { mayWait } = this.#options.host;
    const helped = mayWait && helpers > 0 && this.#active === undefined && this.calm && this.#isWarm(helpers);
    const flight = this.#flight(address, helpers, kernel, () => undefined);
    if (helped) {
      this.start(helpers);
      this.#active = flight;
      this.#announce(flight);
    } else this.#open(address, 0);
    this.#drainHere(flight);
    // also without helpers: a late thread of an earlier job may have joined this one at the same address
    if (!this.#isAtRest(flight)) this.#awaitHere(flight);
    if (helped) this.#settle(flight, undefined);
    if (flight.failed) throw flight.failure;
    if (this.#job(address, JOB.STOP)) throw kernelError(flight, new Error('a helping thread trapped'));
  }

  /** Starting a thread takes longer than most calls that would be helped: the first such call goes alone, and threads start
   *  when the event loop is free, or with the second call at the latest. */
  #isWarm(helpers: number): boolean {
    if (this.#wasAsked || this.#members.length > 0) return true;
    this.#wasAsked = true;
    const timer = setTimeout(() => {
      if (!this.#closed) this.start(helpers);
    }, 0);
    timer.unref?.();
    return false;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch(false);
    for (const flight of [...this.#queue.splice(0), ...(this.#active ? [this.#active] : [])]) {
      this.#exports.closeJob(flight.address, STOP.abort);
      this.#settle(flight, flight.failed ? flight.failure : closedError());
    }
    Atomics.store(this.#words, (TEAM_ADDRESS + TEAM.QUIT) >> 2, 1);
    this.#signal();
    for (const look of this.#waiting) look();
    await Promise.all(
      this.#members.map((member) =>
        member && member.state !== 'gone' ? member.handle.terminate() : undefined,
      ),
    );
    this.#members.length = 0;
  }

  // ---- words ------------------------------------------------------------------------------------------------

  #flight(address: number, threads: number, kernel: string, settle: (error: unknown) => void): Flight {
    return {
      id: this.#job(address, JOB.ID),
      address,
      threads,
      kernel,
      settle,
      failure: undefined,
      failed: false,
      settled: false,
      lastDone: -1,
      silentTicks: 0,
    };
  }

  #job(address: number, word: number): number {
    return Atomics.load(this.#all(), (address + word) >> 2);
  }

  #isAtRest({ address }: Flight): boolean {
    return this.#job(address, JOB.DONE) >= this.#job(address, JOB.LIMIT);
  }

  #isInside(index: number, { address }: Flight): boolean {
    const member = this.#members[index];
    return (
      member !== undefined &&
      Atomics.load(this.#words, (WORKERS_ADDRESS + index * WORKER_BYTES + WORKER.BUSY) >> 2) === address
    );
  }

  /** Lets records be claimed: the last thing done to a job's words. */
  #open(address: number, helpers: number): void {
    const view = this.#all();
    Atomics.store(view, (address + JOB.HELPERS) >> 2, helpers);
    Atomics.store(view, (address + JOB.NEXT) >> 2, CLOSED - Atomics.load(view, (address + JOB.LIMIT) >> 2));
  }

  #announce(flight: Flight): void {
    this.#open(flight.address, this.#reach(flight.threads));
    Atomics.store(this.#words, (TEAM_ADDRESS + TEAM.JOB) >> 2, flight.address);
    this.#signal();
  }

  #signal(): void {
    Atomics.add(this.#words, (TEAM_ADDRESS + TEAM.SIGNAL) >> 2, 1);
    Atomics.notify(this.#words, (TEAM_ADDRESS + TEAM.SIGNAL) >> 2);
  }

  // ---- workers ----------------------------------------------------------------------------------------------

  #count(...states: readonly Member['state'][]): number {
    return this.#members.filter((member) => member && states.includes(member.state)).length;
  }

  /** Workers take part by index: below which one there are `count` that are ready. All may, while there are too few. */
  #reach(count: number): number {
    let ready = 0;
    for (let index = 0; index < this.#members.length; index++) {
      if (this.#members[index]?.state === 'ready' && ++ready === count) return index + 1;
    }
    return MAX_WORKERS;
  }

  #startMember(index: number): void {
    const { host, modules, memory } = this.#options;
    Atomics.store(this.#words, (WORKERS_ADDRESS + index * WORKER_BYTES + WORKER.BUSY) >> 2, 0);
    let handle: WorkerHandle;
    try {
      handle = host.startWorker({ modules, memory, index });
    } catch (cause) {
      this.#retryAt[index] = Date.now() + RETRY_MS;
      this.#tell(index, `it could not be started: ${cause instanceof Error ? cause.message : String(cause)}`);
      return;
    }
    const member: Member = { handle, state: 'starting' };
    this.#members[index] = member;
    // its answer may lie in a queue that a busy calling thread had no time to read: one turn more before it is given up
    const giveUp = async () => {
      await host.yieldToEvents();
      if (member.state === 'starting') this.#end(index, member, `no answer within ${this.#timeoutMs} ms`);
    };
    const deadline = setTimeout(giveUp, this.#timeoutMs);
    // keepAlive decides what holds the process; a deadline alone must not
    deadline.unref?.();
    handle.onMessage((message) => {
      clearTimeout(deadline);
      this.#heard(member, message);
    });
    handle.onExit((reason) => {
      clearTimeout(deadline);
      this.#lost(index, member, reason);
    });
    if (this.#active) handle.keepAlive(true);
  }

  #heard(member: Member, message: WorkerMessage): void {
    if (message.type === 'ready') {
      if (member.state === 'starting') member.state = 'ready';
      for (const look of this.#waiting) look();
      return;
    }
    const flight = this.#active;
    if (!flight || flight.id !== message.job) return;
    if (message.type === 'fault') fail(flight, kernelError(flight, new Error(message.message)));
    this.#settleAtRest(flight);
  }

  /** Ends a worker that is not to be counted on any more; its exit brings a replacement. */
  #end(index: number, member: Member, reason: string): void {
    if (member.state === 'ending' || member.state === 'gone') return;
    const cameUp = member.state === 'ready';
    member.state = 'ending';
    this.#ending++;
    if (!cameUp) this.#retryAt[index] = Date.now() + RETRY_MS;
    void member.handle.terminate();
    if (!cameUp) this.#regroup();
    this.#tell(index, reason);
  }

  #lost(index: number, member: Member, reason: string): void {
    const { state } = member;
    if (state === 'gone') return;
    const flight = this.#active;
    const wasInside = flight !== undefined && this.#isInside(index, flight);
    member.state = 'gone';
    if (state === 'ending') this.#ending--;
    if (this.#closed) return;
    this.#members[index] = undefined;
    if (state === 'starting') this.#retryAt[index] = Date.now() + RETRY_MS;
    // an idle team is filled up again by the next job: whatever ends workers must not do so for ever
    if (flight) this.start(Math.min(index + 1, flight.threads));
    if (wasInside) this.#abandon(flight, diedError(index, reason));
    else this.#regroup();
    for (const look of this.#waiting) look();
    if (state === 'ending' && this.calm) this.#options.onCalm();
    if (state !== 'ending') this.#tell(index, reason);
  }

  /** After all else is in order, and so that a listener that throws spoils nothing here. */
  #tell(worker: number, reason: string): void {
    try {
      this.#options.onEvent({ type: 'worker-lost', worker, reason });
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** A worker that the active job may have counted on is not there: lets others in, or does the work here if there are none. */
  #regroup(): void {
    const flight = this.#active;
    if (!flight || flight.failed || this.#closed) return;
    if (this.#count('starting', 'ready') > 0) {
      Atomics.store(this.#all(), (flight.address + JOB.HELPERS) >> 2, this.#reach(flight.threads));
      this.#signal();
      return;
    }
    this.#drainHere(flight);
    this.#settleAtRest(flight);
  }

  // ---- jobs -------------------------------------------------------------------------------------------------

  #next(): void {
    if (this.#active || this.#closed) return;
    const flight = this.#queue.shift();
    this.#active = flight;
    this.#watch(flight !== undefined);
    if (!flight) return;
    this.#announce(flight);
    if (this.#count('starting', 'ready') === 0) this.#regroup();
  }

  /** While a job runs, a timer looks for progress. It and the workers keep the process alive until the caller has its answer. */
  #watch(on: boolean): void {
    if (on === (this.#watchdog !== undefined)) return;
    for (const member of this.#members) member?.handle.keepAlive(on);
    clearInterval(this.#watchdog);
    this.#watchdog = on
      ? setInterval(() => this.#checkProgress(), Math.max(1, this.#timeoutMs / WATCH_TICKS))
      : undefined;
  }

  /** Also for a job that was stopped: a stuck thread would keep it from coming to rest. */
  #checkProgress(): void {
    const flight = this.#active;
    if (!flight || this.#settleAtRest(flight)) return;
    const done = this.#job(flight.address, JOB.DONE);
    // workers that are still starting have a deadline of their own
    const isSilent = done === flight.lastDone && (this.ready > 0 || this.#count('starting') === 0);
    flight.silentTicks = isSilent ? flight.silentTicks + 1 : 0;
    flight.lastDone = done;
    if (flight.silentTicks <= WATCH_TICKS) return;
    flight.silentTicks = 0;
    this.#abandon(flight, timeoutError(this.#endThoseInside(flight), this.#timeoutMs));
  }

  /** Ends the threads that are inside of a job. */
  #endThoseInside(flight: Flight): number[] {
    const inside: number[] = [];
    this.#members.forEach((member, index) => {
      if (!member || !this.#isInside(index, flight)) return;
      inside.push(index);
      member.state = 'ready';
      this.#end(index, member, `no progress within ${this.#timeoutMs} ms`);
    });
    return inside;
  }

  /** Settles a job in which every record is done; whether it was. */
  #settleAtRest(flight: Flight): boolean {
    if (flight.settled) return true;
    if (!this.#isAtRest(flight)) return false;
    // another thread's end of the job was heard before the fault: the fault's own message is on its way
    if (!flight.failed && this.#job(flight.address, JOB.STOP) === STOP.fault) return false;
    this.#settle(flight, flight.failed ? flight.failure : undefined);
    return true;
  }

  /** Stops a job with a reason; it settles when no thread is inside. */
  #stop(flight: Flight, reason: unknown): void {
    if (flight.settled || flight.failed) return;
    fail(flight, reason);
    const at = this.#queue.indexOf(flight);
    if (at >= 0) {
      this.#queue.splice(at, 1);
      this.#settle(flight, reason);
      return;
    }
    this.#exports.closeJob(flight.address, STOP.abort);
    this.#settleAtRest(flight);
  }

  /** A thread ended, or will, inside of a job: its record will never be done. Settles when no other thread is inside. */
  #abandon(flight: Flight, reason: TesseraeError): void {
    if (this.#settleAtRest(flight)) return;
    fail(flight, reason);
    this.#exports.closeJob(flight.address, STOP.abort);
    const look = () => {
      if (flight.settled) return;
      if (this.#members.some((_, index) => this.#isInside(index, flight))) setTimeout(look, REST_POLL_MS);
      else this.#settle(flight, flight.failure);
    };
    look();
  }

  #settle(flight: Flight, error: unknown): void {
    if (flight.settled) return;
    flight.settled = true;
    if (this.#active === flight) this.#active = undefined;
    flight.settle(error);
    this.#next();
  }

  /** The calling thread's part of a job; a trap becomes the job's failure. */
  #drainHere(flight: Flight): void {
    try {
      this.#exports.drain(flight.address, CALLER_WORDS, CALLER_SCRATCH, this.#patience);
    } catch (cause) {
      this.#exports.failRecord(flight.address);
      fail(flight, kernelError(flight, cause));
    }
  }

  /** One nap of the calling thread, or less; where it may not sleep it spins as long. Returns DONE. */
  #waitAWhile(address: number): number {
    if (this.#options.host.mayWait) return this.#exports.awaitJob(address, CALLER_SPINS);
    const end = performance.now() + NAP_MS;
    for (;;) {
      const done = this.#job(address, JOB.DONE);
      if (done >= this.#job(address, JOB.LIMIT) || performance.now() >= end) return done;
    }
  }

  /** The calling thread's wait for what others have claimed. Returns when the job is at rest, or has failed because a thread
   *  is silent: that one may still be inside, and `calm` is false until it has ended. */
  #awaitHere(flight: Flight): void {
    let before = -1;
    let silent = 0;
    while (!this.#isAtRest(flight)) {
      const done = this.#waitAWhile(flight.address);
      silent = done === before ? silent + 1 : 0;
      before = done;
      const patience = this.#job(flight.address, JOB.STOP) === STOP.silent ? 0 : this.#patience;
      if (silent <= patience) continue;
      const workers = this.#endThoseInside(flight);
      this.#exports.closeJob(flight.address, STOP.silent);
      fail(flight, timeoutError(workers, this.#timeoutMs));
      return;
    }
  }
}
