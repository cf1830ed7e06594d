/**
 * Activations against float64 over the whole range of f32: zeros, denormals, huge values, infinities, NaN. The bounds are
 * measured ones (Node 20, x86-64; the arithmetic is IEEE, so every engine has them) with a little room.
 */
import test from 'tape';
import { erf, referenceActivation } from '../../src/backends/reference/matmul.ts';
import { fillRandom } from '../../src/core/random.ts';
import { type Activation, type ActivationKind, readActivation } from '../../src/problem/epilogue.ts';
import { EPS } from '../support/compare.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

interface Bound {
  readonly activation: Activation;
  /** Error relative to the value, relative to the argument, and absolute. */
  readonly relative: number;
  readonly ofArgument: number;
  readonly absolute: number;
}

/** exp leaves the normal numbers below -87.3; what comes after may be flushed to zero. */
const TINY = 2 ** -125;

const BOUNDS: Readonly<Record<Exclude<ActivationKind, 'none'>, Bound>> = {
  relu: { activation: 'relu', relative: 0, ofArgument: 0, absolute: 0 },
  clip: { activation: { kind: 'clip', min: -1.25, max: 2.5 }, relative: 0, ofArgument: 0, absolute: 0 },
  sigmoid: { activation: 'sigmoid', relative: 3 * EPS, ofArgument: 0, absolute: TINY },
  tanh: { activation: 'tanh', relative: 3 * EPS, ofArgument: 0, absolute: 0 },
  // the argument times a sigmoid that was flushed to zero
  silu: { activation: 'silu', relative: 3 * EPS, ofArgument: TINY, absolute: TINY },
  // erf is good to 1.5e-7 absolutely, so far out on the left side gelu is relative to its argument only
  gelu: { activation: 'gelu', relative: 2 * EPS, ofArgument: 1.5 * EPS, absolute: 2 ** -126 },
};

const SPECIALS = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  0.625,
  -0.625,
  0.6249999,
  2 ** -149,
  -(2 ** -149),
  2 ** -130,
  -(2 ** -130),
  2 ** -126,
  1e-30,
  -1e-30,
  1e-10,
  -1e-10,
  87.3,
  -87.3,
  87.34,
  -87.34,
  88.37,
  -88.37,
  88.7228,
  -88.7228,
  88.73,
  -88.73,
  89,
  -89,
  104,
  -104,
  1e4,
  -1e4,
  1e30,
  -1e30,
  3.4028234e38,
  -3.4028234e38,
];

/** Values over many magnitudes and a fine grid where the functions bend; not a multiple of four, so that tails are met. */
function argumentsOf(): Float32Array {
  const random = new Random(400);
  const spread = Array.from(
    { length: 6000 },
    () => (random.chance(0.5) ? 1 : -1) * 2 ** (random.next() * 200 - 120),
  );
  const bend = fillRandom(new Float32Array(12_000), SEED).map((value) => value * 12);
  return Float32Array.from([...SPECIALS, ...spread, ...bend, 1]);
}

test(seeded('erf: the oracle itself, against a table'), (t) => {
  // Abramowitz & Stegun, Handbook of Mathematical Functions, table 7.1
  const table = [
    [0, 0],
    [0.1, 0.112462916],
    [0.5, 0.5204998778],
    [1, 0.8427007929],
    [1.5, 0.9661051465],
    [2, 0.995322265],
    [3, 0.9999779095],
    [3.5, 0.9999992569],
  ];
  for (const [x, want] of table as [number, number][]) {
    t.ok(Math.abs(erf(x) - want) < 2e-10, `erf ${x}`);
    t.equal(erf(-x), -erf(x), `erf ${-x}`);
  }
  t.ok(Math.abs(erf(2.9999999) - erf(3.0000001)) < 1e-9, 'series and fraction meet at 3');
  t.end();
});

