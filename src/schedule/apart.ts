/**
 * Runs plans on a thread with a memory of its own. Whatever is sent is done in the order of sending, so that space can be given back, and used
 * again, as soon as its last use was sent.
 */
import type { Address, Chain, ChainBackend, Prepared } from '../backends/types.ts';
import { printPlan } from '../plan/plan.ts';
import type { Program } from '../plan/program.ts';
import type { Execution } from './execute.ts';
import { lower } from './lower/lower.ts';
import { type Operands, placeCall, placeChain } from './operands.ts';

/** A backend whose memory is sent to and asked. */
export interface DistantBackend extends ChainBackend {
  write(at: Address, values: ArrayBufferView): void;
  /** Hands what lies there to `use`, which must not keep it. */
  read(at: Address, bytes: number, use: (values: Float32Array) => void): Promise<void>;
}

export interface PreparedCall {
  readonly prepared: Prepared;
  readonly operands: Operands;
}

/** Programs kept over there. */
const MAX_PROGRAMS = 256;

/** Whose copies are kept over there as long as it lives. */
export interface Keeper {
  readonly disposed: boolean;
}

export class ApartExecutor {
  readonly backend: DistantBackend;
  readonly #programs = new Map<string, Prepared>();
  readonly #kept = new Map<Keeper, Map<string, Address>>();

  constructor(backend: DistantBackend) {
    this.backend = backend;
  }

  /** Resolves when it is done; everything is sent when this returns. */
  run(execution: Execution, operands: Operands): Promise<void> {
    return this.#run(this.#program(execution), operands);
  }

  /** The same for a program that is not worth keeping. */
  runOnce(program: Program, operands: Operands): Promise<void> {
    const prepared = this.backend.prepare(program);
    try {
      return this.#run(prepared, operands);
    } finally {
      prepared.release();
    }
  }

  /** Makes calls ready to be run again and again, in their order; `release` gives back what they take, and their programs. */
  link(calls: readonly PreparedCall[]): { readonly chain: Chain; release(): void } {
    const { chain, release } = placeChain(this.backend, calls, 1);
    return {
      chain,
      release: () => {
        release();
        for (const { prepared } of calls) prepared.release();
      },
    };
  }

  /** Address of a copy, or of something made from one, that is there as long as its keeper; `fill` sends it the first time. */
  keep(keeper: Keeper, name: string, bytes: number, fill: (address: Address) => void): Address {
    const known = this.kept(keeper, name);
    if (known !== undefined) return known;
    this.sweep();
    const own = this.#kept.get(keeper) ?? new Map<string, Address>();
    const address = this.backend.allocate(bytes, 'prepacked');
    try {
      fill(address);
    } catch (error) {
      this.backend.free(address);
      throw error;
    }
    own.set(name, address);
    this.#kept.set(keeper, own);
    return address;
  }

  /** Where a copy lies, if it is there. */
  kept(keeper: Keeper, name: string): Address | undefined {
    return this.#kept.get(keeper)?.get(name);
  }

  /** Gives back what is kept for one: it is sent and made anew when it is wanted again. */
  forget(keeper: Keeper): void {
    for (const address of this.#kept.get(keeper)?.values() ?? []) this.backend.free(address);
    this.#kept.delete(keeper);
  }

  /** Gives back what keepers have left. */
  sweep(): void {
    for (const keeper of this.#kept.keys()) if (keeper.disposed) this.forget(keeper);
  }

  /** Space for what `use` sends; its promises may go on, for nothing that is sent later is done before it. */
  lend<T>(use: (take: (bytes: number) => Address) => T): T {
    const taken: Address[] = [];
    try {
      return use((bytes) => {
        if (bytes === 0) return 0;
        const address = this.backend.allocate(bytes, 'scratch');
        taken.push(address);
        return address;
      });
    } finally {
      for (const address of taken) this.backend.free(address);
    }
  }

  #run(prepared: Prepared, operands: Operands): Promise<void> {
    return this.lend((take) => {
      const call = placeCall(this.backend, prepared.program, operands, 1, take);
      return this.backend.run(prepared, call, 1).finished;
    });
  }

  #program({ key, plan, problem }: Execution): Prepared {
    const name = `${key} ${printPlan(plan)}`;
    const known = this.#programs.get(name);
    if (known) return known;
    if (this.#programs.size >= MAX_PROGRAMS) {
      const [oldest, program] = this.#programs.entries().next().value!;
      this.#programs.delete(oldest);
      program.release();
    }
    const prepared = this.backend.prepare(lower(problem, plan));
    this.#programs.set(name, prepared);
    return prepared;
  }
}
