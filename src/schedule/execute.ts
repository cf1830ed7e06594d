/**
 * Drives a plan: keeps lowered programs, finds packing space, decides on which side of the thread border a call runs, and
 * watches abort and progress while it does.
 */

import type {
  Address,
  Call,
  Chain,
  ChainBackend,
  Job,
  Prepared,
  Priority,
  Trace,
} from '../backends/types.ts';
import { sharedNow } from '../core/clock.ts';
import { abortReason } from '../core/errors.ts';
import { pairOf } from '../plan/pairs.ts';
import { type Plan, printPlan } from '../plan/plan.ts';
import type { Program } from '../plan/program.ts';
import type { LinkedStep, Wave } from '../plan/waves.ts';
import type { ConvProblem } from '../problem/conv.ts';
import type { Problem } from '../problem/problem.ts';
import { Headcount } from './headcount.ts';
import { lowerPair } from './lower/conv.ts';
import { lower } from './lower/lower.ts';
import { type Operands, placeCall, placeChain, staged } from './operands.ts';

/** Programs kept ready; a network has some hundreds of shapes at most. */
const MAX_PROGRAMS = 512;
/** An async call estimated below this runs on the calling thread with the team's help: waking a team that sleeps and hearing
 *  back takes up to half a millisecond on a virtual machine, and an event loop does not mind a pause of five. */
const INLINE_MS = 5;
/** The same for a recorded run that nobody stops or watches: a picture of sixty in a second. Networks of 7 to 14 milliseconds are done 1.02 to
 *  1.1 times as fast as by the team alone, for inputs and results stay in the caches of one core (Node 24, one thread and two). */
const INLINE_RUN_MS = 16;
/** How much longer than plans say a first run takes: engines compile code when it is first called, and make it fast later (V8: 3 to 5 times
 *  with networks of 4 to 7 milliseconds). Not more is said than has to be, for a thread that is not up yet is no way out: making one takes
 *  the calling thread 10 milliseconds, and 30 to 40 go by until it computes. */
const COLD = 3;
/** After this much computing in a row on the calling thread, the event loop gets a turn. */
const TURN_MS = 8;
const PROGRESS_MS = 50;

export interface Execution {
  readonly key: string;
  readonly problem: Problem;
  readonly plan: Plan;
  /** Expected milliseconds: decides whether the call leaves the calling thread. */
  readonly ms: number;
}

export interface AsyncControl {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Default `normal`. */
  readonly priority?: Priority | undefined;
  /** Who asked: jobs of different ones take turns. */
  readonly client?: number | undefined;
}

/** Calls that were run as one job, with the times of all their steps in a row. */
export interface ObservedRun {
  readonly calls: readonly { readonly planned: PlannedCall; readonly program: Program }[];
  /** By `sharedNow`: when the run was asked for. */
  readonly asked: number;
  readonly trace: Trace;
}

/** Hears of each run when it has ended, well or not; steps that were not done have no times. */
export type Observer = (run: ObservedRun) => void;

/** What an executor is made from. */
export interface ExecutorOptions {
  readonly yieldToEvents: () => Promise<void>;
  readonly now: () => number;
  /** Threads that may ever take part: whoever is awake comes, not always those with the lowest numbers. Default 1. */
  readonly mostThreads?: number;
  /** Whether calls of this priority have to be the team's, which can let them wait. Default never. */
  readonly isPaced?: (priority: Priority) => boolean;
  /** Whether the calling thread may wait for others, as a page's own may not: it computes by itself what it does not leave to the team. Default
   *  true. */
  readonly mayWait?: boolean;
}

/** A call that was planned, with where its values are. */
export interface PlannedCall {
  readonly execution: Execution;
  readonly operands: Operands;
  /** What it is for. */
  readonly label?: string;
  /** A convolution that this one computes where it reads it (plan/pairs.ts). */
  readonly before?: Omit<PlannedCall, 'before'> | undefined;
}

/** Calls made ready to be run again and again, in their order, as one job. */
export interface LinkedCalls {
  readonly chain: Chain;
  readonly calls: ObservedRun['calls'];
  readonly threads: number;
  /** Of those, how many take part in the next run. */
  readonly headcount: Headcount;
  /** Of the last run; before the first what is expected. */
  ms: number;
  release(): void;
}

interface Ready {
  readonly prepared: Prepared;
  uses: number;
  evicted: boolean;
}

