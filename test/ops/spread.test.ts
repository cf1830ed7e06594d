/** Matrices that lie in strips on several threads: larger than a memory, the same bytes, and whatever can happen to a thread. */
import test from 'tape';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import type {
  ArrayWithShape,
  MatmulOptions,
  Runtime,
  RuntimeOptions,
  TensorLike,
} from '../../src/ops/types.ts';
import { codeOf, end, failure, SLOW_MACHINE, silentHandle, sleep, watchedHost } from '../support/faulty.ts';
import { wholeProduct, wrong } from '../support/products.ts';
import { Random, seeded } from '../support/seed.ts';

const MiB = 2 ** 20;
const SMALL = { maximum: 16 * MiB };

async function make(options: RuntimeOptions = {}, host = watchedHost()) {
  const rt = await createRuntimeWith(
    { threads: 3, wisdom: false, numerics: 'exact', ...options },
    { machine: SLOW_MACHINE, host },
  );
  const apart = () => coreOf(rt).threadsApart()!;
  return { rt, host, used: () => apart().used };
}

const WAYS: readonly [string, RuntimeOptions][] = [
  ['beside a team on one memory', {}],
  ['by threads with memories of their own', { memory: { shared: false } }],
];

for (const [how, options] of WAYS)
  test(seeded(`spread: 100 random products have the bytes of any other, ${how}`), async (t) => {
    const { rt } = await make(options);
    const random = new Random(6101);
    const faults: string[] = [];
    for (let turn = 0; turn < 100; turn++) {
      const fault = await randomFault(rt, random);
      if (fault) faults.push(fault);
    }
    t.deepEqual(faults, []);
    await rt.close();
  });

/** One product with whatever a product may have, against the same without strips. */
async function randomFault(rt: Runtime, random: Random): Promise<string | undefined> {
  const [m, k, n] = [random.int(0, 40), random.int(0, 70), random.int(0, 150)];
  const leading = random.pick([[], [], [2], [1, 3]]);
  const array = (shape: readonly number[]) => ({
    data: random.floats(shape.reduce((x, y) => x * y, 1)),
    shape,
  });
  const transposeA = random.chance(0.3);
  const transposeB = random.chance(0.5);
  const a = array([...leading, ...(transposeA ? [k, m] : [m, k])]);
  const b = array(transposeB ? [n, k] : [k, n]);
  const out = [...leading, m, n];
  const before = array(out);
  const call: MatmulOptions = {
    transposeA,
    ...(random.chance(0.5) ? { bias: array(random.chance(0.6) ? [n] : [m, 1]) } : {}),
    ...(random.chance(0.3) ? { activation: 'relu' } : {}),
    ...(random.chance(0.2) ? { activation: { kind: 'prelu', slope: array([n]) } } : {}),
    ...(random.chance(0.3) ? { alpha: 1.5 } : {}),
  };
  const beta = random.chance(0.3) ? { beta: 0.5 } : {};
  const results = random.chance(0.5) ? 2 : 0;
  const outs = Array.from({ length: results }, () => rt.tensor(before.data, out));
  const withOut = (nth: number) => (results ? { ...call, ...beta, out: outs[nth]! } : call);
  const wanted = rt.matmulSync(a, b, { ...withOut(0), transposeB });
  const source = random.chance(0.5) ? b : sourceOf(b, transposeB);
  const matrix = await rt.spread(source, { transposeB, m: random.pick([1, 40]) });
  const got = await rt.matmul(a, matrix, withOut(1));
  const at = got.data.findIndex((value, i) => !Object.is(value, wanted.data[i]));
  const same = at < 0 && String(got.shape) === String(wanted.shape);
  for (const thing of [matrix, wanted, got, ...outs]) thing.dispose();
  if (same) return undefined;
  return `${m}x${k}x${n} ${JSON.stringify({ leading, transposeA, transposeB, ...beta })} element ${at}`;
}

/** The same matrix by a function, which now answers at once and now later. */
function sourceOf({ data, shape }: ArrayWithShape, transposeB: boolean) {
  const [rows, wide] = shape as [number, number];
  const columns = (first: number, count: number) => {
    if (transposeB) return Promise.resolve(data.slice(first * wide, (first + count) * wide));
    const values = new Float32Array(rows * count);
    for (let i = 0; i < values.length; i++)
      values[i] = data[Math.floor(i / count) * wide + first + (i % count)]!;
    return values;
  };
  return { shape, columns };
}

const [K, N] = [1500, 5003];
/** 28 MiB. */
const large = wholeProduct(40, K, N);

