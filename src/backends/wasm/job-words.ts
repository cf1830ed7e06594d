/** The words of jobs and of the team's mailbox in the shared memory, as the thread that schedules reads and writes them. */
import {
  ARENA_ADDRESS,
  CLOSED,
  JOB,
  TEAM,
  TEAM_ADDRESS,
  WORKER,
  WORKER_BYTES,
  WORKERS_ADDRESS,
} from './layout.ts';

export class JobWords {
  /** All words, as they are now: the memory may have grown. */
  readonly #all: () => Int32Array;
  /** The words below the arena, which never move. */
  readonly #fixed: Int32Array;

  constructor(all: () => Int32Array, memory: WebAssembly.Memory) {
    this.#all = all;
    this.#fixed = new Int32Array(memory.buffer, 0, ARENA_ADDRESS / 4);
  }

  read(address: number, word: number): number {
    return Atomics.load(this.#all(), (address + word) >>> 2);
  }

  isAtRest(address: number): boolean {
    return this.read(address, JOB.DONE) >= this.read(address, JOB.LIMIT);
  }

  setHelpers(address: number, helpers: number): void {
    Atomics.store(this.#all(), (address + JOB.HELPERS) >>> 2, helpers);
  }

  /** Lets records be claimed, from the first on or from where it was closed: the last thing done to a job's words. */
  open(address: number, helpers: number, at = CLOSED - this.read(address, JOB.LIMIT)): void {
    this.setHelpers(address, helpers);
    Atomics.store(this.#all(), (address + JOB.NEXT) >>> 2, at);
  }

  /** Lets no further record be claimed. Those that were claimed will be done, for they wait for none behind them. Returns where to
   *  go on, or undefined where none was left to claim. */
  shut(address: number): number | undefined {
    const next = Atomics.exchange(this.#all(), (address + JOB.NEXT) >>> 2, CLOSED);
    return next < CLOSED ? next : undefined;
  }

  /** Tells the workers of a job that is open. */
  announce(address: number): void {
    Atomics.store(this.#fixed, (TEAM_ADDRESS + TEAM.JOB) >>> 2, address);
    this.signal();
  }

  signal(): void {
    Atomics.add(this.#fixed, (TEAM_ADDRESS + TEAM.SIGNAL) >>> 2, 1);
    Atomics.notify(this.#fixed, (TEAM_ADDRESS + TEAM.SIGNAL) >>> 2);
  }

  setCores(cores: number): void {
    Atomics.store(this.#fixed, (TEAM_ADDRESS + TEAM.CORES) >>> 2, cores);
  }

  quit(): void {
    Atomics.store(this.#fixed, (TEAM_ADDRESS + TEAM.QUIT) >>> 2, 1);
    this.signal();
  }

  /** The job that a worker is inside of, or 0. */
  busyWith(index: number): number {
    return Atomics.load(this.#fixed, (WORKERS_ADDRESS + index * WORKER_BYTES + WORKER.BUSY) >>> 2);
  }

  setIdle(index: number): void {
    Atomics.store(this.#fixed, (WORKERS_ADDRESS + index * WORKER_BYTES + WORKER.BUSY) >>> 2, 0);
  }
}
