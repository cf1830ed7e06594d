/** GPUs for tests: Dawn's null backend, which checks shaders and computes nothing, and a software adapter where one is installed. */
import { existsSync } from 'node:fs';
import { WebGpuBackend } from '../../src/backends/webgpu/backend.ts';
import { lower } from '../../src/backends/webgpu/lower.ts';
import { openGpu } from '../../src/backends/webgpu/open.ts';
import type { Gpu } from '../../src/core/webgpu.ts';
import type { GpuKernel } from '../../src/kernels/gpu.ts';
import type { GpuTrial } from '../../src/ops/gpu/array-trial.ts';

/** SwiftShader, as Debian's chromium brings it. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/**
 * Tiles in a workgroup's memory begin as zeros. SwiftShader compiles that to a store for each number of them, which takes three quarters
 * of a second for each product; Dawn's own loop does it as well.
 */
export const LOOPS_OF_ZEROS = 'disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension';

/** Dawn crashes when an instance is collected. */
const pinned: Gpu[] = [];

/**
 * Dawn's binding looks in every turn of the event loop whether something is done, for as long as anything is awaited. That is a core's
 * whole work, and a software adapter's compiler needs it: here it looks once in a millisecond. Its callbacks are the only ones without
 * a name and a text.
 */
function lookLessOften(): void {
  const immediately = globalThis.setImmediate;
  const isNative = (callback: () => void) => callback.name === '' && /\[native code\]/.test(String(callback));
  globalThis.setImmediate = Object.assign(
    (callback: () => void, ...args: []) =>
      isNative(callback) ? setTimeout(callback, 1) : immediately(callback, ...args),
    immediately,
  ) as typeof setImmediate;
}

async function make(flags: readonly string[]): Promise<Gpu | string> {
  const name = 'webgpu';
  try {
    const { create } = (await import(name)) as { create(flags: readonly string[]): Gpu };
    const gpu = create(flags);
    pinned.push(gpu);
    return gpu;
  } catch (error) {
    return `the package webgpu does not load: ${error instanceof Error ? error.message : error}`;
  }
}

/** Or why there is none. */
export function nullGpu(flags: readonly string[] = []): Promise<Gpu | string> {
  return make(['backend=null', ...flags]);
}

let software: Promise<Gpu | string> | undefined;

/** A GPU that computes: the system's, or SwiftShader; or why there is none. */
export function workingGpu(): Promise<Gpu | string> {
  software ??= find();
  return software;
}

async function find(): Promise<Gpu | string> {
  // Mesa's layer would write to standard error
  process.env.NODEVICE_SELECT ??= '1';
  const onProcessor = existsSync(SWIFTSHADER);
  if (onProcessor) {
    process.env.VK_ADD_DRIVER_FILES ??= SWIFTSHADER;
    lookLessOften();
  }
  const gpu = await make(onProcessor ? [LOOPS_OF_ZEROS] : []);
  if (typeof gpu === 'string') return gpu;
  if (await gpu.requestAdapter()) return gpu;
  return 'no adapter: install a driver, or SwiftShader (apt-get install chromium-common libvulkan1)';
}

export async function openBackend(gpu: Gpu): Promise<WebGpuBackend> {
  return new WebGpuBackend(await openGpu({ gpu }), () => undefined);
}

/** Why a row's answer to a trial is wrong, or undefined. */
export async function trialFault(
  backend: WebGpuBackend,
  trial: GpuTrial,
  row: GpuKernel,
): Promise<string | undefined> {
  const launch = lower(trial.problem, row)!;
  const pipeline = await backend.pipeline(launch);
  const operands = Object.entries(trial.operands()).map(([name, list]) => [
    name,
    backend.buffers.upload(list),
  ]);
  const c = backend.buffers.upload(trial.result().fill(Number.NaN));
  backend.record(launch, pipeline, { ...Object.fromEntries(operands), c }, trial.scalars);
  await backend.download(c, trial.result);
  const fault = trial.check();
  return fault === undefined ? undefined : `${launch.key}: ${fault}`;
}
