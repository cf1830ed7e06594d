/** Extents of zero: the right shape, no work, and without channels to sum over still bias, residual and activation. */
import test from 'tape';
import { CONV_ALGORITHMS } from '../../../src/problem/conv.ts';
import { convOracle, poolOracle, transposeOracle } from '../../support/conv-oracle.ts';
import { algorithmsOf, askConv, convFault, describe, withEpilogue } from '../../support/conv-problems.ts';
import { answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const LAYOUTS = ['nchw', 'nhwc'] as const;

/** An empty batch, image, result; nothing to sum over. */
const EXTENTS = [
  { batch: 0, inC: 3, outC: 4, image: [5, 5], filter: [3, 3] },
  { batch: 2, inC: 3, outC: 0, image: [5, 5], filter: [3, 3] },
  { batch: 2, inC: 3, outC: 4, image: [0, 5], filter: [3, 3] },
  { batch: 1, inC: 3, outC: 4, image: [5, 0], filter: [1, 1] },
  { batch: 2, inC: 0, outC: 4, image: [5, 6], filter: [3, 3] },
  { batch: 1, inC: 0, outC: 7, image: [3, 5], filter: [1, 1] },
  { batch: 0, inC: 0, outC: 0, image: [0, 0], filter: [1, 1] },
] as const;

for (const numerics of ['fast', 'exact'] as const) {
  test(seeded(`conv2d: zero extents, ${numerics}`), async (t) => {
    const rt = await makeRuntime({ numerics }, 280);
    const random = new Random(2600);
    let summed = 0;
    for (const extents of EXTENTS) {
      for (const layout of LAYOUTS) {
        for (const stride of [1, 2]) {
          const plain = askConv(random, extents, { layout, stride, padding: 1 });
          const faults: (string | undefined)[] = [];
          for (let turn = 0; turn < 12; turn++) {
            const asked = turn === 0 ? plain : withEpilogue(random, plain);
            faults.push(await convFault(rt, random, asked, { sync: turn % 2 === 0, into: turn % 3 === 0 }));
            if (convOracle(asked).values.length > 0) summed++;
          }
          t.deepEqual(faults.filter(Boolean).slice(0, 2), [], describe(plain));
        }
      }
    }
    t.ok(summed > 50, `${summed} results of bias, residual and activation alone`);
    t.equal(rt.memory().tensors + rt.memory().byOwner.scratch, 0, 'memory is back');
    await rt.close();
    t.end();
  });
}

test(seeded('conv2d: no input channels, in groups, by every algorithm that can be named'), async (t) => {
  const rt = await makeRuntime({}, 281);
  const random = new Random(2601);
  for (const groups of [1, 2]) {
    const plain = askConv(random, { inC: 0, outC: 6, image: [4, 5], filter: [3, 3] }, { groups, padding: 1 });
    const asked = { ...plain, bias: array(random, [6]), activation: 'relu' } as const;
    for (const algorithm of algorithmsOf(asked))
      t.equal(
        await convFault(rt, random, { ...asked, algorithm }),
        undefined,
        `${algorithm}, ${groups} groups`,
      );
  }
  t.ok(CONV_ALGORITHMS.length > 0);
  await rt.close();
  t.end();
});

test(seeded('conv2d: no input channels in exact mode gives the bits of zeros'), async (t) => {
  const rt = await makeRuntime({ numerics: 'exact' }, 282);
  const random = new Random(2602);
  const bias = array(random, [33], 6);
  new Uint32Array(bias.data.buffer).set([0xffc12345, 0x7f800001, 0x80000000]);
  const residual = array(random, [1, 33, 4, 5]);
  for (const activation of ['none', 'relu', 'gelu', 'silu', 'hardSwish', 'tanh'] as const) {
    for (const more of [{ bias }, { bias, residual }]) {
      using empty = rt.conv2dSync(rt.zeros([1, 0, 4, 5]), rt.zeros([33, 0, 1, 1]), { ...more, activation });
      using zeros = rt.conv2dSync(rt.zeros([1, 1, 4, 5]), rt.zeros([33, 1, 1, 1]), { ...more, activation });
      const [x, y] = [empty, zeros].map(({ data }) => new Uint32Array(data.slice().buffer));
      t.deepEqual(x, y, `${activation}, ${Object.keys(more).join(' and ')}`);
    }
  }
  await rt.close();
  t.end();
});

test(seeded('pooling and transposed convolution: zero extents'), async (t) => {
  const rt = await makeRuntime({}, 283);
  const random = new Random(2603);
  for (const shape of [
    [0, 3, 5, 5],
    [2, 0, 5, 5],
    [1, 3, 0, 5],
    [0, 0, 0, 0],
  ]) {
    for (const kind of ['max', 'average'] as const) {
      const x = array(random, shape);
      using got =
        kind === 'max'
          ? rt.maxPool2dSync(x, 2, { padding: 1 })
          : await rt.averagePool2d(x, 2, { padding: 1 });
      t.equal(
        answerFault(poolOracle({ kind, x, size: 2, padding: 1 }), got),
        undefined,
        `${kind} pooling of [${shape}]`,
      );
    }
  }
  for (const [batch, inC, perGroup, height] of [
    [0, 3, 2, 4],
    [1, 0, 2, 4],
    [1, 3, 0, 4],
  ] as const) {
    const x = array(random, [batch, inC, height, 5]);
    const w = array(random, [inC, perGroup, 3, 3]);
    const more = perGroup > 0 ? { bias: array(random, [perGroup]) } : {};
    const asked = { x, w, stride: 2, ...more, activation: 'relu' } as const;
    using got = rt.convTranspose2dSync(x, w, { stride: 2, ...more, activation: 'relu' });
    t.equal(answerFault(transposeOracle(asked), got), undefined, `transposed [${x.shape}] [${w.shape}]`);
  }
  await rt.close();
  t.end();
});
