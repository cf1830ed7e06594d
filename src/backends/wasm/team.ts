/**
 * The thread team as its owner sees it: posts one job at a time, the most urgent first, hears of its end, and lets jobs stand
 * aside for others or for the machine's owner. Whatever goes wrong in a thread reaches the job's caller as an error.
 */
import type { TesseraeError } from '../../core/errors.ts';
import type { Job, Priority } from '../types.ts';
import { Crew } from './crew.ts';
import {
  closedError,
  diedError,
  type Flight,
  FlightQueue,
  fail,
  kernelError,
  rankOf,
  type Task,
  timeoutError,
} from './flight.ts';
import type { WorkerMessage } from './host.ts';
import { JobWords } from './job-words.ts';
import { JOB, MAX_WORKERS, SCRATCH_ADDRESS, SCRATCH_BYTES, WORKER_BYTES, WORKERS_ADDRESS } from './layout.ts';
import type { KernelExports } from './module.ts';
import type { TeamOptions } from './team-options.ts';

/** Why a job was stopped; assembly/sync/team.ts has the same numbers. */
const STOP = { abort: 1, fault: 2, silent: 3 } as const;
/** The calling thread's own words and scratch are those of the index that no worker has. */
const CALLER_WORDS = WORKERS_ADDRESS + (MAX_WORKERS - 1) * WORKER_BYTES;
const CALLER_SCRATCH = SCRATCH_ADDRESS + (MAX_WORKERS - 1) * SCRATCH_BYTES;
/** How often a job that must come to rest is looked at where no message will tell, in milliseconds. */
const REST_POLL_MS = 1;
/** How long the calling thread spins for the last records of others before it sleeps. */
const CALLER_SPINS = 4000;
/** NAP of assembly/sync/team.ts in milliseconds. */
const NAP_MS = 20;
/** Looks at a running job within the time that a thread may be silent. They are counted, not timed: after a laptop's sleep
 *  or a long task on the calling thread the clock has jumped, but nobody was silent. */
const WATCH_TICKS = 8;

export class Team {
  readonly #options: TeamOptions;
  readonly #exports: KernelExports;
  readonly #timeoutMs: number;
  /** Naps of the calling thread in which nothing happens, before it gives up on the others. */
  readonly #patience: number;
  readonly #words: JobWords;
  readonly #crew: Crew;
  readonly #queue = new FlightQueue();
  /** Stopped while they stood aside, with threads still inside. */
  readonly #leaving = new Set<Flight>();
  #active: Flight | undefined;
  #watchdog: ReturnType<typeof setInterval> | undefined;
  /** Jobs of this rank and less urgent ones stand aside. */
  #heldFrom = Number.POSITIVE_INFINITY;
  #mostThreads = MAX_WORKERS;
  #replacing: Promise<void> | undefined;
  #closed = false;
  #wasAsked = false;

