/** Runs in a page: products on the browser's own WebGPU against the float64 reference. Bundled by browser.test.ts. */

import { WebGpuBackend } from '../../src/backends/webgpu/backend.ts';
import { openGpu } from '../../src/backends/webgpu/open.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { GPU_KERNELS } from '../../src/kernels/gpu.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { faultOf } from './compare.ts';
import { productOn } from './gpu-product.ts';
import { randomValues } from './problems.ts';
import { Random } from './seed.ts';

export interface PageReport {
  readonly adapter: string;
  readonly software: boolean;
  readonly faults: readonly string[];
  readonly products: number;
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
    return { adapter: name, software, faults, products };
  } catch (error) {
    if (error instanceof TesseraeError) return { code: error.code };
    throw error;
  }
}

(globalThis as { report?: Promise<unknown> }).report = run();
