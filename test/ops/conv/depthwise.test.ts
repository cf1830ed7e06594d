/**
 * Every depthwise kernel that can serve a layer, whatever the tuner would take: rows in place or through strips, channels in lanes. Maps
 * around the least width that kernels read in place, heights around their blocks, every padding they take and others, multipliers,
 * batches, tiles of a few rows; and the same of bytes.
 */
import test from 'tape';
import { KERNELS } from '../../../src/kernels/table.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { convProblem } from '../../../src/problem/conv.ts';
import {
  type IntegerOutput,
  mostOf,
  type QconvProblem,
  quantizedKey,
} from '../../../src/problem/quantized.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { answersTo, askConv, convFault } from '../../support/conv-problems.ts';
import { array } from '../../support/oracle.ts';
import { specOf, usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';
import { BYTE_TYPES, bytesOf, difference, exactAnswer, lowest, randomBytes } from '../quantized/support.ts';

/** One plan of each depthwise kernel, its tiles as planned or a few rows high. */
function plansOfEach(random: Random, candidates: readonly { readonly plan: Plan }[]): Plan[] {
  const byKernel = new Map<string, Plan>();
  for (const { plan } of candidates) if (plan.kernel.startsWith('f32_dw')) byKernel.set(plan.kernel, plan);
  return [...byKernel.values()].map((plan) => ({ ...plan, nc: random.pick([plan.nc, plan.nc, 60, 1]) }));
}

/** Rows of the kernel table for filters of a size, as many with each feature. */
function inPlaceRows(size: number): number {
  return KERNELS.filter((kernel) => kernel.feature === 'simd' && kernel.taps?.size === size).length;
}

/** Widths at which rows in place begin, and with every choice of blocks for them, also with a stride of 2. */
const WIDTHS = [4, 5, 6, 7, 8, 9, 10, 11, 14, 16, 17, 18, 19, 22, 27, 33, 35, 44, 64, 70];
const HEIGHTS = [1, 2, 3, 4, 5, 7, 8, 13];

/** Bounds on one side and on both, which kernels apply themselves, and what they do not. */
const LAST = [
  'none',
  'relu',
  { kind: 'clip', min: Number.NEGATIVE_INFINITY, max: 0.25 },
  { kind: 'clip', min: -0.5, max: 0.25 },
  'hardSwish',
] as const;

/** Vertical and horizontal; where they differ only kernels of one row read in place. */
const STRIDES = [
  [1, 1],
  [2, 2],
  [2, 1],
  [3, 1],
  [1, 2],
] as const;

interface Geometry {
  readonly image: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number, number, number];
}

function geometries(random: Random, size: number): Geometry[] {
  return STRIDES.flatMap((stride, index) =>
    WIDTHS.filter((_, at) => index < 2 || at % 3 === index - 2).map((width): Geometry => {
      const side = () => random.pick([size >> 1, size >> 1, random.int(0, size - 1)]);
      const [top, bottom] = [side(), side()];
      const height = Math.max(random.pick(HEIGHTS), size - top - bottom);
      return { image: [height, width], stride, padding: [top, side(), bottom, side()] };
    }),
  );
}

