/** The contracts of the bench: who takes part, what an opened problem can do, what a race yields. */
import type { Shape } from '../shapes/index.ts';
import type { Operands } from './operands.ts';
import type { Summary } from './stats.ts';
import type { MeasuredError, Result, Verdict, VerifyMethod } from './verify.ts';

/** Milliseconds from any fixed point; injected, so that the tests use a fake one. */
export type Clock = () => number;

export interface ContestantInfo {
  /** `tesserae`, or the peer's id. */
  readonly id: string;
  readonly version: string;
  /** Threads that it really computes with, as far as it tells. */
  readonly threads: number;
  /** What one timed call includes. */
  readonly includes: string;
}

/** A library with an adapter: what the adapters in peers/ implement. */
export interface Peer {
  readonly info: ContestantInfo;
  /** Readies a product for timing: operands are placed where the library wants them, untimed. */
  prepare(operands: Operands): Promise<Prepared | Unsupported>;
  dispose(): Promise<void>;
}

export interface Prepared {
  /** One call, as a user of the library writes it. A promise is awaited inside the timing, anything else is not. */
  run(): unknown;
  /** Fills the output with NaN (integers: with the smallest) where `run` writes into one that exists; others make a fresh one each time. */
  poison?(): void;
  /** Waits for what the runs have begun, at the end of a timed row of them. */
  finish?(): Promise<void>;
  /** The answer of the latest `run`, copied out. Untimed. */
  result(): Promise<Result>;
  /** The recipe that was used, for those who can tell. */
  plan?(): string;
  /** Milliseconds of a run by the device's own clock, for those who can tell. Untimed. */
  deviceMs?(): Promise<number | undefined>;
  dispose(): void;
}

export interface Absent {
  readonly absent: string;
}

export interface Unsupported {
  readonly unsupported: string;
}

export interface PeerOptions {
  readonly threads: number;
  /** Folders to resolve packages from, first come first served. */
  readonly searchFrom: readonly string[];
  /** For those on a GPU: operands and results stay there. Default: from memory to memory. */
  readonly resident?: boolean;
}

/** How a peer is found: the id is its name on the command line and in the tables. */
export interface PeerAdapter {
  readonly id: string;
  /** Computes on a GPU, and is compared with ours there. */
  readonly onGpu?: true;
  load(options: PeerOptions): Promise<Peer | Absent>;
}

/** A contestant as the race sees it; local or in another process. */
export interface Contestant {
  readonly info: ContestantInfo;
  open(shape: Shape): Promise<Entry | Unsupported>;
  close(): Promise<void>;
}

/** One contestant's opened problem. */
export interface Entry {
  /** Milliseconds of the very first call, and the verdict on a second one into a poisoned output; where the first
   *  took longer than `slowMs`, the verdict is on that one. */
  first(slowMs: number): Promise<FirstRun>;
  /** Runs until `ms` have passed. */
  warmUp(ms: number): Promise<void>;
  /** Milliseconds that `iterations` calls took together, after an opening that does not count. */
  sample(iterations: number): Promise<number>;
  /** Checks the latest answer again. */
  verify(): Promise<Verdict>;
  plan(): Promise<string | undefined>;
  deviceMs(): Promise<number | undefined>;
  release(): Promise<void>;
}

export interface FirstRun {
  readonly ms: number;
  readonly verdict: Verdict;
}

/** What the race found about one contestant and one shape. */
export type Outcome =
  | ({
      readonly id: string;
      readonly status: 'timed';
      readonly firstMs: number;
      readonly iterations: number;
      /** Milliseconds per call, in the order taken. */
      readonly samples: readonly number[];
      readonly summary: Summary;
      readonly verified: VerifyMethod;
      readonly plan?: string;
      /** Milliseconds of a call by the device's own clock, where it offers timestamps. */
      readonly deviceMs?: number;
    } & MeasuredError)
  | ({
      readonly id: string;
      readonly status: 'slow';
      readonly firstMs: number;
      readonly verified: VerifyMethod;
    } & MeasuredError)
  | { readonly id: string; readonly status: 'wrong'; readonly reason: string }
  | { readonly id: string; readonly status: 'failed'; readonly reason: string }
  | { readonly id: string; readonly status: 'unsupported'; readonly reason: string };

export function isAbsent(value: Peer | Absent): value is Absent {
  return 'absent' in value;
}

export function isUnsupported<T extends object>(value: T | Unsupported): value is Unsupported {
  return 'unsupported' in value;
}
