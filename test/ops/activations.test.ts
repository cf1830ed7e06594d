/**
 * Activations against float64 over the whole range of f32: zeros, denormals, huge values, infinities, NaN. The bounds are
 * measured ones (Node 20, x86-64; the arithmetic is IEEE, so every engine has them) with a little room.
 */
import test from 'tape';
import { erf, referenceActivation } from '../../src/backends/reference/matmul.ts';
import { embeddedModule } from '../../src/backends/wasm/embedded.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { ACTIVATION, ARENA_ADDRESS } from '../../src/backends/wasm/layout.ts';
import { instantiate } from '../../src/backends/wasm/module.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { fillRandom } from '../../src/core/random.ts';
import type { ArrayWithShape } from '../../src/ops/types.ts';
import {
  ACTIVATION_KINDS,
  type Activation,
  type ActivationKind,
  readActivation,
} from '../../src/problem/epilogue.ts';
import { EPS } from '../support/compare.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

interface Case {
  readonly activation: Activation<ArrayWithShape>;
  /** Error relative to the value, relative to the argument, and absolute. */
  readonly relative: number;
  readonly ofArgument: number;
  readonly absolute: number;
}

/** A sigmoid that would be no normal number is zero. */
const TINY = 2 ** -125;
/** The least denormal: results that small are rounded to a multiple of it. */
const LEAST = 2 ** -149;

const EXACT = { relative: 0, ofArgument: 0, absolute: 0 };
const PRODUCT = { relative: 1.1 * EPS, ofArgument: 0, absolute: LEAST };
const HARD_SIGMOID = { relative: 0, ofArgument: 0, absolute: EPS };

const CASES: readonly Case[] = [
  { activation: 'none', ...EXACT },
  { activation: 'relu', ...EXACT },
  { activation: { kind: 'clip', min: -1.25, max: 2.5 }, ...EXACT },
  { activation: { kind: 'clip', min: -Infinity, max: 6 }, ...EXACT },
  { activation: { kind: 'leakyRelu' }, ...PRODUCT },
  { activation: { kind: 'leakyRelu', slope: 0 }, ...EXACT },
  { activation: { kind: 'leakyRelu', slope: -1.75 }, ...PRODUCT },
  { activation: { kind: 'prelu', slope: { data: Float32Array.of(0.3), shape: [1] } }, ...PRODUCT },
  { activation: 'hardSigmoid', ...HARD_SIGMOID },
  { activation: { kind: 'hardSigmoid', alpha: 1 / 6 }, ...HARD_SIGMOID },
  { activation: { kind: 'hardSigmoid', alpha: -0.5, beta: 0.25 }, ...HARD_SIGMOID },
  { activation: 'hardSwish', relative: 2 * EPS, ofArgument: 0, absolute: LEAST },
  { activation: { kind: 'hardSwish', scale: -1.75 }, relative: 3 * EPS, ofArgument: 0, absolute: LEAST },
  { activation: { kind: 'hardSwish', shift: 0.375 }, relative: 2 * EPS, ofArgument: 2 * EPS, absolute: EPS },
  { activation: 'sigmoid', relative: 1.5 * EPS, ofArgument: 0, absolute: TINY },
  { activation: 'tanh', relative: 2 * EPS, ofArgument: 0, absolute: 0 },
  // the argument times a sigmoid that was flushed to zero
  { activation: 'silu', relative: 2 * EPS, ofArgument: TINY, absolute: TINY },
  // far out on the left side gelu is relative to its argument only
  { activation: 'gelu', relative: EPS, ofArgument: 0.8 * EPS, absolute: 2 ** -126 },
];

/** Zeros, denormals, huge values, and the places where some function bends, on both sides. */
const SPECIALS = [
  0,
  2 ** -149,
  2 ** -130,
  2 ** -126,
  1e-30,
  1e-10,
  0.5,
  0.625,
  0.6249999,
  1,
  1.25,
  1.5,
  2.5,
  3,
  3.0000002,
  2.9999998,
  6,
  9.02,
  10,
  13.05,
  87.3,
  87.33654,
  87.33655,
  87.34,
  88.37,
  88.7228,
  88.73,
  89,
  104,
  1e4,
  1e30,
  3.4028234e38,
].flatMap((value) => [value, -value]);

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

/** Every so many bit patterns of f32, NaN and infinities among them. */
function patterns(): Float32Array {
  const bits = Uint32Array.from({ length: 2 ** 18 }, (_, index) => index * 16381 + (SEED % 16381));
  return new Float32Array(bits.buffer);
}

function nameOf(activation: Activation): string {
  return typeof activation === 'string' ? activation : JSON.stringify(activation);
}

