/** Functions of elements: every one over its domain and its special values, and every way to broadcast. */
import test from 'tape';
import type { Unary } from '../../../src/index.ts';
import { readUnary } from '../../../src/ops/array/map.ts';
import { BINARY_KINDS, type BinaryKind, UNARY_KINDS, type UnaryKind } from '../../../src/problem/map.ts';
import { commonShape, guarded, mapped, shapesThatFit, valuesFault } from '../../support/arrays.ts';
import { codeOf } from '../../support/faulty.ts';
import { array, sizeOf } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const SPECIAL = [
  0, -0, 1, -1, 2, -2, 0.5, -0.5, 1.5, 2.5, -3.5, 1e-30, -1e-30, 1e-42, 88, -88, 100, -110, 3e38, -3e38,
];
const ENDS = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

/** Where values are drawn from that say something, and how far results may be off in units of EPS. */
const UNARY: Partial<
  Record<UnaryKind, { readonly scale?: number; readonly eps?: number; readonly near?: number }>
> = {
  exp: { scale: 90, eps: 2 },
  log: { scale: 1e6, eps: 1.5 },
  erf: { scale: 5, eps: 1 },
  ...Object.fromEntries(
    ['sin', 'cos', 'tan', 'asin', 'acos', 'atan'].map((kind) => [kind, { scale: 20, eps: 2 }]),
  ),
  ...Object.fromEntries(
    ['sinh', 'cosh', 'asinh', 'acosh', 'atanh'].map((kind) => [kind, { scale: 3, eps: 3 }]),
  ),
  ...Object.fromEntries(
    ['softplus', 'mish', 'elu', 'selu', 'celu'].map((kind) => [kind, { scale: 9, eps: 4 }]),
  ),
  softsign: { eps: 1 },
  reciprocal: { eps: 0 },
  sqrt: { eps: 0 },
  gelu: { scale: 8, eps: 3, near: 1e-7 },
  silu: { scale: 20, eps: 3 },
  tanh: { scale: 8, eps: 2 },
  sigmoid: { scale: 20, eps: 2 },
  hardSigmoid: { eps: 2, near: 1e-7 },
  hardSwish: { scale: 5, eps: 3, near: 1e-6 },
  leakyRelu: { eps: 1 },
};

/** With numbers of its own, where it has some. */
function unaryOf(kind: UnaryKind): Unary {
  switch (kind) {
    case 'clip':
      return { kind, min: -0.4, max: 0.7 };
    case 'elu':
    case 'celu':
      return { kind, alpha: 0.7 };
    default:
      return kind;
  }
}

/** Functions of products' last pass, which have tests of their own for what is not finite. */
const LAST_PASSES = new Set<UnaryKind>([
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
  'hardSigmoid',
  'hardSwish',
  'leakyRelu',
  'clip',
  'relu',
]);

test(seeded('functions of one element: all of them against float64, special values too'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(501);
  for (const kind of UNARY_KINDS) {
    const { scale = 2, eps = 0, near = 0 } = UNARY[kind] ?? {};
    const special = LAST_PASSES.has(kind) ? SPECIAL.filter((x) => Math.abs(x) < 80) : [...SPECIAL, ...ENDS];
    const faults: string[] = [];
    for (const count of [1, 2, 3, 4, 5, 15, 16, 17, 1000]) {
      const data = random.floats(count, scale);
      if (count > 100) data.set(special, 3);
      const fn = unaryOf(kind);
      const x = { data, shape: [count] };
      const { p0, p1 } = readUnary(fn);
      const { out, fault, dispose } = guarded((shape) => rt.zeros(shape), [count]);
      rt.unarySync(fn, x, { out });
      const wrong = valuesFault(out.data, mapped(kind, [x], p0, p1).values, eps, near) ?? fault();
      if (wrong) faults.push(`${count}: ${wrong}`);
      dispose();
    }
    t.deepEqual(faults.slice(0, 2), [], kind);
  }
  t.equal(rt.memory().tensors, 0, 'nothing is kept');
  await rt.close();
});

const BINARY_EPS: Partial<Record<BinaryKind, number>> = { pow: 4, prelu: 1 };

test(seeded('functions of two elements: all of them, over shapes that broadcast'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(502);
  for (const kind of BINARY_KINDS) {
    const faults: string[] = [];
    for (let turn = 0; turn < 24; turn++) {
      const shapes = shapesThatFit(random, 2);
      const operands = shapes.map((shape) => array(random, shape, 4));
      const [a, b] = random.chance(0.5) ? operands : operands.reverse();
      // some that are equal, some that are 0, some that are none
      for (const { data } of operands)
        for (let i = 0; i < data.length; i++) {
          if (random.chance(0.3)) data[i] = Math.round(data[i]!);
          else if (random.chance(0.03)) data[i] = random.pick(ENDS);
        }
      const { shape, values } = mapped(kind, [a!, b!]);
      const { out, fault, dispose } = guarded((extents) => rt.zeros(extents), shape);
      if (random.chance(0.5)) rt.binarySync(kind, a!, b!, { out });
      else await rt.binary(kind, a!, b!, { out });
      const wrong = valuesFault(out.data, values, BINARY_EPS[kind] ?? 0) ?? fault();
      if (wrong) faults.push(`[${a!.shape}] [${b!.shape}]: ${wrong}`);
      dispose();
    }
    t.deepEqual(faults.slice(0, 2), [], kind);
  }
  await rt.close();
});

