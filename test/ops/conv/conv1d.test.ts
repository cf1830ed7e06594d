/** conv1d: convolution over one extent, against float64. */
import test from 'tape';
import type { Conv1dOptions } from '../../../src/ops/types.ts';
import { CONV_ALGORITHMS } from '../../../src/problem/conv.ts';
import { conv1dOracle } from '../../support/conv-oracle.ts';
import { codeOf } from '../../support/faulty.ts';
import { answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const PADDINGS = [0, 2, [1, 0], [0, 3], 'same', 'same-lower', 'valid'] as const;

test(seeded('conv1d: padding, stride, dilation, groups, by every algorithm'), async (t) => {
  const rt = await makeRuntime({}, 180);
  const random = new Random(2000);
  const ran = new Set<string>();
  for (const length of [5, 16, 37]) {
    for (const k of [1, 3, 5]) {
      const faults: string[] = [];
      for (const padding of PADDINGS) {
        for (const stride of [1, 2, 3]) {
          for (const dilation of [1, 2]) {
            const { groups, inC, outC } = random.pick([
              { groups: 1, inC: 3, outC: 5 },
              { groups: 2, inC: 4, outC: 6 },
              { groups: 4, inC: 4, outC: 4 },
            ]);
            const x = array(random, [random.int(1, 2), inC, length]);
            const w = array(random, [outC, inC / groups, k]);
            const bias = array(random, [outC]);
            const options = { padding, stride, dilation, groups, bias, activation: 'relu' } as const;
            const answer = conv1dOracle({ x, w, ...options });
            if (answer.values.length === 0) continue;
            for (const algorithm of [
              undefined,
              'implicit',
              'direct',
              ...(groups === 4 ? (['depthwise'] as const) : []),
              ...(k === 1 && stride === 1 && (padding === 0 || typeof padding === 'string')
                ? (['gemm'] as const)
                : []),
            ] as const) {
              const out = rt.zeros(answer.shape);
              out.data.fill(Number.NaN);
              const how: Conv1dOptions = { ...options, out, ...(algorithm ? { algorithm } : {}) };
              const got = random.chance(0.5) ? rt.conv1dSync(x, w, how) : await rt.conv1d(x, w, how);
              const fault = answerFault(answer, got);
              if (fault)
                faults.push(
                  `${algorithm} ${JSON.stringify({ padding, stride, dilation, groups })}: ${fault}`,
                );
              ran.add(algorithm ?? 'any');
              got.dispose();
            }
          }
        }
      }
      t.deepEqual(faults.slice(0, 3), [], `${length} long, ${k} taps: ${faults.length} faults`);
    }
  }
  t.deepEqual([...ran].sort(), ['any', 'depthwise', 'direct', 'gemm', 'implicit'], 'all of them ran');
  t.equal(rt.memory().tensors + rt.memory().byOwner.scratch, 0, 'memory is back');
  await rt.close();
  t.end();
});

test(seeded('conv1d: residual, prepacked weights, one length of filter after the other'), async (t) => {
  const rt = await makeRuntime({}, 181);
  const random = new Random(2001);
  const w = array(random, [6, 3, 4]);
  using packed = rt.prepack(w, { op: 'conv' });
  t.deepEqual([...packed.shape], [6, 3, 4], 'the shape that was given');
  for (const length of [4, 9, 30]) {
    const x = array(random, [2, 3, length]);
    const plain = conv1dOracle({ x, w, padding: 'same' });
    const residual = array(random, plain.shape);
    using got = rt.conv1dSync(x, packed, { padding: 'same', residual });
    t.equal(answerFault(conv1dOracle({ x, w, padding: 'same', residual }), got), undefined, `${length} long`);
  }
  await rt.close();
  t.end();
});

test('conv1d: what it does not take', async (t) => {
  const rt = await makeRuntime({}, 182);
  const x = { data: new Float32Array(12), shape: [1, 3, 4] };
  const w = { data: new Float32Array(6), shape: [2, 3, 1] };
  const before = rt.memory();
  const loose = (options: object) => () => rt.conv1dSync(x, w, options);
  for (const options of [
    { stride: [1, 1] },
    { dilation: [1, 2] },
    { padding: [0, 0, 0, 0] },
    { padding: [1] },
    { layout: 'nhwc' },
    { stride: 0 },
    { stride: '1' },
    { padding: 'most' },
    { padding: -1 },
    { padding: [0, 0.5] },
  ])
    t.equal(await codeOf(loose(options)), 'E_ARGUMENT', JSON.stringify(options));
  for (const algorithm of CONV_ALGORITHMS.filter(
    (name) => name.startsWith('winograd') || name === 'depthwise',
  ))
    t.equal(await codeOf(loose({ algorithm })), 'E_ARGUMENT', algorithm);
  t.equal(await codeOf(() => rt.conv1dSync({ ...x, shape: [1, 3, 2, 2] }, w)), 'E_SHAPE', 'an image');
  t.equal(
    await codeOf(() => rt.conv1dSync(x, { ...w, shape: [2, 3, 1, 1] })),
    'E_SHAPE',
    'a filter of rank 4',
  );
  t.equal(await codeOf(rt.conv1d(x, { ...w, shape: [3, 2, 1] })), 'E_SHAPE', 'channels that differ');
  t.deepEqual(rt.memory(), before, 'nothing is allocated');
  await rt.close();
  t.end();
});
