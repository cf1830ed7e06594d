/** NaN and infinities in operands: they reach exactly the elements that they should, in every kernel and through edges. */
import test from 'tape';
import { PRODUCT_KERNELS } from '../../src/kernels/table.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { makeWasmBackend, runSync } from '../support/bench.ts';
import { oracle } from '../support/oracle.ts';
import { packingsOf, randomPlan, randomValues, servingKernels, type Values } from '../support/problems.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

/** What kind of number: the finite ones are other tests' business. */
function kindOf(value: number): string {
  return Number.isFinite(value) ? 'finite' : String(value);
}

function kinds(values: ArrayLike<number>): string[] {
  return Array.from(values, kindOf);
}

test(seeded('special values: every kernel keeps them in their row and column'), async (t) => {
  const backend = makeWasmBackend();
  const random = new Random(500);
  for (const kernel of PRODUCT_KERNELS.filter((row) => backend.kernels.has(row.name))) {
    const vector = kernel.family === 'axpy' || kernel.family === 'dot';
    const [m, n, k] = [vector ? 1 : 2 * kernel.mr + 1, 2 * kernel.nr + 3, 11];
    const p = matmulProblem({ m, n, k }, { transposeB: kernel.family === 'dot' });
    t.ok(servingKernels(p, new Set([kernel.name])).length === 1, `${kernel.name} serves`);
    const plain = randomValues(p, random);
    const atB = (step: number, column: number) => (p.transposeB ? column * k + step : step * n + column);
    const cases: [string, (values: Values) => void][] = [
      ['NaN in a', ({ a }) => a.fill(nan, (m - 1) * k + 3, (m - 1) * k + 4)],
      ['NaN in b', ({ b }) => b.fill(nan, atB(5, n - 1), atB(5, n - 1) + 1)],
      ['infinity in a', ({ a }) => a.fill(infinity, 2, 3)],
      ['infinity in b', ({ b }) => b.fill(-infinity, atB(k - 1, 1), atB(k - 1, 1) + 1)],
      // the products of infinity and zero are NaN: a kernel must not leave out zeros
      [
        'infinity times zero',
        ({ a, b }) => {
          a.fill(0, 0, 1);
          b.fill(infinity, atB(0, 0), atB(0, 0) + 1);
        },
      ],
      [
        'infinities that cancel',
        ({ a, b }) => {
          a.fill(1, 0, k);
          b.fill(infinity, atB(0, 2), atB(0, 2) + 1);
          b.fill(-infinity, atB(1, 2), atB(1, 2) + 1);
        },
      ],
    ];
    for (const packing of packingsOf(kernel, p)) {
      const wrong = cases.filter(([, plant]) => {
        const values = { ...plain, a: plain.a.slice(), b: plain.b.slice() };
        plant(values);
        const run = runSync(backend, p, { ...randomPlan(p, kernel, random), packing }, values);
        const want = oracle({
          a: { data: values.a, shape: [m, k] },
          b: { data: values.b, shape: p.transposeB ? [n, k] : [k, n] },
          transposeB: p.transposeB,
        });
        return run.fault !== undefined || kinds(run.values).join() !== kinds(want.values).join();
      });
      t.deepEqual(
        wrong.map(([name]) => name),
        [],
        `${kernel.name} ${packing}`,
      );
    }
  }
  await backend.close();
  t.end();
});

test(seeded('special values: through epilogues of the public call'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(501);
  const [m, n, k] = [6, 7, 5];
  const a = { data: random.floats(m * k), shape: [m, k] };
  const b = { data: random.floats(k * n), shape: [k, n] };
  a.data[0] = nan;
  a.data[k] = infinity;
  b.data[3] = -infinity;
  for (const activation of [
    'none',
    'relu',
    'gelu',
    'silu',
    'tanh',
    'sigmoid',
    { kind: 'clip', min: -1, max: 1 },
  ] as const) {
    const want = oracle({ a, b, activation });
    t.deepEqual(
      kinds(rt.matmulSync(a, b, { activation }).data),
      kinds(want.values),
      JSON.stringify(activation),
    );
  }
  const bias = { data: Float32Array.of(nan, infinity, -infinity, 0, 1, 2, 3), shape: [n] };
  t.deepEqual(kinds(rt.matmulSync(a, b, { bias }).data), kinds(oracle({ a, b, bias }).values), 'bias');
  const old = random
    .floats(m * n)
    .fill(nan, 0, 3)
    .fill(infinity, 10, 20);
  const out = rt.tensor(old, [m, n]);
  rt.matmulSync(a, b, { out, beta: -1 });
  t.deepEqual(kinds(out.data), kinds(oracle({ a, b, beta: -1, old }).values), 'beta');
  const big = { data: new Float32Array(4).fill(3e38), shape: [2, 2] };
  t.ok(
    rt.matmulSync(big, big).data.every((value) => value === infinity),
    'overflow is infinity',
  );
  const tiny = { data: new Float32Array(4).fill(2 ** -140), shape: [2, 2] };
  const one = { data: Float32Array.of(1, 0, 0, 1), shape: [2, 2] };
  t.deepEqual([...rt.matmulSync(tiny, one).data], [...tiny.data], 'denormals are not flushed');
  await rt.close();
  t.end();
});
