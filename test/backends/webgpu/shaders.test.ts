/** Every shader that the table can make is one that a device takes: checked by Dawn's null backend, which needs no driver. */
import test from 'tape';
import { WebGpuBackend } from '../../../src/backends/webgpu/backend.ts';
import { lower } from '../../../src/backends/webgpu/lower.ts';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import {
  FRAGMENT,
  GPU_KERNELS,
  MATRIX_FEATURE,
  partsOf,
  threadsOf,
  workgroupBytes,
} from '../../../src/kernels/gpu.ts';
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

/** What rows for halves may get: in vectors of four and of eight, finished in every way. */
function* halves(): Generator<Problem> {
  for (const problem of products()) yield { ...problem, halves: 'ab' } as Problem;
  for (const transposeA of [false, true])
    for (const transposeB of [false, true])
      yield matmulProblem({ m: 36, n: 36, k: 36 }, { transposeA, transposeB, halves: 'ab' });
  const window = windowOf({ height: 8, width: 8 }, { kH: 1, kW: 1 }, {});
  for (const layout of ['nchw', 'nhwc'] as Layout[])
    yield convProblem({ batch: 2, inC: 8, outC: 16 }, window, { layout, bias: true, halves: 'ab' });
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
    const { tileM, tileN, tileK, threadM, threadN, ahead, lanes, depth, stages } = kernel;
    const ways = [
      ahead && 'ahead',
      lanes === 'blocks' && lanes,
      depth > 1 && `deep${depth}`,
      stages > 1 && `stages${stages}`,
    ];
    const way = ways.map((word) => (word ? `_${word}` : '')).join('');
    t.equal(kernel.name, `f32_gemm_${tileM}x${tileN}x${tileK}_${threadM}x${threadN}__wgsl${way}`);
    const [x, y, z] = threadsOf(kernel);
    t.ok(x * y * z <= 256 && [x, y].every(Number.isInteger), `${kernel.name}: ${x} x ${y} x ${z} threads`);
    t.ok(workgroupBytes(kernel) <= 16384, `${workgroupBytes(kernel)} bytes of workgroup memory`);
    t.ok(tileK % (4 * depth) === 0 && threadN % 4 === 0, 'whole vectors');
    if (depth > 1) t.equal(lanes, 'strips', 'deep ones count lanes as they come');
    if (stages > 1) t.ok(ahead, 'what is loaded has registers to wait in');
    if (lanes === 'blocks') t.ok(x % 8 === 0 && y % 4 === 0, 'whole blocks of lanes');
  }
  t.end();
});

test('gpu kernels: rows for matrix units have whole fragments, and whole rounds of vectors', (t) => {
  const rows = GPU_KERNELS.filter((kernel) => kernel.family === 'gpu-matrix');
  t.ok(
    rows.some((kernel) => workgroupBytes(kernel) <= 16384),
    'one fits the null device',
  );
  for (const kernel of rows) {
    const { tileM, tileN, tileK, partM, partN } = kernel;
    t.equal(kernel.name, `f16_gemm_${tileM}x${tileN}x${tileK}_${partM}x${partN}__wgsl_matrix`);
    const [across, down] = partsOf(kernel);
    const threads = 32 * across * down;
    t.ok([tileM, tileN, tileK, partM, partN].every((extent) => extent % FRAGMENT === 0));
    for (const tile of [tileM, tileN])
      t.ok((tile * tileK) % (8 * threads) === 0, `${tile} x ${tileK} by ${threads} threads`);
    t.ok(workgroupBytes(kernel) <= 49152, 'fits');
  }
  t.end();
});

test('gpu kernels: the null device takes what matrix units compute', async (t) => {
  const gpu = await nullGpu(['enable-dawn-features=allow_unsafe_apis']);
  if (typeof gpu === 'string') return t.skip(gpu);
  const adapter = await gpu.requestAdapter();
  const requiredFeatures = ['shader-f16', 'subgroups', MATRIX_FEATURE];
  const device = await adapter!.requestDevice({ requiredFeatures });
  const backend = new WebGpuBackend(await openGpu({ device }), () => undefined);
  const row = GPU_KERNELS.find(
    (kernel) => kernel.family === 'gpu-matrix' && workgroupBytes(kernel) <= 16384,
  )!;
  const keys = new Set<string>();
  for (const problem of halves()) {
    const launch = lower(problem, row);
    if (!launch) continue;
    await backend.pipeline(launch);
    keys.add(launch.key);
  }
  t.ok(keys.size > 20, `${keys.size} shaders`);
  t.ok([...keys].some((key) => key.includes(' w8 ')) && [...keys].some((key) => key.includes(' w4 ')));
  t.equal(lower(matmulProblem({ m: 8, n: 8, k: 8 }), row), undefined, 'floats are not its business');
  t.equal(lower(matmulProblem({ m: 8, n: 7, k: 8 }, { halves: 'ab' }), row), undefined, 'nor odd lines');
  await backend.close();
  device.destroy();
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
    for (const problem of [...products(), ...convolutions(), ...halves()]) {
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
