/** Kernels that a user writes, on the processor: what they compute, and what they cannot be. */
import test from 'tape';
import type { Runtime } from '../../../src/ops/types.ts';
import { codeOf, failure } from '../../support/faulty.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

test(seeded('kernel: elements of equal shapes, and one that goes with all'), async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const random = new Random(91);
  const [x, y] = [random.floats(300), random.floats(300)];
  const [a, b] = [rt.tensor(x, [20, 15]), rt.tensor(y, [20, 15])];
  const product = rt.kernel(
    function gate(u: number, v: number) {
      return Math.max(u * v, this.constants.floor!);
    },
    { constants: { floor: 0.125 } },
  );
  t.equal(product.name, 'gate', "the function's name");
  t.match(product.noGpu ?? '', /no GPU/);
  const want = x.map((value, i) => Math.max(value * y[i]!, 0.125));
  const result = product.runSync([a, b]);
  t.deepEqual(result.shape, [20, 15]);
  t.deepEqual(result.data, want, 'sync');
  t.deepEqual((await product.run([a, { data: y, shape: [20, 15] }])).data, want, 'async, from a plain array');
  const scalar = await product.run([a, { data: Float32Array.of(2), shape: [1] }]);
  t.deepEqual(
    scalar.data,
    x.map((value) => Math.max(value * 2, 0.125)),
    'one element goes with all',
  );
  t.equal(product.runSync([a, b], { out: a }), a, 'in place');
  t.deepEqual(a.data, want);
  const three = rt.kernel(function (u: number, v: number, w: number) {
    let sum = 0;
    for (let i = 0, step = 1; i < 3; i += step) sum += u + v * w;
    return sum;
  });
  t.equal(three.name, 'kernel');
  const sums = three.runSync([b, b, rt.tensor([0.5], [1, 1])]);
  t.ok(
    sums.data.every((sum, i) => Math.abs(sum - 4.5 * y[i]!) < 1e-5),
    'three inputs, a loop, locals',
  );
  const large = rt.zeros([5000]);
  product.runSync([large, large]);
  t.ok(product.measured.cpu! > 0, 'its time is known now');
  t.equal(product.runSync([rt.zeros([0]), rt.zeros([0])]).size, 0, 'nothing');
  product.dispose();
  await rt.close();
});

test('kernel: what cannot be one', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const scale = 3;
  const helper = (x: number) => x;
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [(x: number) => x, /is an arrow function.*function \(x, y\)/],
    ['x', /is "x"/],
    [Math.max, /no plain function/],
    [class {}, /no plain function/],
    [
      async function f(x: number) {
        return x;
      },
      /no plain function/,
    ],
    [
      function* f(x: number) {
        yield x;
      },
      /no plain function/,
    ],
    [
      function () {
        return 1;
      },
      /has 0 parameters/,
    ],
    [
      function ({ x }: { x: number }) {
        return x;
      },
      /has the parameter/,
    ],
    [
      function (x = 1) {
        return x;
      },
      /has the parameter/,
    ],
    [
      function (...x: number[]) {
        return x[0]!;
      },
      /has the parameter/,
    ],
    [
      function (x: number) {
        return x * scale;
      },
      /uses scale, which is declared outside.*constants: \{ scale \}/,
    ],
    [
      function (x: number) {
        return helper(x);
      },
      /uses helper/,
    ],
    [
      function (x: number) {
        return Date.now() + x;
      },
      /uses Date/,
    ],
    [
      function (this: { other: number }, x: number) {
        return x + this.other;
      },
      /uses this.other/,
    ],
    [
      function (this: { constants: { k: number } }, x: number) {
        return x * this.constants.k;
      },
      /constants\.k.*Pass/,
    ],
    [
      function (x: number) {
        return String(x) === '' ? 1 : 2;
      },
      /uses String/,
    ],
    [
      function (x: number) {
        if (x > 10) return x;
        return undefined as unknown as number;
      },
      /uses (undefined|void)/,
    ],
    [
      function (x: number): number | undefined {
        if (x > 10) return x;
        return;
      },
      /returns undefined/,
    ],
  ];
  for (const [fn, message] of cases) {
    const error = await failure(() => rt.kernel(fn as Parameters<Runtime['kernel']>[0]));
    t.match(String(error), message);
    t.equal(await codeOf(() => rt.kernel(fn as Parameters<Runtime['kernel']>[0])), 'E_ARGUMENT');
  }
  t.equal(
    await codeOf(() =>
      rt.kernel(
        function (x: number) {
          return x;
        },
        { constants: { k: 'x' as never } },
      ),
    ),
    'E_ARGUMENT',
  );
  t.equal(
    await codeOf(() =>
      rt.kernel(
        function (x: number) {
          return x;
        },
        { mode: 1 } as never,
      ),
    ),
    'E_ARGUMENT',
  );
  await rt.close();
});

