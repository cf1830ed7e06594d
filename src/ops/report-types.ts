/** What a runtime tells of itself: plain data, a fresh snapshot at each question. Part of the public contract in types.ts. */
import type { AdapterReport } from '../backends/webgpu/open.ts';
import type { GpuProfile } from '../plan/gpu.ts';
import type { MachineProfile } from '../plan/machine.ts';
import type { Candidate, Effort, Plan } from '../plan/plan.ts';
import type { Problem } from '../problem/problem.ts';
import type { Budget, PauseReason } from '../schedule/pacer.ts';

export type Numerics = 'fast' | 'exact';
export type Policy = 'auto' | 'strict';

export interface TuneReport {
  readonly key: string;
  readonly plan: Plan;
  readonly ms: number;
  /** Milliseconds of the plan that the estimate alone would have used, in the same race. */
  readonly estimateMs: number;
  readonly measured: number;
  readonly candidates: number;
}

export interface Explanation {
  readonly key: string;
  readonly problem: Problem;
  readonly plan: Plan;
  /** Where the plan comes from. */
  readonly source: 'wisdom' | 'estimate';
  readonly effort: Effort;
  /** Best first; a measured time where there is one, an estimate else. */
  readonly candidates: readonly Candidate[];
  readonly quarantined: readonly { readonly kernel: string; readonly reason: string }[];
}

export interface FeatureReport {
  readonly name: 'simd' | 'relaxed-simd' | 'revectorize' | 'shared-memory' | 'threads';
  readonly on: boolean;
  /** Why it is off, or what turned it on. */
  readonly reason: string;
}

export interface RuntimeInfo {
  readonly version: string;
  readonly engine: {
    readonly name: string;
    readonly version: string;
    readonly v8: string;
    readonly arch: string;
  };
  readonly features: readonly FeatureReport[];
  readonly threads: {
    readonly requested: number;
    readonly actual: number;
    /** `shared`: one memory for all. `private`: each has its own, and values are sent. */
    readonly memory: 'shared' | 'private';
    readonly reason: string;
  };
  readonly numerics: Numerics;
  readonly policy: Policy;
  readonly backends: readonly {
    readonly name: string;
    readonly available: boolean;
    readonly reason: string;
  }[];
  /** V8 flags that this library set, in order; empty unless `engineFlags: 'allow'`. */
  readonly engineFlags: readonly string[];
  /** The GPU's own name, whether it is a processor that stands in for one, and what a probe measured; undefined without one. */
  readonly gpu: GpuReport | undefined;
  /** What the short probe of the machine found (also kept in wisdom). */
  readonly machine: MachineReport;
  readonly wisdom: { readonly source: string; readonly entries: number; readonly signature: string };
  /** What the runtime may take of the machine now. */
  readonly budget: BudgetReport;
  readonly closed: boolean;
}

/** `apart`: threads that each have a memory of their own. `host`: functions of the caller's, in JavaScript on the calling thread. */
export type BackendName = 'wasm' | 'apart' | 'webgpu' | 'gpujs' | 'reference' | 'host';

/** A stretch of time in which something was computed. */
export interface Span {
  /** A call's operation, or one of its steps: a tile, a stretch of packing. */
  readonly kind: 'op' | 'step';
  /** Number of the operation, also of the one that a step belongs to. */
  readonly op: number;
  /** `matmul`, `conv`...; of a step what it does, `tile`, `packB`... */
  readonly name: string;
  readonly backend: BackendName;
  /** Of steps: 0 is the thread that called, others are workers. */
  readonly thread?: number;
  /** Milliseconds since the profile began. */
  readonly startMs: number;
  readonly ms: number;
  /** Of operations the problem and the kernel, what it waited for its turn (ms), what node of a model it is, what it took by the GPU's own
   *  clock (ms); of steps which rows, columns and slice of k. */
  readonly details: Readonly<Record<string, string | number>>;
}

/** One event of Chrome's trace event format. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'b' | 'e' | 'M';
  readonly cat?: string;
  readonly ts: number;
  readonly dur?: number;
  readonly pid: number;
  readonly tid: number;
  readonly id?: number;
  readonly args: Readonly<Record<string, string | number>>;
}

/** What `rt.profile` found. */
export interface Profile<T> {
  /** What the profiled function resolved to. */
  readonly result: T;
  readonly ms: number;
  /** In the order of their beginnings. */
  readonly spans: readonly Span[];
  /** A trace for chrome://tracing and ui.perfetto.dev: write it to a file with JSON.stringify. */
  chromeTrace(): { readonly traceEvents: readonly TraceEvent[]; readonly displayTimeUnit: 'ms' };
}

/** What `rt.budget` takes; what is left out stays as it is. */
export type BudgetOptions = Partial<Budget>;

export interface BudgetReport extends Budget {
  /** Why calls stand aside now: `rt.pause()`, or the battery. Empty while nothing keeps them. */
  readonly paused: readonly PauseReason[];
  /** What was asked for and cannot be had here, and why. */
  readonly missing: readonly string[];
}

export interface GpuReport extends AdapterReport {
  readonly profile: GpuProfile;
  /** Bytes of blocks in use, and of those kept for further use. */
  readonly memory: { readonly used: number; readonly kept: number };
}

/** What the short probe, or `measureMachine`, found. */
export type MachineReport = MachineProfile;

export interface MemoryReport {
  /** Bytes of the WebAssembly memory now, its maximum, and what is handed out. */
  readonly capacity: number;
  readonly maximum: number;
  readonly used: number;
  readonly byOwner: {
    readonly tensors: number;
    readonly prepacked: number;
    readonly scratch: number;
    readonly runtime: number;
  };
  readonly tensors: number;
}
