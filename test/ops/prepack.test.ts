/** Prepacked right operands: the same answers as without, for any number of rows, and for as long as they live. */
import test from 'tape';
import { answerFault, array, oracle } from '../support/oracle.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const ROWS = [1, 2, 3, 7, 24, 33];

test(seeded('prepack: every number of rows on one packing'), async (t) => {
  const rt = await makeRuntime({}, 11);
  const random = new Random(600);
  for (const usual of [undefined, 1, 24, 200]) {
    // around the block of k, odd columns, a single column
    for (const [k, n] of [
      [1, 1],
      [7, 1],
      [5, 33],
      [255, 17],
      [256, 16],
      [257, 31],
      [600, 5],
    ] as const) {
      for (const transposeB of [false, true]) {
        const b = array(random, transposeB ? [n, k] : [k, n]);
        const packed = rt.prepack(b, { transposeB, ...(usual ? { m: usual } : {}) });
        const faults = ROWS.map((m) => {
          const a = array(random, [m, k]);
          const got = rt.matmulSync(a, packed);
          const fault = answerFault(oracle({ a, b, transposeB }), got);
          got.dispose();
          return fault && `m=${m}: ${fault}`;
        }).filter(Boolean);
        t.deepEqual(faults, [], `[${k}, ${n}] ${transposeB ? 'transposed ' : ''}for m=${usual}`);
        packed.dispose();
      }
    }
  }
  t.equal(rt.memory().byOwner.prepacked, 0, 'all panels are given back');
  await rt.close();
  t.end();
});

test(seeded('prepack: with a batch, transposed a, bias, activation, beta'), async (t) => {
  const rt = await makeRuntime({}, 12);
  const random = new Random(601);
  const [m, k, n] = [13, 70, 37];
  const b = array(random, [k, n]);
  const packed = rt.prepack(b);
  for (const leading of [[], [3], [2, 2]]) {
    for (const transposeA of [false, true]) {
      const a = array(random, [...leading, ...(transposeA ? [k, m] : [m, k])]);
      for (const bias of [undefined, array(random, [n]), array(random, [m, 1])]) {
        const got = await rt.matmul(a, packed, {
          transposeA,
          activation: 'silu',
          alpha: 0.5,
          ...(bias ? { bias } : {}),
        });
        const want = oracle({ a, b, transposeA, activation: 'silu', alpha: 0.5, bias });
        t.equal(
          answerFault(want, got),
          undefined,
          `[${a.shape}] ${transposeA} bias ${bias?.shape ?? 'none'}`,
        );
        const old = random.floats(got.size);
        got.data.set(old);
        rt.matmulSync(a, packed, { transposeA, out: got, beta: 2 });
        t.equal(answerFault(oracle({ a, b, transposeA, beta: 2, old }), got), undefined, 'and beta');
        got.dispose();
      }
    }
  }
  await rt.close();
  t.end();
});

test(seeded('prepack: exact mode gives the bytes of the plain call'), async (t) => {
  const rt = await makeRuntime({ numerics: 'exact' }, 13);
  const random = new Random(602);
  for (const transposeB of [false, true]) {
    const b = array(random, transposeB ? [65, 300] : [300, 65]);
    const packed = rt.prepack(b, { transposeB });
    for (const m of [1, 5, 64]) {
      const a = array(random, [m, 300]);
      const [plain, quick] = [rt.matmulSync(a, b, { transposeB }).data, rt.matmulSync(a, packed).data];
      t.ok(
        plain.every((value, at) => Object.is(value, quick[at])),
        `m=${m} ${transposeB ? 'transposed' : ''}`,
      );
    }
  }
  await rt.close();
  t.end();
});

test(seeded('prepack: later changes of b do not show; disposal and misuse'), async (t) => {
  const rt = await makeRuntime({}, 14);
  const random = new Random(603);
  const [a, b] = [array(random, [4, 9]), array(random, [9, 6])];
  const tensor = rt.tensor(b.data, b.shape);
  const packed = rt.prepack(tensor);
  t.ok(packed.bytes >= 4 * 9 * 6, `${packed.bytes} bytes`);
  t.deepEqual([...packed.shape], [9, 6]);
  tensor.data.fill(0);
  tensor.dispose();
  t.equal(answerFault(oracle({ a, b }), rt.matmulSync(a, packed)), undefined, 'panels are a copy');
  t.throws(
    () => rt.matmulSync(a, packed, { transposeB: true }),
    /E_ARGUMENT/,
    'transposeB belongs to prepack',
  );
  t.throws(() => rt.matmulSync(array(random, [4, 8]), packed), /E_SHAPE/, 'inner extents are checked');
  t.throws(() => rt.prepack(array(random, [2, 3, 4])), /E_SHAPE/, 'matrices only');
  t.throws(() => rt.prepack(b, { op: 'pool' as never }), /E_ARGUMENT/, 'for what there is');
  t.throws(
    () => rt.prepack(b, { op: 'conv', transposeB: true } as never),
    /E_ARGUMENT/,
    'options of the other kind',
  );
  const running = rt.matmul(a, packed);
  packed.dispose();
  packed.dispose();
  t.ok(packed.disposed);
  t.equal(answerFault(oracle({ a, b }), await running), undefined, 'a call that has begun is not disturbed');
  t.throws(() => rt.matmulSync(a, packed), /E_DISPOSED/);
  t.equal(rt.memory().byOwner.prepacked, 0);
  await rt.close();
  t.end();
});
