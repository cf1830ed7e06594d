/**
 * Drives a plan: keeps lowered programs, finds packing space, decides on which side of the thread border a call runs, and
 * watches abort and progress while it does.
 */

import type { Address, Backend, Call, Prepared, RawOperands } from '../backends/types.ts';
import { abortReason } from '../core/errors.ts';
import { type Plan, printPlan } from '../plan/plan.ts';
import type { Program, Staging } from '../plan/program.ts';
import { type Problem, resultElements } from '../problem/problem.ts';
import { lower } from './lower/lower.ts';

/** Programs kept ready; a network has some hundreds of shapes at most. */
const MAX_PROGRAMS = 512;
/** An async call estimated below this runs on the calling thread with the team's help: waking a team that sleeps and hearing
 *  back takes up to half a millisecond on a virtual machine, and an event loop does not mind a pause of five. */
const INLINE_MS = 5;
/** After this much computing in a row on the calling thread, the event loop gets a turn. */
const TURN_MS = 8;
const PROGRESS_MS = 50;

/** Addresses and scalars of a call; packing space and the copy of the old result are found here. */
export type Operands = Omit<Call, 'packedA' | 'packedB' | 'c0' | 'own' | 'raw'> & {
  /** Panels made in advance. */
  readonly packedA?: Address | undefined;
  readonly packedB?: Address | undefined;
  /** What is added to the result, where that is not its own old value. */
  readonly c0?: Address | undefined;
  /** Zero points and scales of 8-bit operands. */
  readonly quantized?: Address | undefined;
};

/** Operands of a call that has none: what is left out is never read. */
export const NO_OPERANDS: Operands = { a: 0, b: 0, c: 0, bias: 0, slope: 0, alpha: 1, beta: 0, p0: 0, p1: 0 };

/** What stands in for a call's own operands and result while 8-bit integers are multiplied. */
function staged(
  operands: Operands,
  { a, b, c }: Staging,
  space: Address,
): { a: Address; b: Address; c: Address; raw: RawOperands } {
  const at = (own: Address, offset: number | undefined) => (offset === undefined ? own : space + 4 * offset);
  const { quantized = 0 } = operands;
  return {
    a: at(operands.a, a),
    b: at(operands.b, b),
    c: at(operands.c, c),
    raw: { a: operands.a, b: operands.b, out: operands.c, quantized, space },
  };
}

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
}

interface Ready {
  readonly prepared: Prepared;
  uses: number;
  evicted: boolean;
}

export class Executor {
  readonly #backend: Backend;
  readonly #yieldToEvents: () => Promise<void>;
  readonly #now: () => number;
  /** Threads that may ever take part: whoever is awake comes, not always those with the lowest numbers. */
  readonly #mostThreads: number;
  readonly #programs = new Map<string, Ready>();
  /** The same by identity: planners hand out one object per problem, and a look-up by text would cost as much as a small product. */
  #recent = new WeakMap<Execution, Ready>();
  #busyUntil = 0;
  #busyMs = 0;

  constructor(backend: Backend, yieldToEvents: () => Promise<void>, now: () => number, mostThreads = 1) {
    this.#backend = backend;
    this.#mostThreads = mostThreads;
    this.#yieldToEvents = yieldToEvents;
    this.#now = now;
  }

  /** Lowers and encodes ahead of the first call. */
  prepare(execution: Execution): void {
    this.#program(execution);
  }

  /** Blocks until the result is there. */
  runSync(execution: Execution, operands: Operands, threads = execution.plan.threads): void {
    const program = this.#program(execution);
    const call = this.#call(program.prepared, operands, threads);
    program.uses++;
    try {
      this.#backend.runSync(program.prepared, call, threads);
    } finally {
      this.#release(call, operands);
      this.#leave(program);
    }
  }

  /** Short calls run here and now, longer ones on the team. Returns nothing when the result is already there: a promise for
   *  it would cost a small product half of its speed. */
  run(execution: Execution, operands: Operands, control: AsyncControl): void | Promise<void> {
    if (execution.ms > INLINE_MS) return this.#runOnTeam(execution, operands, control);
    const start = this.#now();
    // calls with a gap between them have let the event loop run already
    if (start - this.#busyUntil > TURN_MS) this.#busyMs = 0;
    if (this.#busyMs > TURN_MS) return this.#runNextTurn(execution, operands, control);
    this.runSync(execution, operands);
    this.#busyUntil = this.#now();
    this.#busyMs += this.#busyUntil - start;
    control.onProgress?.(1, 1);
  }

  async #runNextTurn(execution: Execution, operands: Operands, control: AsyncControl): Promise<void> {
    this.#busyMs = 0;
    await this.#yieldToEvents();
    control.signal?.throwIfAborted();
    this.runSync(execution, operands);
    this.#busyUntil = this.#now();
    control.onProgress?.(1, 1);
  }

  async #runOnTeam(execution: Execution, operands: Operands, control: AsyncControl): Promise<void> {
    const program = this.#program(execution);
    const call = this.#call(program.prepared, operands, execution.plan.threads);
    program.uses++;
    try {
      await this.#await(program.prepared, call, execution.plan.threads, control);
    } finally {
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

  async #await(
    prepared: Prepared,
    call: Call,
    threads: number,
    { signal, onProgress }: AsyncControl,
  ): Promise<void> {
    const job = this.#backend.run(prepared, call, threads);
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

  #program(execution: Execution): Ready {
    const recent = this.#recent.get(execution);
    if (recent && !recent.evicted) return recent;
    const name = `${execution.key} ${printPlan(execution.plan)}`;
    let program = this.#programs.get(name);
    if (!program) {
      if (this.#programs.size >= MAX_PROGRAMS) this.#evictOldest();
      program = {
        prepared: this.#backend.prepare(lower(execution.problem, execution.plan)),
        uses: 0,
        evicted: false,
      };
      this.#programs.set(name, program);
    }
    this.#recent.set(execution, program);
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
  #call({ program }: Prepared, operands: Operands, threads: number): Call {
    const { problem, epilogue, packedAElements, packedBElements } = program;
    const { a, b, c, bias, slope, alpha, beta, p0, p1 } = operands;
    const taken: Address[] = [];
    const take = (bytes: number): Address => {
      if (bytes === 0) return 0;
      const address = this.#backend.allocate(bytes, 'scratch');
      taken.push(address);
      return address;
    };
    try {
      const c0 = operands.c0 ?? (epilogue.keepOld ? take(4 * resultElements(problem)) : 0);
      const packedA = operands.packedA ?? take(4 * packedAElements);
      const packedB = operands.packedB ?? take(4 * packedBElements);
      const most = Math.max(threads, this.#mostThreads);
      const own = program.privateElements > 0 ? take(this.#backend.ownBytes(program, most)) : 0;
      const call = { a, b, c, c0, bias, slope, packedA, packedB, own, alpha, beta, p0, p1 };
      if (!program.staging) return call;
      return { ...call, ...staged(operands, program.staging, take(4 * program.staging.elements)) };
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
