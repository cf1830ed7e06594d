/** Convolutions of one pixel, as behind a global pooling: filters times a vector, by every plan of the kernels for that. */
import test from 'tape';
import type { Runtime } from '../../../src/index.ts';
import { printPlan } from '../../../src/plan/plan.ts';
import { askConv, type ConvExtents, convFault, withEpilogue } from '../../support/conv-problems.ts';
import { specOf, usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

function randomExtents(random: Random): { extents: ConvExtents; groups: number } {
  const groups = random.pick([1, 1, 2, 3]);
  const [inC, outC] = [groups * random.int(1, 70), groups * random.int(1, 70)];
  return { extents: { batch: random.int(1, 3), inC, outC, image: [1, 1], filter: [1, 1] }, groups };
}

test(seeded('one pixel: groups, batches and last passes by the kernels of vectors'), async (t) => {
  const random = new Random(1300);
  const faults: string[] = [];
  let ran = 0;
  for (const threads of [1, 2]) {
    const rt = await makeRuntime({ threads }, 82);
    for (let turn = 0; turn < 40; turn++) {
      const { extents, groups } = randomExtents(random);
      const asked = withEpilogue(random, askConv(random, extents, { groups }));
      const { key, candidates } = rt.explain(specOf(asked));
      const able = candidates.filter(({ plan }) => plan.kernel.includes('gemv_dot'));
      if (able.length === 0) faults.push(`${key}: not offered`);
      else {
        const { plan } = random.pick(able);
        usePlan(rt, key, plan);
        if (rt.explain(specOf(asked)).plan.kernel !== plan.kernel) faults.push(`${key} goes by another plan`);
        const fault = await convFault(rt, random, asked, { sync: random.chance(0.5) });
        if (fault) faults.push(`${printPlan(plan)}: ${fault}`);
        ran++;
      }
    }
    await rt.close();
  }
  t.deepEqual(faults.slice(0, 3), [], `${ran} plans, ${faults.length} faults`);
  t.end();
});

test(seeded('one pixel: kept filters are read as they lie'), async (t) => {
  const random = new Random(1301);
  const rt = await makeRuntime({ threads: 1 }, 83);
  const asked = withEpilogue(random, askConv(random, { inC: 200, outC: 50, image: [1, 1], filter: [1, 1] }));
  using weights = rt.prepack(asked.w, { op: 'conv' });
  const { plan } = rt.explain({ ...specOf(asked), prepacked: true });
  t.ok(plan.kernel.includes('gemv_dot'), printPlan(plan));
  t.equal(await convFault(rt, random, asked, { weights }), undefined);
  await rt.close();
  t.end();
});

test('one pixel: no kernel of vectors in exact mode, nor where pixels are many or channels lie together', async (t) => {
  const offers = (rt: Runtime, image: number, more: object) =>
    rt
      .explain({ op: 'conv', input: [1, 8, image, image], weights: [8, 8, 1, 1], ...more })
      .candidates.some(({ plan }) => plan.kernel.includes('gemv'));
  const [rt, exact] = [
    await makeRuntime({ threads: 1 }, 84),
    await makeRuntime({ threads: 1, numerics: 'exact' }, 84),
  ];
  t.ok(offers(rt, 1, {}));
  t.notOk(offers(rt, 2, {}), 'four pixels');
  t.notOk(offers(exact, 1, {}), 'exact');
  t.notOk(offers(rt, 1, { input: [1, 1, 1, 8], layout: 'nhwc', prepacked: true }), 'NHWC, kept');
  await rt.close();
  await exact.close();
  t.end();
});
