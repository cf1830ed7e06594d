/** Public conv2d against float64: every padding with every stride, dilation and grouping, in both layouts, by every algorithm. */
import test from 'tape';
import type { Runtime } from '../../../src/ops/types.ts';
import { CONV_ALGORITHMS } from '../../../src/problem/conv.ts';
import { type AskedConv, convOracle } from '../../support/conv-oracle.ts';
import {
  algorithmsOf,
  answersTo,
  askConv,
  type ConvExtents,
  canDo,
  convFault,
} from '../../support/conv-problems.ts';
import { codeOf } from '../../support/faulty.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const PADDINGS = ['same', 'same-lower', 'valid', 1, [2, 1], [0, 2, 1, 3]] as const;
const STRIDES = [1, 2, [1, 3], [3, 2]] as const;
const DILATIONS = [1, [2, 1], 2] as const;
const LAYOUTS = ['nchw', 'nhwc'] as const;

/** Groups with channels in and out: dense, odd and even, grouped unevenly, depthwise, depthwise with a multiplier. */
const GROUPINGS = [
  { groups: 1, inC: 3, outC: 5 },
  { groups: 1, inC: 6, outC: 4 },
  { groups: 2, inC: 4, outC: 8 },
  { groups: 5, inC: 5, outC: 5 },
  { groups: 3, inC: 3, outC: 6 },
] as const;

const FILTERS: readonly (readonly [number, number])[] = [
  [1, 1],
  [3, 3],
  [2, 3],
  [5, 1],
];

type Image = readonly [number, number];

/** All questions of one filter on one image that have a result. */
function* questions(random: Random, filter: Image, image: Image): Generator<AskedConv> {
  for (const layout of LAYOUTS) {
    for (const padding of PADDINGS) {
      for (const stride of STRIDES) {
        for (const dilation of DILATIONS) {
          const { groups, ...channels } = random.pick(GROUPINGS);
          const extents: ConvExtents = { batch: random.int(1, 2), ...channels, image, filter };
          const asked = askConv(random, extents, { layout, padding, stride, dilation, groups });
          if (convOracle(asked).values.length > 0) yield asked;
        }
      }
    }
  }
}

/** Asks once for each algorithm that applies and once for the planner's own choice. */
async function askEach(rt: Runtime, random: Random, asked: AskedConv, ran = new Map<string, number>()) {
  const faults: string[] = [];
  const answers = answersTo(asked);
  for (const algorithm of [undefined, ...algorithmsOf(asked)]) {
    const by = algorithm ? { ...asked, algorithm } : asked;
    const fault = await convFault(rt, random, by, { sync: random.chance(0.7), answer: answers(algorithm) });
    if (fault) faults.push(fault);
    ran.set(algorithm ?? 'any', (ran.get(algorithm ?? 'any') ?? 0) + 1);
  }
  return faults;
}

const ran = new Map<string, number>();

for (const filter of FILTERS) {
  test(
    seeded(`conv2d: ${filter.join('x')}: padding, stride, dilation, groups, layout, algorithm`),
    async (t) => {
      const rt = await makeRuntime({}, 50 + filter[0]);
      const random = new Random(1000 + 10 * filter[0] + filter[1]);
      const before = rt.memory();
      for (const image of [
        [7, 5],
        [9, 11],
        [6, 17],
      ] as const) {
        const faults: string[] = [];
        let count = 0;
        for (const asked of questions(random, filter, image)) {
          faults.push(...(await askEach(rt, random, asked, ran)));
          count++;
        }
        t.deepEqual(
          faults.slice(0, 3),
          [],
          `image ${image.join('x')}: ${count} questions, ${faults.length} faults`,
        );
        t.ok(count > 50, 'most of them have a result');
      }
      t.equal(rt.memory().tensors, before.tensors, 'no tensor is left behind');
      t.equal(rt.memory().byOwner.scratch, before.byOwner.scratch, 'no scratch either');
      await rt.close();
      t.end();
    },
  );
}

