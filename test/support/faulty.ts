/** Modules, hosts and machines with planted faults, and what calls fail with. */

import { embeddedModules } from '../../src/backends/wasm/embedded.ts';
import type { Host, WorkerHandle, WorkerStart } from '../../src/backends/wasm/host.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import type { Modules } from '../../src/backends/wasm/module.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { KERNELS } from '../../src/kernels/table.ts';
import type { MachineProfile } from '../../src/plan/machine.ts';
import { prefixBodies } from './wasm-patch.ts';

/** The modules that a runtime takes on this engine. */
export function moduleBytes(): readonly Uint8Array<ArrayBuffer>[] {
  return embeddedModules(nodeHost);
}

/** Compiled at once, for backends that are made without a runtime. */
export function compiled(bytes: readonly Uint8Array<ArrayBuffer>[] = moduleBytes()): Modules {
  return bytes.map((one) => new WebAssembly.Module(one)) as unknown as Modules;
}

/** Names of the kernels that they have. */
export function kernelNames(): string[] {
  const exported = new Set(
    moduleBytes().flatMap((bytes) =>
      WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name),
    ),
  );
  return KERNELS.map(({ name }) => name).filter((name) => exported.has(name));
}

/** This engine's modules with code in front of every kernel. */
export function faultyBytes(code: readonly number[]): readonly Uint8Array<ArrayBuffer>[] {
  return prefixBodies(moduleBytes(), kernelNames(), code);
}

/** A machine on which everything is slow, so that every async call is worth the team, and the more threads the better. */
export const SLOW_MACHINE: MachineProfile = {
  peakGflops: 0.01,
  readGBs: 10,
  readGBsAllThreads: 10,
  wakeUs: 1,
  kernelGflops: Object.fromEntries(KERNELS.map(({ name, mr, nr }) => [name, 0.001 + 0.0001 * mr * nr])),
};

/** A host that lets a test see, and replace, what starts. */
export interface WatchedHost extends Host {
  /** Every worker that was started, in order. */
  readonly started: { readonly index: number; readonly handle: WorkerHandle; gone: boolean }[];
}

/** `start` may return another start's data (a faulty module) or a handle of its own, or throw. */
export function watchedHost(
  replace: (start: WorkerStart, nth: number) => WorkerStart | WorkerHandle = (start) => start,
): WatchedHost {
  const started: WatchedHost['started'] = [];
  return {
    ...nodeHost,
    started,
    startWorker: (start) => {
      const chosen = replace(start, started.length);
      const handle = 'terminate' in chosen ? chosen : nodeHost.startWorker(chosen);
      const entry = { index: start.index, handle, gone: false };
      handle.onExit(() => {
        entry.gone = true;
      });
      started.push(entry);
      return handle;
    },
  };
}

/** Ends workers; is over when their runtime has heard of it. A call that they were part of may be over before they are:
 *  the next one would then be the one that loses them. */
export async function end(handles: readonly WorkerHandle[]): Promise<void> {
  // a runtime without calls lets its workers hold no process
  const hold = setInterval(() => undefined, 1000);
  await Promise.all(handles.map((handle) => handle.terminate()));
  clearInterval(hold);
}

/** Ends all workers that still live. */
export const endAll = ({ started }: WatchedHost) =>
  end(started.filter(({ gone }) => !gone).map(({ handle }) => handle));

/** A worker that was never heard of: it answers nothing, but can be ended; a deaf one not even that. */
export function silentHandle(isDeaf = false): WorkerHandle {
  const listeners: ((reason: string) => void)[] = [];
  return {
    post: () => undefined,
    onMessage: () => undefined,
    onExit: (listener) => listeners.push(listener),
    keepAlive: () => undefined,
    terminate: async () => {
      if (!isDeaf) for (const listener of listeners.splice(0)) listener('ended');
    },
  };
}

/** What a promise or a function fails with; undefined if it does not. */
export async function failure(run: (() => unknown) | Promise<unknown>): Promise<unknown> {
  try {
    await (typeof run === 'function' ? run() : run);
    return undefined;
  } catch (error) {
    return error ?? 'undefined was thrown';
  }
}

/** The error's code, `none` where nothing failed, or a foreign error in words. */
export async function codeOf(run: (() => unknown) | Promise<unknown>): Promise<string> {
  const error = await failure(run);
  if (error === undefined) return 'none';
  return error instanceof TesseraeError ? error.code : `foreign: ${String(error)}`;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until something holds; false after too long. */
export async function until(holds: () => boolean, ms = 10_000): Promise<boolean> {
  const end = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > end) return false;
    await sleep(2);
  }
  return true;
}
