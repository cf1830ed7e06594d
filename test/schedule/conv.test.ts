/** Lowering of convolutions: whatever the plan, every element of the result is computed by one step, which waits for all it reads. */
import test from 'tape';
import { KERNELS } from '../../src/kernels/table.ts';
import { convPlans } from '../../src/plan/conv/candidates.ts';
import { WIDE } from '../../src/plan/ladders.ts';
import { type Plan, printPlan } from '../../src/plan/plan.ts';
import type { Program, Step } from '../../src/plan/program.ts';
import { algorithmsFor, type ConvProblem, convProblem } from '../../src/problem/conv.ts';
import { windowOf } from '../../src/problem/window.ts';
import { lowerConv, lowerWeights } from '../../src/schedule/lower/conv.ts';
import { weightForm } from '../../src/schedule/lower/weights.ts';
import { Random, seeded } from '../support/seed.ts';

const WEIGHT_STEPS = ['packA', 'packFilters', 'winogradWeights', 'strassenFilters', 'filtersByTap'];
const TILE_STEPS = [
  'tile',
  'patchTile',
  'offsetTile',
  'segmentTile',
  'depthwise',
  'winogradTile',
  'winogradSlice',
  'strassenTile',
];

function randomConv(random: Random): ConvProblem {
  const depthwise = random.chance(0.2);
  const groups = depthwise ? random.int(2, 12) : random.pick([1, 1, 2, 3]);
  const inC = depthwise ? groups : groups * random.int(1, 6);
  const outC = groups * random.int(1, depthwise ? 2 : 20);
  const k = random.pick([1, 1, 2, 3, 3, 5]);
  const stride = random.pick([1, 1, 2, 3]);
  const extents = { height: random.int(k, 24), width: random.int(k, 40) };
  const window = windowOf(
    extents,
    { kH: k, kW: k },
    { stride, padding: random.pick([0, 0, 1, 2, 'same' as const]) },
  );
  const layout = random.chance(0.3) ? ('nhwc' as const) : ('nchw' as const);
  const prepacked = random.chance(0.5);
  return convProblem({ batch: random.int(1, 3), inC, outC }, window, { groups, layout, prepacked });
}

/** Counts the elements of the result that a tile computes; returns whether it stays inside. */
function countElements(p: ConvProblem, plan: Plan, step: Step, count: Uint8Array): boolean {
  const plane = p.outH * p.outW;
  let isInside = true;
  /** `times` stretches of neighbours, `apart` from one another. */
  const stretches = (first: number, times: number, apart: number, length: number) => {
    if (times <= 0 || length <= 0) return;
    isInside &&= first >= 0 && first + (times - 1) * apart + length <= count.length;
    for (let from = first; times > 0; times--, from += apart)
      for (let at = from; at < from + length; at++) count[at]!++;
  };
  const nchw = (channels: [number, number], pixels: [number, number]) =>
    stretches(
      step.c + channels[0] * plane + pixels[0],
      channels[1] - channels[0],
      plane,
      pixels[1] - pixels[0],
    );
  const nhwc = (pixels: [number, number], channels: [number, number]) =>
    stretches(
      step.c + pixels[0] * p.outC + channels[0],
      pixels[1] - pixels[0],
      p.outC,
      channels[1] - channels[0],
    );
  const m: [number, number] = [step.m0, step.m0 + step.rows];
  const n: [number, number] = [step.n0, step.n0 + step.cols];
  const rows = ([from, to]: [number, number], side = 1): [number, number] => [
    from * side * p.outW,
    Math.min(p.outH, to * side) * p.outW,
  ];
  if (step.op === 'tile') {
    if (step.first) (p.layout === 'nchw' ? nchw : nhwc)(m, n);
  } else if (step.op === 'patchTile' || step.op === 'strassenTile') nchw(m, n);
  else if (step.op === 'offsetTile') nchw(m, rows(n));
  else if (step.op === 'segmentTile') nhwc(rows(m), n);
  else if (step.op.startsWith('winograd')) nchw(m, rows(n, plan.algorithm === 'winograd2' ? 2 : 4));
  else if (p.layout === 'nchw') nchw([step.k0, step.k0 + step.ks], rows(n));
  else nhwc(rows(n), [0, p.outC]);
  return isInside;
}