test(seeded('conv2d: every algorithm was asked for'), (t) => {
  for (const algorithm of ['any', ...CONV_ALGORITHMS])
    t.ok((ran.get(algorithm) ?? 0) > 5, `${algorithm}: ${ran.get(algorithm)} calls`);
  t.end();
});

test(seeded('conv2d: channels and pixels around register blocks, by every algorithm'), async (t) => {
  const rt = await makeRuntime({}, 60);
  const random = new Random(1100);
  for (const [inC, outC] of [
    [1, 1],
    [1, 7],
    [4, 8],
    [5, 9],
    [17, 16],
    [31, 33],
    [64, 3],
  ] as const) {
    const faults: string[] = [];
    for (const image of [
      [1, 1],
      [1, 4],
      [4, 4],
      [5, 13],
      [8, 8],
      [13, 3],
    ] as const) {
      for (const [filter, padding] of [
        [[1, 1], 0],
        [[3, 3], 1],
      ] as const) {
        for (const layout of LAYOUTS) {
          const asked = askConv(random, { inC, outC, image, filter }, { layout, padding });
          faults.push(...(await askEach(rt, random, asked)));
        }
      }
    }
    t.deepEqual(faults.slice(0, 3), [], `${inC} channels to ${outC}: ${faults.length} faults`);
  }
  await rt.close();
  t.end();
});

test(seeded('conv2d: depthwise filters of every size and stride'), async (t) => {
  const rt = await makeRuntime({}, 61);
  const random = new Random(1101);
  for (const filter of [
    [1, 1],
    [2, 2],
    [3, 3],
    [5, 5],
    [7, 7],
    [1, 9],
    [4, 3],
  ] as const) {
    const faults: string[] = [];
    for (const stride of [1, 2, [2, 1], 3] as const) {
      for (const [channels, image] of [
        [1, [8, 8]],
        [3, [13, 29]],
        [8, [33, 7]],
        [19, [9, 16]],
      ] as const) {
        for (const layout of LAYOUTS) {
          const extents = { batch: random.int(1, 2), inC: channels, outC: channels, image, filter };
          const options = { layout, groups: channels, stride, padding: 'same' } as const;
          for (const dilation of [1, 2])
            faults.push(...(await askEach(rt, random, askConv(random, extents, { ...options, dilation }))));
        }
      }
    }
    t.deepEqual(faults.slice(0, 3), [], `${filter.join('x')}: ${faults.length} faults`);
  }
  await rt.close();
  t.end();
});

test(seeded('conv2d: an algorithm that does not apply is refused, in fast and in exact mode'), async (t) => {
  for (const numerics of ['fast', 'exact'] as const) {
    const rt = await makeRuntime({ numerics }, 62);
    const random = new Random(1102);
    const refused = new Set<string>();
    const wrong: string[] = [];
    const before = rt.memory();
    for (const filter of FILTERS) {
      for (const asked of questions(random, filter, [7, 6])) {
        for (const algorithm of CONV_ALGORITHMS) {
          if (canDo(algorithm, asked, numerics === 'exact')) continue;
          const { x, w, ...options } = asked;
          const code = await codeOf(() => rt.conv2dSync(x, w, { ...options, algorithm }));
          if (code !== 'E_ARGUMENT')
            wrong.push(`${algorithm}: ${code} [${x.shape}] [${w.shape}] ${JSON.stringify(options)}`);
          refused.add(algorithm);
        }
      }
    }
    t.deepEqual(wrong.slice(0, 3), [], `${numerics}: E_ARGUMENT, ${wrong.length} others`);
    t.deepEqual(
      [...refused].sort(),
      CONV_ALGORITHMS.filter((algorithm) => algorithm !== 'direct').sort(),
      'all but direct were refused at some place',
    );
    t.deepEqual(rt.memory(), before, 'and nothing was taken');
    await rt.close();
  }
  t.end();
});
