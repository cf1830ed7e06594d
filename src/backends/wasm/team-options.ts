/** What a team is made from, and what it tells. */
import type { Host } from './host.ts';
import type { KernelExports, Modules } from './module.ts';

/** A worker is lost: it died, got stuck, or never came up. */
export interface TeamEvent {
  readonly type: 'worker-lost';
  readonly worker: number;
  readonly reason: string;
}

export interface TeamOptions {
  readonly host: Host;
  readonly modules: Modules;
  readonly memory: WebAssembly.Memory;
  /** All words of the memory, as they are now: the memory may have grown. */
  readonly words: () => Int32Array;
  readonly exports: KernelExports;
  readonly timeoutMs: number;
  readonly onEvent: (event: TeamEvent) => void;
  /** Called when `calm` has become true again. */
  readonly onCalm: () => void;
  /** Called when a job has begun, or the last one has ended. */
  readonly onWork: () => void;
}
