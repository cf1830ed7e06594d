/** How far Winograd is off: within its documented bound for every kind of data, and near it for some, so that the bound says something. */
import test from 'tape';
import { convOracle, WINOGRAD_BOUND } from '../../support/conv-oracle.ts';
import { askConv, partsByKind, withEpilogue } from '../../support/conv-problems.ts';
import { specOf, usePlan } from '../../support/plans.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const FORMS = [
  { algorithm: 'winograd2', taps: 3 },
  { algorithm: 'winograd4', taps: 3 },
  { algorithm: 'winograd2', taps: 5 },
  { algorithm: 'winograd4', taps: 5 },
] as const;

for (const [at, { algorithm, taps }] of FORMS.entries()) {
  const bound = WINOGRAD_BOUND[taps][algorithm];
  test(seeded(`${algorithm} of ${taps}x${taps}: within (${bound} + channels / 32) eps`), async (t) => {
    const rt = await makeRuntime({}, 80);
    const random = new Random(1200 + at);
    const parts = partsByKind(rt, [1, 2, 8, 64, 300], (inC) => {
      const extents = { inC, outC: 5, image: [11, 14], filter: [taps, taps] } as const;
      return { ...askConv(random, extents, { padding: (taps - 1) / 2 }), algorithm };
    });
    for (const { name, part } of parts) t.ok(part <= 1, `${name}: ${part.toPrecision(3)} of the bound`);
    const nearest = Math.max(...parts.map(({ part }) => part));
    t.ok(nearest > 0.2, `the bound is not idle: ${nearest.toPrecision(3)} of it was needed`);
    await rt.close();
    t.end();
  });
}

test(seeded('Winograd: slices that one thread takes from the image to the result'), async (t) => {
  const rt = await makeRuntime({ threads: 3 }, 81);
  const random = new Random(1210);
  const faults: string[] = [];
  for (const { algorithm, taps } of FORMS)
    for (let turn = 0; turn < 8; turn++) {
      const extents = {
        inC: random.int(1, 20),
        outC: random.int(1, 17),
        image: [random.int(30, 60), random.int(5, 50)],
        filter: [taps, taps],
      } as const;
      const padding = random.int(0, taps - 1);
      const asked = { ...withEpilogue(random, askConv(random, extents, { padding })), algorithm };
      const { key, plan } = rt.explain(specOf(asked));
      // a slice of one row of tiles, blocks of 8 or 16 channels
      const made = {
        ...plan,
        kernel: 'f32_gemm_4x8__simd_loadsplat',
        packing: 'ab',
        algorithm,
        mc: random.pick([8, 16]),
        nc: 8,
        kc: extents.inC,
        threads: random.int(2, 3),
      } as const;
      usePlan(rt, key, made);
      const taken = rt.explain(specOf(asked)).plan;
      if (taken.nc !== 8) faults.push(`${key} goes by another plan`);
      const { values, bounds } = convOracle(asked);
      const { x, w, ...options } = asked;
      const got = rt.conv2dSync(x, w, options);
      const wrong = values.findIndex((want, at) => !(Math.abs(got.data[at]! - want) <= bounds[at]!));
      if (wrong >= 0) faults.push(`${key}: ${got.data[wrong]} for ${values[wrong]} at ${wrong}`);
      got.dispose();
    }
  t.deepEqual(faults.slice(0, 3), []);
  await rt.close();
});