for (const [how, { memory }] of WAYS)
  test(`spread: a matrix larger than a memory, ${how}`, async (t) => {
    const { rt, used } = await make({ memory: { ...memory, ...SMALL } });
    t.equal(await codeOf(() => rt.prepack(large.b)), 'E_MEMORY', 'one memory cannot hold it');
    const { used: before } = rt.memory();
    const asked: number[] = [];
    const source = sourceOf(large.b, false);
    const watched = {
      ...source,
      columns: (first: number, count: number) => {
        asked.push(count);
        return source.columns(first, count);
      },
    };
    const progress: number[] = [];
    const matrix = await rt.spread(watched, {
      onProgress: ({ phase, done, total }) => progress.push(phase === 'prepare' ? done / total : Number.NaN),
    });
    t.equal(
      asked.reduce((sum, count) => sum + count, 0),
      N,
      'every column is asked for once',
    );
    t.ok(4 * K * Math.max(...asked) <= SMALL.maximum / 8, 'a fraction of a memory at a time');
    t.equal(progress.at(-1), 1, 'progress is told');
    t.deepEqual(matrix.shape, [K, N]);
    t.ok(matrix.bytes >= 4 * K * N && matrix.bytes < 4.3 * K * N, `${matrix.bytes} bytes`);
    t.deepEqual([...new Set(matrix.parts.map(({ thread }) => thread))], [0, 1, 2], 'on all threads');
    t.equal(rt.memory().used, before, "nothing of it is in the runtime's own memory");
    t.ok(used() >= matrix.bytes, 'but in those of the threads');
    // rows are sent in several pieces: 1 MiB are 52 of columns, 174 of a
    const { a } = large;
    for (const rows of [1, 40]) {
      const some = { data: a.data.slice(0, rows * K), shape: [rows, K] };
      const expected = large.expected.slice(0, rows * N);
      t.equal(wrong(await rt.matmul(some, matrix), { ...large, expected }), undefined, `${rows} rows`);
    }
    const tall = Float32Array.from({ length: 400 * K }, (_, i) => a.data[i % (40 * K)]!);
    const steps: number[] = [];
    const bias = { data: Float32Array.from({ length: 400 }, (_, row) => row), shape: [400, 1] };
    const product = await rt.matmul({ data: tall, shape: [400, K] }, matrix, {
      bias,
      onProgress: ({ done, total }) => steps.push(done, total),
    });
    t.ok(
      product.data.every((value, i) => value === large.expected[i % (40 * N)]! + Math.floor(i / N)),
      'more rows than are sent at a time',
    );
    t.ok(steps.at(-1)! > matrix.parts.length, `${steps.at(-1)} parts`);
    product.dispose();
    rt.budget({ threads: 1 });
    t.equal(wrong(await rt.matmul(large.a, matrix), large), undefined, 'a budget of one thread');
    matrix.dispose();
    matrix.dispose();
    t.ok(matrix.disposed);
    t.ok(used() < MiB, `${used()} bytes are left over there`);
    t.equal(rt.memory().used, before, 'memory is as before');
    await rt.close();
  });

test('spread: more than all threads can hold', async (t) => {
  const { rt, used } = await make({ threads: 2, memory: SMALL });
  const wide = 12_000;
  const columns = (_first: number, count: number) => new Float32Array(K * count);
  t.equal(await codeOf(rt.spread({ shape: [K, wide], columns })), 'E_MEMORY');
  t.ok(used() < MiB, `what was sent is given back: ${used()} bytes are left`);
  const matrix = await rt.spread({ shape: [K, 4000], columns });
  t.equal(await codeOf(rt.matmul({ data: new Float32Array(K), shape: [1, K] }, matrix)), 'none', 'less fits');
  await rt.close();
});

const middle = wholeProduct(60, 300, 700);

test('spread: threads that die', async (t) => {
  const { rt, host } = await make();
  const matrix = await rt.spread(middle.b);
  for (let turn = 0; turn < 6; turn++) {
    const call = failure(rt.matmul(middle.a, matrix).then((tensor) => wrong(tensor, middle)));
    if (turn % 2) await sleep(turn / 2);
    const ended = end([host.started.findLast(({ index }) => index === turn % 3)!.handle]);
    t.match(String(await call), /undefined|E_WORKER_DIED/, 'the caller hears of it');
    await ended;
    t.equal(wrong(await rt.matmul(middle.a, matrix), middle), undefined, 'what was lost is brought again');
  }
  t.ok(host.started.length >= 9, `${host.started.length} threads were started`);
  const tensor = rt.tensor(middle.b.data, [300, 700]);
  const other = await rt.spread(tensor);
  tensor.dispose();
  t.equal(wrong(await rt.matmul(middle.a, other), middle), undefined, 'a tensor is not needed afterwards');
  await end(host.started.slice(-3).map(({ handle }) => handle));
  t.equal(await codeOf(rt.matmul(middle.a, other)), 'E_DISPOSED', 'unless it has to be brought again');
  await rt.close();
});