test(seeded('where: a choice between two by a third, over shapes that broadcast'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(503);
  const faults: string[] = [];
  for (let turn = 0; turn < 60; turn++) {
    const operands = shapesThatFit(random, 3).map((shape) => array(random, shape, 2));
    const [a, b, c] = operands;
    a!.data.forEach((value, i) => {
      a!.data[i] = random.chance(0.1) ? Number.NaN : Math.round(value);
    });
    const { shape, values } = mapped('where', operands);
    const { out, fault, dispose } = guarded((extents) => rt.zeros(extents), shape);
    if (random.chance(0.5)) rt.whereSync(a!, b!, c!, { out });
    else await rt.where(a!, b!, c!, { out });
    const wrong = valuesFault(out.data, values, 0) ?? fault();
    if (wrong) faults.push(`${operands.map((one) => `[${one.shape}]`)}: ${wrong}`);
    dispose();
  }
  t.deepEqual(faults.slice(0, 2), []);
  await rt.close();
});

test(seeded('large arrays are shared by the team, with the same bits'), async (t) => {
  const random = new Random(504);
  const a = array(random, [37, 211, 131], 3);
  const [row, column] = [array(random, [131], 3), array(random, [37, 1, 1], 3)];
  const results: Float32Array[][] = [];
  for (const threads of [1, 2]) {
    const rt = await makeRuntime({ threads, numerics: 'exact' });
    const made = [
      await rt.unary('gelu', a),
      await rt.unary('log', a),
      await rt.binary('mul', a, row),
      await rt.binary('pow', a, column),
      await rt.where(a, row, column),
    ];
    results.push(made.map((tensor) => tensor.data.slice()));
    await rt.close();
  }
  const bits = (values: Float32Array) => Buffer.from(values.buffer).toString('base64');
  for (const [i, one] of results[0]!.entries())
    t.ok(bits(one) === bits(results[1]![i]!), `result ${i}: one thread and two`);
  const wanted = mapped('mul', [a, row]).values;
  t.equal(valuesFault(results[0]![2]!, wanted, 0), undefined, 'and right');
});

test('elements: in place, empty, scalar, and what is refused', async (t) => {
  const rt = await makeRuntime();
  const x = rt.tensor([1, -2, 3], [3]);
  t.equal(await rt.unary('neg', x, { out: x }), x, 'the operand may be the result');
  t.deepEqual([...x.data], [-1, 2, -3]);
  rt.binarySync('add', x, x, { out: x });
  t.deepEqual([...x.data], [-2, 4, -6], 'also where it is both operands');
  const wide = rt.zeros([2, 3]);
  t.equal(
    await codeOf(() => rt.binarySync('add', x, wide, { out: x })),
    'E_SHAPE',
    'not where the result is wider',
  );
  t.equal(
    await codeOf(() => rt.binarySync('add', rt.tensor([1, 2, 3], [1, 3]), wide, { out: wide })),
    'none',
    'the wider one may be it',
  );
  const scalar = rt.unarySync('exp', { data: Float32Array.of(0), shape: [] });
  t.deepEqual([scalar.shape, scalar.data[0]], [[], 1], 'no extents, one element');
  t.deepEqual(rt.binarySync('mul', rt.zeros([0, 3]), x).shape, [0, 3], 'no elements at all');
  t.deepEqual(commonShape([[2, 1], [3]]), [2, 3], 'the oracle knows shapes');
  t.equal(await codeOf(() => rt.binarySync('add', x, rt.zeros([4]))), 'E_SHAPE', 'shapes that do not fit');
  t.equal(await codeOf(rt.binary('plus' as 'add', x, x)), 'E_ARGUMENT', 'an unknown function');
  t.equal(await codeOf(rt.unary('plus' as 'neg', x)), 'E_ARGUMENT', 'of one element too');
  t.equal(await codeOf(rt.unary('clip' as 'neg', x)), 'E_ARGUMENT', 'bounds that are missing');
  t.equal(
    await codeOf(rt.unary({ kind: 'elu', alpha: 'a' as never }, x)),
    'E_ARGUMENT',
    'a number that is none',
  );
  t.equal(await codeOf(rt.unary('neg', rt.tensor(Uint8Array.of(1), [1]) as never)), 'E_DTYPE', 'bytes');
  t.equal(await codeOf(rt.unary('neg', x, { axis: 1 } as never)), 'E_ARGUMENT', 'an unknown option');
  const controller = new AbortController();
  controller.abort();
  t.equal(
    await codeOf(rt.unary('neg', x, { signal: controller.signal })),
    'foreign: AbortError: This operation was aborted',
  );
  x.dispose();
  t.equal(await codeOf(rt.unary('neg', x)), 'E_DISPOSED', 'an operand that is gone');
  await rt.close();
  t.equal(sizeOf([]), 1);
});