/** The worst value as a share of its bound, in words if beyond it. `slope`: of each element. */
function judge(
  item: Case,
  x: Float32Array,
  got: Float32Array,
  slope: (index: number) => number,
): { worst: number; place: string } {
  const { kind, p0, p1 } = readActivation(item.activation);
  let [worst, at] = [0, -1];
  got.forEach((value, index) => {
    const want = referenceActivation(kind, x[index]!, p0, p1, slope(index));
    const allowed = item.relative * Math.abs(want) + item.ofArgument * Math.abs(x[index]!) + item.absolute;
    // rounding the float64 answer to f32 is no error of ours; equal zeros, infinities and NaN are right too
    const rounded = Math.fround(want);
    if (value === rounded || (Number.isNaN(value) && Number.isNaN(rounded))) return;
    const ratio = Math.abs(value - rounded) / allowed;
    if (!(ratio <= worst)) [worst, at] = [ratio, index];
  });
  if (at < 0) return { worst, place: 'exact' };
  const want = referenceActivation(kind, x[at]!, p0, p1, slope(at));
  return { worst, place: `worst at x = ${x[at]}: ${got[at]}, want ${want}` };
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

test('the oracle of the piecewise activations, by hand', (t) => {
  const rows: readonly [Activation, readonly (readonly [number, number])[]][] = [
    [
      { kind: 'leakyRelu' },
      [
        [-100, -1],
        [0, 0],
        [7, 7],
      ],
    ],
    [
      { kind: 'leakyRelu', slope: 0.25 },
      [
        [-8, -2],
        [8, 8],
      ],
    ],
    [
      'hardSigmoid',
      [
        [-3, 0],
        [-2.5, 0],
        [0, 0.5],
        [1, 0.7],
        [2.5, 1],
        [9, 1],
      ],
    ],
    [
      { kind: 'hardSigmoid', alpha: 1, beta: 0 },
      [
        [-1, 0],
        [0.75, 0.75],
        [2, 1],
      ],
    ],
    [
      'hardSwish',
      [
        [-4, 0],
        [-3, 0],
        [-1.5, -0.375],
        [0, 0],
        [1.5, 1.125],
        [3, 3],
        [5, 5],
      ],
    ],
  ];
  for (const [activation, points] of rows) {
    const { kind, p0, p1 } = readActivation(activation);
    for (const [x, want] of points) {
      const got = referenceActivation(kind, x, p0, p1) + 0;
      t.ok(Math.abs(got - want) < 1e-15, `${nameOf(activation)} at ${x} is ${want}`);
    }
  }
  t.equal(referenceActivation('prelu', -2, 0, 0, 3), -6, 'prelu takes the slope of the channel');
  t.equal(referenceActivation('prelu', 2, 0, 0, 3), 2, 'and only below zero');
  t.end();
});

test('every activation is among the cases', (t) => {
  const met = new Set(CASES.map(({ activation }) => readActivation(activation).kind));
  t.deepEqual(
    ACTIVATION_KINDS.filter((kind) => !met.has(kind)),
    [],
  );
  t.deepEqual(Object.keys(ACTIVATION).sort(), [...ACTIVATION_KINDS].sort(), 'kernels know the same ones');
  t.equal(new Set(Object.values(ACTIVATION)).size, ACTIVATION_KINDS.length, 'by different numbers');
  t.end();
});

test(seeded('activations by themselves, over all bit patterns'), (t) => {
  const x = patterns();
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true });
  const { exports } = instantiate([new WebAssembly.Module(embeddedModule('simd', nodeHost))], memory);
  const slopes = fillRandom(new Float32Array(x.length), SEED + 1);
  const at = ARENA_ADDRESS;
  const block = new Float32Array(memory.buffer, at, x.length);
  const slopesAt = at + x.byteLength;
  new Float32Array(memory.buffer, slopesAt, x.length).set(slopes);
  for (const item of CASES) {
    const { kind, p0, p1 } = readActivation(item.activation);
    block.set(x);
    exports.apply_activation(ACTIVATION[kind], p0, p1, at, x.length, slopesAt);
    const { worst, place } = judge(item, x, block, (index) => slopes[index]!);
    t.ok(worst <= 1, `${nameOf(item.activation)}: ${worst.toFixed(3)} of the bound, ${place}`);
  }
  t.end();
});

