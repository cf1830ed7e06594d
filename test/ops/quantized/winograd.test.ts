/** Winograd over words of integers: exact for every geometry, type and zero point, up to the largest sums for which it is offered. */
import test from 'tape';
import type { PrepackedFilters, Runtime } from '../../../src/index.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { convProblem } from '../../../src/problem/conv.ts';
import {
  type IntegerOutput,
  mostOf,
  type QconvProblem,
  quantizedKey,
} from '../../../src/problem/quantized.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, SEED, seeded } from '../../support/seed.ts';
import { BYTE_TYPES, type Bytes, bytesOf, difference, exactAnswer, lowest, randomBytes } from './support.ts';

interface Asked {
  readonly problem: QconvProblem;
  readonly x: Bytes;
  readonly w: Bytes;
  readonly zeroA: number;
  readonly zeroB: readonly number[];
  readonly bias: Int32Array | undefined;
  readonly padding: readonly [number, number, number, number];
}

const SCALES = { scaleA: [0.02], scaleB: [0.013], scaleY: 0.4, zeroY: 5 } as const;
const ONES = { scaleA: [1], scaleB: [1], scaleY: 1, zeroY: 0 } as const;

function ask(random: Random, channels: number, zeros?: readonly [number, number]): Asked {
  const groups = zeros ? 1 : random.pick([1, 1, 1, 2, 3]);
  const [inC, outC] = [channels * groups, random.int(1, 9) * groups];
  const [aType, bType] = zeros ? (['u8', 'i8'] as const) : [random.pick(BYTE_TYPES), random.pick(BYTE_TYPES)];
  const padding = [random.int(0, 2), random.int(0, 2), random.int(0, 2), random.int(0, 2)] as const;
  const [height, width] = [random.int(3, 19), random.int(3, 23)];
  const window = windowOf({ height, width }, { kH: 3, kW: 3 }, { stride: 1, padding, dilation: 1 });
  const batch = random.int(1, 2);
  const output: IntegerOutput = random.pick(['i32', 'u8', 'i8'] as const);
  const biased = output !== 'i32' && random.chance(0.5);
  const zeroA = zeros?.[0] ?? lowest(aType) + random.pick([0, 128, 255, random.int(0, 255)]);
  const one = zeros?.[1] ?? lowest(bType) + random.pick([0, 128, 255, random.int(0, 255)]);
  const zeroB = zeros ? [one] : Array.from({ length: random.pick([1, outC]) }, () => one);
  const extreme = random.chance(0.4);
  const plain = convProblem({ batch, inC, outC }, window, { groups, bias: biased });
  const most = { aMost: mostOf(aType, [zeroA]), bMost: mostOf(bType, zeroB) };
  return {
    problem: { op: 'qconv', plain, aType, bType, output, exact: false, ...most },
    x: randomBytes(random, batch * inC * height * width, aType, extreme),
    w: randomBytes(random, outC * channels * 9, bType, extreme),
    ...{ zeroA, zeroB, padding },
    bias: biased ? Int32Array.from({ length: outC }, () => random.int(-90_000, 90_000)) : undefined,
  };
}

function plansFor(rt: Runtime, { problem, zeroA, zeroB, padding }: Asked): Plan[] {
  const { plain, aType, bType, output } = problem;
  const { batch, inC, inH, inW, outC, groups } = plain;
  const spec = {
    op: 'convInteger',
    input: [batch, inC, inH, inW],
    weights: [outC, inC / groups, 3, 3],
    ...{ xZeroPoint: zeroA, wZeroPoint: zeroB, padding, groups, aType, bType, output },
  } as const;
  return rt.explain(spec).candidates.map(({ plan }) => plan);
}

/** The same with filters that are kept. */
function keep(rt: Runtime, { problem, w, zeroB: zeroPoint }: Asked): PrepackedFilters {
  const { outC, inC, groups, kH, kW } = problem.plain;
  return rt.prepackInteger(bytesOf(w, [outC, inC / groups, kH, kW]), { op: 'conv', zeroPoint });
}

