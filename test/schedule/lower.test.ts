/** Lowering: what must hold for every program, a golden list, and how batches share panels. */
import fc from 'fast-check';
import test from 'tape';
import type { Plan } from '../../src/plan/plan.ts';
import type { Program, Step } from '../../src/plan/program.ts';
import { type MatmulProblem, matmulFromShapes, matmulProblem } from '../../src/problem/matmul.ts';
import { lowerMatmul as lower, lowerPackB } from '../../src/schedule/lower/gemm.ts';
import { ALL_KERNELS, randomKernel, randomPlan, randomProblem } from '../support/problems.ts';
import { programFault } from '../support/program-check.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

function planFor(kernel: string, more: Partial<Plan> = {}): Plan {
  return {
    backend: 'wasm',
    algorithm: 'gemm',
    kernel,
    packing: 'ab',
    mc: 8,
    kc: 16,
    nc: 16,
    order: 'mn',
    threads: 1,
    ...more,
  };
}

function count(program: Program, op: Step['op']): number {
  return program.steps.filter((step) => step.op === op).length;
}

/** Problem and plan from one number, so that fast-check shrinks and repeats it. */
function caseOf(salt: number): [MatmulProblem, Plan] {
  const random = new Random(salt);
  const p = randomProblem(random, { batches: true, epilogues: true, prepacked: true });
  return [p, randomPlan(p, randomKernel(p, ALL_KERNELS, random), random, 4)];
}

test(seeded('lower: small problems, any kernel, any plan'), (t) => {
  let seen = 0;
  const property = fc.property(fc.nat(), (salt) => {
    seen++;
    const [p, plan] = caseOf(salt);
    const fault = programFault(lower(p, plan));
    if (fault) throw new Error(`${fault}: ${JSON.stringify(p)} ${JSON.stringify(plan)}`);
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 400 }));
  t.ok(seen >= 400, `${seen} programs`);
  t.end();
});

/** Large enough for several slices of k; nothing is computed, so size costs nothing. */
test(seeded('lower: problems whose panels need several slices, and steps that must stay short'), (t) => {
  const extents = fc.record({
    m: fc.integer({ min: 1, max: 6000 }),
    n: fc.integer({ min: 1, max: 6000 }),
    k: fc.integer({ min: 1, max: 8000 }),
  });
  const kernels = [
    'f32_gemm_4x8__simd_loadsplat',
    'f32_gemm_5x16__simd_loadsplat',
    'f32_gemm_6x8__simd_direct',
  ];
  let sliced = 0;
  const property = fc.property(
    extents,
    fc.integer({ min: 1, max: 3 }),
    fc.constantFrom(...kernels),
    fc.constantFrom(128, 256, 512),
    fc.boolean(),
    (shape, batch, kernel, kc, shared) => {
      const p = { ...matmulProblem({ ...shape, batch }), sharedB: shared && batch > 1 };
      const packing = kernel.includes('direct') ? (shared ? 'b' : 'none') : 'ab';
      const program = lower(p, planFor(kernel, { packing, mc: 480, nc: 1024, kc }));
      if (program.steps.some((step) => step.op === 'tile' && !step.last)) sliced++;
      const fault = programFault(program);
      if (fault) throw new Error(fault);
      const packed = program.packedAElements + program.packedBElements;
      const block = (shape.m + shape.n + 32) * Math.min(kc, shape.k);
      if (packed > Math.max(8 * 1024 * 1024, block)) throw new Error(`${packed} elements of packing space`);
    },
  );
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 40 }));
  t.ok(sliced > 5, `${sliced} programs had several slices`);
  t.end();
});

test(seeded('lower: a golden list of steps'), (t) => {
  const p = matmulProblem({ m: 5, n: 9, k: 6 });
  const program = lower(p, planFor('f32_gemm_4x8__simd_loadsplat', { mc: 4, nc: 8, kc: 4 }));
  const lines = program.steps.map(
    (s) =>
      `${s.op} needs=${s.needs} m=${s.m0}+${s.rows} n=${s.n0}+${s.cols} k=${s.k0}+${s.ks} ${s.first ? 'first' : ''} ${s.last ? 'last' : ''}`,
  );
  t.deepEqual(lines, [
    'packA needs=0 m=0+5 n=0+0 k=0+6 first last',
    'packB needs=0 m=0+0 n=0+9 k=0+6 first last',
    'tile needs=2 m=0+4 n=0+8 k=0+6 first last',
    'tile needs=2 m=4+1 n=0+8 k=0+6 first last',
    'tile needs=2 m=0+4 n=8+1 k=0+6 first last',
    'tile needs=2 m=4+1 n=8+1 k=0+6 first last',
  ]);
  t.deepEqual(
    [program.packedAElements, program.packedBElements],
    [8 * 6, 16 * 6],
    'whole panels of packing space',
  );
  t.equal(program.constants.matrixA, 0);
  t.end();
});

