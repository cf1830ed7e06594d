/** Convolutions that are cut finer because threads share them: every plan for two threads and three beside float64. */
import test from 'tape';
import { KERNELS } from '../../../src/kernels/table.ts';
import { convPlans } from '../../../src/plan/conv/candidates.ts';
import { NARROW } from '../../../src/plan/ladders.ts';
import { printPlan } from '../../../src/plan/plan.ts';
import { convKey, convProblem } from '../../../src/problem/conv.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { algorithmsOf, answersTo, askConv, convFault } from '../../support/conv-problems.ts';
import { usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

/** Channels in, height, width, channels out, filter, stride; large enough to be cut, and for planes to be padded by several threads. */
const LAYERS = [
  [96, 21, 19, 25, 3, 1],
  [200, 1, 41, 61, 3, 1],
  [3, 150, 131, 9, 5, 1],
  [3, 150, 131, 9, 5, 2],
  [2, 151, 140, 7, 3, 3],
  [61, 6, 37, 119, 1, 1],
] as const;

/** Plans of each algorithm that are asked. */
const SOME = 4;

for (const layer of LAYERS) {
  test(seeded(`shared steps: ${layer.join(' ')}`), async (t) => {
    const [inC, height, width, outC, filter, stride] = layer;
    const random = new Random(1200 + height);
    const threads = stride === 1 ? 2 : 3;
    const rt = await makeRuntime({ threads }, 70);
    const padding = (filter - 1) / 2;
    const extents = { batch: 1, inC, outC, image: [height, width], filter: [filter, filter] } as const;
    const asked = askConv(random, extents, { layout: 'nchw', padding, stride });
    const window = windowOf({ height, width }, { kH: filter, kW: filter }, { stride, padding });
    const answers = answersTo(asked);
    const faults: string[] = [];
    let ran = 0;
    for (const algorithm of algorithmsOf(asked)) {
      const p = { ...convProblem({ batch: 1, inC, outC }, window), algorithm };
      const plans = convPlans(p, KERNELS, NARROW, [threads]).filter(({ kernel }) =>
        kernel.includes('__simd'),
      );
      for (let turn = 0; turn < SOME; turn++) {
        const plan = random.pick(plans);
        usePlan(rt, convKey(p), plan);
        const fault = await convFault(
          rt,
          random,
          { ...asked, algorithm },
          { sync: random.chance(0.5), answer: answers(algorithm) },
        );
        if (fault) faults.push(`${printPlan(plan)}: ${fault}`);
        ran++;
      }
    }
    t.deepEqual(faults.slice(0, 3), [], `${ran} plans, ${faults.length} faults`);
    t.ok(ran >= SOME);
    await rt.close();
    t.end();
  });
}
