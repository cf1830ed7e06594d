/**
 * Exact mode: the same bytes from every deterministic kernel, packing, blocking, order and thread count; the bytes of a
 * plain loop that rounds after each step; and, as one constant, the same bytes on every engine.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { hasRelaxedSimd } from '../../src/backends/wasm/module.ts';
import { type Kernel, PRODUCT_KERNELS } from '../../src/kernels/table.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { type MatmulProblem, type MatmulTraits, matmulFromShapes } from '../../src/problem/matmul.ts';
import { makeWasmBackend, runAsync, runSync } from '../support/bench.ts';
import { bitDifference, bytesHash } from '../support/compare.ts';
import { canEmulate, emulateExact } from '../support/emulate.ts';
import { exactHashes, GOLDEN, hashOfAll } from '../support/exact-calls.ts';
import { packingsOf, randomPlan, randomValues, servingKernels, type Values } from '../support/problems.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const THREADS = [1, 2, 3, 8];
const CANONICAL_NAN = 0x7fc00000;

const backend = makeWasmBackend();
const present = new Set(backend.kernels.keys());
const deterministic = PRODUCT_KERNELS.filter((kernel) => kernel.deterministic && present.has(kernel.name));

function problem(a: number[], b: number[], traits: MatmulTraits = {}): MatmulProblem {
  return matmulFromShapes(a, b, { ...traits, exact: true }).problem;
}

/** Shapes with edges everywhere, so that every path contributes to the bytes. */
const PROBLEMS: readonly (readonly [string, MatmulProblem])[] = [
  ['37x61x45', problem([37, 61], [61, 45])],
  ['transposed', problem([61, 37], [45, 61], { transposeA: true, transposeB: true })],
  [
    'b transposed, row bias, relu',
    problem([19, 33], [50, 33], { transposeB: true, bias: 'row', activation: 'relu' }),
  ],
  [
    'alpha, beta, column bias, clip',
    problem([21, 40], [40, 35], { scaled: true, accumulate: true, bias: 'column', activation: 'clip' }),
  ],
  ['batch', problem([3, 9, 30], [3, 30, 21], { accumulate: true })],
  ['broadcast', problem([2, 1, 9, 30], [3, 30, 21], { scaled: true })],
  ['gelu', problem([17, 29], [29, 31], { activation: 'gelu', bias: 'row' })],
  ['silu', problem([3, 3, 29], [3, 29, 31], { activation: 'silu' })],
  ['tanh', problem([17, 29], [29, 31], { activation: 'tanh', scaled: true })],
  ['sigmoid', problem([17, 29], [29, 31], { activation: 'sigmoid', bias: 'column' })],
  ['row times matrix', problem([1, 77], [77, 131], { bias: 'row', activation: 'silu' })],
  ['matrix times column', problem([77, 131], [77, 1], { transposeA: true, accumulate: true })],
  ['prepacked', { ...problem([23, 50], [50, 37]), prepackedB: true, panel: { nr: 8, kc: 12 } }],
  [
    'prepacked, wide',
    { ...problem([5, 50], [50, 70], { bias: 'row' }), prepackedB: true, panel: { nr: 16, kc: 64 } },
  ],
];

/** Plans that differ in everything that a plan has. */
function plansOf(p: MatmulProblem, kernel: Kernel, random: Random): Plan[] {
  return packingsOf(kernel, p).flatMap((packing) =>
    THREADS.map((threads) => ({ ...randomPlan(p, kernel, random), packing, threads })),
  );
}

for (const [name, p] of PROBLEMS) {
  test(seeded(`exact: ${name}: one hash for all deterministic kernels, blockings, threads`), async (t) => {
    const random = new Random(910);
    const values = randomValues(p, random);
    const kernels = servingKernels(p, present);
    t.ok(
      kernels.length > 0 && kernels.every((kernel) => deterministic.includes(kernel)),
      `${kernels.length} kernels serve`,
    );
    const plans = kernels.flatMap((kernel) => plansOf(p, kernel, random));
    const hashes = new Map<string, string>();
    let want = canEmulate(p) ? emulateExact(p, values) : undefined;
    const faults: string[] = [];
    for (const [turn, plan] of plans.entries()) {
      const run =
        turn % 3 === 0 ? await runAsync(backend, p, plan, values) : runSync(backend, p, plan, values);
      want ??= run.values;
      const fault = run.fault ?? bitDifference(run.values, want);
      if (fault)
        faults.push(
          `${plan.kernel} ${plan.packing} mc=${plan.mc} kc=${plan.kc} nc=${plan.nc} x${plan.threads}: ${fault}`,
        );
      hashes.set(bytesHash(run.values), plan.kernel);
    }
    t.deepEqual(
      faults.slice(0, 3),
      [],
      `${plans.length} plans, ${canEmulate(p) ? 'equal to the rounded loop' : 'equal to one another'}`,
    );
    t.equal(hashes.size, 1, 'one hash');
    t.end();
  });
}

