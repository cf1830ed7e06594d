/** Strassen's method: within its documented bound for every kind of data, whatever the blocks, and the same bits by any number of threads. */
import test from 'tape';
import { KERNELS } from '../../../src/kernels/table.ts';
import { algorithmsFor, convProblem } from '../../../src/problem/conv.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { type AskedConv, convOracle, STRASSEN_BOUND } from '../../support/conv-oracle.ts';
import { askConv, GuardedOut, partsByKind, withEpilogue } from '../../support/conv-problems.ts';
import { codeOf } from '../../support/faulty.ts';
import { specOf, usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const algorithm = 'strassen';

test(seeded(`strassen: within (${STRASSEN_BOUND} + channels / 32) eps`), async (t) => {
  const rt = await makeRuntime({}, 82);
  const random = new Random(1203);
  const parts = partsByKind(rt, [2, 4, 8, 64, 300], (inC) => {
    const extents = { inC, outC: 6, image: [11, 14], filter: [1, 1] } as const;
    return { ...askConv(random, extents), algorithm };
  });
  for (const { name, part } of parts) t.ok(part <= 1, `${name}: ${part.toPrecision(3)} of the bound`);
  const nearest = Math.max(...parts.map(({ part }) => part));
  t.ok(nearest > 0.2, `the bound is not idle: ${nearest.toPrecision(3)} of it was needed`);
  await rt.close();
  t.end();
});

/** Kernels that read filters in place, of every engine. */
const SERVING = KERNELS.filter(({ family, feature, dtype, mr }) => {
  return family === 'direct' && feature === 'simd' && dtype === undefined && mr > 1;
});

test(seeded('strassen: any blocks, pixels, groups and threads'), async (t) => {
  const rt = await makeRuntime({ threads: 3 }, 83);
  const random = new Random(1204);
  const faults: string[] = [];
  const seen = new Set<string>();
  for (let turn = 0; turn < 80; turn++) {
    const groups = random.pick([1, 1, 2, 3]);
    const [inC, outC] = [2 * groups * random.int(1, 12), 2 * groups * random.int(1, 11)];
    const image = random.pick([
      [1, 1],
      [random.int(1, 9), random.int(1, 13)],
      [random.int(1, 30), random.int(1, 40)],
    ] as const);
    const traits = { batch: random.int(1, 2), inC, outC, image, filter: [1, 1] } as const;
    const asked = { ...withEpilogue(random, askConv(random, traits, { groups })), algorithm } as const;
    const kernel = random.pick(SERVING);
    const { key, plan } = rt.explain(specOf(asked));
    const nc = 2 * kernel.nr * random.int(1, 4);
    const blocks = { mc: kernel.mr * Math.ceil(outC / groups / kernel.mr), nc, kc: random.pick([4, 8, 256]) };
    usePlan(rt, key, { ...plan, kernel: kernel.name, packing: 'b', ...blocks, threads: random.int(1, 3) });
    const taken = rt.explain(specOf(asked)).plan;
    if (taken.nc !== nc || taken.kernel !== kernel.name) faults.push(`${key} goes by another plan`);
    seen.add(kernel.name);
    const { shape, values, bounds } = convOracle(asked);
    const { x, w, ...options } = asked;
    const out = new GuardedOut(rt, shape);
    using packed = rt.prepack(w, { op: 'conv' });
    rt.conv2dSync(x, random.chance(0.5) ? packed : w, { ...options, out: out.tensor });
    const { data } = out.tensor;
    const wrong = values.findIndex((want, at) => !(Math.abs(data[at]! - want) <= bounds[at]!));
    if (wrong >= 0) faults.push(`${key} ${kernel.name}: ${data[wrong]} for ${values[wrong]} at ${wrong}`);
    const touched = out.fault();
    if (touched) faults.push(`${key} ${kernel.name}: ${touched}`);
    out.dispose();
  }
  t.deepEqual(faults.slice(0, 3), []);
  t.equal(seen.size, SERVING.length, `all of ${[...seen].join(', ')}`);
  await rt.close();
  t.end();
});

test(seeded('strassen: the same bits by any number of threads and in any tiles'), async (t) => {
  const rt = await makeRuntime({ threads: 3 }, 84);
  const asked = {
    ...askConv(new Random(1205), { inC: 30, outC: 26, image: [15, 20], filter: [1, 1] }),
    algorithm,
  } as const;
  const { key, plan } = rt.explain(specOf(asked));
  const kernel = 'f32_gemm_2x16__simd_direct';
  const results = new Set<string>();
  for (const threads of [1, 2, 3])
    for (const nc of [32, 64, 384]) {
      usePlan(rt, key, { ...plan, kernel, packing: 'b', mc: 26, nc, kc: 256, threads });
      using y = rt.conv2dSync(asked.x, asked.w, { algorithm });
      results.add(y.data.join());
    }
  t.equal(results.size, 1, 'one result of nine ways');
  await rt.close();
  t.end();
});

test('strassen: sums of filters take 7 quarters of them, made once', async (t) => {
  const rt = await makeRuntime({}, 85);
  const asked = askConv(new Random(1206), { inC: 16, outC: 24, image: [9, 9], filter: [1, 1] });
  using packed = rt.prepack(asked.w, { op: 'conv', algorithm });
  const before = packed.bytes;
  for (let run = 0; run < 3; run++) rt.conv2dSync(asked.x, packed).dispose();
  t.equal(packed.bytes - before, (7 / 4) * 4 * 16 * 24, 'beside the filters as given');
  await rt.close();
  t.end();
});

test('strassen: only where halves and rounding are allowed', async (t) => {
  const rt = await makeRuntime({}, 86);
  const exact = await makeRuntime({ numerics: 'exact' }, 86);
  const random = new Random(1207);
  const refused = async (name: string, asked: AskedConv, on = rt) => {
    const { x, w, ...options } = asked;
    t.equal(await codeOf(() => on.conv2dSync(x, w, { ...options, algorithm })), 'E_ARGUMENT', name);
  };
  const even = { inC: 8, outC: 6, image: [5, 6], filter: [1, 1] } as const;
  await refused('an odd number of input channels', askConv(random, { ...even, inC: 7 }));
  await refused('an odd number of output channels', askConv(random, { ...even, outC: 5 }));
  await refused('groups with odd numbers', askConv(random, { ...even, outC: 8, inC: 6 }, { groups: 2 }));
  await refused('filters of more pixels', askConv(random, { ...even, filter: [3, 3] }));
  await refused('a stride', askConv(random, even, { stride: 2 }));
  await refused('padding', askConv(random, even, { padding: 1 }));
  await refused('NHWC', askConv(random, even, { layout: 'nhwc' }));
  await refused('exact numerics', askConv(random, even), exact);
  const window = windowOf({ height: 5, width: 6 }, { kH: 1, kW: 1 }, {});
  const p = convProblem({ batch: 1, inC: 8, outC: 6 }, window);
  t.ok(algorithmsFor(p).includes(algorithm), 'where it applies it is there');
  t.notOk(algorithmsFor({ ...p, exact: true }).includes(algorithm), 'but not for exact results');
  await rt.close();
  await exact.close();
  t.end();
});