function faultBy(rt: Runtime, asked: Asked, plan: Plan, kept?: PrepackedFilters): string | undefined {
  const { plain } = asked.problem;
  const problem = { ...asked.problem, plain: { ...plain, prepacked: kept !== undefined } };
  const { x, w, zeroA, zeroB, bias, padding } = asked;
  const { batch, inC, inH, inW, outC, groups } = problem.plain;
  usePlan(rt, quantizedKey(problem), plan);
  const [image, weights] = [bytesOf(x, [batch, inC, inH, inW]), bytesOf(w, [outC, inC / groups, 3, 3])];
  const requantised = problem.output !== 'i32';
  const filters = kept ?? weights;
  const zeros = kept ? {} : { zeroPoint: zeroB };
  const result = requantised
    ? rt.qlinearConvSync(image, filters, {
        x: { scale: SCALES.scaleA[0], zeroPoint: zeroA },
        w: { scale: SCALES.scaleB[0], ...zeros },
        y: { scale: SCALES.scaleY, zeroPoint: SCALES.zeroY, dtype: problem.output === 'i8' ? 'i8' : 'u8' },
        ...(bias ? { bias: { data: bias, shape: [outC] } } : {}),
        ...{ padding, groups },
      })
    : rt.convIntegerSync(image, filters, {
        ...{ xZeroPoint: zeroA, padding, groups },
        ...(kept ? {} : { wZeroPoint: zeroB }),
      });
  const scales = requantised ? SCALES : ONES;
  const wanted = exactAnswer(problem, { a: x, b: w, zeroA: [zeroA], zeroB, bias, ...scales }, result.size);
  const reason = difference(result.data, wanted);
  result.dispose();
  return reason && `${plan.algorithm} ${plan.kernel} x${plan.threads} ${quantizedKey(problem)}: ${reason}`;
}

test(seeded('integer Winograd: exact over geometries, types and zero points'), async (t) => {
  const random = new Random(141);
  const ran = { winograd2: 0, winograd4: 0 };
  const faults: string[] = [];
  for (const threads of [1, 2]) {
    const rt = await makeRuntime({ threads }, SEED + threads);
    for (let turn = 0; turn < 60; turn++) {
      const asked = ask(random, random.pick([1, 2, 3, 5, 8, 17]));
      const plans = plansFor(rt, asked);
      for (const algorithm of ['winograd2', 'winograd4'] as const) {
        const able = plans.filter((plan) => plan.algorithm === algorithm && plan.kernel.startsWith('i16'));
        if (able.length === 0) continue;
        const fault = faultBy(rt, asked, random.pick(able));
        if (fault) faults.push(fault);
        ran[algorithm]++;
      }
    }
    await rt.close();
  }
  t.ok(ran.winograd2 > 50 && ran.winograd4 > 50, `${ran.winograd2} and ${ran.winograd4} runs`);
  t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
  t.end();
});

test(seeded('kept filters: every kind of plan reads the form that was made for it'), async (t) => {
  const random = new Random(143);
  const ran = new Map<string, number>();
  const faults: string[] = [];
  const rt = await makeRuntime({ threads: 2 }, SEED);
  for (let turn = 0; turn < 40; turn++) {
    const asked = ask(random, random.pick([1, 1, 2, 3, 8, 17]));
    const byKind = new Map<string, Plan[]>();
    for (const plan of plansFor(rt, asked)) {
      const kind = `${plan.algorithm} ${plan.kernel.split('_')[0]} ${plan.packing}`;
      byKind.set(kind, [...(byKind.get(kind) ?? []), plan]);
    }
    using kept = keep(rt, asked);
    for (const [kind, plans] of byKind) {
      const fault = faultBy(rt, asked, random.pick(plans), kept);
      if (fault) faults.push(fault);
      ran.set(kind, (ran.get(kind) ?? 0) + 1);
    }
  }
  await rt.close();
  t.ok(ran.size >= 8, `${[...ran].map(([kind, times]) => `${kind}: ${times}`).join(', ')}`);
  t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
  t.end();
});

test('integer Winograd: up to the largest sums, and not beyond', async (t) => {
  const random = new Random(142);
  const rt = await makeRuntime({ threads: 1 });
  // the most channels at which 9 x channels x size x size stays below 2^25; zero points at the ends or in the middle
  const limits = [
    { zeros: [0, 127], most: 57 },
    { zeros: [128, 127], most: 114 },
    { zeros: [128, 0], most: 227 },
  ] as const;
  for (const { zeros, most } of limits) {
    const asked = ask(random, most, zeros);
    // the largest sums: every value as far from its zero point as it can be, all of one sign
    asked.x.fill(zeros[0] === 0 ? 255 : 0);
    asked.w.fill(-128);
    const able = plansFor(rt, asked).filter(({ algorithm }) => algorithm === 'winograd4');
    t.ok(able.length > 0, `${most} channels, zero points ${zeros}: offered`);
    t.equal(faultBy(rt, asked, able[0]!), undefined, 'and exact');
    const over = plansFor(rt, ask(random, most + 1, zeros));
    t.notOk(
      over.some(({ algorithm }) => algorithm === 'winograd4'),
      `${most + 1} channels: not offered`,
    );
    t.ok(
      over.some(({ algorithm }) => algorithm === 'winograd2'),
      'F(2x2) is',
    );
  }
  const deep = plansFor(rt, ask(random, 918, [0, 127]));
  t.notOk(
    deep.some(({ algorithm }) => algorithm.startsWith('winograd')),
    '918 channels: neither',
  );
  await rt.close();
  t.end();
});
