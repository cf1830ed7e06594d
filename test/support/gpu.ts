/** GPUs for tests: Dawn's null backend, which checks shaders and computes nothing, and a software adapter where one is installed. */
import { existsSync } from 'node:fs';
import type { Gpu } from '../../src/backends/webgpu/api.ts';
import type { Blocks } from '../../src/backends/webgpu/backend.ts';
import { WebGpuBackend } from '../../src/backends/webgpu/backend.ts';
import { lower } from '../../src/backends/webgpu/lower.ts';
import { openGpu } from '../../src/backends/webgpu/open.ts';
import type { GpuKernel } from '../../src/kernels/gpu.ts';
import type { MatmulProblem } from '../../src/problem/matmul.ts';
import type { Values } from './problems.ts';

/** SwiftShader, as Debian's chromium brings it. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Dawn crashes when an instance is collected. */
const pinned: Gpu[] = [];

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
export function nullGpu(): Promise<Gpu | string> {
  return make(['backend=null']);
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
  if (existsSync(SWIFTSHADER)) process.env.VK_ADD_DRIVER_FILES ??= SWIFTSHADER;
  const gpu = await make([]);
  if (typeof gpu === 'string') return gpu;
  if (await gpu.requestAdapter()) return gpu;
  return 'no adapter: install a driver, or SwiftShader (apt-get install chromium-common libvulkan1)';
}

export async function openBackend(gpu: Gpu): Promise<WebGpuBackend> {
  return new WebGpuBackend(await openGpu({ gpu }), () => undefined);
}

/** One product by one row; the result lies between guards of NaN before it is written. */
export async function productOn(
  backend: WebGpuBackend,
  kernel: GpuKernel,
  p: MatmulProblem,
  values: Values,
): Promise<Float32Array> {
  const launch = lower(p, kernel);
  if (!launch) throw new Error(`${kernel.name} does not serve`);
  const pipeline = await backend.pipeline(launch);
  const result = new Float32Array(p.batch * p.m * p.n);
  const { buffers } = backend;
  const upload = (data: Float32Array | undefined) => data && buffers.upload(data);
  const blocks = Object.fromEntries(
    Object.entries({
      a: upload(values.a),
      b: upload(values.b),
      c: buffers.upload(values.c0 ?? new Float32Array(result.length).fill(Number.NaN)),
      bias: upload(values.bias),
      slope: upload(values.slope),
    }).filter(([, block]) => block !== undefined),
  ) as Blocks;
  const { alpha, beta, p0, p1 } = values;
  await backend.watched(launch.key, () => backend.record(launch, pipeline, blocks, { alpha, beta, p0, p1 }));
  await backend.download(blocks.c!, () => result);
  for (const block of Object.values(blocks)) buffers.giveBack(block);
  return result;
}
