/** What the cost model has learned from measurements: which way is taken where, on a made-up machine. */
import test from 'tape';
import { KERNELS, type Kernel } from '../../src/kernels/table.ts';
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

function pointwise(channels: number, height: number, width: number, outC = channels): ConvProblem {
  const window = windowOf({ height, width }, { kH: 1, kW: 1 }, {});
  return convProblem({ batch: 1, inC: channels, outC }, window, { prepacked: true, bias: true });
}

function depthwise(size: number, channels: number, height: number, width: number): ConvProblem {
  const half = size >> 1;
  const window = windowOf({ height, width }, { kH: size, kW: size }, { padding: [half, half, half, half] });
  return convProblem({ batch: 1, inC: channels, outC: channels }, window, {
    groups: channels,
    prepacked: true,
  });
}

function fastest(p: ConvProblem, kernels = ALIKE): Plan {
  const plans = convPlans(p, kernels, NARROW, [1]).map((plan) => ({ plan, ms: convMs(p, plan, MACHINE) }));
  return plans.toSorted((one, other) => one.ms - other.ms)[0]!.plan;
}

test('estimate: an image is read where it lies, unless its rows fall into few sets of the cache', (t) => {
  for (const [channels, height, width] of [
    [24, 124, 132],
    [24, 88, 88],
    [48, 44, 44],
  ] as const)
    t.equal(
      fastest(pointwise(channels, height, width)).packing,
      'none',
      `${channels} x ${height} x ${width}`,
    );
  t.equal(fastest(pointwise(8, 64, 64, 12)).packing, 'none', '8 rows of a set');
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

test('estimate: depthwise rows are cut into blocks that keep a core busy, in the order of memory where they come from there', (t) => {
  const rows = KERNELS.filter(({ family, taps }) => family === 'depthwise' && taps);
  const block = (p: ConvProblem) => /_r\d+x\d+/.exec(fastest(p, rows).kernel)![0];
  for (const [size, channels, height, width, expected] of [
    [5, 192, 20, 20, '_r4x8'],
    [5, 200, 2, 96, '_r2x16'],
    [3, 96, 16, 16, '_r4x8'],
    [3, 32, 512, 512, '_r1x16'],
    [3, 48, 160, 160, '_r1x16'],
    [3, 96, 112, 112, '_r4x8'],
    [5, 32, 256, 256, '_r4x8'],
  ] as const)
    t.equal(
      block(depthwise(size, channels, height, width)),
      expected,
      `${size}x${size}, ${channels} x ${height} x ${width}`,
    );
  const wide = rows.filter(({ name }) => name.startsWith('f32_dw_5x5_s1_r2x16'));
  const msAt = (width: number) => {
    const p = depthwise(5, 64, 32, width);
    return convMs(p, fastest(p, wide), MACHINE);
  };
  t.ok(msAt(32) / msAt(20) < 1.4, 'two sums by themselves take longer than their share of ten');
  t.end();
});

test('estimate: rows beyond the image cost nothing where a kernel leaves them out', (t) => {
  // for a row, of what one takes in a higher map
  const share = (size: number, height: number, higher: number): number => {
    const rows = KERNELS.filter(({ name }) => name.startsWith(`f32_dw_${size}x${size}_s1_r2x`));
    const msOfRow = (h: number) => {
      const p = depthwise(size, 200, h, 96);
      return convMs(p, fastest(p, rows), MACHINE) / h;
    };
    return msOfRow(height) / msOfRow(higher);
  };
  // of 5 rows that a filter sees 2 are in a map of 2 rows, 3 and 4 in those of a map of 4; kernels of 3x3 look at all
  for (const [size, height, higher, wanted] of [
    [5, 2, 40, 4 / 10 / (194 / 200)],
    [5, 4, 40, 14 / 20 / (194 / 200)],
    [3, 2, 8, 1],
  ] as const) {
    const got = share(size, height, higher);
    const said = `${size}x${size}, ${height} rows: ${got.toFixed(3)}, about ${wanted.toFixed(3)}`;
    t.ok(Math.abs(got - wanted) < 0.06, said);
  }
  t.end();
});

test('estimate: rows below the last block cost what a kernel of one row takes', (t) => {
  const window = windowOf(
    { height: 320, width: 320 },
    { kH: 3, kW: 3 },
    { stride: 2, padding: [1, 1, 1, 1] },
  );
  const p = convProblem({ batch: 1, inC: 3, outC: 16 }, window, { prepacked: true });
  const offset = KERNELS.filter(({ family, feature }) => family === 'offset' && feature === 'simd');
  // blocks of six rows are the fastest, if only the rows of whole ones counted
  const gflops = ({ mr }: Kernel) => (mr === 1 ? 10 : mr === 6 ? 60 : 40);
  const machine = {
    ...MACHINE,
    kernelGflops: Object.fromEntries(offset.map((kernel) => [kernel.name, gflops(kernel)])),
  };
  const [plan] = convPlans(p, offset, NARROW, [1])
    .filter(({ algorithm }) => algorithm === 'direct')
    .toSorted((one, other) => convMs(p, one, machine) - convMs(p, other, machine));
  t.match(plan!.kernel, /_(4x8|2x16)__/, `16 channels by whole blocks, not ${plan!.kernel}`);
  t.end();
});

test('estimate: methods that ask for many channels are tried where there are', (t) => {
  const ways = (p: ConvProblem) =>
    new Set(convPlans(p, KERNELS, NARROW, [1]).map(({ algorithm }) => algorithm));
  t.notOk(ways(depthwise(3, 24, 128, 128)).has('winograd4'), 'no sums over one channel by Winograd');
  t.ok(
    ways({ ...depthwise(3, 24, 128, 128), algorithm: 'winograd4' }).has('winograd4'),
    'unless they are asked for',
  );
  t.notOk(ways(pointwise(96, 20, 20)).has('strassen'), 'few channels');
  t.ok(ways({ ...pointwise(96, 20, 20), algorithm: 'strassen' }).has('strassen'), 'asked for');
  t.ok(ways(pointwise(240, 12, 80)).has('strassen'), 'many');
  t.end();
});
