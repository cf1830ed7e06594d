/** Runs in a page: the browser's own WebGPU, rows against the float64 reference and a runtime against memory. Bundled by the browser tests. */

import { WebGpuBackend } from '../../src/backends/webgpu/backend.ts';
import { openGpu } from '../../src/backends/webgpu/open.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { GPU_KERNELS } from '../../src/kernels/gpu.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, Tensor } from '../../src/ops/types.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { faultOf } from './compare.ts';
import { productOn } from './gpu-product.ts';
import { ONE_ROW } from './gpu-profile.ts';
import { randomValues } from './problems.ts';
import { Random } from './seed.ts';

export interface PageReport {
  readonly adapter: string;
  readonly software: boolean;
  readonly faults: readonly string[];
  readonly products: number;
  /** Calls of every kind, sent to the GPU, that differ from the same call in memory. */
  readonly differing: readonly string[];
  readonly calls: number;
  /** Of the middle of a chain. */
  readonly location: string;
}

async function run(): Promise<PageReport | { readonly code: string }> {
  try {
    const opened = await openGpu({});
    const backend = new WebGpuBackend(opened, () => undefined);
    const random = new Random(77);
    const faults: string[] = [];
    let products = 0;
    for (const kernel of GPU_KERNELS.slice(0, 2)) {
      for (const [m, n, k] of [
        [64, 64, 64],
        [33, 47, 21],
      ] as const) {
        const p = matmulProblem({ m, n, k }, { bias: 'row', activation: 'relu' });
        const values = randomValues(p, random);
        const fault = faultOf(p, values, await productOn(backend, kernel, p, values));
        if (fault !== undefined) faults.push(`${kernel.name}: ${fault}`);
        products++;
      }
    }
    await backend.close();
    const { name, software } = opened.report;
    return { adapter: name, software, faults, products, ...(await callsOnBoth(random)) };
  } catch (error) {
    if (error instanceof TesseraeError) return { code: error.code };
    throw error;
  }
}

/** What rounding explains between the GPU's sums and the threads'. */
const TOLERANCE = 1e-4;

async function callsOnBoth(random: Random): Promise<Pick<PageReport, 'differing' | 'calls' | 'location'>> {
  const rt = await createRuntimeWith(
    { backend: 'webgpu', policy: 'strict', threads: 1, wisdom: false },
    { gpuProfile: ONE_ROW },
  );
  const make = (...shape: number[]) => {
    const count = shape.reduce((x, y) => x * y, 1);
    return rt.tensor(
      Float32Array.from({ length: count }, () => random.next() * 2 - 1),
      shape,
    );
  };
  const pairs = callsOf(rt, make);
  const differing: string[] = [];
  for (const [name, there, here] of pairs) {
    const [got, want] = [await (await there).read(), here.data];
    const at = want.findIndex(
      (value, i) => !(Math.abs(got[i]! - value) <= TOLERANCE * (1 + Math.abs(value))),
    );
    if (at >= 0 || got.length !== want.length)
      differing.push(`${name}: element ${at} is ${got[at]}, not ${want[at]}`);
  }
  const middle = await rt.softmax(make(4, 5), { result: 'gpu' });
  const { location } = middle;
  await rt.close();
  return { differing, calls: pairs.length, location };
}

/** The same call on both sides: blocking ones stay in memory. */
function callsOf(
  rt: Runtime,
  make: (...shape: number[]) => Tensor,
): readonly (readonly [string, Promise<Tensor>, Tensor])[] {
  const image = make(2, 8, 9, 7);
  const [dense, wise] = [make(4, 8, 3, 3), make(8, 1, 3, 3)];
  const padded = { padding: 1, activation: 'relu' } as const;
  const apart = { groups: 8, stride: 2 };
  const [matrix, other, bias] = [make(12, 40), make(40, 9), make(40)];
  const norm = { scale: make(40), bias };
  return [
    ['matmul', rt.matmul(matrix, other), rt.matmulSync(matrix, other)],
    ['conv2d', rt.conv2d(image, dense, padded), rt.conv2dSync(image, dense, padded)],
    ['depthwise', rt.conv2d(image, wise, apart), rt.conv2dSync(image, wise, apart)],
    ['softmax', rt.softmax(matrix), rt.softmaxSync(matrix)],
    ['layerNorm', rt.layerNorm(matrix, norm), rt.layerNormSync(matrix, norm)],
    ['reduce', rt.reduce('mean', image, { axes: [2, 3] }), rt.reduceSync('mean', image, { axes: [2, 3] })],
    ['unary', rt.unary('exp', matrix), rt.unarySync('exp', matrix)],
    ['binary', rt.binary('add', matrix, bias), rt.binarySync('add', matrix, bias)],
    ['transpose', rt.transpose(image, [0, 2, 3, 1]), rt.transposeSync(image, [0, 2, 3, 1])],
  ];
}

(globalThis as { report?: Promise<unknown> }).report = run();