  constructor(options: TeamOptions) {
    this.#options = options;
    this.#exports = options.exports;
    this.#timeoutMs = options.timeoutMs;
    this.#patience = Math.ceil(options.timeoutMs / NAP_MS);
    this.#words = new JobWords(options.words, options.memory);
    this.#words.setCores(options.host.engine.cores);
    this.#crew = new Crew({
      ...options,
      words: this.#words,
      onMessage: (message) => this.#heard(message),
      onLost: (index, job, reason) => this.#lost(index, job, reason),
      onGivenUp: () => this.#regroup(),
    });
  }

  /** Workers that have answered. */
  get ready(): number {
    return this.#crew.ready;
  }

  /** False while a thread that was told to end may still write where a failed call told it to: until then, nothing of that
   *  call may be used again. */
  get calm(): boolean {
    return this.#crew.calm;
  }

  /** Whether a job is under way that is not more urgent than `priority`. */
  isWorking(priority: Priority): boolean {
    return this.#active !== undefined && this.#active.rank >= rankOf(priority);
  }

  /** Whether no thread is inside of a job. */
  get isQuiet(): boolean {
    return !this.#crew.isInside();
  }

  start(count: number): void {
    this.#crew.start(count);
  }

  /** Starts as many of `count` workers as there are cores beside the calling thread's: it goes on meanwhile, and with two for two cores what it
   *  does took 1.1 to 1.2 times as long as with one. */
  rouse(count: number): void {
    this.start(Math.max(1, Math.min(count, this.#options.host.engine.cores - 1)));
  }

  /** Resolves when `count` workers are ready, or when those that are not will not come; true if all came. */
  whenReady(count: number): Promise<boolean> {
    return this.#crew.whenReady(count);
  }

  /** Lets jobs of this priority and less urgent ones stand aside until `release`; tiles that were begun are finished. */
  hold(from: Priority): void {
    this.#heldFrom = rankOf(from);
    if (this.#active && this.#active.rank >= this.#heldFrom) this.#park(this.#active);
    this.#next();
  }

  release(): void {
    this.#heldFrom = Number.POSITIVE_INFINITY;
    this.#next();
  }

  /** Lets at most so many workers take part, also in the job under way. */
  limit(threads: number): void {
    this.#mostThreads = threads;
    if (this.#active) this.#words.setHelpers(this.#active.address, this.#reach(this.#active));
    this.#words.signal();
  }

  /** Gives the workers another priority of the operating system; jobs stand aside meanwhile. */
  renice(nice: number): Promise<void> {
    const before = this.#replacing ?? Promise.resolve();
    const replacing = before.then(async () => {
      if (this.#active) this.#park(this.#active);
      let deadline = performance.now() + this.#timeoutMs;
      while (this.#active || !this.isQuiet) {
        await new Promise((resolve) => setTimeout(resolve, REST_POLL_MS));
        // nobody watches over a job that stands aside
        if (performance.now() < deadline) continue;
        this.#crew.endThoseInside();
        deadline = Number.POSITIVE_INFINITY;
      }
      await this.#crew.replace(nice);
    });
    const done = replacing.finally(() => {
      if (this.#replacing !== done) return;
      this.#replacing = undefined;
      this.#next();
    });
    this.#replacing = done;
    return done;
  }

  /** Queues a job whose words are written; it begins when those before it are done. */
  post(address: number, task: Task): Job {
    let settle: (error: unknown) => void = () => undefined;
    const finished = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    const flight = this.#flight(address, task, 'normal', settle);
    if (this.#closed) this.#settle(flight, closedError());
    else {
      this.start(Math.min(task.threads, this.#mostThreads));
      this.#queue.put(flight);
      if (this.#active && flight.rank < this.#active.rank && flight.rank < this.#heldFrom)
        this.#park(this.#active);
      this.#next();
    }
    const total = this.#words.read(address, JOB.LIMIT);
    // what a stop has skipped counts in DONE too, and is no progress; once settled, the words are somebody else's
    const done = () => (flight.failed ? 0 : flight.settled ? total : this.#words.read(address, JOB.DONE));
    return {
      finished,
      total,
      done,
      stop: (reason) => this.#stop(flight, reason),
    };
  }

  /**
   * Runs a job on the calling thread with workers, where they are ready and nothing is under way that is as urgent; alone on a
   * thread that may not sleep.
   * Throws what went wrong in any of the threads.
   */
  runHere(address: number, task: Task): void {
    if (this.#closed) throw closedError();
    const flight = this.#flight(address, task, 'interactive', () => undefined);
    const helpers = Math.min(task.threads, this.#mostThreads - 1);
    const helped = helpers > 0 && this.#mayBeHelped(flight, helpers);
    if (helped) {
      this.start(helpers);
      this.#active = flight;
      this.#announce(flight, helpers);
    } else this.#words.open(address, 0);
    this.#drainHere(flight);
    // also without helpers: a late thread of an earlier job may have joined this one at the same address
    if (!this.#words.isAtRest(address)) this.#awaitHere(flight);
    if (helped) this.#settle(flight, undefined);
    if (flight.failed) throw flight.failure;
    if (this.#words.read(address, JOB.STOP)) throw kernelError(flight, new Error('a helping thread trapped'));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch(false);
    for (const flight of [...this.#queue.takeAll(), ...(this.#active ? [this.#active] : [])]) {
      this.#exports.closeJob(flight.address, STOP.abort);
      this.#settle(flight, flight.failed ? flight.failure : closedError());
    }
    this.#words.quit();
    await this.#crew.close();
  }

  #flight(address: number, task: Task, usual: Priority, settle: (error: unknown) => void): Flight {
    // field by field: V8 11 takes 9 microseconds for an object that begins with another's fields
    return {
      threads: task.threads,
      kernel: task.kernel,
      priority: task.priority,
      client: task.client,
      id: this.#words.read(address, JOB.ID),
      address,
      rank: rankOf(task.priority ?? usual),
      round: 0,
      settle,
      parkedAt: undefined,
      failure: undefined,
      failed: false,
      settled: false,
      lastDone: -1,
      silentTicks: 0,
    };
  }

  /** Whether workers can help at once; what they do may have to stand aside for it. */
  #mayBeHelped(flight: Flight, helpers: number): boolean {
    const { mayWait } = this.#options.host;
    if (!mayWait || !this.calm || this.#replacing || flight.rank >= this.#heldFrom) return false;
    if (this.#active && this.#active.rank <= flight.rank) return false;
    if (!this.#isWarm(helpers)) return false;
    if (this.#active) this.#park(this.#active);
    return this.#active === undefined;
  }

  /** Starting a thread takes longer than most calls that would be helped: the first such call goes alone, and threads start
   *  when the event loop is free, or with the second call at the latest. */
  #isWarm(helpers: number): boolean {
    if (this.#wasAsked || !this.#crew.isEmpty) return true;
    this.#wasAsked = true;
    const timer = setTimeout(() => {
      if (!this.#closed) this.start(helpers);
    }, 0);
    timer.unref?.();
    return false;
  }

  #reach({ threads }: Flight, most = this.#mostThreads): number {
    return this.#crew.reach(Math.min(threads, most));
  }

  #announce(flight: Flight, most = this.#mostThreads): void {
    this.#words.open(flight.address, this.#reach(flight, most), flight.parkedAt);
    flight.parkedAt = undefined;
    this.#words.announce(flight.address);
  }

  // ---- workers ----------------------------------------------------------------------------------------------

  #heard(message: WorkerMessage): void {
    if (message.type !== 'done' && message.type !== 'fault') return;
    const isMeant = ({ id }: Flight) => id === message.job;
    const flight =
      this.#active && isMeant(this.#active)
        ? this.#active
        : (this.#queue.find(isMeant) ?? [...this.#leaving].find(isMeant));
    if (!flight) return;
    if (message.type === 'fault') {
      const error = kernelError(flight, new Error(message.message));
      if (flight.parkedAt !== undefined) {
        this.#stop(flight, error);
        return;
      }
      fail(flight, error);
    }
    this.#settleAtRest(flight);
  }

  #lost(index: number, job: number, reason: string): void {
    if (this.#closed) return;
    const flight = this.#active;
    // an idle team is filled up again by the next job: whatever ends workers must not do so for ever
    if (flight) this.start(Math.min(index + 1, flight.threads, this.#mostThreads));
    const left = job === flight?.address ? flight : this.#queue.find(({ address }) => address === job);
    if (left && job !== 0) this.#abandon(left, diedError(index, reason));
    else this.#regroup();
  }

  /** A worker that the active job may have counted on is not there: lets others in, or does the work here if there are none. */
  #regroup(): void {
    const flight = this.#active;
    if (!flight || flight.failed || this.#closed) return;
    if (this.#crew.count('starting', 'ready') > 0) {
      this.#words.setHelpers(flight.address, this.#reach(flight));
      this.#words.signal();
      return;
    }
    this.#drainHere(flight);
    this.#settleAtRest(flight);
  }

  // ---- jobs -------------------------------------------------------------------------------------------------

  #next(): void {
    if (this.#active || this.#closed || this.#replacing) return;
    const flight = this.#queue.take(this.#heldFrom);
    this.#active = flight;
    this.#watch(flight !== undefined);
    this.#options.onWork();
    if (!flight) return;
    this.#announce(flight);
    if (this.#crew.count('starting', 'ready') === 0) this.#regroup();
  }

  /** Puts the active job aside, unless nothing of it is left to begin: then it is over in a moment. */
  #park(flight: Flight): void {
    const place = this.#words.shut(flight.address);
    if (place === undefined) return;
    flight.parkedAt = place;
    flight.lastDone = -1;
    flight.silentTicks = 0;
    this.#active = undefined;
    this.#queue.put(flight);
  }

  /** Ends a job's claims for good; it comes to rest when no thread is inside. */
  #closeJob(flight: Flight, why: number): void {
    // closing counts what was not claimed, which it reads off the next claim
    if (flight.parkedAt !== undefined) this.#words.open(flight.address, 0, flight.parkedAt);
    flight.parkedAt = undefined;
    this.#exports.closeJob(flight.address, why);
  }

  /** While a job runs, a timer looks for progress. It and the workers keep the process alive until the caller has its answer. */
  #watch(on: boolean): void {
    if (on === (this.#watchdog !== undefined)) return;
    this.#crew.keepAlive(on);
    clearInterval(this.#watchdog);
    this.#watchdog = on
      ? setInterval(() => this.#checkProgress(), Math.max(1, this.#timeoutMs / WATCH_TICKS))
      : undefined;
  }

  /** Also for a job that was stopped: a stuck thread would keep it from coming to rest. */
  #checkProgress(): void {
    const flight = this.#active;
    if (!flight || this.#settleAtRest(flight)) return;
    const done = this.#words.read(flight.address, JOB.DONE);
    // workers that are still starting have a deadline of their own
    const isSilent = done === flight.lastDone && (this.ready > 0 || this.#crew.count('starting') === 0);
    flight.silentTicks = isSilent ? flight.silentTicks + 1 : 0;
    flight.lastDone = done;
    if (flight.silentTicks <= WATCH_TICKS) return;
    flight.silentTicks = 0;
    this.#abandon(flight, timeoutError(this.#crew.endThoseInside(flight.address), this.#timeoutMs));
  }

  /** Settles a job in which every record is done; whether it was. */
  #settleAtRest(flight: Flight): boolean {
    if (flight.settled) return true;
    if (!this.#words.isAtRest(flight.address)) return false;
    // another thread's end of the job was heard before the fault: the fault's own message is on its way
    if (!flight.failed && this.#words.read(flight.address, JOB.STOP) === STOP.fault) return false;
    this.#settle(flight, flight.failed ? flight.failure : undefined);
    return true;
  }

  /** Stops a job with a reason; it settles when no thread is inside. */
  #stop(flight: Flight, reason: unknown): void {
    if (flight.settled || flight.failed) return;
    fail(flight, reason);
    const stoodAside = this.#queue.remove(flight);
    if (stoodAside && flight.parkedAt === undefined) {
      this.#settle(flight, reason);
      return;
    }
    this.#closeJob(flight, STOP.abort);
    if (stoodAside) this.#letLeave(flight);
    else this.#settleAtRest(flight);
  }

  /** Waits for a job that stood aside when it was stopped: its threads are finishing what they had begun. */
  #letLeave(flight: Flight): void {
    this.#leaving.add(flight);
    const deadline = performance.now() + this.#timeoutMs;
    const look = () => {
      if (this.#settleAtRest(flight)) return;
      if (performance.now() < deadline) setTimeout(look, REST_POLL_MS);
      else this.#abandon(flight, timeoutError(this.#crew.endThoseInside(flight.address), this.#timeoutMs));
    };
    look();
  }

  /** A thread ended, or will, inside of a job: its record will never be done. Settles when no other thread is inside. */
  #abandon(flight: Flight, reason: TesseraeError): void {
    if (this.#settleAtRest(flight)) return;
    fail(flight, reason);
    this.#queue.remove(flight);
    this.#closeJob(flight, STOP.abort);
    const look = () => {
      if (flight.settled) return;
      if (this.#crew.isInside(flight.address)) setTimeout(look, REST_POLL_MS);
      else this.#settle(flight, flight.failure);
    };
    look();
  }

  #settle(flight: Flight, error: unknown): void {
    if (flight.settled) return;
    flight.settled = true;
    this.#leaving.delete(flight);
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
      const done = this.#words.read(address, JOB.DONE);
      if (done >= this.#words.read(address, JOB.LIMIT) || performance.now() >= end) return done;
    }
  }

  /** The calling thread's wait for what others have claimed. Returns when the job is at rest, or has failed because a thread
   *  is silent: that one may still be inside, and `calm` is false until it has ended. */
  #awaitHere(flight: Flight): void {
    let before = -1;
    let silent = 0;
    while (!this.#words.isAtRest(flight.address)) {
      const done = this.#waitAWhile(flight.address);
      silent = done === before ? silent + 1 : 0;
      before = done;
      const patience = this.#words.read(flight.address, JOB.STOP) === STOP.silent ? 0 : this.#patience;
      if (silent <= patience) continue;
      const workers = this.#crew.endThoseInside(flight.address);
      this.#exports.closeJob(flight.address, STOP.silent);
      fail(flight, timeoutError(workers, this.#timeoutMs));
      return;
    }
  }
}
