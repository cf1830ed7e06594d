/** The contract between the scheduler and whoever can run a program. */
import type { Program } from '../plan/program.ts';
import type { LinkedStep, Wave } from '../plan/waves.ts';

/** Byte address in a backend's memory; 0 is nobody's. */
export type Address = number;

/** A piece of a backend's memory that was given out. */
export interface Stored {
  readonly base: Address;
  readonly bytes: number;
}

export type Owner = 'tensors' | 'prepacked' | 'scratch' | 'runtime';

/** What changes from call to call of one program. */
export interface Call {
  readonly a: Address;
  readonly b: Address;
  readonly c: Address;
  /** What beta is applied to: a place for a copy of the old result, or a tensor to add. */
  readonly c0: Address;
  readonly bias: Address;
  /** One value per channel (prelu). */
  readonly slope: Address;
  readonly packedA: Address;
  readonly packedB: Address;
  /** Space that threads have each for themselves: `ownBytes(program, threads)`. */
  readonly own: Address;
  readonly alpha: number;
  readonly beta: number;
  /** The activation's own numbers, see `readActivation`. */
  readonly p0: number;
  readonly p1: number;
  /** Where 8-bit operands are: `a`, `b` and `c` are then what they are widened to, and where their sums are made. */
  readonly raw?: RawOperands | undefined;
}

export interface RawOperands {
  readonly a: Address;
  readonly b: Address;
  readonly out: Address;
  /** Zero points, scales and the like: a block of words, see QUANTIZED in the layout. */
  readonly quantized: Address;
  /** The space that stands in for operands and result. */
  readonly space: Address;
}

/** Who waits for a call. A call overtakes those of a lower one at the next border between two tiles. */
export const PRIORITIES = ['interactive', 'normal', 'background'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** How a call is run, besides on what. */
export interface RunControl {
  /** Default `normal`; of calls that block `interactive`, for a thread waits for them. */
  readonly priority?: Priority | undefined;
  /** Who asked: jobs of different ones take turns. Default 0. */
  readonly client?: number | undefined;
  /** Where the times of its steps go. */
  readonly trace?: Trace | undefined;
}

/** When a step was done, and by whom. */
export interface StepTime {
  /** 0 is the thread that calls, others are workers. */
  readonly thread: number;
  /** Milliseconds by the clock that all threads share, `sharedNow`. */
  readonly start: number;
  readonly end: number;
}

/** The times of a job's steps: made before the job, read while it runs or after it; holds memory until released. */
export interface Trace {
  readonly steps: number;
  /** Undefined for a step that is not done. What a step has written can be read once it has a time. */
  at(step: number): StepTime | undefined;
  release(): void;
}

/** A program made ready for calls: it may hold memory until released. */
export interface Prepared {
  readonly program: Program;
  release(): void;
}

/** A program with one of its calls. */
export interface Linked {
  readonly prepared: Prepared;
  readonly call: Call;
  /** A convolution that this one computes where it reads it (plan/pairs.ts). */
  readonly before?: { readonly prepared: Prepared; readonly call: Call } | undefined;
}

/** Several calls made ready to be run as one job; holds memory until released. */
export interface Chain {
  /** Steps of all calls together. */
  readonly steps: number;
  /** The order in which they are claimed, and their times noted. */
  readonly order: readonly LinkedStep[];
  release(): void;
}

/** A job in flight. `finished` settles once no thread touches the call's memory any more, also after a stop or a fault. */
export interface Job {
  readonly finished: Promise<void>;
  readonly total: number;
  done(): number;
  /** Skips all steps that have not begun; `finished` then rejects with `reason`. */
  stop(reason: unknown): void;
}

export interface MemoryUse {
  readonly capacity: number;
  readonly maximum: number;
  readonly used: number;
  readonly byOwner: Readonly<Record<Owner, number>>;
}

/**
 * Memory with addresses, and programs run over it. Implementations check nothing that the problem layer has checked;
 * alignment of every allocation is 64 bytes, and 128 readable bytes follow it (kernels may read past an edge, never write).
 */
export interface Backend {
  readonly name: 'wasm' | 'apart' | 'reference' | 'null';
  allocate(bytes: number, owner: Owner): Address;
  free(address: Address): void;
  /** A live view; invalid after the next allocation. */
  view(address: Address, elements: number): Float32Array;
  memoryUse(): MemoryUse;
  /** Bytes at `Call.own` that a run of a program needs where so many threads may take part in it. */
  ownBytes(program: Program, threads: number): number;
  prepare(program: Program): Prepared;
  /** Runs on the calling thread, helped by up to `threads - 1` others, and returns when all is done. */
  runSync(prepared: Prepared, call: Call, threads: number, control?: RunControl): void;
  /** Runs on other threads. */
  run(prepared: Prepared, call: Call, threads: number, control?: RunControl): Job;
  close(): Promise<void>;
}

/** A backend that can be handed many calls at once. */
export interface ChainBackend extends Backend {
  /** The programs must stay prepared as long as the chain lives. `waves` are calls that may run at the same time, `parts` how many threads
   *  may come, each of which begins with a part of its own; a backend without threads of its own takes the calls one by one. */
  link(calls: readonly Linked[], waves: readonly Wave[], parts: number): Chain;
  /** Lets threads come up for a run that will soon be given to so many of them. */
  rouse?(threads: number): void;
  trace(steps: number): Trace;
  runChainSync(chain: Chain, threads: number, control?: RunControl): void;
  runChain(chain: Chain, threads: number, control?: RunControl): Job;
}