for (const size of [3, 5] as const) {
  test(seeded(`depthwise ${size}x${size}: every kernel that serves`), async (t) => {
    const random = new Random(1800 + size);
    const ran = new Set<string>();
    const uneven = new Set<string>();
    const faults: string[] = [];
    for (const threads of [1, 2]) {
      const rt = await makeRuntime({ threads }, 70 + size + threads);
      for (const { image, stride, padding } of geometries(random, size)) {
        const channels = random.pick([1, 3, 4, 6]);
        const multiplier = random.pick([1, 1, 2]);
        const extents = { inC: channels, outC: channels * multiplier, image, filter: [size, size] as const };
        const isUneven = stride[0] !== stride[1];
        const activation = random.pick(LAST);
        const biased = random.chance(0.5) ? { bias: array(random, [extents.outC]) } : {};
        const asked = askConv(random, extents, { groups: channels, stride, padding, activation, ...biased });
        if (image[1] + padding[1] + padding[3] < size) continue;
        const explained = rt.explain(specOf(asked));
        const answer = answersTo(asked)('depthwise');
        for (const plan of plansOfEach(random, explained.candidates)) {
          usePlan(rt, explained.key, plan);
          const fault = await convFault(rt, random, asked, { sync: random.chance(0.5), into: true, answer });
          if (fault) faults.push(`${plan.kernel} nc=${plan.nc} x${plan.threads}: ${fault}`);
          ran.add(plan.kernel);
          if (isUneven) uneven.add(plan.kernel);
        }
      }
      await rt.close();
    }
    const inPlace = [...ran].filter((name) => name.includes(`${size}x${size}_s`));
    t.ok(inPlace.length >= inPlaceRows(size), `${ran.size} kernels ran, ${inPlace.length} in place`);
    const single = [...uneven].filter((name) => name.includes(`${size}x${size}_s`));
    t.ok(single.length >= 2 && single.every((name) => name.includes('_r1x')), `uneven: ${single.join(', ')}`);
    t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
    t.end();
  });

  test(seeded(`depthwise ${size}x${size} of bytes: every kernel that serves`), async (t) => {
    const random = new Random(1850 + size);
    const rt = await makeRuntime({ threads: 2 }, 80 + size);
    const ran = new Set<string>();
    const faults: string[] = [];
    for (const { image, stride, padding } of geometries(random, size)) {
      if (image[1] + padding[1] + padding[3] < size) continue;
      const [inC, multiplier, batch] = [random.pick([1, 3, 5]), random.pick([1, 2]), random.int(1, 2)];
      const outC = inC * multiplier;
      const [aType, bType] = [random.pick(BYTE_TYPES), random.pick(BYTE_TYPES)];
      const output: IntegerOutput = random.pick(['i32', 'u8', 'i8'] as const);
      const zeroA = [lowest(aType) + random.int(0, 255)];
      const zeroB = Array.from({ length: random.pick([1, outC]) }, () => lowest(bType) + random.int(0, 255));
      // a bias beyond what a float holds exactly is added as an integer
      const bias =
        output === 'i32'
          ? undefined
          : Int32Array.from({ length: outC }, () => random.pick([7, -90_001, 2 ** 24 + 1]));
      const [height, width] = image;
      const window = windowOf({ height, width }, { kH: size, kW: size }, { stride, padding, dilation: 1 });
      const most = { aMost: mostOf(aType, zeroA), bMost: mostOf(bType, zeroB) };
      const plain = convProblem({ batch, inC, outC }, window, { groups: inC, bias: bias !== undefined });
      const problem: QconvProblem = { op: 'qconv', plain, aType, bType, output, exact: false, ...most };
      const x = randomBytes(random, batch * inC * height * width, aType, random.chance(0.3));
      const w = randomBytes(random, outC * size * size, bType, random.chance(0.3));
      const [shapeX, shapeW] = [
        [batch, inC, height, width],
        [outC, 1, size, size],
      ];
      const geometry = { stride, padding, groups: inC };
      const zeros = { xZeroPoint: zeroA[0]!, wZeroPoint: zeroB };
      const spec = { op: 'convInteger', input: shapeX, weights: shapeW, ...geometry, ...zeros } as const;
      const explained = rt.explain({ ...spec, aType, bType, output });
      const scales = { scaleA: [0.02], scaleB: [0.05], scaleY: 0.9, zeroY: 4 };
      for (const plan of plansOfEach(random, explained.candidates)) {
        usePlan(rt, quantizedKey(problem), plan);
        const [image8, weights] = [bytesOf(x, shapeX), bytesOf(w, shapeW)];
        const result =
          output === 'i32'
            ? rt.convIntegerSync(image8, weights, { ...geometry, ...zeros })
            : rt.qlinearConvSync(image8, weights, {
                x: { scale: 0.02, zeroPoint: zeroA[0]! },
                w: { scale: 0.05, zeroPoint: zeroB },
                y: { scale: 0.9, zeroPoint: 4, dtype: output },
                bias: { data: bias!, shape: [outC] },
                ...geometry,
              });
        const plainScales = { scaleA: [1], scaleB: [1], scaleY: 1, zeroY: 0 };
        const asked = { a: x, b: w, zeroA, zeroB, bias, ...(output === 'i32' ? plainScales : scales) };
        const reason = difference(result.data, exactAnswer(problem, asked, result.size));
        if (reason) faults.push(`${plan.kernel} nc=${plan.nc} ${quantizedKey(problem)}: ${reason}`);
        ran.add(plan.kernel);
        result.dispose();
      }
    }
    t.ok(ran.size >= inPlaceRows(size), `${ran.size} kernels ran`);
    t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
    await rt.close();
    t.end();
  });
}

test('depthwise: sums of zeros are +0, whatever kernel and last pass', async (t) => {
  const random = new Random(1890);
  const rt = await makeRuntime({ threads: 1 }, 90);
  const ran = new Set<string>();
  const faults: string[] = [];
  const [channels, height] = [4, 9];
  const bias = { data: new Float32Array(channels).fill(-0), shape: [channels] };
  const lastPasses = [{}, { bias }, { activation: 'relu' }, { bias, activation: 'relu' }] as const;
  for (const size of [3, 5]) {
    const w = { data: new Float32Array(channels * size * size).fill(-1), shape: [channels, 1, size, size] };
    for (const width of WIDTHS) {
      const x = { data: new Float32Array(channels * height * width), shape: [1, channels, height, width] };
      for (const stride of [1, 2]) {
        for (const last of lastPasses) {
          const options = { groups: channels, padding: size >> 1, stride, ...last };
          const explained = rt.explain(specOf({ x, w, ...options }));
          for (const plan of plansOfEach(random, explained.candidates)) {
            usePlan(rt, explained.key, plan);
            const result = rt.conv2dSync(x, w, options);
            const isZero = result.data.every((value) => Object.is(value, 0));
            if (!isZero) faults.push(`${plan.kernel} ${explained.key}`);
            ran.add(plan.kernel);
            result.dispose();
          }
        }
      }
    }
  }
  t.ok(ran.size >= inPlaceRows(3) + inPlaceRows(5), `${ran.size} kernels ran`);
  t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
  await rt.close();
  t.end();
});
