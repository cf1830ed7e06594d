/** Public matmul against float64: shapes, transposes, broadcasting, epilogues, in every combination that chance finds. */
import test from 'tape';
import type { MatmulOptions, Runtime, TensorLike } from '../../src/ops/types.ts';
import type { Activation } from '../../src/problem/epilogue.ts';
import { type Asked, answerFault, array, oracle, sizeOf } from '../support/oracle.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const EXTENTS = [
  1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15, 16, 17, 24, 25, 31, 32, 33, 47, 49, 63, 65, 97, 101, 127, 129,
];
/** The oracle is slow on purpose. */
const MOST_WORK = 150_000;
const ACTIVATIONS: readonly Activation<TensorLike>[] = [
  'relu',
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
  { kind: 'clip', min: -0.25, max: 0.5 },
];

function randomExtents(random: Random, batch: number): [number, number, number] {
  for (;;) {
    const extents: [number, number, number] = [
      random.pick(EXTENTS),
      random.pick(EXTENTS),
      random.pick(EXTENTS),
    ];
    if (batch * extents[0] * extents[1] * extents[2] <= MOST_WORK) return extents;
  }
}

function randomLeading(random: Random): [number[], number[]] {
  if (random.chance(0.5)) return [[], []];
  const rank = random.int(1, 3);
  const whole = Array.from({ length: rank }, () => random.int(1, 3));
  const part = () =>
    whole.map((extent) => (random.chance(0.3) ? 1 : extent)).slice(random.chance(0.3) ? 1 : 0);
  return [part(), part()];
}

function randomCase(random: Random): Asked {
  const [leadingA, leadingB] = randomLeading(random);
  const batch = Math.max(sizeOf(leadingA), sizeOf(leadingB));
  const [m, n, k] = randomExtents(random, batch);
  const transposeA = random.chance(0.3);
  const transposeB = random.chance(0.3);
  const a = array(random, [...leadingA, ...(transposeA ? [k, m] : [m, k])]);
  const b = array(random, [...leadingB, ...(transposeB ? [n, k] : [k, n])]);
  const biasShape = random.pick([undefined, undefined, [n], [1, n], [m, 1]]);
  const asked: Asked = {
    a,
    b,
    transposeA,
    transposeB,
    bias: biasShape && array(random, biasShape),
    ...(random.chance(0.4) ? { activation: random.pick(ACTIVATIONS) } : {}),
    ...(random.chance(0.3) ? { alpha: random.pick([-1, 0.5, 3, 0]) } : {}),
  };
  if (random.chance(0.6)) return asked;
  const beta = random.pick([0, 1, -0.5]);
  const count = sizeOf(oracle({ ...asked, beta: 0 }).shape);
  return { ...asked, beta, old: random.floats(count) };
}

/** The call as a user may write it: tensors or plain arrays, with or without `out`, awaited or not. */
async function call(rt: Runtime, random: Random, asked: Asked, sync: boolean): Promise<string | undefined> {
  const held: Disposable[] = [];
  const give = (value: { data: Float32Array; shape: readonly number[] }): TensorLike => {
    if (random.chance(0.3)) return value;
    const tensor = rt.tensor(value.data, value.shape);
    held.push(tensor);
    return tensor;
  };
  const answer = oracle(asked);
  const out =
    asked.old && rt.tensor(asked.beta === 0 ? asked.old.map(() => Number.NaN) : asked.old, answer.shape);
  const { transposeA, transposeB, bias, activation, alpha, beta } = asked;
  const options: MatmulOptions = {
    ...(transposeA ? { transposeA } : {}),
    ...(transposeB ? { transposeB } : {}),
    ...(bias ? { bias: give(bias) } : {}),
    ...(activation ? { activation } : {}),
    ...(alpha !== undefined ? { alpha } : {}),
    ...(out ? { beta: beta!, out } : {}),
  };
  const [a, b] = [give(asked.a), give(asked.b)];
  const [copyA, copyB] = [asked.a.data.slice(), asked.b.data.slice()];
  const got = sync ? rt.matmulSync(a, b, options) : await rt.matmul(a, b, options);
  const changed = [a.data, b.data].some((data, side) =>
    data.some((value, at) => value !== (side ? copyB : copyA)[at]),
  );
  const fault =
    answerFault(answer, got) ??
    (changed ? 'an operand was changed' : out && got !== out ? 'the result is not out' : undefined);
  got.dispose();
  for (const tensor of held) tensor[Symbol.dispose]();
  return fault;
}

