/**
 * A recording of calls, to be run again and again on other values: what is executed, with the memory that it is executed in. Nothing is
 * checked or planned a second time. While recording nothing is executed either: the first replay does it, away from the calling thread; until
 * then results hold no values. Where the recorder must know some, it spoils the tape, and all is executed as it comes. Memory that was given
 * back while recording serves later calls: a replay needs no more than the calls need at their peak.
 */
import type { Address, Stored } from '../backends/types.ts';
import { isFirst } from '../plan/pairs.ts';
import type { Setting } from '../plan/planner.ts';
import { type Touched, type Wave, wavesOf } from '../plan/waves.ts';
import type { AsyncControl, Execution, Executor, LinkedCalls, PlannedCall } from '../schedule/execute.ts';
import type { Operands } from '../schedule/operands.ts';
import { pairsOf } from './pairs.ts';

export interface TapeStep extends PlannedCall {
  /** What the recorder was at. */
  readonly label: string;
}

/** Hears of steps that were run one by one; `within` is the step that has computed this one where it reads it, if one has. */
export type EachStep = (step: TapeStep, ms: number, within?: TapeStep) => void;

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
  /** What was found for addresses, since there was one more block; null for memory of others. */
  readonly #places = new Map<Address, Stored | null>();
  /** Blocks that nothing lies in, and how many steps there were when that began. */
  readonly #idle = new Map<Address, number>();
  readonly #births = new Map<Address, number[]>();
  /** How its calls are planned. */
  readonly setting: TapeSetting;
  /** Convolutions that compute the one before them where they read it, and that one. */
  #pairs: ReadonlyMap<TapeStep, TapeStep> = new Map();
  #linked: LinkedCalls | undefined;
  #ms = 0;
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
    return this.#ms;
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
    if (Number.isFinite(execution.ms)) this.#ms += execution.ms;
    if (this.#spoiled !== undefined) this.#catchUp();
    // here, where recorders rest now and then, and not for all steps at once when they are linked
    else this.#executor.prepare(execution);
    this.#executor.expect(this.ms, this.setting === 'chain' ? undefined : 1);
  }

  #catchUp(): void {
    while (this.#executed < this.steps.length) {
      const { execution, operands } = this.steps[this.#executed++]!;
      this.#executor.runSync(execution, operands);
    }
  }

  allocate(bytes: number): Address {
    const fitting = this.#fitting(bytes);
    if (fitting === undefined) return this.newBlock(bytes);
    this.#idle.delete(fitting);
    this.#births.get(fitting)!.push(this.steps.length);
    return fitting;
  }

  /** The smallest idle block that is large enough and not much larger. */
  #fitting(bytes: number): Address | undefined {
    const before = this.#mayGoOn ? this.steps.length : this.steps.length + 1;
    let [found, least] = [undefined as Address | undefined, WASTE * bytes + 256];
    for (const [address, since] of this.#idle) {
      const size = this.#blocks.get(address)!;
      if (since >= before || size < bytes || size > least || (size === least && found !== undefined))
        continue;
      [found, least] = [address, size];
    }
    return found;
  }

  newBlock(bytes: number): Address {
    const address = this.#memory.allocate(bytes, 'tensors');
    this.#blocks.set(address, bytes);
    this.#places.clear();
    this.#births.set(address, [this.steps.length]);
    return address;
  }

  /** The block that an address lies in, and its bytes; undefined for memory of others. */
  blockOf(address: Address): Stored | undefined {
    const known = this.#places.get(address);
    if (known !== undefined) return known ?? undefined;
    let found: Stored | null = null;
    for (const [base, bytes] of this.#blocks) {
      if (address !== base && (address < base || address >= base + bytes)) continue;
      found = { base, bytes };
      break;
    }
    this.#places.set(address, found);
    return found ?? undefined;
  }

  owns(address: Address): boolean {
    return this.#blocks.has(address);
  }

  free(address: Address): void {
    this.#idle.set(address, this.steps.length);
  }

  /** Whether the next step may compute the last one where it reads it: what that one has read is then still read. */
  get #mayGoOn(): boolean {
    const last = this.steps.at(-1);
    return last !== undefined && isFirst(last.execution);
  }

  /** When the block at an address was given out, again and again: by how many steps there were then. Each time something else lies in it. */
  birthsOf(base: Address): readonly number[] {
    return this.#births.get(base)!;
  }

  /** Other steps that do the same, on memory of the tape's. Before the first replay. */
  replace(steps: readonly TapeStep[]): void {
    this.steps.splice(0, this.steps.length, ...steps);
    this.#ms = steps.reduce((sum, { execution: { ms } }) => sum + (Number.isFinite(ms) ? ms : 0), 0);
  }

  /** Lets convolutions go as one where the next steps allow it; `wanted` is read after a replay. Before the first replay, and after `replace`. */
  pair(wanted: readonly Address[]): void {
    this.#pairs = pairsOf(this.steps, (address) => this.blockOf(address)?.base, wanted);
  }

  /** The steps as they are run together. */
  #joined(): readonly (TapeStep & PlannedCall)[] {
    const firsts = new Set(this.#pairs.values());
    return this.steps
      .filter((step) => !firsts.has(step))
      .map((step) => ({ before: this.#pairs.get(step), ...step }));
  }

  /** Runs all steps again, as one job: between them no thread goes to sleep, and nothing is asked of the caller's thread. */
  replay(control: AsyncControl): void | Promise<void> {
    if (this.steps.length === 0) return;
    this.#linked ??= this.#link();
    return this.#executor.runLinked(this.#linked, control);
  }

  #link(): LinkedCalls {
    const calls = this.#joined();
    return this.setting === 'chain'
      ? this.#executor.link(calls, this.#waves(calls))
      : this.#executor.link(calls, undefined, 1);
  }

  /** Whether one thread is done with all steps before several are, which wait for one another. `alone` says what one takes for a step. */
  isShort(alone: (execution: Execution) => number): boolean {
    const { ms } = this;
    if (ms > SHORT_MS) return false;
    const waitMs = WAVE_MS * this.#waves(this.steps).length;
    const aloneMs = this.steps.reduce((sum, { execution }) => sum + alone(execution), 0);
    return aloneMs < ms + waitMs;
  }

  #waves(calls: readonly PlannedCall[]): readonly Wave[] {
    return wavesOf(calls.map((call) => this.#touched(call)));
  }

  /** The blocks that a call touches; memory of others is only read. Of a pair what lies between the two is not touched. */
  #touched({ operands, before }: PlannedCall): Touched | undefined {
    const { a, b, c, c0 = 0, bias, slope, quantized = 0 } = operands;
    const blockAt = (address: Address) => this.blockOf(address)?.base;
    const result = blockAt(c);
    if (result === undefined) return undefined;
    const read = [a, before ? before.operands.b : b, c0, bias, slope, quantized];
    return { reads: read.flatMap((address) => blockAt(address) ?? []), writes: [result] };
  }

  /** Runs them one by one, to find out what each takes. The first of a pair takes nothing: `within` is what computes it. */
  async replayEach(each: EachStep): Promise<void> {
    const seconds = new Map([...this.#pairs].map(([second, first]) => [first, second]));
    for (const step of this.steps) {
      const within = seconds.get(step);
      if (within) each(step, 0, within);
      else each(step, await this.#timed(step));
    }
  }

  async #timed(step: TapeStep): Promise<number> {
    const before = this.#pairs.get(step);
    const linked =
      before && this.#executor.link([{ ...step, before }], undefined, step.execution.plan.threads);
    try {
      const start = performance.now();
      const pending = linked
        ? this.#executor.runLinked(linked, {})
        : this.#executor.run(step.execution, step.operands, {});
      if (pending) await pending;
      return performance.now() - start;
    } finally {
      linked?.release();
    }
  }

  /** Gives all memory back; the tensors that were made on it must be gone. */
  dispose(): void {
    this.#linked?.release();
    this.#linked = undefined;
    for (const address of this.#blocks.keys()) this.#memory.free(address);
    this.#blocks.clear();
    this.#places.clear();
    this.#births.clear();
    this.#idle.clear();
    this.steps.length = 0;
  }
}
