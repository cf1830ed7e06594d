/** Maps over floats through gpu.js on a device of ours: buffers in, a buffer out, nothing leaves the device. */
import type { GpuBuffer, GpuDevice } from '../../core/webgpu.ts';
import {
  checkMode,
  type GpuJsResult,
  inTurn,
  loadGpuJs,
  MOST_TURNS,
  shareDevice,
  withNavigator,
} from './library.ts';

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

/** A thread's element of an input: one that has a single element goes with all. */
function kernelText(arity: number): string {
  const names = Array.from({ length: arity }, (_, i) => `x${i}`);
  const elements = names.map((name, i) => `${name}[Math.floor(this.thread.x * s${i})]`);
  const steps = names.map((_, i) => `s${i}`);
  return `function (${[...names, ...steps].join(', ')}) { return user(${elements.join(', ')}); }`;
}

/** @throws whatever gpu.js throws, or an error where it would not run on the device. */
export function makeMap(device: GpuDevice, source: MapSource, given?: unknown): Promise<GpuMap> {
  return inTurn(() => withNavigator(() => make(device, source, given)));
}

async function make(
  device: GpuDevice,
  { text, arity, constants }: MapSource,
  given: unknown,
): Promise<GpuMap> {
  const gpujs = await loadGpuJs(given);
  const context = shareDevice(gpujs, device);
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
  const first = (await kernel(...inputs, ...(steps as unknown as object[]))) as GpuJsResult;
  first.delete();
  checkMode(kernel, 'webgpu');
  return {
    async run(buffers, elements) {
      kernel.setOutput([elements]);
      const results = buffers.map(
        ({ buffer, elements: count }) =>
          new gpujs.WebGPUBufferResult({ buffer, output: [count], context, kernel: kernel.kernel }),
      );
      const strides = buffers.map(({ elements: count }) => (count === 1 && elements !== 1 ? 0 : 1));
      return (await kernel(...results, ...(strides as unknown as object[]))) as GpuJsResult;
    },
    close: () => gpu.destroy(),
  };
}