interface Watched {
  readonly trace: Trace;
  end(): void;
}

export class Executor {
  readonly #backend: ChainBackend;
  readonly #yieldToEvents: () => Promise<void>;
  readonly #now: () => number;
  readonly #mostThreads: number;
  readonly #isPaced: (priority: Priority) => boolean;
  readonly #runHereMs: number;
  readonly #programs = new Map<string, Ready>();
  /** The same by identity: planners hand out one object per problem, and a look-up by text would cost as much as a small product. */
  #recent = new WeakMap<Execution, Ready>();
  readonly #observers = new Set<Observer>();
  #busyUntil = 0;
  #busyMs = 0;

  constructor(backend: ChainBackend, options: ExecutorOptions) {
    this.#backend = backend;
    this.#mostThreads = options.mostThreads ?? 1;
    this.#yieldToEvents = options.yieldToEvents;
    this.#now = options.now;
    this.#isPaced = options.isPaced ?? (() => false);
    this.#runHereMs = (options.mayWait ?? true) ? INLINE_RUN_MS : INLINE_MS;
  }

  /** Times every step of every run from now on; returns what ends that. */
  observe(observer: Observer): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  /** Lowers and encodes ahead of the first call. */
  prepare(execution: Execution): Program {
    return this.#program(execution).prepared.program;
  }

  /** Blocks until the result is there. */
  runSync(execution: Execution, operands: Operands, priority: Priority = 'interactive'): void {
    const program = this.#program(execution);
    const { threads } = execution.plan;
    const call = this.#call(program.prepared, operands, threads);
    let watched: Watched | undefined;
    program.uses++;
    try {
      watched = this.#watchOne(execution, operands, program);
      this.#backend.runSync(program.prepared, call, threads, { priority, trace: watched?.trace });
    } finally {
      watched?.end();
      this.#release(call, operands);
      this.#leave(program);
    }
  }

  /** Short calls run here and now, longer ones on the team. Returns nothing when the result is already there: a promise for
   *  it would cost a small product half of its speed. */
  run(execution: Execution, operands: Operands, control: AsyncControl): void | Promise<void> {
    const { priority = 'normal' } = control;
    if (!this.#isForHere(execution.ms, priority)) return this.#runOnTeam(execution, operands, control);
    const start = this.#now();
    // calls with a gap between them have let the event loop run already
    if (start - this.#busyUntil > TURN_MS) this.#busyMs = 0;
    if (this.#busyMs > TURN_MS) return this.#runNextTurn(execution, operands, control);
    this.runSync(execution, operands, priority);
    this.#busyUntil = this.#now();
    this.#busyMs += this.#busyUntil - start;
    control.onProgress?.(1, 1);
  }

  async #runNextTurn(execution: Execution, operands: Operands, control: AsyncControl): Promise<void> {
    this.#busyMs = 0;
    await this.#yieldToEvents();
    control.signal?.throwIfAborted();
    await this.run(execution, operands, control);
  }

  /** Short calls that nothing holds back; nobody is kept waiting by work in the background. */
  #isForHere(ms: number, priority: Priority, most = INLINE_MS): boolean {
    return ms <= most && priority !== 'background' && !this.#isPaced(priority);
  }

  async #runOnTeam(execution: Execution, operands: Operands, control: AsyncControl): Promise<void> {
    const program = this.#program(execution);
    const call = this.#call(program.prepared, operands, execution.plan.threads);
    let watched: Watched | undefined;
    program.uses++;
    try {
      watched = this.#watchOne(execution, operands, program);
      const how = { priority: control.priority, client: control.client, trace: watched?.trace };
      const job = this.#backend.run(program.prepared, call, execution.plan.threads, how);
      await this.#await(job, control);
    } finally {
      watched?.end();
      this.#release(call, operands);
      this.#leave(program);
    }
  }

  /** Runs a program that is not worth keeping, such as packing weights once; blocks. Packed operands are where it writes, or
   *  `stage`, where what the program stages is wanted. */
  runOnce(program: Program, operands: Operands, stage?: Address): void {
    const prepared = this.#backend.prepare(program);
    const { staging } = program;
    const space =
      staging && stage === undefined ? this.#backend.allocate(4 * staging.elements, 'scratch') : 0;
    try {
      const { packedA = 0, packedB = 0, c0 = 0 } = operands;
      const instead = staging ? staged(operands, staging, stage ?? space) : {};
      this.#backend.runSync(prepared, { ...operands, packedA, packedB, c0, own: 0, ...instead }, 1);
    } finally {
      if (space) this.#backend.free(space);
      prepared.release();
    }
  }