test(seeded('exact: every deterministic row was run'), (t) => {
  const run = new Set(PROBLEMS.flatMap(([, p]) => servingKernels(p, present)));
  t.deepEqual(
    deterministic.filter((kernel) => !run.has(kernel)).map((kernel) => kernel.name),
    [],
  );
  t.ok(deterministic.length >= 35, `${deterministic.length} rows`);
  t.end();
});

test(seeded('exact: the order of k does matter, so equal bytes mean the same order'), (t) => {
  const p = problem([37, 61], [61, 45]);
  const values = randomValues(p, new Random(911));
  const reversed: Values = {
    ...values,
    a: values.a.map((_, at) => values.a[at + 60 - 2 * (at % 61)]!),
    b: values.b.map((_, at) => values.b[(60 - Math.floor(at / 45)) * 45 + (at % 45)]!),
  };
  t.notEqual(
    bytesHash(emulateExact(p, reversed)),
    bytesHash(emulateExact(p, values)),
    'the same sums from the other end',
  );
  t.end();
});

test(seeded('exact: NaN has its canonical bits, whatever went in'), (t) => {
  const random = new Random(913);
  for (const bits of [0xffc12345, 0x7f800001, 0x7fffffff, 0xff8abcde]) {
    for (const [name, p] of PROBLEMS.slice(0, 8)) {
      const values = randomValues(p, random);
      new Uint32Array(values.a.buffer)[3] = bits;
      new Uint32Array(values.b.buffer)[5] = bits;
      const kernels = servingKernels(p, present);
      const seen = new Set<string>();
      for (const kernel of kernels) {
        const { values: got } = runSync(backend, p, randomPlan(p, kernel, random), values);
        const words = new Uint32Array(got.slice().buffer);
        const wrong = words.findIndex((word, at) => Number.isNaN(got[at]) && word !== CANONICAL_NAN);
        if (wrong >= 0) t.fail(`${kernel.name}: ${words[wrong]!.toString(16)}`);
        seen.add(bytesHash(got));
      }
      t.equal(seen.size, 1, `${name} with ${bits.toString(16)}: one hash over ${kernels.length} kernels`);
    }
  }
  t.end();
});

test(
  seeded(
    'exact: the public calls give one hash on 1, 2, 3 and 8 threads, sync and async, and the golden one',
  ),
  async (t) => {
    for (const [turn, threads] of THREADS.entries()) {
      // another machine profile each time: other kernels and blockings are chosen
      const rt = await makeRuntime({ numerics: 'exact', threads }, 40 + turn);
      for (const sync of [true, false]) {
        const hashes = await exactHashes(rt, sync);
        const unlike = [...hashes].filter(
          ([name, hash]) =>
            name.endsWith(' prepacked') && hashes.get(name.replace(' prepacked', '')) !== hash,
        );
        t.deepEqual(unlike, [], `${threads} threads: prepacked as plain, ${hashes.size} results`);
        t.equal(hashOfAll(hashes), GOLDEN, `${threads} threads, ${sync ? 'sync' : 'async'}`);
      }
      await rt.close();
    }
    t.end();
  },
);

/** The same engine with other compilers: the baseline one alone, the optimising one alone, and fused instructions on. */
const FLAGS = [
  '--liftoff-only',
  '--no-liftoff',
  ...(hasRelaxedSimd() ? [] : ['--experimental-wasm-relaxed-simd']),
];

test(seeded('exact: other compilers of the engine give the same bytes'), (t) => {
  const program = fileURLToPath(new URL('../support/exact-run.ts', import.meta.url));
  for (const flag of FLAGS) {
    const child = spawnSync(process.execPath, [flag, '--import', 'tsx', program], { encoding: 'utf8' });
    t.equal(/^hash (\w+)$/m.exec(child.stdout)?.[1], GOLDEN, flag);
    if (child.status !== 0) t.comment(child.stderr);
  }
  t.end();
});

test.onFinish(() => void backend.close());
