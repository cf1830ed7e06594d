/** What the cost model has learned from measurements: which way is taken where, on a made-up machine. */
import test from 'tape';
import { KERNELS } from '../../src/kernels/table.ts';
import { convPlans } from '../../src/plan/conv/candidates.ts';
import { convMs } from '../../src/plan/conv/estimate.ts';
import { NARROW } from '../../src/plan/ladders.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { type ConvProblem, convProblem } from '../../src/problem/conv.ts';
import { windowOf } from '../../src/problem/window.ts';
import { madeUpMachine } from '../support/runtime.ts';

/** Blocks of 6 x 8, which there are for all ways, all as fast: nothing but the way decides. */
const ALIKE = KERNELS.filter(({ mr, nr, form }) => mr === 6 && nr === 8 && form === 'plain');
const MACHINE = {
  ...madeUpMachine(1),
  kernelGflops: Object.fromEntries(KERNELS.map(({ name }) => [name, 40])),
};

function pointwise(channels: number, height: number, width: number): ConvProblem {
  const window = windowOf({ height, width }, { kH: 1, kW: 1 }, {});
  return convProblem({ batch: 1, inC: channels, outC: channels }, window, { prepacked: true, bias: true });
}

function fastest(p: ConvProblem): Plan {
  const plans = convPlans(p, ALIKE, NARROW, [1]).map((plan) => ({ plan, ms: convMs(p, plan, MACHINE) }));
  return plans.toSorted((one, other) => one.ms - other.ms)[0]!.plan;
}

test('estimate: an image is read where it lies, unless its rows fall into few sets of the cache', (t) => {
  for (const [channels, height, width] of [
    [24, 124, 132],
    [24, 88, 88],
    [48, 44, 44],
    [8, 64, 64],
  ] as const)
    t.equal(
      fastest(pointwise(channels, height, width)).packing,
      'none',
      `${channels} x ${height} x ${width}`,
    );
  for (const [channels, height, width] of [
    [24, 128, 128],
    [24, 64, 64],
    [36, 32, 32],
    [64, 32, 32],
  ] as const)
    t.equal(
      fastest(pointwise(channels, height, width)).algorithm,
      'implicit',
      `${channels} x ${height} x ${width}`,
    );
  t.end();
});

test('estimate: the table of taps is not tried where there is one tap', (t) => {
  const p = pointwise(20, 40, 44);
  const ways = (of: ConvProblem) => convPlans(of, KERNELS, NARROW, [1]).map(({ algorithm }) => algorithm);
  t.notOk(ways(p).includes('direct'), 'a product in place is the same, and faster');
  t.ok(ways({ ...p, strideH: 2, outH: 20 }).includes('direct'), 'where it is no product it is');
  t.ok(ways({ ...p, algorithm: 'direct' }).includes('direct'), 'and where it is asked for');
  t.end();
});
