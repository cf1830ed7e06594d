/** Modules, hosts and machines with planted faults, and products whose results are known to the last bit. */

import { embeddedModules } from '../../src/backends/wasm/backend.ts';
import type { Host, WorkerHandle, WorkerStart } from '../../src/backends/wasm/host.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { KERNELS } from '../../src/kernels/table.ts';
import type { ArrayWithShape, Runtime, Tensor } from '../../src/ops/types.ts';
import type { MachineProfile } from '../../src/plan/machine.ts';
import { prefixBodies } from './wasm-patch.ts';

/** The modules that a runtime takes on this engine. */
export function moduleBytes(): readonly Uint8Array<ArrayBuffer>[] {
  return embeddedModules(nodeHost);
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

/** A worker that was never heard of: it answers nothing, but can be ended; a deaf one not even that. */
export function silentHandle(isDeaf = false): WorkerHandle {
  const listeners: ((reason: string) => void)[] = [];
  return {
    onMessage: () => undefined,
    onExit: (listener) => listeners.push(listener),
    keepAlive: () => undefined,
    terminate: async () => {
      if (!isDeaf) for (const listener of listeners.splice(0)) listener('ended');
    },
  };
}

export interface Product {
  readonly a: ArrayWithShape;
  readonly b: ArrayWithShape;
  readonly expected: Float32Array;
}

/** Small whole numbers: every order of summing gives the same bits, so a single wrong or missing element shows. */
export function wholeProduct(m: number, k: number, n: number, salt = 1): Product {
  const fill = (count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, i) => ((Math.imul(i + 1, seed) >>> 7) % 7) - 3);
  const [a, b] = [fill(m * k, 2654435761 + 2 * salt), fill(k * n, 2246822519 + 2 * salt)];
  const expected = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let x = 0; x < k; x++) {
      const factor = a[i * k + x]!;
      for (let j = 0; j < n; j++) expected[i * n + j]! += factor * b[x * n + j]!;
    }
  }
  return { a: { data: a, shape: [m, k] }, b: { data: b, shape: [k, n] }, expected };
}

/** The first wrong element in words, or undefined. Disposes the result. */
export function wrong(result: Tensor, { expected }: Product): string | undefined {
  const { data } = result;
  const at = data.length === expected.length ? data.findIndex((value, i) => value !== expected[i]) : 0;
  const found = at < 0 ? undefined : `element ${at} is ${data[at]}, not ${expected[at]}`;
  result.dispose();
  return found;
}

export async function wrongAsync(rt: Runtime, product: Product): Promise<string | undefined> {
  return wrong(await rt.matmul(product.a, product.b), product);
}

export function wrongSync(rt: Runtime, product: Product): string | undefined {
  return wrong(rt.matmulSync(product.a, product.b), product);
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