test('kernel: inputs that do not fit', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const add = rt.kernel(function (x: number, y: number) {
    return x + y;
  });
  const [a, b] = [rt.zeros([2, 3]), rt.zeros([3, 2])];
  for (const [inputs, code] of [
    [[a, b], 'E_SHAPE'],
    [[a], 'E_ARGUMENT'],
    [a, 'E_ARGUMENT'],
    [[a, rt.tensor(new Int32Array(6), [2, 3])], 'E_DTYPE'],
  ] as const) {
    t.equal(await codeOf(() => add.runSync(inputs as never)), code, code);
    t.equal(await codeOf(add.run(inputs as never)), code, `${code}, async`);
  }
  t.equal(await codeOf(() => add.runSync([a, a], { out: b })), 'E_SHAPE', 'a result of another shape');
  t.equal(await codeOf(add.run([a, a], { result: 'gpu' })), 'E_GPU', 'no GPU to leave it on');
  b.dispose();
  t.equal(await codeOf(() => add.runSync([b, b])), 'E_DISPOSED');
  await rt.close();
  t.equal(await codeOf(() => add.runSync([a, a])), 'E_CLOSED');
});

test('kernels: what follows a product or a convolution', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const shift = rt.kernel(
    function shift(x) {
      return x < 0 ? x * this.constants.slope! : x + 1;
    },
    { constants: { slope: 0.5 } },
  );
  const a = rt.tensor([1, -2, 3, -4], [2, 2]);
  const bias = rt.tensor([10, 0], [2]);
  t.deepEqual(
    [...(await rt.matmul(a, a, { bias, activation: shift })).data],
    [6, 7, 2, 11].map((_, i) => {
      const sum = [
        [1 - 6 + 10, -2 + 8],
        [3 - 12 + 10, -6 + 16],
      ].flat()[i]!;
      return sum < 0 ? sum * 0.5 : sum + 1;
    }),
  );
  t.deepEqual(
    rt.matmulSync(a, a, { activation: shift }).data,
    (await rt.matmul(a, a, { activation: shift })).data,
    'blocking as well',
  );
  const out = rt.zeros([2, 2]);
  t.equal(await rt.matmul(a, a, { out, activation: shift }), out, "into the caller's tensor");
  const x = rt.tensor([1, -1, 2, -2], [1, 1, 2, 2]);
  const w = rt.tensor([2], [1, 1, 1, 1]);
  t.deepEqual([...(await rt.conv2d(x, w, { activation: shift })).data], [3, -1, 5, -2], 'of a convolution');
  t.deepEqual([...rt.conv2dSync(x, w, { activation: shift }).data], [3, -1, 5, -2]);
  const both = rt.kernel(function both(p, q) {
    return p + q;
  });
  t.equal(await codeOf(rt.matmul(a, a, { activation: both })), 'E_ARGUMENT', 'one of two inputs');
  t.equal(await codeOf(rt.matmul(a, a, { activation: {} as never })), 'E_ARGUMENT', 'no kernel');
  const before = rt.memory().used;
  const gone = new AbortController();
  const pending = rt.matmul(a, a, { activation: shift, signal: gone.signal });
  gone.abort(new Error('enough'));
  t.equal(await codeOf(pending), 'foreign: Error: enough');
  t.equal(rt.memory().used, before, 'an aborted call leaves nothing');
  await rt.close();
});
