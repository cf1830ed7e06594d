/** A residual of fewer channels than the result has, by every algorithm: as if the others were zeros, and only where that is well defined. */
import test from 'tape';
import { GPU_KERNELS, gpuServes } from '../../../src/kernels/gpu.ts';
import { cutOf } from '../../../src/plan/cut.ts';
import { convKey, convProblem } from '../../../src/problem/conv.ts';
import { type AskedConv, convOracle } from '../../support/conv-oracle.ts';
import { algorithmsOf, answersTo, askConv, convFault, describe } from '../../support/conv-problems.ts';
import { array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

/** Rows of channels that no kernel's fill, and pixels that no vector's do. */
const PLACES: readonly ((random: Random) => AskedConv)[] = [
  (random) => askConv(random, { inC: 5, outC: 9, image: [5, 7], filter: [1, 1] }),
  (random) => askConv(random, { inC: 24, outC: 40, image: [9, 8], filter: [1, 1] }),
  (random) => askConv(random, { inC: 3, outC: 13, image: [6, 11], filter: [3, 3] }, { padding: 1 }),
  (random) => askConv(random, { inC: 6, outC: 6, image: [7, 9], filter: [3, 3] }, { groups: 6, padding: 1 }),
  (random) => askConv(random, { inC: 4, outC: 6, image: [7, 9], filter: [3, 2] }, { groups: 2, stride: 2 }),
  (random) => askConv(random, { inC: 2, outC: 7, image: [1, 2], filter: [1, 1] }),
];

/** Zeros behind the channels that there are. */
function widened(asked: AskedConv, shape: readonly number[]): AskedConv {
  const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  data.set(asked.residual!.data as Float32Array);
  return { ...asked, residual: { data, shape } };
}

for (const numerics of ['fast', 'exact'] as const) {
  test(seeded(`conv2d: a residual of fewer channels, ${numerics}`), async (t) => {
    const random = new Random(1601);
    for (const threads of [1, 2]) {
      const rt = await makeRuntime({ numerics, threads }, 131);
      for (const place of PLACES) {
        const plain = place(random);
        const { shape } = convOracle(plain);
        const [, outC, ...extents] = shape as [number, number, ...number[]];
        const faults: string[] = [];
        for (const channels of [1, outC >> 1, outC - 1])
          for (const activation of ['none', 'relu', 'hardSwish', 'gelu'] as const)
            for (const more of [{}, { bias: array(random, [outC]) }]) {
              const residual = array(random, [1, channels, ...extents]);
              const asked = { ...plain, ...more, residual, activation };
              const answers = answersTo(widened(asked, shape));
              for (const algorithm of algorithmsOf(asked, numerics === 'exact')) {
                const how = { answer: answers(algorithm), sync: random.chance(0.5) };
                const fault = await convFault(rt, random, { ...asked, algorithm }, how);
                if (fault) faults.push(fault);
              }
            }
        t.deepEqual(faults.slice(0, 2), [], `${describe(plain)}: ${faults.length} faults`);
      }
      t.equal(rt.memory().used - rt.memory().byOwner.runtime, 0, 'memory is back');
      await rt.close();
    }
    t.end();
  });
}

test('conv2d: a residual of fewer channels is refused where its place would not be clear', async (t) => {
  const rt = await makeRuntime();
  const x = { data: new Float32Array(2 * 3 * 4 * 5), shape: [2, 3, 4, 5] };
  const one = { data: new Float32Array(3 * 4 * 5), shape: [1, 3, 4, 5] };
  const w = { data: new Float32Array(8 * 3), shape: [8, 3, 1, 1] };
  const zeros = (...shape: number[]) => ({
    data: new Float32Array(shape.reduce((product, extent) => product * extent, 1)),
    shape,
  });
  const refused = (name: string, call: () => unknown, says = '') => {
    try {
      call();
      t.fail(`${name}: no error`);
    } catch (error) {
      t.equal((error as { code?: string }).code, 'E_SHAPE', name);
      t.ok((error as Error).message.includes(says), (error as Error).message);
    }
  };
  refused('a batch', () => rt.conv2dSync(x, w, { residual: zeros(2, 4, 4, 5) }));
  refused(
    'one image for a batch',
    () => rt.conv2dSync(x, w, { residual: zeros(1, 4, 4, 5) }),
    'result [2, 8, 4, 5]',
  );
  refused('more channels', () => rt.conv2dSync(one, w, { residual: zeros(1, 9, 4, 5) }));
  refused('no channels', () => rt.conv2dSync(one, w, { residual: zeros(1, 0, 4, 5) }));
  refused('other rows', () => rt.conv2dSync(one, w, { residual: zeros(1, 4, 1, 5) }));
  refused('one pixel', () => rt.conv2dSync(zeros(1, 3, 1, 1), w, { residual: zeros(1, 4, 1, 1) }));
  refused('channels last', () =>
    rt.conv2dSync(zeros(1, 4, 5, 3), w, { layout: 'nhwc', residual: zeros(1, 4, 5, 4) }),
  );
  refused('fewer rows, channels last', () =>
    rt.conv2dSync(zeros(1, 4, 5, 3), w, { layout: 'nhwc', residual: zeros(1, 3, 5, 8) }),
  );
  refused('a line', () => rt.conv1dSync(zeros(1, 3, 5), zeros(8, 3, 1), { residual: zeros(1, 4, 5) }));
  t.equal(rt.memory().tensors, 0, 'nothing is kept');
  await rt.close();
});

test('conv2d: a residual of fewer channels where there are none to sum over', async (t) => {
  const rt = await makeRuntime();
  const none = { data: new Float32Array(0), shape: [1, 0, 2, 3] };
  const residual = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [1, 1, 2, 3] };
  const bias = { data: Float32Array.of(0.5, 0.25), shape: [2] };
  using y = rt.conv2dSync(none, { data: new Float32Array(0), shape: [2, 0, 1, 1] }, { residual, bias });
  const quarters = new Array<number>(6).fill(0.25);
  t.deepEqual(Array.from(y.data), [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, ...quarters]);
  await rt.close();
});

test('a residual of fewer channels: a problem of its own, which is neither cut nor given to a GPU', (t) => {
  const extents = { inH: 6, inW: 6, outH: 6, outW: 6, kH: 1, kW: 1 };
  const steps = { strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 };
  const window = { ...extents, ...steps, padTop: 0, padLeft: 0, padBottom: 0, padRight: 0 };
  const whole = convProblem({ batch: 1, inC: 8, outC: 12 }, window, { residual: true });
  const fewer = { ...whole, residualC: 8 };
  t.equal(convKey(fewer), convKey(whole).replace(' residual', ' residual=8'));
  t.ok(cutOf(whole), 'one of all channels is cut');
  t.equal(cutOf(fewer), undefined);
  const served = (problem: typeof whole) => GPU_KERNELS.filter((kernel) => gpuServes(problem, kernel)).length;
  t.ok(served(whole) > 0, 'a GPU adds what has all channels');
  t.equal(served(fewer), 0);
  t.end();
});