for (const [salt, threads] of [
  [1, 1],
  [2, 2],
  [3, 3],
] as const) {
  test(seeded(`matmul: 150 random calls on ${threads} threads`), async (t) => {
    const rt = await makeRuntime({ threads }, salt);
    const random = new Random(100 + salt);
    const faults: string[] = [];
    const before = rt.memory();
    for (let turn = 0; turn < 150; turn++) {
      const asked = randomCase(random);
      const fault = await call(rt, random, asked, turn % 2 === 0);
      const shown = {
        ...asked,
        a: asked.a.shape,
        b: asked.b.shape,
        bias: asked.bias?.shape,
        old: asked.old?.length,
      };
      if (fault) faults.push(`${fault}: ${JSON.stringify(shown)}`);
    }
    t.deepEqual(faults.slice(0, 3), [], 'all within eps x k x magnitude, operands unchanged');
    const after = rt.memory();
    t.equal(after.tensors, before.tensors, 'no tensor is left behind');
    t.equal(after.byOwner.scratch, before.byOwner.scratch, 'no scratch either');
    await rt.close();
    t.end();
  });
}

test(seeded('matmul: every transpose at extents around blocks'), async (t) => {
  const rt = await makeRuntime({}, 4);
  const random = new Random(200);
  for (const [transposeA, transposeB] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const) {
    const faults: string[] = [];
    for (const m of [1, 7, 8, 9, 48, 49]) {
      for (const n of [1, 15, 16, 17, 33]) {
        for (const k of [1, 4, 5, 64]) {
          const a = array(random, transposeA ? [k, m] : [m, k]);
          const b = array(random, transposeB ? [n, k] : [k, n]);
          const got = rt.matmulSync(a, b, { transposeA, transposeB });
          const fault = answerFault(oracle({ a, b, transposeA, transposeB }), got);
          if (fault) faults.push(`${m}x${k}x${n}: ${fault}`);
          got.dispose();
        }
      }
    }
    t.deepEqual(faults.slice(0, 3), [], `transposeA ${transposeA}, transposeB ${transposeB}`);
  }
  await rt.close();
  t.end();
});

const BROADCASTS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[3], [3]],
  [[3], []],
  [[], [3]],
  [[1], [3]],
  [[3], [1]],
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [[3], [2, 3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[2, 1], [3]],
  [
    [1, 3],
    [2, 1],
  ],
  [
    [2, 1, 4],
    [3, 1],
  ],
  [
    [2, 3, 1],
    [1, 3, 4],
  ],
  [[1, 1], [1]],
  [
    [4, 1, 2],
    [1, 3, 1],
  ],
];

test(seeded("matmul: NumPy's broadcasting of leading extents"), async (t) => {
  const rt = await makeRuntime({}, 5);
  const random = new Random(201);
  for (const [leadingA, leadingB] of BROADCASTS) {
    for (const [m, n, k] of [
      [5, 6, 7],
      [1, 9, 4],
      [9, 1, 4],
    ] as const) {
      const transposeA = random.chance(0.5);
      const transposeB = random.chance(0.5);
      const a = array(random, [...leadingA, ...(transposeA ? [k, m] : [m, k])]);
      const b = array(random, [...leadingB, ...(transposeB ? [n, k] : [k, n])]);
      for (const bias of [undefined, array(random, [n]), array(random, [m, 1])]) {
        const got = await rt.matmul(a, b, { transposeA, transposeB, ...(bias ? { bias } : {}) });
        const name = `[${a.shape}] x [${b.shape}] ${transposeA ? 't' : 'n'}${transposeB ? 't' : 'n'} bias ${bias ? `[${bias.shape}]` : 'none'}`;
        t.equal(answerFault(oracle({ a, b, transposeA, transposeB, bias }), got), undefined, name);
        got.dispose();
      }
    }
  }
  await rt.close();
  t.end();
});

