/** Extents of zero: the right shape, no work, and where only k is zero still bias, activation and beta. */
import test from 'tape';
import { type Asked, answerFault, array, oracle } from '../support/oracle.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

test(seeded('zero extents: shapes'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(300);
  for (const [a, b, shape] of [
    [
      [0, 3],
      [3, 4],
      [0, 4],
    ],
    [
      [3, 4],
      [4, 0],
      [3, 0],
    ],
    [
      [3, 0],
      [0, 4],
      [3, 4],
    ],
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    [
      [1, 0],
      [0, 1],
      [1, 1],
    ],
    [
      [0, 2, 3],
      [0, 3, 4],
      [0, 2, 4],
    ],
    [
      [0, 2, 3],
      [3, 4],
      [0, 2, 4],
    ],
    [
      [1, 2, 3],
      [0, 3, 4],
      [0, 2, 4],
    ],
    [
      [5, 0, 2, 3],
      [1, 3, 4],
      [5, 0, 2, 4],
    ],
    [
      [2, 3, 0],
      [0, 4],
      [2, 3, 4],
    ],
  ]) {
    const [left, right] = [array(random, a!), array(random, b!)];
    for (const sync of [true, false]) {
      const got = sync ? rt.matmulSync(left, right) : await rt.matmul(left, right);
      t.deepEqual([...got.shape], shape, `[${a}] x [${b}]`);
      t.equal(answerFault(oracle({ a: left, b: right }), got), undefined, 'zeros where there is anything');
      got.dispose();
    }
  }
  t.equal(rt.memory().tensors, 0);
  await rt.close();
  t.end();
});

test(seeded('zero k: bias, activation, beta apply'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(301);
  const [m, n] = [3, 5];
  for (const leading of [[], [2]]) {
    const a = array(random, [...leading, m, 0]);
    const b = array(random, [0, n]);
    for (const bias of [undefined, array(random, [n]), array(random, [1, n]), array(random, [m, 1])]) {
      for (const activation of [
        'none',
        'relu',
        'gelu',
        'sigmoid',
        { kind: 'clip', min: -0.1, max: 0.2 },
      ] as const) {
        for (const beta of [0, 0.5]) {
          const old = random.floats(m * n * (leading[0] ?? 1));
          const asked: Asked = { a, b, bias, activation, beta, old };
          const out = rt.tensor(beta === 0 ? old.map(() => Number.NaN) : old, [...leading, m, n]);
          rt.matmulSync(a, b, { out, beta, activation, ...(bias ? { bias } : {}) });
          const name = `${leading} bias ${bias?.shape ?? 'none'} ${JSON.stringify(activation)} beta ${beta}`;
          t.equal(answerFault(oracle(asked), out), undefined, name);
          out.dispose();
        }
      }
    }
  }
  await rt.close();
  t.end();
});

test(seeded('zero k in exact mode gives the bits of a product with zeros'), async (t) => {
  const rt = await makeRuntime({ numerics: 'exact' });
  const random = new Random(302);
  const [m, n] = [4, 333];
  const bias = array(random, [n], 6);
  const zeros = (shape: number[]) => rt.zeros(shape);
  for (const activation of ['none', 'relu', 'gelu', 'silu', 'tanh', 'sigmoid'] as const) {
    const empty = rt.matmulSync(zeros([m, 0]), zeros([0, n]), { bias, activation });
    const one = rt.matmulSync(zeros([m, 1]), zeros([1, n]), { bias, activation });
    const differ = empty.data.filter((value, at) => !Object.is(value, one.data[at])).length;
    t.equal(differ, 0, `${activation}: no element differs`);
  }
  new Uint32Array(bias.data.buffer).set([0xffc12345, 0x7f800001]);
  const bits = new Uint32Array(rt.matmulSync(zeros([m, 0]), zeros([0, n]), { bias }).data.slice().buffer);
  t.deepEqual([bits[0], bits[1]], [0x7fc00000, 0x7fc00000], 'NaN has its canonical bits');
  await rt.close();
  t.end();
});

test(seeded('zero extents: prepacked'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(303);
  for (const [m, k, n] of [
    [3, 0, 4],
    [3, 4, 0],
    [0, 4, 5],
    [0, 0, 0],
  ] as const) {
    const [a, b] = [array(random, [m, k]), array(random, [k, n])];
    const packed = rt.prepack(b);
    t.deepEqual([...packed.shape], [k, n]);
    t.equal(answerFault(oracle({ a, b }), rt.matmulSync(a, packed)), undefined, `${m}x${k}x${n}`);
    packed.dispose();
  }
  await rt.close();
  t.end();
});
