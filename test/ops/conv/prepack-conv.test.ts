/** Prepacked weights: the same answers as without, for any image and algorithm, and for as long as they live. */
import test from 'tape';
import type { PrepackedConv } from '../../../src/ops/types.ts';
import type { ConvAlgorithm } from '../../../src/problem/conv.ts';
import { type AskedConv, convOracle } from '../../support/conv-oracle.ts';
import {
  algorithmsOf,
  answersTo,
  askConv,
  convFault,
  describe,
  withEpilogue,
} from '../../support/conv-problems.ts';
import { codeOf } from '../../support/faulty.ts';
import { answerFault, array, sizeOf } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

type Options = Omit<AskedConv, 'x' | 'w'>;

/** Weights, with groups, and what they may be used for. */
const WEIGHTS: readonly {
  readonly shape: readonly [number, number, number, number];
  readonly groups: number;
}[] = [
  { shape: [9, 5, 3, 3], groups: 1 },
  { shape: [17, 12, 1, 1], groups: 1 },
  { shape: [6, 1, 3, 3], groups: 6 },
  { shape: [8, 3, 2, 5], groups: 2 },
];
const USES: readonly Options[] = [
  { padding: 'same' },
  { padding: 'valid' },
  { padding: 1, stride: 2 },
  { padding: 'same', dilation: 2 },
  { padding: 'same', layout: 'nhwc' },
  { padding: 1, stride: [1, 2], layout: 'nhwc' },
];

