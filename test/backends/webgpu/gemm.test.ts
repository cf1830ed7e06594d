/** Products on a GPU (SwiftShader where there is no other) against the float64 reference: the exam of the other backends. */
import test from 'tape';
import { lower } from '../../../src/backends/webgpu/lower.ts';
import { roundToHalf } from '../../../src/core/half.ts';
import { GPU_KERNELS, type GpuGemm } from '../../../src/kernels/gpu.ts';
import { type MatmulProblem, matmulProblem } from '../../../src/problem/matmul.ts';
import { faultOf } from '../../support/compare.ts';
import { openBackend, workingGpu } from '../../support/gpu.ts';
import { productOn } from '../../support/gpu-product.ts';
import { randomProblem, randomValues, type Values } from '../../support/problems.ts';
import { Random, seeded } from '../../support/seed.ts';

const ROWS = GPU_KERNELS.filter((kernel): kernel is GpuGemm => kernel.family === 'gpu-gemm');
/** A software adapter takes a second for a pipeline: all rows are met with few texts, and one row with many. */
const FUZZED = ROWS[0]!;
const FUZZ_CASES = 30;
/** One that has the next slice in registers. */
const AHEAD = ROWS.find(({ ahead }) => ahead)!;
const TRANSPOSES = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

/** Operands that halves hold, so that the reference multiplies the same. */
function halfValues(p: MatmulProblem, random: Random): Values {
  const values = randomValues(p, random);
  return { ...values, a: values.a.map(roundToHalf), b: values.b.map(roundToHalf) };
}

test(seeded('gpu gemm: extents around the tiles of every row'), async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const random = new Random(41);
  for (const kernel of ROWS) {
    const { tileM, tileN, tileK } = kernel;
    for (const [m, n, k] of [
      [tileM, tileN, tileK],
      [tileM + 4, tileN - 4, tileK + 4],
      [tileM - 1, tileN + 1, tileK + 1],
      [1, 1, 1],
      [3, 2 * tileN + 3, 2 * tileK - 1],
    ] as const) {
      const p = matmulProblem({ m, n, k });
      const values = randomValues(p, random);
      t.equal(
        faultOf(p, values, await productOn(backend, kernel, p, values)),
        undefined,
        `${kernel.name} ${m}x${k}x${n}`,
      );
    }
  }
  await backend.close();
});

test(seeded('gpu gemm: every way to read each operand'), async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const random = new Random(43);
  // in vectors where extents are multiples of four, element by element else
  for (const [m, n, k] of [
    [40, 36, 20],
    [39, 37, 21],
  ] as const) {
    for (const [transposeA, transposeB] of TRANSPOSES) {
      for (const kernel of [FUZZED, AHEAD]) {
        const p = matmulProblem({ m, n, k }, { transposeA, transposeB });
        const values = randomValues(p, random);
        const fault = faultOf(p, values, await productOn(backend, kernel, p, values));
        t.equal(fault, undefined, lower(p, kernel)!.key);
      }
      // one side at a time where the other is read in another way
      for (const halves of transposeA === transposeB ? (['ab'] as const) : (['a', 'b'] as const)) {
        const p = matmulProblem({ m, n, k }, { transposeA, transposeB, halves });
        const values = halfValues(p, random);
        const fault = faultOf(p, values, await productOn(backend, FUZZED, p, values));
        t.equal(fault, undefined, lower(p, FUZZED)!.key);
      }
    }
  }
  await backend.close();
});

test(seeded('gpu gemm: random problems with every epilogue, batches and transposes'), async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const random = new Random(42);
  for (let i = 0; i < FUZZ_CASES; i++) {
    const p = randomProblem(random, { batches: true, epilogues: true });
    const values = randomValues(p, random);
    // every other one by several workgroups along k
    const kc = i % 2 === 0 ? undefined : random.int(1, Math.max(1, p.k));
    t.equal(
      faultOf(p, values, await productOn(backend, FUZZED, p, values, kc)),
      undefined,
      `case ${i}: ${JSON.stringify(p)} kc ${kc}`,
    );
  }
  t.comment(`${backend.pipelines} pipelines on ${backend.report.name}`);
  await backend.close();
});
