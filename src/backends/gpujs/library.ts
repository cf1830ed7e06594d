/**
 * gpu.js behind a small typed interface: the one place that loads it. What is guarded against, here and by those who use it:
 * - it asks the global `navigator.gpu` whether there is WebGPU, and a singleton for the device: both are set for the moment that a
 *   kernel is made, one kernel at a time;
 * - it falls back to the processor without a word: the mode that came out is looked at;
 * - indices are floats, exact below 2^24 only: more elements are refused;
 * - loops whose bound is no constant end after 1,000 turns without a word, unless more are allowed;
 * - results of one kernel overwrite one another unless they are immutable.
 */
import { importOptional } from '../../core/optional.ts';
import type { GpuBuffer, GpuDevice } from '../../core/webgpu.ts';

/** Floats are exact indices below this. */
export const MOST_ELEMENTS = 2 ** 24;
/** Turns of a loop. */
export const MOST_TURNS = 1_000_000_000;

export type GpuJsMode = 'webgpu' | 'webgl2' | 'cpu';

/** What of gpu.js is used here; its own declarations lack most of it. */
export interface GpuJs {
  readonly GPU: {
    new (options: { mode: GpuJsMode }): GpuJsGpu;
    readonly isWebGL2Supported: boolean;
  };
  readonly WebGPUContext: { acquire(): Promise<GpuJsContext> };
  readonly WebGPUBufferResult: new (options: object) => GpuJsResult;
  input(values: Float32Array, extents: readonly number[]): object;
}

export interface GpuJsGpu {
  /** Of WebGL. */
  readonly context?: WebGL2RenderingContext;
  createKernel(source: string, options: object): GpuJsKernel;
  destroy(): Promise<void>;
}

export interface GpuJsContext {
  readonly device: GpuDevice;
  readonly isLost: boolean;
}

export interface GpuJsKernel {
  (...inputs: readonly object[]): unknown;
  build(...inputs: readonly object[]): Promise<void> | void;
  setOutput(extents: readonly number[]): void;
  destroy(): void;
  readonly kernel: { readonly constructor: { readonly mode?: string } };
}

export interface GpuJsResult {
  readonly buffer: GpuBuffer;
  delete(): void;
}

/** Kernels are made one after the other, for globals are changed meanwhile. */
let making: Promise<unknown> = Promise.resolve();

export function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const next = making.then(work, work);
  making = next.catch(() => undefined);
  return next;
}

/** Shows gpu.js a `navigator.gpu` where there is none, for as long as `work` takes. */
export async function withNavigator<T>(work: () => Promise<T>): Promise<T> {
  const globals = globalThis as { navigator?: { gpu?: unknown } };
  const hadNavigator = globals.navigator !== undefined;
  if (!hadNavigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  const navigator = globals.navigator!;
  const hadGpu = navigator.gpu !== undefined;
  if (!hadGpu) Object.defineProperty(navigator, 'gpu', { value: {}, configurable: true });
  try {
    return await work();
  } finally {
    if (!hadGpu) Reflect.deleteProperty(navigator, 'gpu');
    if (!hadNavigator) Reflect.deleteProperty(globalThis, 'navigator');
  }
}

/** The package, or what the caller has loaded: a page cannot find it by name. */
export async function loadGpuJs(given?: unknown): Promise<GpuJs> {
  const module = (given ?? (await importOptional('gpu.js'))) as { readonly default?: GpuJs };
  const library = (module.default ?? module) as GpuJs;
  if (typeof library.GPU === 'function' && typeof library.input === 'function') return library;
  throw new Error('what was given is not gpu.js');
}

/** Lets gpu.js compute on a device of ours. */
export function shareDevice(gpujs: GpuJs, device: GpuDevice): GpuJsContext {
  const context: GpuJsContext = { device, isLost: false };
  gpujs.WebGPUContext.acquire = () => Promise.resolve(context);
  return context;
}

/** @throws where gpu.js would run a kernel elsewhere than it was asked to. */
export function checkMode({ kernel }: GpuJsKernel, mode: GpuJsMode): void {
  const actual = kernel.constructor.mode;
  // its WebGL kernels say that they are of the GPU
  const expected = mode === 'webgl2' ? 'gpu' : mode;
  if (actual !== expected) throw new Error(`gpu.js would run it in mode ${actual}, not ${expected}`);
}
