/**
 * Convolutions in exact mode: the same bytes from every algorithm, kernel, blocking and thread count, sync and async, prepacked or
 * not; and the bytes of a plain loop that rounds after each step.
 */
import test from 'tape';
import { findKernel } from '../../../src/kernels/table.ts';
import type { ConvSpec, Explanation, Runtime } from '../../../src/ops/types.ts';
import { type Plan, printPlan, samePlan } from '../../../src/plan/plan.ts';
import { bitDifference, bytesHash } from '../../support/compare.ts';
import { type AskedConv, axesOf, convOracle, planesOf } from '../../support/conv-oracle.ts';
import { algorithmsOf, askConv, describe } from '../../support/conv-problems.ts';
import { array } from '../../support/oracle.ts';
import { specOf, usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const { fround } = Math;
const CANONICAL_NAN = 0x7fc00000;

const PLACES: readonly ((random: Random) => AskedConv)[] = [
  (random) => askConv(random, { inC: 37, outC: 19, image: [7, 9], filter: [1, 1], batch: 2 }),
  (random) => askConv(random, { inC: 37, outC: 19, image: [7, 9], filter: [1, 1] }, { layout: 'nhwc' }),
  (random) => askConv(random, { inC: 7, outC: 13, image: [9, 11], filter: [3, 3], batch: 2 }, { padding: 1 }),
  (random) =>
    askConv(random, { inC: 7, outC: 13, image: [9, 11], filter: [3, 3] }, { padding: 1, layout: 'nhwc' }),
  (random) =>
    askConv(
      random,
      { inC: 12, outC: 8, image: [11, 8], filter: [3, 5] },
      { groups: 4, stride: [2, 1], padding: 'same' },
    ),
  (random) =>
    askConv(
      random,
      { inC: 6, outC: 6, image: [13, 17], filter: [3, 3], batch: 2 },
      { groups: 6, padding: 1 },
    ),
  (random) =>
    askConv(
      random,
      { inC: 3, outC: 6, image: [13, 17], filter: [5, 5] },
      { groups: 3, padding: 2, stride: 2 },
    ),
  (random) =>
    askConv(
      random,
      { inC: 9, outC: 9, image: [8, 7], filter: [3, 3] },
      { groups: 9, padding: 1, layout: 'nhwc' },
    ),
];

/** The value that one tap sees: zero beyond the image. */
function pixelOf(x: ReturnType<typeof planesOf>, channel: number, y: number, column: number): number {
  const inside = y >= 0 && y < x.height && column >= 0 && column < x.width;
  return inside ? x.data[(channel * x.height + y) * x.width + column]! : 0;
}

/** Taps in the order in which exact mode sums them: channels outermost with NCHW, innermost with NHWC. */
function* order(
  channels: number,
  kH: number,
  kW: number,
  nhwc: boolean,
): Generator<[number, number, number]> {
  for (let outer = 0; outer < (nhwc ? kH * kW : channels); outer++) {
    for (let inner = 0; inner < (nhwc ? channels : kH * kW); inner++) {
      const [c, tap] = nhwc ? [inner, outer] : [outer, inner];
      yield [c, Math.floor(tap / kW), tap % kW];
    }
  }
}

/** Exact mode as its definition reads: multiply, round, add, round, then the bias. */
function emulate(asked: AskedConv): Float32Array {
  const { w, groups = 1, bias, layout } = asked;
  const x = planesOf(asked.x, layout);
  const [outC, perGroup, kH, kW] = w.shape as readonly [number, number, number, number];
  const [tall, wide] = axesOf([x.height, x.width], [kH, kW], asked);
  const taps = [...order(perGroup, kH, kW, layout === 'nhwc')];
  const { values } = convOracle(asked);
  return Float32Array.from(values, (_, at) => {
    const pixels = tall.out * wide.out;
    const nhwc = layout === 'nhwc';
    const oc = nhwc ? at % outC : Math.floor(at / pixels) % outC;
    const pixel = nhwc ? Math.floor(at / outC) % pixels : at % pixels;
    const n = Math.floor(at / pixels / outC);
    const [oy, ox] = [Math.floor(pixel / wide.out), pixel % wide.out];
    let sum = 0;
    for (const [c, kh, kw] of taps) {
      const channel = n * x.channels + Math.floor((oc * groups) / outC) * perGroup + c;
      const y = oy * tall.stride + kh * tall.dilation - tall.before;
      const column = ox * wide.stride + kw * wide.dilation - wide.before;
      const weight = w.data[((oc * perGroup + c) * kH + kh) * kW + kw]!;
      sum = fround(sum + fround(pixelOf(x, channel, y, column) * weight));
    }
    if (bias) sum = fround(sum + bias.data[oc]!);
    return asked.activation === 'relu' ? Math.max(0, sum) : sum;
  });
}

/** Other blocks and threads than any estimate would take for a problem this small. */
function cutUp(random: Random, plan: Plan): Plan {
  const threads = random.pick([1, 2]);
  const { mr, nr } = findKernel(plan.kernel)!;
  if (plan.algorithm === 'depthwise') return { ...plan, threads, nc: random.pick([1, 20, plan.nc]) };
  const kc = random.pick([4, 8, 16, plan.kc]);
  return { ...plan, threads, mc: mr * random.int(1, 3), nc: nr * random.int(1, 4), kc };
}

/** Plans of each algorithm and kernel, with everything that a plan has; of ways as well that are tried only where they are asked for. */
function somePlans(random: Random, explained: readonly Explanation[]): Plan[] {
  const byKernel = new Map<string, Plan[]>();
  for (const { plan } of explained.flatMap(({ candidates }) => candidates)) {
    const name = `${plan.algorithm} ${plan.kernel}`;
    byKernel.set(name, [...(byKernel.get(name) ?? []), plan]);
  }
  return [...byKernel.values()].flatMap((plans) => [
    random.pick(plans),
    cutUp(random, random.pick(plans)),
    cutUp(random, random.pick(plans)),
  ]);
}

function force(rt: Runtime, spec: ConvSpec, key: string, plan: Plan): boolean {
  usePlan(rt, key, plan);
  return samePlan(rt.explain(spec).plan, plan);
}

for (const [index, place] of PLACES.entries()) {
  const title = describe(place(new Random(1)));
  test(seeded(`exact conv2d: one hash for all plans: ${title}`), async (t) => {
    const rt = await makeRuntime({ numerics: 'exact', threads: 2 }, 140 + index);
    const random = new Random(1600 + index);
    const plain = place(random);
    const asked: AskedConv = { ...plain, bias: array(random, [plain.w.shape[0]!]), activation: 'relu' };
    const spec = specOf(asked);
    const want = emulate(asked);
    const { key } = rt.explain(spec);
    const ways = algorithmsOf(asked, true);
    const explained = ways.map((algorithm) => rt.explain({ ...spec, algorithm }));
    const seen = new Set<string>();
    const faults: string[] = [];
    const { x, w, ...options } = asked;
    for (const plan of somePlans(random, explained)) {
      if (!force(rt, spec, key, plan)) faults.push(`${printPlan(plan)}: not used`);
      const got = random.chance(0.5) ? rt.conv2dSync(x, w, options) : await rt.conv2d(x, w, options);
      const fault = bitDifference(got.data, want);
      if (fault) faults.push(`${printPlan(plan)}: ${fault}`);
      seen.add(plan.algorithm).add(plan.kernel).add(`${plan.threads} threads`);
      got.dispose();
    }
    t.deepEqual(faults.slice(0, 3), [], `as the rounded loop: ${faults.length} faults`);
    const missing = [...ways, '1 threads', '2 threads'].filter((name) => !seen.has(name));
    t.deepEqual(missing, [], `${seen.size} algorithms, kernels and thread counts were used`);
    await rt.close();
    t.end();
  });
}

test(
  seeded('exact conv2d: one hash over algorithms, threads, layouts of weights, every epilogue'),
  async (t) => {
    const hashes = new Map<string, Set<string>>();
    for (const [salt, threads] of [1, 2, 3].entries()) {
      const rt = await makeRuntime({ numerics: 'exact', threads }, 160 + salt);
      const random = new Random(1700);
      for (const place of PLACES) {
        const plain = place(random);
        const { shape } = convOracle(plain);
        const outC = plain.w.shape[0]!;
        const more = { bias: array(random, [outC]), residual: array(random, shape) };
        const slope = array(random, [outC]);
        for (const activation of ['silu', 'gelu', 'hardSwish', { kind: 'prelu', slope }] as const) {
          const { x, w, ...options } = { ...plain, ...more, activation };
          const packed = rt.prepack(w, { op: 'conv' });
          const name = `${describe(plain)} ${typeof activation === 'string' ? activation : activation.kind}`;
          const found = hashes.get(name) ?? new Set();
          for (const algorithm of algorithmsOf(plain, true)) {
            for (const weights of [w, packed]) {
              const got = rt.conv2dSync(x, weights, { ...options, algorithm });
              found.add(bytesHash(got.data));
              got.dispose();
            }
          }
          hashes.set(name, found);
          packed.dispose();
        }
      }
      await rt.close();
    }
    for (const [name, found] of hashes) t.equal(found.size, 1, name);
    t.end();
  },
);

test(seeded('exact conv2d: the order of summing does matter, so equal bytes mean the same order'), (t) => {
  const asked = PLACES[3]!(new Random(1800));
  const { layout: _layout, ...rest } = asked;
  const planes = planesOf(asked.x, 'nhwc');
  const moved = { ...rest, x: { data: Float32Array.from(planes.data), shape: [1, 7, 9, 11] } };
  const [inner, outer] = [emulate(asked), emulate(moved)];
  const back = planesOf({ data: inner, shape: convOracle(asked).shape }, 'nhwc').data;
  t.notEqual(bytesHash(Float32Array.from(back)), bytesHash(outer), 'channels first and last');
  t.end();
});

test(seeded('exact conv2d: NaN has its canonical bits, whatever went in'), async (t) => {
  const rt = await makeRuntime({ numerics: 'exact' }, 170);
  const random = new Random(1900);
  for (const place of PLACES) {
    const asked = place(random);
    for (const bits of [0xffc12345, 0x7f800001, 0xff8abcde]) {
      new Uint32Array(asked.x.data.buffer)[5] = bits;
      const seen = new Set<string>();
      const { x, w, ...options } = asked;
      for (const algorithm of algorithmsOf(asked, true)) {
        const got = rt.conv2dSync(x, w, { ...options, algorithm });
        const words = new Uint32Array(got.data.slice().buffer);
        const wrong = words.find((word, at) => Number.isNaN(got.data[at]) && word !== CANONICAL_NAN);
        if (wrong !== undefined) t.fail(`${algorithm}: ${wrong.toString(16)}`);
        seen.add(bytesHash(got.data));
        got.dispose();
      }
      t.equal(seen.size, 1, `${bits.toString(16)}: ${describe(asked)}`);
    }
  }
  await rt.close();
  t.end();
});
