/**
 * Drives a plan: keeps lowered programs, finds packing space, decides on which side of the thread border a call runs, and
 * watches abort and progress while it does.
 */
import { abortReason } from '../core/errors.ts';
import type { Address, Backend, Call, Prepared } from '../backends/types.ts';
import { type Plan, printPlan } from '../plan/plan.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import { lower, lowerPackB } from './lower.ts';

/** Programs kept ready; a network has some hundreds of shapes at most. */
const MAX_PROGRAMS = 512;
/** An async call estimated below this runs on the calling thread: a hop to the team and back costs a tenth of a millisecond,
 *  and an event loop does not mind a pause of two. */
const INLINE_MS = 2;
/** After this much computing in a row on the calling thread, the event loop gets a turn. */
const TURN_MS = 8;
const PROGRESS_MS = 50;

/** Addresses and scalars of a call; packing space and the copy of the old result are found here. */
export type Operands = Omit<Call, 'packedA' | 'packedB' | 'c0'> & { readonly packedB?: Address };

export interface Execution {
  readonly key: string;
  readonly problem: MatmulProblem;
  readonly plan: Plan;
  /** Expected milliseconds: decides whether the call leaves the calling thread. */
  readonly ms: number;
}

export interface AsyncControl {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

interface Scratch {
  readonly call: Call;
  release(): void;
}

export class Executor {
  readonly #backend: Backend;
  readonly #yieldToEvents: () => Promise<void>;
  readonly #now: () => number;
  readonly #programs = new Map<string, { readonly prepared: Prepared; uses: number; evicted: boolean }>();
  #busySince = 0;
  #busyMs = 0;

  constructor(backend: Backend, yieldToEvents: () => Promise<void>, now: () => number) {
    this.#backend = backend;
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
    const scratch = this.#scratch(program.prepared, operands);
    program.uses++;
    try {
      this.#backend.runSync(program.prepared, scratch.call, threads);
    } finally {
      scratch.release();
      this.#leave(program);
    }
  }

  /** Short calls run here and now, longer ones on the team. */
  async run(execution: Execution, operands: Operands, control: AsyncControl): Promise<void> {
    control.signal?.throwIfAborted();
    if (execution.ms <= INLINE_MS) return this.#runInline(execution, operands, control);
    const program = this.#program(execution);
    const scratch = this.#scratch(program.prepared, operands);
    program.uses++;
    try {
      await this.#await(program.prepared, scratch.call, execution.plan.threads, control);
    } finally {
      scratch.release();
      this.#leave(program);
    }
  }

  /** Packs all of B into panels at `packedB`; blocks for as long as the memory takes. */
  packB({ problem, plan }: Execution, b: Address, packedB: Address): void {
    const prepared = this.#backend.prepare(lowerPackB(problem, plan));
    try {
      this.#backend.runSync(prepared, { a: 0, b, c: 0, c0: 0, bias: 0, packedA: 0, packedB, alpha: 1, beta: 0, clipMin: 0, clipMax: 0 }, 1);
    } finally {
      prepared.release();
    }
  }

  clear(): void {
    for (const program of this.#programs.values()) this.#evict(program);
    this.#programs.clear();
  }

  async #runInline(execution: Execution, operands: Operands, { signal, onProgress }: AsyncControl): Promise<void> {
    const start = this.#now();
    // calls with a gap between them have let the event loop run already
    if (start - this.#busySince > TURN_MS) this.#busyMs = 0;
    if (this.#busyMs > TURN_MS) {
      this.#busyMs = 0;
      await this.#yieldToEvents();
      signal?.throwIfAborted();
    }
    this.runSync(execution, operands);
    this.#busySince = this.#now();
    this.#busyMs += this.#busySince - start;
    onProgress?.(1, 1);
  }

  async #await(prepared: Prepared, call: Call, threads: number, { signal, onProgress }: AsyncControl): Promise<void> {
    const job = this.#backend.run(prepared, call, threads);
    const stop = () => job.stop(abortReason(signal!));
    signal?.addEventListener('abort', stop, { once: true });
    let reported = 0;
    const report = () => {
      const done = Math.min(job.done(), job.total);
      if (done > reported && done < job.total) onProgress?.((reported = done), job.total);
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

  #program({ key, problem, plan }: Execution): { readonly prepared: Prepared; uses: number; evicted: boolean } {
    const name = `${key} ${printPlan(plan)}`;
    const known = this.#programs.get(name);
    if (known) return known;
    if (this.#programs.size >= MAX_PROGRAMS) {
      const [oldest, program] = this.#programs.entries().next().value!;
      this.#programs.delete(oldest);
      this.#evict(program);
    }
    const program = { prepared: this.#backend.prepare(lower(problem, plan)), uses: 0, evicted: false };
    this.#programs.set(name, program);
    return program;
  }

  /** A program in use is released by its last user. */
  #evict(program: { readonly prepared: Prepared; uses: number; evicted: boolean }): void {
    program.evicted = true;
    if (program.uses === 0) program.prepared.release();
  }

  #leave(program: { readonly prepared: Prepared; uses: number; evicted: boolean }): void {
    program.uses--;
    if (program.evicted && program.uses === 0) program.prepared.release();
  }

  /** Packing space and a place for the old result; all of it or, where memory is short, nothing. */
  #scratch(prepared: Prepared, operands: Operands): Scratch {
    const { problem, packedAElements, packedBElements } = prepared.program;
    const held: Address[] = [];
    const take = (elements: number): Address => {
      if (elements === 0) return 0;
      const address = this.#backend.allocate(4 * elements, 'scratch');
      held.push(address);
      return address;
    };
    const release = () => {
      for (const address of held) this.#backend.free(address);
    };
    try {
      const call: Call = {
        ...operands,
        c0: problem.accumulate ? take(problem.batch * problem.m * problem.n) : 0,
        packedA: take(packedAElements),
        packedB: operands.packedB ?? take(packedBElements),
      };
      return { call, release };
    } catch (error) {
      release();
      throw error;
    }
  }
}