for (const { shape, groups } of WEIGHTS) {
  test(
    seeded(
      `prepack of weights: [${shape}] in ${groups} groups: every image, option and algorithm on one packing`,
    ),
    async (t) => {
      const rt = await makeRuntime({}, 240);
      const random = new Random(2400 + shape[0]);
      const w = array(random, shape);
      const packed = rt.prepack(w, { op: 'conv' });
      t.deepEqual([...packed.shape], [...shape], 'the shape that was given');
      t.ok(packed.bytes >= 4 * sizeOf(shape), `${packed.bytes} bytes`);
      const faults: string[] = [];
      const ran = new Set<string>();
      for (const use of USES) {
        for (const image of [
          [5, 6],
          [13, 9],
          [8, 24],
        ] as const) {
          const extents = {
            batch: random.int(1, 2),
            inC: shape[1] * groups,
            outC: shape[0],
            image,
            filter: [shape[2], shape[3]],
          } as const;
          const asked = withEpilogue(random, { ...askConv(random, extents, { ...use, groups }), w });
          const answers = answersTo(asked);
          for (const algorithm of [undefined, ...algorithmsOf(asked)]) {
            const by = algorithm ? { ...asked, algorithm } : asked;
            const manner = { weights: packed, answer: answers(algorithm), sync: random.chance(0.5) };
            const fault = await convFault(rt, random, by, manner);
            if (fault) faults.push(fault);
            ran.add(algorithm ?? 'any');
          }
        }
      }
      t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults; by ${[...ran].join(', ')}`);
      const { byOwner, tensors } = rt.memory();
      t.ok(
        byOwner.prepacked >= packed.bytes,
        `${byOwner.prepacked} bytes are accounted for, ${packed.bytes} reported`,
      );
      t.equal(tensors + byOwner.scratch, 0, 'nothing else is kept');
      packed.dispose();
      t.equal(packed.bytes, 0, 'no bytes when disposed');
      t.equal(rt.memory().byOwner.prepacked, 0, 'all forms are given back');
      await rt.close();
      t.end();
    },
  );
}

test(seeded('prepack of weights: forms are made once'), async (t) => {
  const rt = await makeRuntime({}, 241);
  const random = new Random(2410);
  const w = array(random, [8, 6, 3, 3]);
  using packed = rt.prepack(w, { op: 'conv' });
  const run = (algorithm: ConvAlgorithm, side: number) => {
    const x = array(random, [1, 6, side, side]);
    rt.conv2dSync(x, packed, { padding: 1, algorithm }).dispose();
    return packed.bytes;
  };
  for (const algorithm of ['implicit', 'winograd2', 'winograd4'] as const) {
    const first = run(algorithm, 9);
    t.equal(run(algorithm, 9), first, `${algorithm}: the same form for the same problem`);
  }
  const all = packed.bytes;
  t.equal(run('winograd2', 9), all, 'and they are kept');
  t.equal(rt.memory().byOwner.prepacked >= all, true, 'in the account of prepacked memory');
  await rt.close();
  t.end();
});

test(seeded('prepack of weights: an algorithm that is pinned'), async (t) => {
  const rt = await makeRuntime({}, 242);
  const random = new Random(2411);
  const asked = askConv(random, { inC: 5, outC: 7, image: [9, 9], filter: [3, 3] }, { padding: 1 });
  for (const algorithm of algorithmsOf(asked)) {
    using packed = rt.prepack(asked.w, { op: 'conv', algorithm });
    using plain = rt.conv2dSync(asked.x, asked.w, { padding: 1, algorithm });
    using got = rt.conv2dSync(asked.x, packed, { padding: 1 });
    t.equal(answerFault(convOracle({ ...asked, algorithm }), got), undefined, `${algorithm}: right`);
    t.ok(Math.max(...got.data.map((value, at) => Math.abs(value - plain.data[at]!))) < 1e-4, 'as without');
    const other = algorithm === 'direct' ? 'implicit' : 'direct';
    using named = rt.conv2dSync(asked.x, packed, { padding: 1, algorithm: other });
    t.equal(answerFault(convOracle(asked), named), undefined, 'the option of a call comes first');
  }
  using winograd = rt.prepack(asked.w, { op: 'conv', algorithm: 'winograd2' });
  t.equal(
    await codeOf(() => rt.conv2dSync(asked.x, winograd, { stride: 2 })),
    'E_ARGUMENT',
    'where it does not apply',
  );
  t.equal(
    await codeOf(() => rt.prepack(asked.w, { op: 'conv', algorithm: 'fastest' as never })),
    'E_ARGUMENT',
    'none of this name',
  );
  await rt.close();
  t.end();
});

test(seeded('prepack of weights: independent of what it was made of, disposed while in use'), async (t) => {
  const rt = await makeRuntime({ threads: 2 }, 243);
  const random = new Random(2412);
  const asked = askConv(random, { inC: 16, outC: 24, image: [40, 40], filter: [3, 3] }, { padding: 1 });
  const answer = answersTo(asked)(undefined);
  const w = rt.tensor(asked.w.data, asked.w.shape);
  const packed: PrepackedConv = rt.prepack(w, { op: 'conv' });
  w.data.fill(Number.NaN);
  w.dispose();
  using first = rt.conv2dSync(asked.x, packed, { padding: 1 });
  t.equal(answerFault(answer, first), undefined, 'its own copy');
  const calls = Array.from({ length: 6 }, () => rt.conv2d(asked.x, packed, { padding: 1 }));
  packed.dispose();
  packed.dispose();
  t.ok(packed.disposed, 'disposed twice');
  for (const got of await Promise.all(calls)) {
    t.equal(answerFault(answer, got), undefined, 'calls that had begun are right');
    got.dispose();
  }
  t.equal(rt.memory().byOwner.prepacked, 0, 'the memory is given back after them');
  t.equal(
    await codeOf(rt.conv2d(asked.x, packed, { padding: 1 })),
    'E_DISPOSED',
    'no call begins afterwards',
  );
  await rt.close();
  t.end();
});

test(seeded('prepack of weights: what is none, foreign, out of place'), async (t) => {
  const [rt, other] = [await makeRuntime({}, 244), await makeRuntime({}, 245)];
  const random = new Random(2413);
  const w = array(random, [4, 2, 3, 3]);
  const x = array(random, [1, 2, 5, 5]);
  using packed = rt.prepack(w, { op: 'conv' });
  const foreign = other.prepack(w, { op: 'conv' });
  const loose = rt as unknown as Record<string, (...args: readonly unknown[]) => unknown>;
  const before = rt.memory();
  t.equal(await codeOf(() => rt.conv2dSync(x, foreign)), 'E_FOREIGN', 'of another runtime');
  t.equal(
    await codeOf(() => rt.conv2dSync(array(random, [1, 3, 5, 5]), packed)),
    'E_SHAPE',
    'channels that differ',
  );
  t.equal(
    await codeOf(() => rt.conv1dSync(array(random, [1, 2, 5]), packed)),
    'E_SHAPE',
    'weights of rank 4 in conv1d',
  );
  t.equal(await codeOf(() => loose.conv2dSync!(packed, w)), 'E_ARGUMENT', 'weights as an image');
  t.equal(await codeOf(() => loose.matmulSync!(x, packed)), 'E_ARGUMENT', 'weights in a product');
  t.equal(
    await codeOf(() => loose.convTranspose2dSync!(x, packed)),
    'E_ARGUMENT',
    'weights in a transposed convolution',
  );
  t.equal(await codeOf(() => loose.prepack!(packed, { op: 'conv' })), 'E_ARGUMENT', 'weights packed again');
  for (const shape of [[2], [2, 2], [1, 1, 1, 1, 1]])
    t.equal(
      await codeOf(() => rt.prepack(array(random, shape), { op: 'conv' })),
      'E_SHAPE',
      `rank ${shape.length}`,
    );
  t.equal(
    await codeOf(() => loose.prepack!(w, { op: 'conv', algo: 'direct' })),
    'E_ARGUMENT',
    'a misspelt option',
  );
  t.equal(await codeOf(() => loose.prepack!(w, null)), 'E_ARGUMENT', 'options that are none');
  t.deepEqual(rt.memory(), before, 'nothing is allocated');
  await other.close();
  await rt.close();
  t.equal(await codeOf(() => rt.prepack(w, { op: 'conv' })), 'E_CLOSED', 'closed');
  t.end();
});

test(seeded('prepack of weights: empty weights'), async (t) => {
  const rt = await makeRuntime({}, 246);
  const random = new Random(2414);
  for (const shape of [
    [0, 3, 3, 3],
    [4, 0, 3, 3],
  ]) {
    const w = array(random, shape);
    using packed = rt.prepack(w, { op: 'conv' });
    const x = array(random, [1, shape[1]!, 5, 5]);
    using got = rt.conv2dSync(x, packed, { padding: 1 });
    t.equal(answerFault(convOracle({ x, w, padding: 1 }), got), undefined, describe({ x, w }));
  }
  await rt.close();
  t.end();
});