function fault(p: ConvProblem, program: Program): string | undefined {
  const { plan, steps } = program;
  const count = new Uint8Array(p.batch * p.outC * p.outH * p.outW);
  /** Steps up to the last one that prepares what tiles read. */
  let prepared = 0;
  for (const [index, step] of steps.entries()) {
    if (step.needs > index || step.needs < (steps[index - 1]?.needs ?? 0))
      return `step ${index} needs ${step.needs}`;
    if (!TILE_STEPS.includes(step.op)) {
      prepared = index + 1;
      continue;
    }
    // whoever prepares what tiles read comes before, in a phase that they wait for
    if (step.needs < prepared) return `step ${index} does not wait`;
    if (!countElements(p, plan, step, count)) return `step ${index} leaves the result`;
  }
  for (let at = 0; at < count.length; at++)
    if (count[at] !== 1) return `element ${at} is computed ${count[at]} times`;
  const forms = steps.some(({ op }) => WEIGHT_STEPS.includes(op));
  if (p.prepacked && forms && !(plan.algorithm === 'gemm' && p.layout === 'nhwc'))
    return 'weights are prepared in spite of being prepacked';
  return undefined;
}

test(seeded('convolution steps: each element once, in an order that waits'), (t) => {
  const random = new Random(71);
  const seen = new Map<string, number>();
  const faults: string[] = [];
  for (let turn = 0; turn < 60; turn++) {
    const p = randomConv(random);
    for (const algorithm of algorithmsFor(p)) {
      const ways = convPlans({ ...p, algorithm }, KERNELS, WIDE, [1, 2]);
      if (ways.length === 0) faults.push(`no plan for ${algorithm}`);
      for (let pick = 0; pick < 3; pick++) {
        const plan = random.pick(ways);
        const reason = fault(p, lowerConv(p, plan));
        if (reason) faults.push(`${JSON.stringify(p)} ${JSON.stringify(plan)}: ${reason}`);
        seen.set(`${algorithm} ${p.layout}`, (seen.get(`${algorithm} ${p.layout}`) ?? 0) + 1);
      }
    }
  }
  t.deepEqual(faults.slice(0, 3), []);
  t.ok(seen.size >= 8, [...seen].map(([name, count]) => `${name}: ${count}`).join(', '));
  t.end();
});

test('convolution steps: of large planes each thread has rows of its own', (t) => {
  for (const [height, width, stride] of [
    [130, 131, 1],
    [131, 128, 1],
    [263, 257, 2],
  ] as const) {
    const window = windowOf({ height, width }, { kH: 3, kW: 3 }, { stride, padding: 1 });
    const p = convProblem({ batch: 2, inC: 5, outC: 5 }, window, { groups: 5, prepacked: true });
    for (const threads of [1, 2, 3]) {
      const plans = convPlans({ ...p, algorithm: 'depthwise' }, KERNELS, WIDE, [threads]).filter(
        ({ nc }) => nc > p.outH * p.outW,
      );
      for (const plan of plans) {
        const { steps, ...rest } = lowerConv(p, plan);
        t.equal(fault(p, { steps, ...rest }), undefined, `${printPlan(plan)} of ${p.outH} x ${p.outW}`);
        const cuts = new Set(steps.map(({ n0 }) => n0));
        // interleaved channels are whole planes
        if (plan.packing === 'none') t.equal(cuts.size, threads, `${threads} stretches of rows`);
      }
    }
  }
  t.end();
});

/** Layers that blocks for the caches cut into one or two steps: channels in, height, width, channels out, filter, stride. */
const FEW_STEPS = [
  { layer: [96, 40, 40, 24, 3, 1], algorithm: 'winograd4', fewest: 3 },
  { layer: [96, 80, 80, 24, 3, 1], algorithm: 'winograd4', fewest: 4 },
  { layer: [96, 10, 10, 24, 3, 1], algorithm: 'winograd2', fewest: 3 },
  { layer: [960, 1, 40, 60, 3, 1], algorithm: 'direct', fewest: 10 },
  { layer: [3, 128, 128, 24, 5, 2], algorithm: 'direct', fewest: 8 },
  { layer: [480, 6, 80, 480, 1, 1], algorithm: 'implicit', fewest: 12 },
  { layer: [32, 2, 96, 200, 1, 1], algorithm: 'gemm', fewest: 6 },
  { layer: [96, 8, 8, 96, 3, 1], algorithm: 'depthwise', fewest: 4 },
] as const;

