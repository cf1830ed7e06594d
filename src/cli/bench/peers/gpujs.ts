/**
 * gpu.js with the product that its own documentation shows: each element of the result sums its row and its column, nothing is shared.
 * On WebGPU through Dawn. A timed call takes JavaScript arrays in and gives one out.
 */
import type { MatmulOperands, Operands } from '../operands.ts';
import type { PeerAdapter, Prepared, Unsupported } from '../types.ts';
import { provideWebgpu } from './dawn.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

type Rows = readonly Float32Array[];
type Kernel = (a: object, b: object) => Rows | Promise<Rows>;

interface GpuJs {
  readonly GPU: new (options: {
    mode: 'webgpu';
  }) => {
    createKernel(source: string, options: object): Kernel & { destroy(): void };
  };
  input(values: Float32Array, extents: readonly number[]): object;
}

export const gpujsWebgpu: PeerAdapter = {
  id: 'gpu.js',
  onGpu: true,
  async load({ searchFrom, resident = false }) {
    const found = findPackage('gpu.js', searchFrom);
    if ('absent' in found) return found;
    const absent = await provideWebgpu(searchFrom);
    if (absent) return absent;
    try {
      const gpujs = await importPackage<GpuJs>(found, 'GPU');
      const gpu = new gpujs.GPU({ mode: 'webgpu' });
      const info = {
        id: 'gpu.js',
        version: found.version,
        threads: 1,
        includes: 'a kernel of one element each, from arrays to arrays',
      };
      const prepare = async (operands: Operands) =>
        resident || operands.kind !== 'matmul'
          ? { unsupported: 'compared with plain products from memory to memory only' }
          : prepareMatmul(gpujs, gpu, operands);
      return { info, prepare, dispose: async () => undefined };
    } catch (error) {
      return cannotLoad(found, error);
    }
  },
};

function prepareMatmul(
  gpujs: GpuJs,
  gpu: InstanceType<GpuJs['GPU']>,
  { shape, batch, a, b }: MatmulOperands,
): Prepared | Unsupported {
  const { m, k, n, transposeB = false, bias, activation = 'none', chain } = shape;
  if (chain || batch > 1 || bias !== undefined || activation !== 'none')
    return { unsupported: 'compared with plain products from memory to memory only' };
  const kernel = gpu.createKernel(
    `function (a, b) {
  let sum = 0;
  for (let i = 0; i < this.constants.k; i++) { sum += a[this.thread.y][i] * ${transposeB ? 'b[this.thread.x][i]' : 'b[i][this.thread.x]'}; }
  return sum;
}`,
    { output: [n, m], constants: { k }, loopMaxIterations: k },
  );
  let latest: Rows = [];
  return {
    run: async () => {
      latest = await kernel(gpujs.input(a, [k, m]), gpujs.input(b, transposeB ? [k, n] : [n, k]));
    },
    result: async () => {
      const values = new Float32Array(m * n);
      for (const [row, line] of latest.entries()) values.set(line, row * n);
      return values;
    },
    dispose: () => kernel.destroy(),
  };
}
