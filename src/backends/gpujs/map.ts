/**
 * Maps over floats through gpu.js on a device of ours: the one place that knows that library. What it guards against:
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
const MOST_TURNS = 1_000_000_000;

/** What of gpu.js is used here; its own declarations lack most of it. */
interface GpuJs {
  readonly GPU: new (options: { mode: 'webgpu' }) => GpuJsGpu;
  readonly WebGPUContext: { acquire(): Promise<GpuJsContext> };
  readonly WebGPUBufferResult: new (options: object) => GpuJsResult;
  input(values: Float32Array, extents: readonly number[]): object;
}

interface GpuJsGpu {
  createKernel(source: string, options: object): GpuJsKernel;
  destroy(): Promise<void>;
}

interface GpuJsContext {
  readonly device: GpuDevice;
  readonly isLost: boolean;
}

interface GpuJsKernel {
  (...inputs: readonly object[]): Promise<GpuJsResult> | GpuJsResult;
  build(...inputs: readonly object[]): Promise<void> | void;
  setOutput(extents: readonly number[]): void;
  readonly kernel: { readonly constructor: { readonly mode?: string } };
}

interface GpuJsResult {
  readonly buffer: GpuBuffer;
  delete(): void;
}

export interface MapSource {
  /** A function expression named `user`. */
  readonly text: string;
  readonly arity: number;
  readonly constants: Readonly<Record<string, number>>;
}

export interface MapOutput {
  readonly buffer: GpuBuffer;
  /** Gives the buffer back; commands that use it must have been submitted. */
  delete(): void;
}

export interface GpuMap {
  /** `inputs` have as many floats as the result, or one that goes with all. */
  run(
    inputs: readonly { readonly buffer: GpuBuffer; readonly elements: number }[],
    elements: number,
  ): Promise<MapOutput>;
  close(): Promise<void>;
}

/** Kernels are made one after the other, for globals are changed meanwhile. */
let making: Promise<unknown> = Promise.resolve();

function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const next = making.then(work, work);
  making = next.catch(() => undefined);
  return next;
}

/** Shows gpu.js a `navigator.gpu` where there is none, for as long as `work` takes. */
async function withNavigator<T>(work: () => Promise<T>): Promise<T> {
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

async function load(): Promise<GpuJs> {
  return (await importOptional<{ default: GpuJs }>('gpu.js')).default;
}

/** A thread's element of an input: one that has a single element goes with all. */
function kernelText(arity: number): string {
  const names = Array.from({ length: arity }, (_, i) => `x${i}`);
  const elements = names.map((name, i) => `${name}[Math.floor(this.thread.x * s${i})]`);
  const steps = names.map((_, i) => `s${i}`);
  return `function (${[...names, ...steps].join(', ')}) { return user(${elements.join(', ')}); }`;
}

/** @throws whatever gpu.js throws, or an error where it would not run on the device. */
export function makeMap(device: GpuDevice, source: MapSource): Promise<GpuMap> {
  return inTurn(() => withNavigator(() => make(device, source)));
}

async function make(device: GpuDevice, { text, arity, constants }: MapSource): Promise<GpuMap> {
  const gpujs = await load();
  const context: GpuJsContext = { device, isLost: false };
  gpujs.WebGPUContext.acquire = () => Promise.resolve(context);
  const gpu = new gpujs.GPU({ mode: 'webgpu' });
  const kernel = gpu.createKernel(kernelText(arity), {
    output: [1],
    pipeline: true,
    immutable: true,
    dynamicOutput: true,
    dynamicArguments: true,
    constants,
    loopMaxIterations: MOST_TURNS,
    functions: [{ source: text, settings: {} }],
  });
  const one = () => gpujs.input(new Float32Array(1), [1]);
  const inputs = Array.from({ length: arity }, one);
  const steps = Array.from({ length: arity }, () => 1);
  const first = await kernel(...(inputs as object[]), ...(steps as unknown as object[]));
  first.delete();
  const { mode } = kernel.kernel.constructor;
  if (mode !== 'webgpu') throw new Error(`gpu.js would run it in mode ${mode}, not on the device`);
  return {
    async run(given, elements) {
      kernel.setOutput([elements]);
      const buffers = given.map(
        ({ buffer, elements: count }) =>
          new gpujs.WebGPUBufferResult({ buffer, output: [count], context, kernel: kernel.kernel }),
      );
      const strides = given.map(({ elements: count }) => (count === 1 && elements !== 1 ? 0 : 1));
      return kernel(...buffers, ...(strides as unknown as object[]));
    },
    close: () => gpu.destroy(),
  };
}
