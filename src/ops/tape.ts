/**
 * A recording of calls, to be run again on other values: what was executed, with the memory that it was executed in. Nothing is checked
 * or planned a second time. Memory that was given back while recording has served later calls, and does so again: a replay needs no
 * more than the calls needed at their peak.
 */
import type { Address } from '../backends/types.ts';
import type { AsyncControl, Execution, Executor, Operands } from '../schedule/execute.ts';

export interface TapeStep {
  readonly execution: Execution;
  readonly operands: Operands;
  /** What the recorder was at. */
  readonly label: string;
}

/** The memory that tapes take from and give back to. */
export interface TapeMemory {
  allocate(bytes: number, owner: 'tensors'): Address;
  free(address: Address): void;
}

/** A block that is this much larger than what is wanted is left for others. */
const WASTE = 1.5;

export class Tape {
  readonly steps: TapeStep[] = [];
  readonly #memory: TapeMemory;
  readonly #blocks = new Map<Address, number>();
  readonly #idle = new Set<Address>();
  #label = '';
  #spoiled: string | undefined;

  constructor(memory: TapeMemory) {
    this.#memory = memory;
  }

  /** Why a replay would not give what the calls gave, or undefined. */
  get spoiled(): string | undefined {
    return this.#spoiled;
  }

  get bytes(): number {
    return [...this.#blocks.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Says what the next calls are for. */
  at(label: string): void {
    this.#label = label;
  }

  spoil(reason: string): void {
    this.#spoiled ??= reason;
  }

  add(execution: Execution, operands: Operands): void {
    this.steps.push({ execution, operands, label: this.#label });
  }

  allocate(bytes: number): Address {
    const fitting = [...this.#idle]
      .map((address) => ({ address, size: this.#blocks.get(address)! }))
      .filter(({ size }) => size >= bytes && size <= WASTE * bytes + 256)
      .sort((a, b) => a.size - b.size)[0];
    if (fitting) {
      this.#idle.delete(fitting.address);
      return fitting.address;
    }
    const address = this.#memory.allocate(bytes, 'tensors');
    this.#blocks.set(address, bytes);
    return address;
  }

  owns(address: Address): boolean {
    return this.#blocks.has(address);
  }

  free(address: Address): void {
    this.#idle.add(address);
  }

  /** Runs all steps again; short ones at once, long ones on the team. */
  async replay(
    executor: Executor,
    control: AsyncControl,
    each?: (step: TapeStep, ms: number) => void,
  ): Promise<void> {
    for (const step of this.steps) {
      const start = each ? performance.now() : 0;
      const pending = executor.run(step.execution, step.operands, control);
      if (pending) await pending;
      if (each) each(step, performance.now() - start);
      if (control.signal?.aborted) control.signal.throwIfAborted();
    }
  }

  /** Gives all memory back; the tensors that were made on it must be gone. */
  dispose(): void {
    for (const address of this.#blocks.keys()) this.#memory.free(address);
    this.#blocks.clear();
    this.#idle.clear();
    this.steps.length = 0;
  }
}