test('spread: abort and close', async (t) => {
  const { rt, used } = await make();
  const matrix = await rt.spread(middle.b);
  t.equal(wrong(await rt.matmul(middle.a, matrix), middle), undefined, 'programs are there');
  const [before, there] = [rt.memory().used, used()];
  for (let turn = 0; turn < 10; turn++) {
    const control = new AbortController();
    const call = rt.matmul(middle.a, matrix, { signal: control.signal });
    if (turn % 2) await sleep(turn / 4);
    control.abort(new Error('enough'));
    const outcome = await call.then((tensor) => wrong(tensor, middle) ?? 'right', String);
    t.ok(/enough|right/.test(outcome), outcome);
    const guard = rt.tensor(new Float32Array(2 * 60 * 700).fill(7), [2, 60, 700]);
    t.equal(wrong(await rt.matmul(middle.a, matrix), middle), undefined, 'the next call is right');
    t.ok(
      guard.data.every((value) => value === 7),
      'nobody writes where the result would have been',
    );
    guard.dispose();
  }
  t.equal(rt.memory().used, before, 'memory is back');
  t.equal(used(), there, 'over there as well');
  let asked = 0;
  const source = sourceOf(middle.b, false);
  const counted = (...place: [number, number]) => {
    asked++;
    return source.columns(...place);
  };
  const other = await rt.spread({ ...source, columns: counted });
  const calls = [rt.matmul(middle.a, other), rt.matmul(middle.a, other)];
  other.dispose();
  t.equal(await codeOf(rt.matmul(middle.a, other)), 'E_DISPOSED');
  for (const call of calls) t.equal(wrong(await call, middle), undefined, 'disposed of during a call');
  t.equal(asked, other.parts.length, 'nothing was brought again');
  t.equal(used(), there, 'given back after the last call');
  const control = new AbortController();
  const columns = async (_first: number, count: number) => {
    control.abort(new Error('enough'));
    return new Float32Array(300 * count);
  };
  const options = { signal: control.signal };
  t.match(String(await failure(rt.spread({ shape: [300, 9000], columns }, options))), /enough/);
  t.equal(used(), there, 'what was sent is given back');
  const pending = [codeOf(rt.matmul(middle.a, matrix)), codeOf(rt.spread(middle.b))];
  await sleep(0);
  await rt.close();
  for (const code of await Promise.all(pending)) t.match(code, /E_CLOSED|none/, code);
  t.equal(await codeOf(rt.spread(middle.b)), 'E_CLOSED');
});

test('spread: what is refused', async (t) => {
  const { rt, used } = await make();
  const matrix = await rt.spread(middle.b);
  const there = used();
  const zeros = (shape: number[]): TensorLike => ({
    data: new Float32Array(shape.reduce((x, y) => x * y, 1)),
    shape,
  });
  const spread = (...args: unknown[]) => codeOf(rt.spread(...(args as Parameters<Runtime['spread']>)));
  t.equal(await spread(zeros([2, 3, 4])), 'E_SHAPE', 'a batch');
  t.equal(await spread({ shape: [2, -1], columns: () => new Float32Array(0) }), 'E_SHAPE');
  t.equal(await spread(7), 'E_ARGUMENT', 'a number');
  t.equal(await spread(zeros([2, 3]), { transposeB: 1 }), 'E_ARGUMENT');
  t.equal(await spread(zeros([2, 3]), { m: -1 }), 'E_ARGUMENT');
  t.equal(await spread(zeros([2, 3]), { rows: 1 }), 'E_ARGUMENT', 'an unknown option');
  t.equal(await spread({ shape: [4, 4], columns: () => new Float32Array(3) }), 'E_SHAPE', 'too few values');
  t.equal(await spread({ shape: [4, 4], columns: () => 'x' }), 'E_SHAPE', 'no values');
  const planted = new Error('planted');
  const columns = () => {
    throw planted;
  };
  t.equal(await failure(rt.spread({ shape: [4, 4], columns })), planted, "the caller's own error is told");
  t.equal(used(), there, 'nothing is left of all that');

  t.equal(await codeOf(() => rt.matmulSync(middle.a, matrix)), 'E_ARGUMENT', 'a call that blocks');
  t.equal(await codeOf(() => rt.matmul.tiles(middle.a, matrix)), 'E_ARGUMENT', 'bands');
  t.equal(await codeOf(rt.matmul(middle.a, matrix, { transposeB: true })), 'E_ARGUMENT');
  t.equal(await codeOf(rt.matmul(zeros([3, 299]), matrix)), 'E_SHAPE');
  t.equal(await codeOf(rt.matmul(matrix as never, middle.b)), 'E_ARGUMENT', 'as the left operand');
  const { rt: other } = await make();
  t.equal(await codeOf(other.matmul(middle.a, matrix)), 'E_FOREIGN');
  await other.close();
  matrix.dispose();
  t.equal(await codeOf(rt.matmul(middle.a, matrix)), 'E_DISPOSED');
  await rt.close();

  const dead = await make(
    { workerTimeoutMs: 100 },
    watchedHost(() => silentHandle()),
  );
  t.equal(await codeOf(dead.rt.spread(middle.b)), 'E_FALLBACK', 'no thread comes up');
  await dead.rt.close();
});