/** Steps of a program that may be done at the same time: of the phase that has the fewest. */
function stepsAtOnce({ steps }: Program): number {
  const perPhase = new Map<number, number>();
  for (const { op, needs } of steps)
    if (TILE_STEPS.includes(op)) perPhase.set(needs, (perPhase.get(needs) ?? 0) + 1);
  return Math.min(...perPhase.values());
}

test(seeded('convolution steps: there are some for each of the threads that share them'), (t) => {
  const random = new Random(72);
  for (const { layer, algorithm, fewest } of FEW_STEPS) {
    const [inC, height, width, outC, filter, stride] = layer;
    const padding = (filter - 1) / 2;
    const window = windowOf({ height, width }, { kH: filter, kW: filter }, { stride, padding });
    const groups = algorithm === 'depthwise' ? inC : 1;
    const p = convProblem({ batch: 1, inC, outC }, window, { groups, prepacked: true });
    let least = Number.POSITIVE_INFINITY;
    for (const threads of [2, 3, 8]) {
      for (const plan of convPlans({ ...p, algorithm }, KERNELS, WIDE, [threads])) {
        const program = lowerConv(p, plan);
        // thousands of plans: the elements are counted for some of them
        const reason = random.chance(0.1) ? fault(p, program) : undefined;
        if (reason) t.fail(`${printPlan(plan)}: ${reason}`);
        least = Math.min(least, stepsAtOnce(program));
      }
    }
    t.ok(least >= fewest, `${algorithm} of ${layer.join(' ')}: ${least} steps at once`);
  }
  t.end();
});

test('convolution steps: a large plane is padded by several threads', (t) => {
  for (const [height, stride] of [
    [352, 1],
    [352, 2],
    [353, 3],
    [100, 1],
  ] as const) {
    const window = windowOf({ height, width: height }, { kH: 3, kW: 3 }, { stride, padding: 1 });
    const p = convProblem({ batch: 2, inC: 3, outC: 8 }, window, { prepacked: true });
    const plan = convPlans({ ...p, algorithm: 'direct' }, KERNELS, WIDE, [2])[0]!;
    const { steps, constants } = lowerConv(p, plan);
    const pads = steps.filter(({ op }) => op === 'pad');
    const rows = new Uint8Array(2 * 3 * constants.paddedH);
    for (const { b, k0, ks, m0, rows: count } of pads) {
      t.equal(b, 0, 'planes of both images are counted in one row');
      for (let plane = k0; plane < k0 + ks; plane++)
        for (let y = m0; y < m0 + count; y++) rows[plane * constants.paddedH + y]!++;
    }
    t.ok(
      rows.every((times) => times === 1),
      `${height}: ${pads.length} steps, each row once`,
    );
    t.ok(pads.length >= 3);
  }
  t.end();
});

test(seeded('convolution steps: forms of weights fill what tiles read'), (t) => {
  const random = new Random(71);
  let checked = 0;
  for (let turn = 0; turn < 60; turn++) {
    const p = { ...randomConv(random), prepacked: true };
    for (const plan of convPlans(p, KERNELS, WIDE, [1]).filter(() => random.chance(0.02))) {
      const form = weightForm(p, plan);
      const program = lowerWeights(p, plan);
      if ((form === undefined) !== (program === undefined)) t.fail('a form without steps');
      if (!form || !program) continue;
      checked++;
      const wanted = Math.max(program.packedAElements, program.packedBElements);
      if (plan.algorithm !== 'gemm' && wanted < form.elements)
        t.fail(`${form.name}: ${form.elements} of ${wanted}`);
      if (!program.steps.every(({ op }) => WEIGHT_STEPS.includes(op) || op === 'packB'))
        t.fail('other steps');
    }
  }
  t.ok(checked > 30, `${checked} forms`);
  t.end();
});
