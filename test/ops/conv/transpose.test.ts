/** convTranspose2d against float64, and against the convolution that it is the transpose of. */
import test from 'tape';
import {
  referenceConvTranspose,
  type TransposedConv,
} from '../../../src/backends/reference/conv-transpose.ts';
import type { ConvTransposeOptions, Runtime } from '../../../src/ops/types.ts';
import { type AskedTranspose, bothOf, transposeOracle } from '../../support/conv-oracle.ts';
import { ACTIVATIONS, describe, GuardedOut } from '../../support/conv-problems.ts';
import { codeOf } from '../../support/faulty.ts';
import { answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const PADDINGS = [0, 1, [1, 0], [0, 2, 1, 0], 'same', 'same-lower', 'valid'] as const;
const STRIDES = [1, 2, 3, [2, 1]] as const;
const FILTERS = [
  [1, 1],
  [2, 2],
  [3, 3],
  [4, 4],
  [3, 5],
] as const;

/** A question with a result; undefined where padding leaves none. */
function ask(
  random: Random,
  filter: readonly [number, number],
  options: Omit<AskedTranspose, 'x' | 'w'>,
): AskedTranspose | undefined {
  const { groups, inC, perGroup } = random.pick([
    { groups: 1, inC: 3, perGroup: 5 },
    { groups: 2, inC: 4, perGroup: 3 },
    { groups: 4, inC: 4, perGroup: 1 },
  ]);
  const [batch, height, width] = [random.int(1, 2), random.int(1, 6), random.int(2, 7)];
  const x = array(
    random,
    options.layout === 'nhwc' ? [batch, height, width, inC] : [batch, inC, height, width],
  );
  const asked = { x, w: array(random, [inC, perGroup, ...filter]), ...options, groups };
  return transposeOracle(asked).values.length > 0 ? asked : undefined;
}

async function transposeFault(
  rt: Runtime,
  random: Random,
  asked: AskedTranspose,
): Promise<string | undefined> {
  const answer = transposeOracle(asked);
  const { x, w, ...plain } = asked;
  const out = random.chance(0.7) ? new GuardedOut(rt, answer.shape) : undefined;
  const options: ConvTransposeOptions = { ...plain, ...(out ? { out: out.tensor } : {}) };
  const [dataX, dataW] = [x.data.slice(), w.data.slice()];
  try {
    const got = random.chance(0.5)
      ? rt.convTranspose2dSync(x, w, options)
      : await rt.convTranspose2d(x, w, options);
    const changed = x.data.some((v, at) => v !== dataX[at]) || w.data.some((v, at) => v !== dataW[at]);
    const fault =
      answerFault(answer, got) ?? out?.fault() ?? (changed ? 'an operand was changed' : undefined);
    got.dispose();
    return fault && `${fault}: ${describe(asked)}`;
  } catch (error) {
    return `${String(error)}: ${describe(asked)}`;
  } finally {
    out?.dispose();
  }
}

for (const filter of FILTERS) {
  test(
    seeded(`convTranspose2d: ${filter.join('x')}: stride, padding, dilation, output padding, groups, layout`),
    async (t) => {
      const rt = await makeRuntime({}, 220);
      const random = new Random(2300 + 10 * filter[0] + filter[1]);
      const faults: string[] = [];
      let count = 0;
      for (const stride of STRIDES) {
        for (const padding of PADDINGS) {
          for (const layout of ['nchw', 'nhwc'] as const) {
            for (const dilation of [1, 2]) {
              const [most, wide] = bothOf(stride);
              const outputPadding = [random.int(0, most - 1), random.int(0, wide - 1)] as const;
              const asked = ask(random, filter, { stride, padding, layout, dilation, outputPadding });
              if (!asked) continue;
              const fault = await transposeFault(rt, random, asked);
              if (fault) faults.push(fault);
              count++;
            }
          }
        }
      }
      t.deepEqual(faults.slice(0, 3), [], `${count} questions, ${faults.length} faults`);
      t.ok(count > 50, 'most have a result');
      t.equal(rt.memory().tensors + rt.memory().byOwner.scratch, 0, 'memory is back');
      await rt.close();
      t.end();
    },
  );
}

test(seeded('convTranspose2d: bias, residual, activations'), async (t) => {
  const rt = await makeRuntime({}, 221);
  const random = new Random(2310);
  const faults: string[] = [];
  for (const layout of ['nchw', 'nhwc'] as const) {
    for (const activation of [...ACTIVATIONS, { kind: 'prelu', slope: array(random, [1]) } as const]) {
      const plain = ask(random, [3, 3], { stride: 2, padding: 1, outputPadding: 1, layout })!;
      const outC = plain.w.shape[1]! * plain.groups!;
      const bias = array(random, [outC]);
      const residual = array(random, transposeOracle(plain).shape);
      for (const more of [{ bias }, { residual }, { bias, residual }]) {
        const fault = await transposeFault(rt, random, { ...plain, ...more, activation });
        if (fault) faults.push(fault);
      }
    }
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  await rt.close();
  t.end();
});

test(seeded('convTranspose2d: <conv(y), x> = <y, convTranspose(x)>'), async (t) => {
  const rt = await makeRuntime({}, 222);
  const random = new Random(2311);
  for (const [stride, padding, dilation] of [
    [1, 1, 1],
    [2, 1, 1],
    [3, 0, 2],
    [2, [0, 1, 1, 2], 1],
  ] as const) {
    const w = array(random, [4, 3, 3, 3]);
    const options = { stride, padding, dilation };
    const y = array(random, [1, 3, 11, 14]);
    using forward = rt.conv2dSync(y, w, options);
    const x = array(random, forward.shape);
    // extents that the stride does not divide come back by output padding
    using probe = rt.convTranspose2dSync(x, w, options);
    const outputPadding = [11 - probe.shape[2]!, 14 - probe.shape[3]!] as const;
    using back = rt.convTranspose2dSync(x, w, { ...options, outputPadding });
    const dot = (p: Float32Array, q: Float32Array) => p.reduce((sum, value, at) => sum + value * q[at]!, 0);
    const [left, right] = [dot(forward.data, x.data), dot(y.data, back.data)];
    t.ok(Math.abs(left - right) < 1e-4 * forward.size, `stride ${stride}: ${left} and ${right}`);
  }
  await rt.close();
  t.end();
});

test(seeded('convTranspose2d: exact mode gives one hash on any number of threads'), async (t) => {
  const all: Float32Array[] = [];
  for (const threads of [1, 2, 3]) {
    const rt = await makeRuntime({ numerics: 'exact', threads }, 223 + threads);
    const random = new Random(2312);
    const x = array(random, [2, 9, 13, 11]);
    const w = array(random, [9, 7, 3, 3]);
    all.push(
      (
        await rt.convTranspose2d(x, w, { stride: 2, padding: 1, outputPadding: 1, activation: 'silu' })
      ).data.slice(),
    );
    await rt.close();
  }
  t.deepEqual(all[1], all[0], '2 threads as 1');
  t.deepEqual(all[2], all[0], '3 threads as 1');
  t.end();
});

test('convTranspose2d: what it does not take', async (t) => {
  const rt = await makeRuntime({}, 227);
  const x = rt.zeros([1, 4, 3, 3]);
  const w = rt.zeros([4, 2, 3, 3]);
  const loose = rt.convTranspose2dSync.bind(rt) as (...args: readonly unknown[]) => unknown;
  const before = rt.memory();
  for (const options of [
    { stride: 2, outputPadding: 2 },
    { outputPadding: 1 },
    { stride: 2, outputPadding: -1 },
    { outputPadding: '0' },
    { stride: 0 },
    { padding: 'SAME' },
    { groups: 0 },
    { algorithm: 'direct' },
    { outputpadding: 0 },
    { layout: 'hwc' },
    { activation: 'softmax' },
    { out: x },
  ])
    t.equal(
      await codeOf(() => loose(x, w, options)),
      'out' in options ? 'E_SHAPE' : 'E_ARGUMENT',
      JSON.stringify(options),
    );
  for (const [image, filter, options] of [
    [[4, 3, 3], [4, 2, 3, 3], {}],
    [[1, 4, 3, 3], [4, 2, 9], {}],
    [[1, 5, 3, 3], [4, 2, 3, 3], {}],
    [[1, 4, 3, 3], [4, 2, 3, 3], { groups: 3 }],
    [[1, 4, 3, 3], [4, 2, 3, 3], { bias: { data: new Float32Array(3), shape: [3] } }],
  ] as const) {
    const zeros = (shape: readonly number[]) => ({
      data: new Float32Array(shape.reduce((p, q) => p * q, 1)),
      shape,
    });
    t.equal(
      await codeOf(() => loose(zeros(image), zeros(filter), options)),
      'E_SHAPE',
      `[${image}] [${filter}] ${JSON.stringify(options)}`,
    );
  }
  t.deepEqual(rt.memory(), before, 'nothing is allocated');
  await rt.close();
  t.end();
});

test(seeded('the reference scatters to what the judge gathers'), (t) => {
  const random = new Random(2313);
  const faults: string[] = [];
  for (let turn = 0; turn < 60; turn++) {
    const stride = [random.int(1, 3), random.int(1, 3)] as const;
    const padding = [random.int(0, 1), random.int(0, 1), random.int(0, 1), random.int(0, 1)] as const;
    const layout = random.pick(['nchw', 'nhwc'] as const);
    const asked = ask(random, random.pick(FILTERS), { stride, padding, layout, dilation: random.int(1, 2) });
    if (!asked) continue;
    const answer = transposeOracle(asked);
    const out = new Float32Array(answer.values.length);
    referenceConvTranspose(
      problemOf(asked, answer.shape),
      { x: asked.x.data, w: asked.w.data, p0: 0, p1: 0 },
      out,
    );
    const fault = answerFault(answer, { data: out, shape: answer.shape });
    if (fault) faults.push(`${fault}: ${describe(asked)}`);
  }
  t.deepEqual(faults, []);
  t.end();
});

function problemOf(asked: AskedTranspose, result: readonly number[]): TransposedConv {
  const { layout = 'nchw', groups = 1, padding, w } = asked;
  const [strideH, strideW] = bothOf(asked.stride);
  const [dilationH, dilationW] = bothOf(asked.dilation);
  const [padTop, padLeft] = padding as readonly [number, number, number, number];
  const extents = (shape: readonly number[]) =>
    (layout === 'nchw' ? shape.slice(2) : shape.slice(1, 3)) as [number, number];
  const [[inH, inW], [outH, outW]] = [extents(asked.x.shape), extents(result)];
  const [inC, perGroup, kH, kW] = w.shape as readonly [number, number, number, number];
  const window = { kH, kW, strideH, strideW, dilationH, dilationW, padTop, padLeft };
  return {
    layout,
    groups,
    batch: asked.x.shape[0]!,
    inC,
    inH,
    inW,
    outC: perGroup * groups,
    outH,
    outW,
    ...window,
    activation: 'none',
  };
}
