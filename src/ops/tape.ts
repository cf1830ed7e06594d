/**
 * A recording of calls, to be run again and again on other values: what is executed, with the memory that it is executed in. Nothing is
 * checked or planned a second time. While recording nothing is executed either: the first replay does it, away from the calling thread; until
 * then results hold no values. Where the recorder must know some, it spoils the tape, and all is executed as it comes. Memory that was given
 * back while recording serves later calls: a replay needs no more than the calls need at their peak.
 */
import type { Address } from '../backends/types.ts';
import type { Setting } from '../plan/planner.ts';
import { type Touched, type Wave, wavesOf } from '../plan/waves.ts';
import type { AsyncControl, Execution, Executor, LinkedCalls, PlannedCall } from '../schedule/execute.ts';
import type { Operands } from '../schedule/operands.ts';

export interface TapeStep extends PlannedCall {
  /** What the recorder was at. */
  readonly label: string;
}

/** What a tape is for. */
export type TapeSetting = Exclude<Setting, 'call'>;

/** The memory that tapes take from and give back to. */
export interface TapeMemory {
  allocate(bytes: number, owner: 'tensors'): Address;
  free(address: Address): void;
}

/** What a thread waits for others and for what they have made at the end of a wave: two threads take 57 to 95 microseconds for MNIST's seven
 *  calls, which are half of one thread's 50 each (Node 24; Node 20: 64 to 109 and 59). */
const WAVE_MS = 0.005;
/** Longer ones gain by threads whatever they wait, and need not be planned twice. */
const SHORT_MS = 0.25;
/** A block that is this much larger than what is wanted is left for others. */
const WASTE = 1.5;

export class Tape {
  readonly steps: TapeStep[] = [];
  readonly #memory: TapeMemory;
  readonly #executor: Executor;
  readonly #blocks = new Map<Address, number>();
  readonly #idle = new Set<Address>();
  readonly #births = new Map<Address, number[]>();
  /** How its calls are planned. */
  readonly setting: TapeSetting;
  #linked: LinkedCalls | undefined;
  #label = '';
  #spoiled: string | undefined;
  /** Steps that were executed while recording: all of them, once the tape is spoiled. */
  #executed = 0;

  constructor(memory: TapeMemory, executor: Executor, setting: TapeSetting = 'chain') {
    this.#memory = memory;
    this.#executor = executor;
    this.setting = setting;
  }

  /** Why a replay would not give what the calls gave, or undefined. */
  get spoiled(): string | undefined {
    return this.#spoiled;
  }

  get bytes(): number {
    return [...this.#blocks.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Milliseconds that the plans expect of a replay. */
  get ms(): number {
    const known = this.steps.map(({ execution }) => execution.ms).filter(Number.isFinite);
    return known.reduce((sum, ms) => sum + ms, 0);
  }

  /** Says what the next calls are for. */
  at(label: string): void {
    this.#label = label;
  }

  /** To be called before values are looked at, and before anything is done that a replay would not do: what was put off is executed now. */
  spoil(reason: string): void {
    this.#spoiled ??= reason;
    this.#catchUp();
  }

  add(execution: Execution, operands: Operands): void {
    this.steps.push({ execution, operands, label: this.#label });
    if (this.#spoiled !== undefined) this.#catchUp();
    // here, where recorders rest now and then, and not for all steps at once when they are linked
    else this.#executor.prepare(execution);
  }

  #catchUp(): void {
    while (this.#executed < this.steps.length) {
      const { execution, operands } = this.steps[this.#executed++]!;
      this.#executor.runSync(execution, operands);
    }
  }

  allocate(bytes: number): Address {
    const fitting = [...this.#idle]
      .map((address) => ({ address, size: this.#blocks.get(address)! }))
      .filter(({ size }) => size >= bytes && size <= WASTE * bytes + 256)
      .sort((a, b) => a.size - b.size)[0];
    if (fitting) {
      this.#idle.delete(fitting.address);
      this.#births.get(fitting.address)!.push(this.steps.length);
      return fitting.address;
    }
    return this.newBlock(bytes);
  }

  newBlock(bytes: number): Address {
    const address = this.#memory.allocate(bytes, 'tensors');
    this.#blocks.set(address, bytes);
    this.#births.set(address, [this.steps.length]);
    return address;
  }

  /** The block that an address lies in, and its bytes; undefined for memory of others. */
  blockOf(address: Address): { readonly base: Address; readonly bytes: number } | undefined {
    const own = this.#blocks.get(address);
    if (own !== undefined) return { base: address, bytes: own };
    for (const [base, bytes] of this.#blocks)
      if (address > base && address < base + bytes) return { base, bytes };
    return undefined;
  }

  owns(address: Address): boolean {
    return this.#blocks.has(address);
  }

  free(address: Address): void {
    this.#idle.add(address);
  }

  /** When the block at an address was given out, again and again: by how many steps there were then. Each time something else lies in it. */
  birthsOf(base: Address): readonly number[] {
    return this.#births.get(base)!;
  }

  /** Other steps that do the same, on memory of the tape's. Before the first replay. */
  replace(steps: readonly TapeStep[]): void {
    this.steps.splice(0, this.steps.length, ...steps);
  }

  /** Runs all steps again, as one job: between them no thread goes to sleep, and nothing is asked of the caller's thread. */
  replay(control: AsyncControl): void | Promise<void> {
    if (this.steps.length === 0) return;
    this.#linked ??=
      this.setting === 'chain'
        ? this.#executor.link(this.steps, this.#waves())
        : this.#executor.link(this.steps, undefined, 1);
    return this.#executor.runLinked(this.#linked, control);
  }

  /** Whether one thread is done with all steps before several are, which wait for one another. `alone` says what one takes for a step. */
  isShort(alone: (execution: Execution) => number): boolean {
    const { ms } = this;
    if (ms > SHORT_MS) return false;
    const waitMs = WAVE_MS * this.#waves().length;
    const aloneMs = this.steps.reduce((sum, { execution }) => sum + alone(execution), 0);
    return aloneMs < ms + waitMs;
  }

  #waves(): readonly Wave[] {
    return wavesOf(this.steps.map((step) => this.#touched(step)));
  }

  /** The blocks that a step touches; memory of others is only read. */
  #touched({ operands }: TapeStep): Touched | undefined {
    const { a, b, c, c0 = 0, bias, slope, quantized = 0 } = operands;
    const blockAt = (address: Address) => this.blockOf(address)?.base;
    const result = blockAt(c);
    if (result === undefined) return undefined;
    const reads = [a, b, c0, bias, slope, quantized].flatMap((address) => blockAt(address) ?? []);
    return { reads, writes: [result] };
  }

  /** Runs them one by one, to find out what each takes. */
  async replayEach(each: (step: TapeStep, ms: number) => void): Promise<void> {
    for (const step of this.steps) {
      const start = performance.now();
      const pending = this.#executor.run(step.execution, step.operands, {});
      if (pending) await pending;
      each(step, performance.now() - start);
    }
  }

  /** Gives all memory back; the tensors that were made on it must be gone. */
  dispose(): void {
    this.#linked?.release();
    this.#linked = undefined;
    for (const address of this.#blocks.keys()) this.#memory.free(address);
    this.#blocks.clear();
    this.#births.clear();
    this.#idle.clear();
    this.steps.length = 0;
  }
}
