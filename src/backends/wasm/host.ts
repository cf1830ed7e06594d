/** What the WebAssembly backend asks of the place it runs in: host-node.ts and host-web.ts answer. */
import type { Modules } from './module.ts';

export interface WorkerStart {
  readonly modules: Modules;
  /** What the team shares, or the size of a memory of the worker's own, in pages. */
  readonly memory: WebAssembly.Memory | { readonly initial: number; readonly maximum: number };
  readonly index: number;
  /** How far the thread gives way to others of the machine, from 0 to 19, where the system can do that. */
  readonly nice: number;
}

/** Messages from a worker. `job` is the number of the job that they are about. */
export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'done'; readonly job: number }
  | {
      readonly type: 'data';
      readonly id: number;
      readonly data: ArrayBuffer;
      /** Buffers of earlier writes, for further ones: memory that was touched before is several times as fast as new. */
      readonly spent: readonly ArrayBuffer[];
    }
  | { readonly type: 'fault'; readonly job: number; readonly message: string };

/** Messages to a worker with a memory of its own, done in their order. */
export type ApartMessage =
  | { readonly type: 'grow'; readonly pages: number }
  | { readonly type: 'write'; readonly at: number; readonly bytes: number; readonly data: ArrayBuffer }
  | { readonly type: 'run'; readonly job: number; readonly id: number }
  | { readonly type: 'read'; readonly at: number; readonly bytes: number; readonly id: number };

export interface WorkerHandle {
  /** For a worker with a memory of its own: the data goes over, it is not copied. */
  post(message: ApartMessage, transfer?: readonly ArrayBuffer[]): void;
  onMessage(listener: (message: WorkerMessage) => void): void;
  /** Called once, when the thread has ended for whatever reason. */
  onExit(listener: (reason: string) => void): void;
  /** Whether this worker alone keeps the process alive. */
  keepAlive(on: boolean): void;
  terminate(): Promise<void>;
}

export interface EngineReport {
  readonly name: string;
  readonly version: string;
  readonly v8: string;
  readonly arch: string;
  readonly cpu: string;
  readonly cores: number;
}

export interface Host {
  readonly engine: EngineReport;
  /** Undefined when threads that share memory are possible here, else the reason why not. */
  readonly noThreads: string | undefined;
  /** The same for any threads. */
  readonly noWorkers: string | undefined;
  /** Whether the calling thread may sleep until others are done. */
  readonly mayWait: boolean;
  startWorker(start: WorkerStart): WorkerHandle;
  /** Sets V8 flags that this engine profits from; returns those that were set, and why others were not. */
  setEngineFlags(missing: { relaxedSimd: boolean }): {
    readonly set: readonly string[];
    readonly reason: string;
  };
  /** Undefined where threads can be made to give way to others, else why not. */
  readonly noNice: string | undefined;
  /** Calls the listener whenever the machine has begun or ceased to run on its battery, and soon after this call if it does now. Undefined
   *  where that cannot be known; else what stops it. */
  watchPower(listener: (onBattery: boolean) => void): (() => void) | undefined;
  /** Undoes raw DEFLATE (RFC 1951). */
  inflate(bytes: Uint8Array): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
  /** Resolves after the event loop has had its turn. */
  yieldToEvents(): Promise<void>;
}