for (const [name, bound] of Object.entries(BOUNDS)) {
  test(seeded(`activation ${name}: within its bound over the whole range`), async (t) => {
    const rt = await makeRuntime();
    const x = argumentsOf();
    const { kind, min, max } = readActivation(bound.activation);
    // 1 x 1 times 1 x n: the sum is the argument itself
    const got = rt.matmulSync(
      { data: Float32Array.of(1), shape: [1, 1] },
      { data: x, shape: [1, x.length] },
      { activation: bound.activation },
    );
    let [worst, at] = [0, -1];
    got.data.forEach((value, index) => {
      const want = referenceActivation(kind, x[index]!, min, max);
      const allowed =
        bound.relative * Math.abs(want) + bound.ofArgument * Math.abs(x[index]!) + bound.absolute;
      // rounding the float64 answer to f32 is no error of ours
      const error = Math.abs(value - Math.fround(want));
      const ratio = error === 0 ? 0 : error / allowed;
      if (!(ratio <= worst)) [worst, at] = [ratio, index];
    });
    const place =
      at < 0
        ? 'exact'
        : `worst at x = ${x[at]}: ${got.data[at]}, want ${referenceActivation(kind, x[at]!, min, max)}`;
    t.ok(worst <= 1, `${x.length} arguments, ${worst.toFixed(3)} of the bound, ${place}`);
    await rt.close();
    t.end();
  });

  test(seeded(`activation ${name}: NaN, infinities, zeros`), async (t) => {
    const rt = await makeRuntime();
    const { kind, min, max } = readActivation(bound.activation);
    const x = Float32Array.of(Number.NaN, Infinity, -Infinity, 0, -0, Number.NaN, Infinity);
    for (const shape of [
      [1, 7],
      [7, 1],
    ]) {
      // as a row and as a column: the two are finished by different code
      const one = { data: Float32Array.of(1), shape: [1, 1] };
      const values = { data: x, shape };
      const got =
        shape[0] === 1
          ? rt.matmulSync(one, values, { activation: bound.activation })
          : rt.matmulSync(values, one, { activation: bound.activation });
      const want = Array.from(x, (value) => referenceActivation(kind, value, min, max));
      t.deepEqual(
        Array.from(got.data, (v) => v + 0),
        want.map((v) => v + 0),
        `[${shape}]`,
      );
    }
    await rt.close();
    t.end();
  });
}

test(seeded('clip: one-sided and closed bounds'), async (t) => {
  const rt = await makeRuntime();
  const x = Float32Array.of(-3, -1, -0.5, 0, 0.5, 1, 3);
  const clip = (min: number, max: number) => [
    ...rt.matmulSync(
      { data: Float32Array.of(1), shape: [1, 1] },
      { data: x, shape: [1, 7] },
      { activation: { kind: 'clip', min, max } },
    ).data,
  ];
  t.deepEqual(clip(-1, Infinity), [-1, -1, -0.5, 0, 0.5, 1, 3]);
  t.deepEqual(clip(-Infinity, 0.5), [-3, -1, -0.5, 0, 0.5, 0.5, 0.5]);
  t.deepEqual(clip(0.5, 0.5), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
  t.deepEqual(clip(-Infinity, Infinity), [...x]);
  await rt.close();
  t.end();
});

test(seeded('activations are monotonic where they should be'), async (t) => {
  const rt = await makeRuntime();
  const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100);
  for (const activation of ['tanh', 'sigmoid'] as const) {
    const y = rt.matmulSync(
      { data: Float32Array.of(1), shape: [1, 1] },
      { data: x, shape: [1, x.length] },
      { activation },
    ).data;
    const drop = y.findIndex((value, at) => at > 0 && value < y[at - 1]! - EPS);
    t.equal(drop, -1, activation);
    t.ok(
      y.every((value) => Math.abs(value) <= 1),
      `${activation} stays within 1`,
    );
  }
  await rt.close();
  t.end();
});
