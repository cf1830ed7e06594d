/**
 * The backend that does nothing and says so: it keeps the programs and calls that it was given, and computes none. With it
 * the scheduler is tested apart from any arithmetic; a job may be held open, so that tests decide when it ends.
 */
import type { Program } from '../../plan/program.ts';
import { orderOf, type Wave } from '../../plan/waves.ts';
import type {
  Address,
  Call,
  Chain,
  ChainBackend,
  Job,
  Linked,
  MemoryUse,
  Owner,
  Prepared,
  Trace,
} from '../types.ts';

/** Addresses rise and are never used twice, so that a stale one shows. */
const FIRST_ADDRESS = 4096;
const ALIGN = 64;

export interface RecordedCall {
  readonly program: Program;
  readonly call: Call;
  readonly threads: number;
  readonly sync: boolean;
}

/** A job that a test ends, if the backend holds jobs. */
export interface HeldJob {
  readonly recorded: RecordedCall;
  /** Steps that the job claims to have completed. */
  done: number;
  readonly stopped: unknown;
  finish(): void;
}

interface NullChain extends Chain {
  readonly calls: readonly Linked[];
}

function recordedOf(chain: Chain, threads: number, sync: boolean): RecordedCall[] {
  return (chain as NullChain).calls.map(({ prepared: { program }, call }) => ({
    program,
    call,
    threads,
    sync,
  }));
}

export class NullBackend implements ChainBackend {
  readonly name = 'null';
  readonly calls: RecordedCall[] = [];
  readonly jobs: HeldJob[] = [];
  /** Programs that were prepared and not released. */
  readonly prepared = new Set<Program>();
  /** The same of chains. */
  readonly chains = new Set<Chain>();
  readonly #live = new Map<Address, { readonly bytes: number; readonly owner: Owner }>();
  readonly #maximum: number;
  readonly #holdJobs: boolean;
  #next = FIRST_ADDRESS;

  constructor(options: { readonly holdJobs?: boolean; readonly maximumMemory?: number } = {}) {
    this.#holdJobs = options.holdJobs ?? false;
    this.#maximum = options.maximumMemory ?? Number.MAX_SAFE_INTEGER;
  }

  allocate(bytes: number, owner: Owner): Address {
    if (this.memoryUse().used + bytes > this.#maximum)
      throw new Error(`the null backend has no ${bytes} bytes left`);
    const address = this.#next;
    this.#next += (Math.floor(bytes / ALIGN) + 1) * ALIGN;
    this.#live.set(address, { bytes, owner });
    return address;
  }

  free(address: Address): void {
    if (!this.#live.delete(address)) throw new Error(`free of ${address}, which is not allocated`);
  }

  /** Zeros: nothing is kept. */
  view(_address: Address, elements: number): Float32Array {
    return new Float32Array(elements);
  }

  memoryUse(): MemoryUse {
    const byOwner = { tensors: 0, prepacked: 0, scratch: 0, runtime: 0 };
    for (const { bytes, owner } of this.#live.values()) byOwner[owner] += bytes;
    const used = byOwner.tensors + byOwner.prepacked + byOwner.scratch + byOwner.runtime;
    return { capacity: this.#maximum, maximum: this.#maximum, used, byOwner };
  }

  /** No thread needs space of its own here. */
  ownBytes(): number {
    return 0;
  }

  prepare(program: Program): Prepared {
    this.prepared.add(program);
    return { program, release: () => void this.prepared.delete(program) };
  }

  runSync({ program }: Prepared, call: Call, threads: number): void {
    this.calls.push({ program, call, threads, sync: true });
  }

  run({ program }: Prepared, call: Call, threads: number): Job {
    return this.#job([{ program, call, threads, sync: false }], program.steps.length);
  }

  link(calls: readonly Linked[], waves: readonly Wave[]): NullChain {
    const programs = calls.map(({ prepared }) => prepared.program);
    const order = orderOf(programs, waves);
    const chain = { steps: order.length, order, calls, release: () => void this.chains.delete(chain) };
    this.chains.add(chain);
    return chain;
  }

  /** Nothing is done, so nothing takes time. */
  trace(steps: number): Trace {
    return { steps, at: () => undefined, release: () => undefined };
  }

  runChainSync(chain: Chain, threads: number): void {
    this.calls.push(...recordedOf(chain, threads, true));
  }

  runChain(chain: Chain, threads: number): Job {
    return this.#job(recordedOf(chain, threads, false), chain.steps);
  }

  #job(calls: readonly RecordedCall[], total: number): Job {
    this.calls.push(...calls);
    const [recorded] = calls as [RecordedCall];
    let resolve: () => void = () => undefined;
    let reject: (reason: unknown) => void = () => undefined;
    const finished = new Promise<void>((accept, refuse) => {
      resolve = accept;
      reject = refuse;
    });
    let stopped: unknown;
    const job = {
      recorded,
      done: 0,
      get stopped() {
        return stopped;
      },
      finish: () => resolve(),
    };
    this.jobs.push(job);
    if (!this.#holdJobs) resolve();
    return {
      finished,
      total,
      done: () => job.done,
      stop: (reason) => {
        stopped = reason;
        reject(reason);
      },
    };
  }

  async close(): Promise<void> {}
}