for (const item of CASES) {
  const { activation } = item;
  const name = nameOf(activation);
  const slope = typeof activation === 'object' && activation.kind === 'prelu' ? activation.slope.data[0]! : 0;

  test(seeded(`activation ${name}: within its bound over the whole range`), async (t) => {
    const rt = await makeRuntime();
    const x = argumentsOf();
    // 1 x 1 times 1 x n: the sum is the argument itself
    const got = rt.matmulSync(
      { data: Float32Array.of(1), shape: [1, 1] },
      { data: x, shape: [1, x.length] },
      { activation },
    );
    const { worst, place } = judge(item, x, got.data, () => slope);
    t.ok(worst <= 1, `${x.length} arguments, ${worst.toFixed(3)} of the bound, ${place}`);
    await rt.close();
    t.end();
  });

  test(seeded(`activation ${name}: NaN, infinities, zeros`), async (t) => {
    const rt = await makeRuntime();
    const { kind, p0, p1 } = readActivation(activation);
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
          ? rt.matmulSync(one, values, { activation })
          : rt.matmulSync(values, one, { activation });
      const want = Array.from(x, (value) => Math.fround(referenceActivation(kind, value, p0, p1, slope)));
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

test(seeded('prelu: a slope for each column, whatever the block'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(401);
  for (const [m, n] of [
    [1, 1],
    [1, 7],
    [7, 1],
    [3, 5],
    [8, 16],
    [13, 37],
    [5, 131],
  ] as const) {
    const a = random.floats(m);
    const b = random.floats(n);
    const slopes = random.floats(n);
    const slope = { data: slopes, shape: [n] };
    const got = rt.matmulSync(
      { data: a, shape: [m, 1] },
      { data: b, shape: [1, n] },
      { activation: { kind: 'prelu', slope } },
    );
    // one product and one factor, each rounded once: the very bits
    const want = Float32Array.from(got.data, (_, at) => {
      const x = Math.fround(a[Math.floor(at / n)]! * b[at % n]!);
      return x < 0 ? x * slopes[at % n]! : x;
    });
    t.deepEqual(
      got.data.findIndex((value, at) => value !== want[at]),
      -1,
      `${m} x ${n}`,
    );
  }
  await rt.close();
  t.end();
});

test(seeded('activations are monotonic where they should be'), async (t) => {
  const rt = await makeRuntime();
  const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100);
  for (const activation of ['tanh', 'sigmoid', 'hardSigmoid'] as const) {
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

test('what a caller may write', (t) => {
  const slope = { data: Float32Array.of(1), shape: [1] };
  const read = (activation: unknown) => readActivation(activation as Activation);
  const rows: readonly [unknown, ActivationKind, number, number][] = [
    [undefined, 'none', 0, 0],
    ['relu', 'relu', 0, 0],
    ['hardSwish', 'hardSwish', 0, 0],
    ['hardSigmoid', 'hardSigmoid', 0.2, 0.5],
    [{ kind: 'hardSigmoid' }, 'hardSigmoid', 0.2, 0.5],
    [{ kind: 'hardSigmoid', alpha: 3 }, 'hardSigmoid', 3, 0.5],
    [{ kind: 'hardSigmoid', beta: 0 }, 'hardSigmoid', 0.2, 0],
    [{ kind: 'leakyRelu' }, 'leakyRelu', 0.01, 0],
    [{ kind: 'leakyRelu', slope: -2 }, 'leakyRelu', -2, 0],
    [{ kind: 'clip', min: -Infinity, max: 6 }, 'clip', -Infinity, 6],
    [{ kind: 'prelu', slope }, 'prelu', 0, 0],
  ];
  for (const [activation, kind, p0, p1] of rows) {
    const given = (activation as { kind?: string } | undefined)?.kind === 'prelu' ? slope : undefined;
    t.deepEqual(
      read(activation),
      { kind, p0, p1, slope: given },
      nameOf((activation ?? 'none') as Activation),
    );
  }
  const wrong: readonly unknown[] = [
    'clip',
    'leakyRelu',
    'prelu',
    'softmax',
    null,
    3,
    {},
    { kind: 'relu' },
    { kind: 'clip', min: 1, max: 0 },
    { kind: 'clip', min: Number.NaN, max: 0 },
    { kind: 'leakyRelu', slope: Infinity },
    { kind: 'leakyRelu', slope: 1e39 },
    { kind: 'leakyRelu', slope: '1' },
    { kind: 'hardSigmoid', alpha: Number.NaN },
    { kind: 'hardSigmoid', beta: null },
    { kind: 'prelu' },
    { kind: 'prelu', slope: 0.1 },
    { kind: 'prelu', slope: null },
  ];
  for (const activation of wrong) {
    try {
      read(activation);
      t.fail(`accepted ${JSON.stringify(activation)}`);
    } catch (error) {
      t.ok(
        error instanceof TesseraeError && error.code === 'E_ARGUMENT' && error.hint !== '',
        `${JSON.stringify(activation)} is refused`,
      );
    }
  }
  t.end();
});