  clear(): void {
    for (const program of this.#programs.values()) this.#evict(program);
    this.#programs.clear();
  }

  /** Says that calls of so many milliseconds will be linked: the threads that their first run is left to come up meanwhile. */
  expect(ms: number, threads: number = this.#mostThreads): void {
    if (COLD * ms > this.#runHereMs) this.#backend.rouse?.(threads);
  }

  /** The calls must not change any more. Those of a wave may run at the same time; where none are said they go one by one. */
  link(
    calls: readonly PlannedCall[],
    waves?: readonly Wave[],
    threads: number = this.#mostThreads,
  ): LinkedCalls {
    const held: Ready[] = [];
    const leave = () => {
      for (const program of held) this.#leave(program);
    };
    try {
      const hold = (program: Ready): Prepared => {
        // at once: a later one may take the place of one that nobody uses
        program.uses++;
        held.push(program);
        return program.prepared;
      };
      const parts = calls.map(({ execution, operands, before }) => ({
        prepared: hold(this.#program(execution, before?.execution)),
        operands,
        before: before && { prepared: hold(this.#program(before.execution)), operands: before.operands },
      }));
      const { chain, release } = placeChain(
        this.#backend,
        parts,
        threads,
        // one thread goes in the order of the calls, in which values are read soon after they were made
        threads > 1 ? waves : undefined,
      );
      const ms = calls
        .flatMap(({ execution, before }) => [execution.ms, before?.execution.ms ?? 0])
        .reduce((sum, one) => sum + (Number.isFinite(one) ? one : 0), 0);
      return {
        chain,
        calls: calls.map((planned, i) => ({ planned, program: parts[i]!.prepared.program })),
        threads,
        headcount: new Headcount(threads),
        ms: COLD * ms,
        release: () => {
          release();
          leave();
        },
      };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Like `run`, for all of the calls. */
  runLinked(linked: LinkedCalls, control: AsyncControl): void | Promise<void> {
    const start = this.#now();
    const { priority = 'normal' } = control;
    const isWatched = control.signal !== undefined || control.onProgress !== undefined;
    const most = isWatched ? INLINE_MS : this.#runHereMs;
    if (!this.#isForHere(linked.ms, priority, most)) return this.#runLinkedOnTeam(linked, control);
    if (start - this.#busyUntil > TURN_MS) this.#busyMs = 0;
    if (this.#busyMs > TURN_MS) {
      this.#busyMs = 0;
      return this.#yieldToEvents().then(() => {
        control.signal?.throwIfAborted();
        return this.runLinked(linked, control);
      });
    }
    const watched = this.#watch(linked.calls, linked.chain.order);
    try {
      this.#backend.runChainSync(linked.chain, linked.headcount.threads, { priority, trace: watched?.trace });
    } finally {
      watched?.end();
    }
    this.#busyUntil = this.#now();
    const ms = this.#busyUntil - start;
    noteRun(linked, ms);
    this.#busyMs += ms;
    control.onProgress?.(linked.chain.steps, linked.chain.steps);
  }

  async #runLinkedOnTeam(linked: LinkedCalls, control: AsyncControl): Promise<void> {
    const start = this.#now();
    const { priority = 'normal', client } = control;
    // what is held back takes as long as it is held back
    const isHeld = priority === 'background' || this.#isPaced(priority);
    const threads = isHeld ? linked.threads : linked.headcount.threads;
    const watched = this.#watch(linked.calls, linked.chain.order);
    try {
      const how = { priority, client, trace: watched?.trace };
      await this.#await(this.#backend.runChain(linked.chain, threads, how), control);
      if (!isHeld) noteRun(linked, this.#now() - start);
    } finally {
      watched?.end();
    }
  }

  /** The same for a single call; nothing is made where nobody wants it, for a small product takes as long as making a few objects. */
  #watchOne(execution: Execution, operands: Operands, { prepared }: Ready): Watched | undefined {
    if (this.#observers.size === 0) return undefined;
    return this.#watch([{ planned: { execution, operands }, program: prepared.program }]);
  }

  /** A trace for a run, where anyone wants one; observers see times call by call, in whatever order they were noted. */
  #watch(calls: ObservedRun['calls'], order?: readonly LinkedStep[]): Watched | undefined {
    if (this.#observers.size === 0) return undefined;
    const asked = sharedNow();
    const trace = this.#backend.trace(calls.reduce((sum, { program }) => sum + program.steps.length, 0));
    const end = () => {
      const seen = order ? { ...trace, at: inCalls(calls, order, trace) } : trace;
      for (const observer of this.#observers) observer({ calls, asked, trace: seen });
      trace.release();
    };
    return { trace, end };
  }

  async #await(job: Job, { signal, onProgress }: AsyncControl): Promise<void> {
    const stop = () => job.stop(abortReason(signal!));
    signal?.addEventListener('abort', stop, { once: true });
    let reported = 0;
    const report = () => {
      const done = Math.min(job.done(), job.total);
      if (done <= reported || done >= job.total) return;
      reported = done;
      try {
        onProgress?.(done, job.total);
      } catch (error) {
        job.stop(error);
      }
    };
    const timer = onProgress ? setInterval(report, PROGRESS_MS) : undefined;
    try {
      await job.finished;
      onProgress?.(job.total, job.total);
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  #program(execution: Execution, before?: Execution): Ready {
    const { key, problem, plan } = execution;
    if (before) {
      const pair = pairOf(before, execution)!;
      const make = () => lowerPair(problem as ConvProblem, pair);
      return this.#kept(`${key} ${printPlan(pair.plan)} rows=${pair.rows}`, make);
    }
    const recent = this.#recent.get(execution);
    if (recent && !recent.evicted) return recent;
    const program = this.#kept(`${key} ${printPlan(plan)}`, () => lower(problem, plan));
    this.#recent.set(execution, program);
    return program;
  }

  #kept(name: string, make: () => Program): Ready {
    const known = this.#programs.get(name);
    if (known) return known;
    if (this.#programs.size >= MAX_PROGRAMS) this.#evictOldest();
    const program = { prepared: this.#backend.prepare(make()), uses: 0, evicted: false };
    this.#programs.set(name, program);
    return program;
  }

  #evictOldest(): void {
    const [name, program] = this.#programs.entries().next().value!;
    this.#programs.delete(name);
    this.#evict(program);
  }

  /** A program in use is released by its last user. */
  #evict(program: Ready): void {
    program.evicted = true;
    if (program.uses === 0) program.prepared.release();
  }

  #leave(program: Ready): void {
    program.uses--;
    if (program.evicted && program.uses === 0) program.prepared.release();
  }

  /** The call with packing space and a place for the old result; all of it or, where memory is short, nothing. */
  #call(prepared: Prepared, operands: Operands, threads: number): Call {
    const taken: Address[] = [];
    const take = (bytes: number): Address => {
      if (bytes === 0) return 0;
      const address = this.#backend.allocate(bytes, 'scratch');
      taken.push(address);
      return address;
    };
    try {
      return placeCall(this.#backend, prepared.program, operands, Math.max(threads, this.#mostThreads), take);
    } catch (error) {
      for (const address of taken) this.#backend.free(address);
      throw error;
    }
  }

  #release({ c0, packedA, packedB, own, raw }: Call, operands: Operands): void {
    if (c0 && operands.c0 === undefined) this.#backend.free(c0);
    if (packedA && operands.packedA === undefined) this.#backend.free(packedA);
    if (packedB && operands.packedB === undefined) this.#backend.free(packedB);
    if (own) this.#backend.free(own);
    if (raw?.space) this.#backend.free(raw.space);
  }
}

function noteRun(linked: LinkedCalls, ms: number): void {
  // what is only tried does not send the next run elsewhere
  if (!linked.headcount.isTrial) linked.ms = ms;
  linked.headcount.note(ms);
}

/** Times of steps, counted call by call. */
function inCalls(calls: ObservedRun['calls'], order: readonly LinkedStep[], trace: Trace): Trace['at'] {
  const first: number[] = [];
  let steps = 0;
  for (const { program } of calls) {
    first.push(steps);
    steps += program.steps.length;
  }
  const places = new Int32Array(steps);
  order.forEach(({ call, step }, place) => {
    places[first[call]! + step] = place;
  });
  return (step) => trace.at(places[step]!);
}
