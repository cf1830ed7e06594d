/** Bias, residual and every activation in one call, by every algorithm; the residual may be the result's own tensor. */
import test from 'tape';
import type { Runtime } from '../../../src/ops/types.ts';
import type { Activation } from '../../../src/problem/epilogue.ts';
import { type AskedConv, convOracle } from '../../support/conv-oracle.ts';
import {
  ACTIVATIONS,
  algorithmsOf,
  answersTo,
  askConv,
  convFault,
  describe,
} from '../../support/conv-problems.ts';
import { answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

/** Each algorithm applies to some of them; columns and channels do not fill vectors. */
const PLACES: readonly ((random: Random) => AskedConv)[] = [
  (random) => askConv(random, { inC: 5, outC: 9, image: [5, 7], filter: [1, 1], batch: 2 }),
  (random) => askConv(random, { inC: 5, outC: 9, image: [5, 7], filter: [1, 1] }, { layout: 'nhwc' }),
  (random) => askConv(random, { inC: 3, outC: 6, image: [6, 11], filter: [3, 3], batch: 2 }, { padding: 1 }),
  (random) =>
    askConv(random, { inC: 3, outC: 7, image: [5, 6], filter: [3, 3] }, { padding: 1, layout: 'nhwc' }),
  (random) =>
    askConv(random, { inC: 6, outC: 6, image: [7, 9], filter: [3, 3], batch: 2 }, { groups: 6, padding: 1 }),
  (random) =>
    askConv(
      random,
      { inC: 6, outC: 6, image: [7, 9], filter: [5, 5] },
      { groups: 6, layout: 'nhwc', padding: 2 },
    ),
  (random) => askConv(random, { inC: 4, outC: 6, image: [7, 9], filter: [3, 2] }, { groups: 2, stride: 2 }),
];

type Slopes = ReturnType<typeof array>;

function activationsFor(random: Random, outC: number): (Activation<Slopes> | undefined)[] {
  const prelu = [array(random, [outC]), array(random, [1])].map(
    (slope) => ({ kind: 'prelu', slope }) as const,
  );
  return [undefined, 'none', ...ACTIVATIONS, ...prelu];
}

for (const numerics of ['fast', 'exact'] as const) {
  test(seeded(`conv2d: every activation with and without bias and residual, ${numerics}`), async (t) => {
    const rt = await makeRuntime({ numerics }, 130);
    const random = new Random(1500);
    for (const place of PLACES) {
      const plain = place(random);
      const outC = plain.w.shape[0]!;
      const { shape } = convOracle(plain);
      const faults: string[] = [];
      for (const activation of activationsFor(random, outC)) {
        for (const more of [
          {},
          { bias: array(random, [outC]) },
          { residual: array(random, shape) },
          { bias: array(random, [outC]), residual: array(random, shape) },
        ]) {
          const asked = { ...plain, ...more, ...(activation ? { activation } : {}) };
          const answers = answersTo(asked);
          for (const algorithm of algorithmsOf(asked, numerics === 'exact')) {
            const fault = await convFault(
              rt,
              random,
              { ...asked, algorithm },
              { answer: answers(algorithm), sync: random.chance(0.5) },
            );
            if (fault) faults.push(fault);
          }
        }
      }
      t.deepEqual(faults.slice(0, 2), [], `${describe(plain)}: ${faults.length} faults`);
    }
    t.equal(rt.memory().used - rt.memory().byOwner.runtime, 0, 'memory is back');
    await rt.close();
    t.end();
  });
}

/** The residual is the tensor that the result is written to. */
function addInPlace(rt: Runtime, asked: AskedConv): string | undefined {
  const answer = convOracle(asked);
  const { x, w, residual, bias, ...options } = asked;
  const own = rt.tensor(residual!.data, residual!.shape);
  const got = rt.conv2dSync(x, w, { ...options, bias: bias!, residual: own, out: own });
  const fault = got === own ? answerFault(answer, got) : 'the result is not out';
  own.dispose();
  return fault && `${fault}: ${describe(asked)}`;
}

test(seeded('conv2d: the residual may be the result'), async (t) => {
  const rt = await makeRuntime({}, 131);
  const random = new Random(1501);
  for (const place of PLACES) {
    const plain = place(random);
    const { shape } = convOracle(plain);
    const more = {
      residual: array(random, shape),
      bias: array(random, [plain.w.shape[0]!]),
      activation: 'relu',
    } as const;
    const faults = algorithmsOf(plain).map((algorithm) => addInPlace(rt, { ...plain, ...more, algorithm }));
    t.deepEqual(faults.filter(Boolean), [], describe(plain));
  }
  t.equal(rt.memory().tensors + rt.memory().byOwner.scratch, 0, 'memory is back');
  await rt.close();
  t.end();
});

test(seeded('conv2d: one tensor in several places of a call'), async (t) => {
  const rt = await makeRuntime({}, 132);
  const random = new Random(1502);
  const asked = askConv(random, { inC: 4, outC: 4, image: [4, 4], filter: [4, 4] }, { padding: 'same' });
  const both = { ...asked, w: { data: asked.x.data, shape: [1, 4, 4, 4] } };
  const x = rt.tensor(asked.x.data, asked.x.shape);
  const got = rt.conv2dSync(x, x, { padding: 'same' });
  t.equal(answerFault(convOracle(both), got), undefined, 'an image as its own filter');
  const residual = rt.conv2dSync(x, asked.w, { padding: 'same', residual: x });
  t.equal(
    answerFault(convOracle({ ...asked, residual: asked.x }), residual),
    undefined,
    'an image as its residual',
  );
  await rt.close();
  t.end();
});

test(seeded('conv2d: NaN and infinities reach what their windows see, and nothing else'), async (t) => {
  const rt = await makeRuntime({}, 133);
  const random = new Random(1503);
  for (const place of PLACES) {
    const plain = place(random);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const data = plain.x.data.slice();
      data[Math.floor(data.length / 2)] = value;
      const asked = { ...plain, x: { data, shape: plain.x.shape } };
      const { values } = convOracle(asked);
      // Winograd's and Strassen's methods spread them over their tiles
      for (const algorithm of algorithmsOf(asked).filter((name) => !/winograd|strassen/.test(name))) {
        const { x, w, ...options } = asked;
        const got = rt.conv2dSync(x, w, { ...options, algorithm });
        const wrong = values.findIndex((want, at) => Number.isFinite(want) !== Number.isFinite(got.data[at]));
        t.equal(wrong, -1, `${value} by ${algorithm}: ${describe(plain)}`);
        got.dispose();
      }
    }
  }
  await rt.close();
  t.end();
});