test(seeded('matmul: alpha, beta and out'), async (t) => {
  const rt = await makeRuntime({}, 6);
  const random = new Random(202);
  const [m, n, k] = [19, 23, 29];
  const a = array(random, [m, k]);
  const b = array(random, [k, n]);
  const out = rt.zeros([m, n]);
  out.data.fill(Number.NaN);
  t.equal(rt.matmulSync(a, b, { out }), out, 'out is what is returned');
  t.equal(answerFault(oracle({ a, b }), out), undefined, 'beta = 0 never reads out');
  out.data.fill(Number.NaN);
  await rt.matmul(a, b, { out, alpha: 2, beta: 0 });
  t.equal(answerFault(oracle({ a, b, alpha: 2 }), out), undefined, 'nor with an alpha');
  const old = random.floats(m * n);
  out.data.set(old);
  await rt.matmul(a, b, { out, beta: 1 });
  t.equal(answerFault(oracle({ a, b, beta: 1, old }), out), undefined, 'beta = 1 accumulates');
  const twice = out.data.slice();
  await rt.matmul(a, b, { out, beta: 1 });
  t.equal(answerFault(oracle({ a, b, beta: 1, old: twice }), out), undefined, 'once more');
  out.data.fill(Number.POSITIVE_INFINITY);
  rt.matmulSync(a, b, { out, beta: 0.5 });
  t.ok(
    out.data.every((value) => value === Number.POSITIVE_INFINITY),
    'beta times infinity is infinity',
  );
  rt.matmulSync(a, b, { out, alpha: 0 });
  t.ok(
    out.data.every((value) => value === 0),
    'alpha = 0 gives zeros',
  );
  const same = rt.zeros([k, k]);
  rt.matmulSync(a, a, { transposeA: true, out: same });
  t.equal(answerFault(oracle({ a, b: a, transposeA: true }), same), undefined, 'one array as both operands');
  await rt.close();
  t.end();
});

test(seeded('matmul: sync and async give the same bytes; calls may overlap'), async (t) => {
  const rt = await makeRuntime({ threads: 3 }, 7);
  const random = new Random(203);
  const shapes = [
    [64, 64, 64],
    [1, 500, 300],
    [33, 70, 129],
    [200, 150, 170],
  ] as const;
  const cases = shapes.map(([m, k, n]) => [array(random, [m, k]), array(random, [k, n])] as const);
  const sync = cases.map(([a, b]) => rt.matmulSync(a, b).data.slice());
  const async = await Promise.all([...cases, ...cases].map(([a, b]) => rt.matmul(a, b)));
  async.forEach((got, i) => {
    const want = sync[i % cases.length]!;
    t.ok(
      got.data.every((value, at) => Object.is(value, want[at])),
      `${shapes[i % shapes.length]} call ${i}`,
    );
  });
  await rt.close();
  t.end();
});

test(seeded('matmul: linear in its operands'), async (t) => {
  const rt = await makeRuntime({}, 8);
  const random = new Random(204);
  const [m, n, k] = [61, 67, 71];
  const [a1, a2, b] = [array(random, [m, k]), array(random, [m, k]), array(random, [k, n])];
  const sum = { data: a1.data.map((value, at) => value + a2.data[at]!), shape: a1.shape };
  const [c1, c2, c] = [rt.matmulSync(a1, b), rt.matmulSync(a2, b), rt.matmulSync(sum, b)];
  const { bounds } = oracle({ a: sum, b });
  const off = c.data.findIndex(
    (value, at) => Math.abs(value - c1.data[at]! - c2.data[at]!) > 4 * bounds[at]! + 4e-6,
  );
  t.equal(off, -1, '(A1 + A2) B = A1 B + A2 B');
  const doubled = rt.matmulSync({ data: a1.data.map((value) => 2 * value), shape: a1.shape }, b);
  t.ok(
    doubled.data.every((value, at) => value === 2 * c1.data[at]!),
    '(2 A) B = 2 (A B), to the bit',
  );
  const transposed = rt.matmulSync(b, a1, { transposeA: true, transposeB: true });
  const want = oracle({ a: b, b: a1, transposeA: true, transposeB: true });
  t.equal(answerFault(want, transposed), undefined, "B' A' = (A B)'");
  await rt.close();
  t.end();
});
