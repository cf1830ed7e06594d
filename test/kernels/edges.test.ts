/**
 * Every row of the kernel table that the loaded module has, over all edge sizes, through the same macro-kernel, packing
 * and edge code that a user's call takes. Where relaxed SIMD sits behind an engine flag (Node 20), a child process with
 * the flag runs this file again, so that those rows are exercised too.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { hasRelaxedSimd } from '../../src/backends/wasm/module.ts';
import { type Kernel, PRODUCT_KERNELS } from '../../src/kernels/table.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { type MatmulProblem, matmulProblem } from '../../src/problem/matmul.ts';
import { makeWasmBackend, runSync } from '../support/bench.ts';
import { bitDifference, faultOf } from '../support/compare.ts';
import { packingsOf, randomValues, type Values } from '../support/problems.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

const RELAXED_FLAG = '--experimental-wasm-relaxed-simd';
const IS_CHILD = process.argv.includes('--child');

/** Around what kernels unroll by (1, 2, 4), and one that is longer. */
const K_VALUES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 21];
/** Lengths of vector results: around the vector and the double vector, with every tail. */
const LINES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33];

const backend = makeWasmBackend();
const rows = PRODUCT_KERNELS.filter((kernel) => backend.kernels.has(kernel.name));

function upTo(most: number): number[] {
  return Array.from({ length: most }, (_, index) => index + 1);
}

function planOf(kernel: Kernel, p: MatmulProblem, random: Random, packing: Plan['packing']): Plan {
  const vector = kernel.family === 'axpy' || kernel.family === 'dot';
  return {
    backend: 'wasm',
    algorithm: 'gemm',
    kernel: kernel.name,
    packing,
    // one block, or blocks of the least size, so that edges also meet a second pass over k and a second tile
    mc: vector ? 1 : kernel.mr * random.pick([1, 4]),
    kc: vector ? p.k : random.pick([4, 64]),
    nc: vector ? random.pick([5, 64]) : kernel.nr * random.pick([1, 4]),
    order: random.pick(['mn', 'nm'] as const),
    threads: 1,
  };
}

/** Extents and transposes of all cases of a kernel. */
function casesOf(kernel: Kernel, random: Random): MatmulProblem[] {
  const cases: MatmulProblem[] = [];
  if (kernel.family === 'packed' || kernel.family === 'direct') {
    for (const m of upTo(kernel.mr + 1)) {
      for (const n of [...upTo(kernel.nr + 1), 2 * kernel.nr + 1]) {
        for (const k of K_VALUES) {
          const transposeA = kernel.family === 'packed' && random.chance(0.5);
          cases.push(
            matmulProblem(
              { m, n, k },
              { transposeA, transposeB: random.chance(0.5), accumulate: random.chance(0.2) },
            ),
          );
        }
      }
    }
    return cases;
  }
  for (const lines of LINES) {
    for (const k of [...K_VALUES, 16, 17, 40]) {
      const accumulate = random.chance(0.2);
      const dot = kernel.family === 'dot';
      cases.push(
        matmulProblem({ m: 1, n: lines, k }, { transposeB: dot, transposeA: random.chance(0.5), accumulate }),
      );
      if (lines > 1)
        cases.push(
          matmulProblem(
            { m: lines, n: 1, k },
            { transposeA: !dot, transposeB: random.chance(0.5), accumulate },
          ),
        );
    }
  }
  return cases;
}

/** Runs all cases of a kernel; the first faults in words, and the number of cases. */
function exercise(kernel: Kernel, salt: number): { faults: string[]; count: number } {
  const random = new Random(salt);
  const faults: string[] = [];
  let count = 0;
  for (const p of casesOf(kernel, random)) {
    const plan = planOf(kernel, p, random, random.pick(packingsOf(kernel, p)));
    const values = randomValues(p, random);
    const run = runSync(backend, p, plan, values);
    const fault = run.fault ?? faultOf(p, values, run.values);
    if (fault)
      faults.push(
        `${plan.packing} mc=${plan.mc} kc=${plan.kc} nc=${plan.nc} ${p.transposeA ? 't' : 'n'}${p.transposeB ? 't' : 'n'}: ${fault}`,
      );
    count++;
  }
  return { faults: faults.slice(0, 3), count };
}

test(seeded('kernels: the module has rows'), (t) => {
  t.ok(
    rows.length >= PRODUCT_KERNELS.length / 2,
    `${rows.length} of ${PRODUCT_KERNELS.length} rows in the ${backend.feature} module`,
  );
  if (IS_CHILD) t.equal(backend.feature, 'relaxed', 'the child has relaxed SIMD');
  t.end();
});

for (const [index, kernel] of rows.entries()) {
  // the plain rows have been exercised by the parent
  if (IS_CHILD && kernel.feature === 'simd') continue;
  test(seeded(`kernels: ${kernel.name} at all edges`), (t) => {
    const { faults, count } = exercise(kernel, index);
    t.ok(count >= 100, `${count} cases`);
    t.deepEqual(faults, [], 'every element within eps x k x magnitude, nothing written beside the result');
    t.end();
  });
}

/** A x I = A to the bit: a product with 1 and sums with 0 round nothing. */
test(seeded('kernels: products with the identity are exact'), (t) => {
  const random = new Random(77);
  for (const kernel of rows) {
    if (IS_CHILD && kernel.feature === 'simd') continue;
    const vector = kernel.family === 'axpy' || kernel.family === 'dot';
    const k = 19;
    const m = vector ? 1 : 11;
    const p = matmulProblem({ m, n: k, k }, { transposeB: kernel.family === 'dot' });
    const identity = Float32Array.from({ length: k * k }, (_, at) => (at % (k + 1) === 0 ? 1 : 0));
    const a = random.floats(m * k);
    const values: Values = {
      a,
      b: identity,
      bias: undefined,
      c0: undefined,
      alpha: 1,
      beta: 0,
      p0: 0,
      p1: 0,
    };
    for (const packing of packingsOf(kernel, p)) {
      const run = runSync(backend, p, planOf(kernel, p, random, packing), values);
      t.equal(run.fault ?? bitDifference(run.values, a), undefined, `${kernel.name} ${packing}`);
    }
  }
  t.end();
});

function runChild(): Promise<{ code: number | null; output: string }> {
  const args = [
    RELAXED_FLAG,
    '--import',
    'tsx',
    fileURLToPath(import.meta.url),
    '--child',
    '--seed',
    String(SEED),
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

const skip = hasRelaxedSimd() ? 'this engine has relaxed SIMD: its rows ran above' : false;
test(seeded('kernels: relaxed rows in a child process with the engine flag'), { skip }, async (t) => {
  const { code, output } = await runChild();
  const passed = Number(/^# pass\s+(\d+)/m.exec(output)?.[1] ?? 0);
  const relaxed = PRODUCT_KERNELS.filter((kernel) => kernel.feature === 'relaxed').length;
  t.equal(code, 0, 'the child ended well');
  t.ok(passed >= 3 * relaxed, `${passed} assertions over ${relaxed} rows`);
  if (code !== 0)
    for (const line of output
      .split('\n')
      .filter((l) => /not ok|element|Error/.test(l))
      .slice(0, 20))
      t.comment(line);
  t.end();
});

test.onFinish(() => void backend.close());
