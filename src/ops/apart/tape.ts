/**
 * A recorded run on one thread that has a memory of its own: everything that the run reads and writes lies there as well, constants are sent
 * once, and of each run only what is given goes over and what is wanted comes back.
 */
import type { Address, Priority, Stored } from '../../backends/types.ts';
import { aSlice } from '../../core/slice.ts';
import type { Problem } from '../../problem/problem.ts';
import type { ApartExecutor, PreparedCall } from '../../schedule/apart.ts';
import type { AsyncControl } from '../../schedule/execute.ts';
import type { Operands } from '../../schedule/operands.ts';
import type { Core } from '../core.ts';
import type { Tape } from '../tape.ts';
import type { ApartPlace } from './place.ts';
import { orAborted } from './run.ts';

/** Fields of operands that are addresses. */
const ADDRESSES = ['a', 'b', 'c', 'c0', 'bias', 'slope', 'packedA', 'packedB'] as const;

interface Mirrored {
  readonly base: Address;
  readonly bytes: number;
  /** Where it lies over there. */
  readonly at: Address;
}

/** What was made on one thread's memory; that goes with the thread. */
interface Made {
  readonly executor: ApartExecutor;
  readonly chain: ReturnType<ApartExecutor['link']>;
  readonly mirrors: ReadonlyMap<Address, Mirrored>;
}

/** Of one run; once it is over nobody looks at what comes. */
interface State {
  readonly disposed: boolean;
}

const DONE = Promise.resolve(true);

export class ApartTape {
  readonly #core: Core;
  readonly #place: ApartPlace;
  readonly #tape: Tape;
  readonly #given: readonly Address[];
  readonly #wanted: readonly Address[];
  readonly #nth: number;
  #made: Made | undefined;
  #making: { readonly executor: ApartExecutor; readonly pieces: Generator<void, Made> } | undefined;

  constructor(
    core: Core,
    place: ApartPlace,
    tape: Tape,
    given: readonly Address[],
    wanted: readonly Address[],
  ) {
    this.#core = core;
    this.#place = place;
    this.#tape = tape;
    this.#given = given;
    this.#wanted = wanted;
    this.#nth = place.nextThread();
  }

  /** Whether all that the steps read can be taken elsewhere: blocks of the tape, and constants that are blocks of their own. */
  static canMove(core: Core, tape: Tape): boolean {
    return tape.steps.every(
      ({ operands }) =>
        operands.quantized === undefined &&
        ADDRESSES.every((name) => !operands[name] || blockOf(core, tape, operands[name]) !== undefined),
    );
  }

  /** Runs all steps on what lies in the given tensors; the wanted ones are then here. */
  async run({ signal, priority = 'normal', onProgress }: AsyncControl): Promise<void> {
    const state = { disposed: false };
    try {
      await orAborted(this.#run(priority, state), signal);
      onProgress?.(this.#tape.steps.length, this.#tape.steps.length);
    } finally {
      state.disposed = true;
    }
  }

  release(): void {
    this.#making?.pieces.return(undefined as never);
    this.#making = undefined;
    const made = this.#made;
    this.#made = undefined;
    if (!made) return;
    made.chain.release();
    for (const { at } of made.mirrors.values()) made.executor.backend.free(at);
  }

  async #run(priority: Priority, state: State): Promise<void> {
    const work = (executor: ApartExecutor) => {
      if (state.disposed) return DONE;
      // another thread has taken the place of one that was lost, and its memory with it
      if (this.#made?.executor !== executor && !this.#makeSome(executor)) return Promise.resolve(false);
      return this.#send(this.#made!, state).then(() => true);
    };
    while (!(await this.#place.on(this.#nth, priority, work))) await this.#core.host.yieldToEvents();
  }

  #view(base: Address, bytes: number): Float32Array {
    return this.#core.heap.floats().subarray(base >>> 2, (base + bytes) >>> 2);
  }

  /** What arrives after the run is over, because it was aborted, is not looked at. */
  async #send({ executor: { backend }, chain, mirrors }: Made, state: State): Promise<void> {
    const mirrorOf = (address: Address) => mirrors.get(blockOf(this.#core, this.#tape, address)!.base)!;
    for (const address of this.#given) {
      const { at, base, bytes } = mirrorOf(address);
      backend.write(at, this.#view(base, bytes));
    }
    const done = backend.runChain(chain.chain, 1).finished;
    const reads = this.#wanted.map((address) => {
      const { base, bytes, at } = mirrorOf(address);
      return backend.read(at, bytes, (values) => {
        if (!state.disposed) this.#view(base, bytes).set(values);
      });
    });
    for (const read of reads) read.catch(() => undefined);
    await done;
    await Promise.all(reads);
  }

  /** Goes on with bringing there what the run needs; whether all of it is there. */
  #makeSome(executor: ApartExecutor): boolean {
    if (this.#making?.executor !== executor) {
      this.release();
      this.#making = { executor, pieces: this.#make(executor) };
    }
    try {
      const piece = aSlice(this.#making.pieces);
      if (!piece.done) return false;
      this.#made = piece.value;
    } catch (error) {
      this.#making = undefined;
      throw error;
    }
    this.#making = undefined;
    return true;
  }

  *#make(executor: ApartExecutor): Generator<void, Made> {
    const { backend } = executor;
    const mirrors = new Map<Address, Mirrored>();
    const mirror = (address: Address): Address => {
      const block = blockOf(this.#core, this.#tape, address)!;
      let found = mirrors.get(block.base);
      if (!found) {
        found = { ...block, at: backend.allocate(block.bytes, 'tensors') };
        mirrors.set(block.base, found);
        // what steps write before they read it goes over too, once: some is read before it is written
        backend.write(found.at, this.#view(block.base, block.bytes));
      }
      return found.at + (address - block.base);
    };
    const calls: PreparedCall[] = [];
    let made: Made | undefined;
    try {
      for (const address of [...this.#given, ...this.#wanted]) mirror(address);
      yield;
      for (const { execution, operands } of this.#tape.steps) {
        const unread = unreadOf(execution.problem, operands);
        const moved = Object.fromEntries(
          ADDRESSES.map((name) => [
            name,
            operands[name] && name !== unread ? mirror(operands[name]) : operands[name],
          ]),
        );
        // lowered while it was recorded
        const prepared = backend.prepare(this.#core.executor.prepare(execution));
        calls.push({ prepared, operands: { ...operands, ...moved } as Operands });
        yield;
      }
      made = { executor, chain: executor.link(calls), mirrors };
      return made;
    } finally {
      if (!made) {
        for (const { at } of mirrors.values()) backend.free(at);
        for (const { prepared } of calls) prepared.release();
      }
    }
  }
}

/** Filters as they were given are not read where a form of them is there. */
function unreadOf({ op }: Problem, { packedA, packedB }: Operands): 'a' | 'b' | undefined {
  if (op !== 'conv') return undefined;
  return packedA ? 'a' : packedB ? 'b' : undefined;
}

function blockOf(core: Core, tape: Tape, address: Address): Stored | undefined {
  return tape.blockOf(address) ?? core.backend.blockAt(address);
}
