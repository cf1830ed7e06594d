/** Every shader that the table can make is one that a device takes: checked by Dawn's null backend, which needs no driver. */
import test from 'tape';
import { lower } from '../../../src/backends/webgpu/lower.ts';
import { GPU_KERNELS, threadsOf, workgroupBytes } from '../../../src/kernels/gpu.ts';
import { convProblem, type Layout } from '../../../src/problem/conv.ts';
import { ACTIVATION_KINDS } from '../../../src/problem/epilogue.ts';
import { matmulFromShapes, matmulProblem } from '../../../src/problem/matmul.ts';
import type { Problem } from '../../../src/problem/problem.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { nullGpu, openBackend } from '../../support/gpu.ts';

/** Products whose shaders differ in how operands are read, stored, and finished. */
function* products(): Generator<Problem> {
  for (const extent of [64, 33]) {
    for (const transposeA of [false, true])
      for (const transposeB of [false, true])
        yield matmulProblem({ m: extent, n: extent, k: extent }, { transposeA, transposeB });
    for (const bias of ['row', 'column'] as const)
      yield matmulProblem({ m: extent, n: extent, k: extent }, { bias, accumulate: true, scaled: true });
  }
  for (const activation of ACTIVATION_KINDS) yield matmulProblem({ m: 8, n: 8, k: 8 }, { activation });
  yield matmulFromShapes([2, 1, 8, 8], [3, 8, 8], {}).problem;
}

function* convolutions(): Generator<Problem> {
  for (const layout of ['nchw', 'nhwc'] as Layout[]) {
    for (const [kH, kW, padding] of [
      [1, 1, 0],
      [3, 3, 1],
      [5, 2, 'same'],
    ] as const) {
      for (const residual of [false, true]) {
        const window = windowOf({ height: 12, width: 9 }, { kH, kW }, { padding, stride: kH > 1 ? 2 : 1 });
        yield convProblem({ batch: 2, inC: 4, outC: 6 }, window, {
          layout,
          residual,
          bias: true,
          activation: 'prelu',
        });
      }
    }
  }
  const window = windowOf({ height: 8, width: 8 }, { kH: 3, kW: 3 }, { padding: 1 });
  yield convProblem({ batch: 2, inC: 8, outC: 8 }, window, { groups: 2 });
  for (const layout of ['nchw', 'nhwc'] as Layout[]) {
    for (const activation of ['none', 'prelu', 'silu'] as const) {
      const traits = { groups: 8, layout, bias: true, residual: true, activation };
      yield convProblem({ batch: 2, inC: 8, outC: 16 }, window, traits);
    }
  }
}

test('gpu kernels: every row has a name that says its shape, and fits the least device', (t) => {
  t.equal(new Set(GPU_KERNELS.map(({ name }) => name)).size, GPU_KERNELS.length, 'names are unique');
  for (const kernel of GPU_KERNELS) {
    if (kernel.family !== 'gpu-gemm') continue;
    const { tileM, tileN, tileK, threadM, threadN } = kernel;
    t.equal(kernel.name, `f32_gemm_${tileM}x${tileN}x${tileK}_${threadM}x${threadN}__wgsl`);
    const [x, y] = threadsOf(kernel);
    t.ok(x * y <= 256 && Number.isInteger(x) && Number.isInteger(y), `${kernel.name}: ${x} x ${y} threads`);
    t.ok(workgroupBytes(kernel) <= 16384, `${workgroupBytes(kernel)} bytes of workgroup memory`);
    t.ok(tileK % 4 === 0 && threadN % 4 === 0, 'whole vectors');
  }
  t.end();
});

test('gpu kernels: the null device takes every shader', async (t) => {
  const gpu = await nullGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const keys = new Map<string, string>();
  // those of elements, lines and orders have a test of their own
  const ofProducts = GPU_KERNELS.filter(({ family }) => family === 'gpu-gemm' || family === 'gpu-depthwise');
  for (const kernel of ofProducts) {
    const refused: string[] = [];
    let taken = 0;
    for (const problem of [...products(), ...convolutions()]) {
      const launch = lower(problem, kernel);
      if (!launch) continue;
      const source = launch.source();
      if (keys.has(launch.key) && keys.get(launch.key) !== source)
        refused.push(`${launch.key} has two texts`);
      keys.set(launch.key, source);
      await Promise.resolve(backend.pipeline(launch)).then(
        () => taken++,
        (error) => refused.push(String(error)),
      );
    }
    t.deepEqual(refused, [], `${kernel.name}: ${taken} shaders`);
    t.ok(taken > 0, 'some');
  }
  await backend.close();
});