test(seeded('lower: two slices wait for one another'), (t) => {
  const p = matmulProblem({ m: 4096, n: 4096, k: 2048 });
  const program = lower(p, planFor('f32_gemm_4x8__simd_loadsplat', { mc: 128, nc: 256, kc: 256 }));
  const slices = [...new Set(program.steps.map((step) => step.k0))];
  t.deepEqual(slices, [0, 1024], 'panels of 8 Mi elements: 1024 steps of k at a time');
  const second = program.steps.findIndex((step) => step.k0 === 1024);
  t.equal(program.steps[second]!.op, 'packA', 'the second slice begins with packing');
  t.equal(program.steps[second]!.needs, second, 'after all tiles of the first');
  const tile = program.steps.findIndex((step, index) => index > second && step.op === 'tile');
  t.equal(program.steps[tile]!.needs, tile, 'its tiles after all its panels');
  t.end();
});

test(seeded('lower: a batch packs what it shares once'), (t) => {
  const [A, B] = [4 * 7, 7 * 9];
  const steps = (a: number[], b: number[]) =>
    lower(
      matmulFromShapes([...a, 4, 7], [...b, 7, 9], { bias: 'column' }).problem,
      planFor('f32_gemm_4x8__simd_loadsplat'),
    );
  const all = steps([6], [6]);
  t.deepEqual([count(all, 'packA'), count(all, 'packB')], [6, 6], 'nothing shared');
  const b = steps([6], []);
  t.deepEqual([count(b, 'packA'), count(b, 'packB')], [6, 1], 'B shared');
  t.equal(b.packedBElements, 16 * 7, 'one matrix of panels');
  const a = steps([1], [6]);
  t.deepEqual([count(a, 'packA'), count(a, 'packB')], [1, 6], 'A shared');
  const part = steps([2, 1], [1, 3]);
  t.deepEqual([count(part, 'packA'), count(part, 'packB')], [2, 3], 'both broadcast along one dimension');
  const tiles = part.steps.filter((step) => step.op === 'tile' && step.n0 === 0);
  t.deepEqual(
    tiles.map((s) => [s.a / A, s.b / B]),
    [
      [0, 0],
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 1],
      [1, 2],
    ],
    'in the order of the result',
  );
  const panelsOf = new Map(tiles.map((step) => [step.b, step.packedB]));
  t.equal(panelsOf.size, new Set(panelsOf.values()).size, 'each matrix has panels of its own');
  t.end();
});

test(seeded('lower: vector kernels get stretches, prepacked panels no packing'), (t) => {
  const vector = lower(
    matmulProblem({ m: 1, n: 100, k: 8 }),
    planFor('f32_gemv_axpy_k4__simd', { packing: 'none', mc: 1, nc: 48, kc: 8 }),
  );
  t.ok(vector.steps.every((step) => step.op === 'vector'));
  t.deepEqual(
    vector.steps.map((s) => [s.op, s.n0, s.cols, s.needs]),
    [
      ['vector', 0, 48, 0],
      ['vector', 48, 48, 0],
      ['vector', 96, 4, 0],
    ],
  );
  const p = matmulProblem({ m: 9, n: 9, k: 20 }, { panel: { nr: 8, kc: 8 } });
  const prepacked = lower(p, planFor('f32_gemm_4x8__simd_loadsplat', { kc: 8 }));
  t.deepEqual([count(prepacked, 'packA') > 0, count(prepacked, 'packB')], [true, 0], 'A is packed, B is not');
  const pack = lowerPackB(
    matmulProblem({ m: 1, n: 9, k: 20 }),
    planFor('f32_gemm_4x8__simd_loadsplat', { kc: 8 }),
  );
  t.ok(
    pack.steps.length > 0 && pack.steps.every((step) => step.op === 'packB' && step.ks === 20),
    'packing alone, all of k',
  );
  t.end();
});

test(seeded('lower: large operands are packed in steps that threads can share'), (t) => {
  const program = lower(
    matmulProblem({ m: 64, n: 2000, k: 512 }),
    planFor('f32_gemm_4x8__simd_loadsplat', { nc: 512, kc: 256 }),
  );
  const packs = program.steps.filter((step) => step.op === 'packB');
  t.ok(packs.length >= 16, `${packs.length} steps`);
  t.ok(
    packs.every((step) => step.cols * step.ks <= 32 * 1024),
    'none of more than some ten thousand elements',
  );
  t.throws(
    () => lower(matmulProblem({ m: 2, n: 2, k: 2 }), planFor('no_such_kernel')),
    /no_such_kernel/,
    'an unknown kernel is named',
  );
  t.end();
});
