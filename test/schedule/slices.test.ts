/**
 * Products whose k is cut into slices, because panels or a step would grow too large otherwise: computed on threads, and
 * equal to the bit to the same product in small tiles, whose steps take all of k at once.
 */
import test from 'tape';
import type { Plan } from '../../src/plan/plan.ts';
import { type MatmulProblem, type MatmulTraits, matmulFromShapes } from '../../src/problem/matmul.ts';
import { lowerMatmul as lower } from '../../src/schedule/lower/gemm.ts';
import { makeWasmBackend, runAsync, runSync } from '../support/bench.ts';
import { bitDifference } from '../support/compare.ts';
import { randomValues } from '../support/problems.ts';
import { Random, seeded } from '../support/seed.ts';

const [M, N, K] = [520, 500, 603];
/** A tile of the whole result: 128 steps of k are a quarter of what a step may take. */
const WHOLE = { mc: 10_000, nc: 10_000, kc: 128 };
const SMALL = { mc: 24, nc: 64, kc: 64 };

function planFor(kernel: string, packing: Plan['packing'], blocks: typeof WHOLE): Plan {
  return { backend: 'wasm', algorithm: 'gemm', kernel, packing, order: 'mn', threads: 3, ...blocks };
}

function problem(traits: MatmulTraits, leading: readonly number[] = []): MatmulProblem {
  const a = [...leading, ...(traits.transposeA ? [K, M] : [M, K])];
  const b = [...leading, ...(traits.transposeB ? [N, K] : [K, N])];
  return matmulFromShapes(a, b, { ...traits, exact: true }).problem;
}

const CASES: readonly (readonly [string, MatmulProblem, string, Plan['packing']])[] = [
  ['both packed', problem({}), 'f32_gemm_4x8__simd_loadsplat', 'ab'],
  ['both transposed', problem({ transposeA: true, transposeB: true }), 'f32_gemm_3x16__simd_loadsplat', 'ab'],
  ['A in place', problem({ transposeB: true }), 'f32_gemm_6x8__simd_direct', 'b'],
  ['both in place', problem({}), 'f32_gemm_2x16__simd_direct', 'none'],
  [
    'alpha, beta, bias, relu',
    problem({ scaled: true, accumulate: true, bias: 'row', activation: 'relu' }),
    'f32_gemm_4x8__simd_loadsplat_k2',
    'ab',
  ],
  ['batch', problem({ accumulate: true }, [2]), 'f32_gemm_4x8__simd_direct', 'none'],
];

function slicesOf(p: MatmulProblem, plan: Plan): number {
  return new Set(lower(p, plan).steps.map((step) => step.k0)).size;
}

test(seeded('slices of k: the same bits as in one go'), async (t) => {
  const backend = makeWasmBackend();
  const random = new Random(850);
  for (const [name, p, kernel, packing] of CASES) {
    const values = randomValues(p, random);
    const [whole, small] = [planFor(kernel, packing, WHOLE), planFor(kernel, packing, SMALL)];
    t.deepEqual(
      [slicesOf(p, whole) > 1, slicesOf(p, small)],
      [true, 1],
      `${name}: ${slicesOf(p, whole)} slices and one`,
    );
    const want = runSync(backend, p, small, values);
    const got = [runSync(backend, p, whole, values), await runAsync(backend, p, whole, values)];
    for (const run of got) t.equal(run.fault ?? bitDifference(run.values, want.values), undefined, name);
  }
  await backend.close();
  t.end();
});

test(seeded('slices of k: panels made in advance'), async (t) => {
  const backend = makeWasmBackend();
  for (const kernel of ['f32_gemm_4x8__simd_loadsplat', 'f32_gemm_4x8__simd_direct']) {
    const packing = kernel.includes('direct') ? 'b' : 'ab';
    const p: MatmulProblem = {
      ...problem({ bias: 'row' }),
      prepackedB: true,
      panel: { nr: 8, kc: WHOLE.kc },
    };
    const values = randomValues(p, new Random(851));
    const [whole, small] = [
      planFor(kernel, packing, WHOLE),
      planFor(kernel, packing, { ...SMALL, kc: WHOLE.kc }),
    ];
    t.ok(slicesOf(p, whole) > 1, `${slicesOf(p, whole)} slices`);
    const want = runSync(backend, p, small, values);
    const run = await runAsync(backend, p, whole, values);
    t.equal(run.fault ?? bitDifference(run.values, want.values), undefined, kernel);
  }
  await backend.close();
  t.end();
});
