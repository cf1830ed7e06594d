/** One product on a device, in Node or in a page. */
import type { Blocks, WebGpuBackend } from '../../src/backends/webgpu/backend.ts';
import { convert, prepareHalves } from '../../src/backends/webgpu/halves.ts';
import { lower } from '../../src/backends/webgpu/lower.ts';
import type { GpuKernel } from '../../src/kernels/gpu.ts';
import { isHalf } from '../../src/problem/halves.ts';
import type { MatmulProblem } from '../../src/problem/matmul.ts';
import type { Values } from './problems.ts';

/** One product by one row, `kc` steps of k a workgroup; the result lies between guards of NaN before it is written. */
export async function productOn(
  backend: WebGpuBackend,
  kernel: GpuKernel,
  p: MatmulProblem,
  values: Values,
  kc?: number,
): Promise<Float32Array> {
  const launch = lower(p, kernel, kc);
  if (!launch) throw new Error(`${kernel.name} does not serve`);
  const pipeline = await backend.pipeline(launch);
  const result = new Float32Array(p.batch * p.m * p.n);
  const { buffers } = backend;
  const upload = (data: Float32Array | undefined) => data && buffers.upload(data);
  if (p.halves !== 'none') await prepareHalves(backend);
  const side = (name: 'a' | 'b') => {
    const block = buffers.upload(values[name]);
    return isHalf(p.halves, name) ? convert(backend, block, values[name].length, 'f16') : block;
  };
  const blocks = Object.fromEntries(
    Object.entries({
      a: side('a'),
      b: side('b'),
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
