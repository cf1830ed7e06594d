/**
 * Layers of networks that people run, with all their channels: elements at random places and in the corners against float64. The
 * whole result against float64 is what the other tests look at, on smaller images.
 */
import test from 'tape';
import { referenceActivation } from '../../../src/backends/reference/matmul.ts';
import type { Tensor } from '../../../src/ops/types.ts';
import { readActivation } from '../../../src/problem/epilogue.ts';
import { EPS } from '../../support/compare.ts';
import { type AskedConv, axesOf, type Planes, planesOf } from '../../support/conv-oracle.ts';
import { algorithmsOf, askConv, type ConvExtents, describe } from '../../support/conv-problems.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

type Options = Omit<AskedConv, 'x' | 'w'>;

function layer(
  inC: number,
  outC: number,
  side: number,
  k: number,
  options: Options = {},
): [ConvExtents, Options] {
  return [{ inC, outC, image: [side, side], filter: [k, k] }, options];
}

function depthwise(channels: number, side: number, k: number, stride: number): [ConvExtents, Options] {
  return layer(channels, channels, side, k, { groups: channels, stride, padding: 'same' });
}

const NETWORKS: Readonly<Record<string, readonly (readonly [ConvExtents, Options])[]>> = {
  'ResNet-50': [
    layer(3, 64, 112, 7, { stride: 2, padding: 3, activation: 'relu' }),
    layer(64, 64, 56, 3, { padding: 1 }),
    layer(64, 256, 28, 1),
    layer(256, 512, 28, 1, { stride: 2 }),
    layer(128, 128, 28, 3, { padding: 1, stride: 2 }),
    layer(256, 256, 14, 3, { padding: 1 }),
    layer(512, 512, 7, 3, { padding: 1 }),
    layer(512, 2048, 7, 1),
  ],
  'MobileNet V2 and V3': [
    layer(3, 32, 112, 3, { stride: 2, padding: [0, 0, 1, 1], activation: { kind: 'clip', min: 0, max: 6 } }),
    depthwise(96, 56, 3, 2),
    depthwise(144, 28, 3, 1),
    depthwise(240, 14, 5, 1),
    depthwise(672, 14, 5, 2),
    layer(96, 576, 14, 1, { activation: 'hardSwish' }),
    layer(320, 1280, 7, 1),
    layer(960, 240, 1, 1, { activation: 'relu' }),
    layer(240, 960, 1, 1, { activation: 'hardSigmoid' }),
  ],
  YOLO: [
    layer(3, 16, 96, 3, { stride: 2, padding: 1, activation: 'silu' }),
    layer(32, 32, 40, 3, { padding: 1, activation: 'silu' }),
    layer(128, 255, 13, 1),
    layer(64, 128, 20, 3, { stride: 2, padding: 1, activation: { kind: 'leakyRelu', slope: 0.1 } }),
  ],
  'PP-OCR': [
    [
      { inC: 16, outC: 16, image: [24, 80], filter: [3, 3] },
      { groups: 16, stride: [2, 1], padding: 1 },
    ],
    [
      { inC: 120, outC: 120, image: [3, 80], filter: [5, 5] },
      { groups: 120, padding: 2 },
    ],
    [{ inC: 480, outC: 97, image: [1, 40], filter: [1, 1] }, {}],
  ],
  BlazeFace: [
    layer(3, 24, 64, 5, { stride: 2, padding: 'same', activation: 'relu' }),
    depthwise(24, 64, 3, 1),
    depthwise(28, 32, 3, 2),
    layer(88, 96, 8, 1),
  ],
};

const SAMPLES = 40;
/** In units of eps times the terms' magnitudes; measured for uniform data of 24 and more channels: 2.4 for sums, 4.6 for Winograd. */
const SLACK = 12;

/** One element of the result, and the magnitude of its terms, gathered one by one. */
function elementOf(
  x: Planes,
  asked: AskedConv,
  { n, oc, oy, ox }: Record<'n' | 'oc' | 'oy' | 'ox', number>,
): { readonly sum: number; readonly size: number } {
  const { w, groups = 1 } = asked;
  const [outC, perGroup, kH, kW] = w.shape as readonly [number, number, number, number];
  const [tall, wide] = axesOf([x.height, x.width], [kH, kW], asked);
  const first = Math.floor((oc * groups) / outC) * perGroup;
  const terms = perGroup * kH * kW;
  let [sum, size] = [0, 0];
  w.data.subarray(oc * terms, (oc + 1) * terms).forEach((weight, at) => {
    const y = oy * tall.stride + (Math.floor(at / kW) % kH) * tall.dilation - tall.before;
    const column = ox * wide.stride + (at % kW) * wide.dilation - wide.before;
    if (y < 0 || y >= x.height || column < 0 || column >= x.width) return;
    const c = first + Math.floor(at / kW / kH);
    const term = weight * x.data[((n * x.channels + c) * x.height + y) * x.width + column]!;
    sum += term;
    size += Math.abs(term);
  });
  return { sum, size };
}

/** The corners, and places that chance finds. */
function placesIn(random: Random, outC: number, height: number, width: number) {
  const corners = [0, height - 1].flatMap((oy) => [0, width - 1].map((ox) => ({ n: 0, oc: 0, oy, ox })));
  const others = Array.from({ length: SAMPLES }, () => ({
    n: 0,
    oc: random.int(0, outC - 1),
    oy: random.int(0, height - 1),
    ox: random.int(0, width - 1),
  }));
  return [...corners, { ...corners[3]!, oc: outC - 1 }, ...others];
}

/** The first sampled element that is wrong, in words. */
function sampledFault(random: Random, asked: AskedConv, got: Tensor): string | undefined {
  const { layout = 'nchw', activation } = asked;
  const x = planesOf(asked.x, layout);
  const y = planesOf(got, layout);
  const { kind, p0, p1 } = readActivation(activation);
  for (const place of placesIn(random, y.channels, y.height, y.width)) {
    const { sum, size } = elementOf(x, asked, place);
    const want = referenceActivation(kind, sum, p0, p1);
    const found = y.data[(place.oc * y.height + place.oy) * y.width + place.ox]!;
    const bound = 1.5 * EPS * (SLACK * size + 4);
    if (!(Math.abs(found - want) <= bound))
      return `${describe(asked)} at ${JSON.stringify(place)}: got ${found}, want ${want}`;
  }
  return undefined;
}

for (const [name, layers] of Object.entries(NETWORKS)) {
  test(seeded(`conv2d: layers of ${name}`), async (t) => {
    const rt = await makeRuntime({}, 120);
    const random = new Random(1400);
    for (const [extents, options] of layers) {
      const faults: string[] = [];
      for (const layout of ['nchw', 'nhwc'] as const) {
        const asked = askConv(random, extents, { ...options, layout });
        const { x, w, ...rest } = asked;
        for (const algorithm of [undefined, ...algorithmsOf(asked)]) {
          const by = algorithm ? { algorithm } : {};
          const got = await rt.conv2d(x, w, { ...rest, ...by });
          const fault = sampledFault(random, asked, got);
          if (fault) faults.push(`${algorithm ?? 'any'}: ${fault}`);
          got.dispose();
        }
      }
      const { inC, outC, image, filter } = extents;
      t.deepEqual(faults, [], `${image.join('x')}x${inC} to ${outC} by ${filter.join('x')}`);
    }
    t.equal(rt.memory().tensors, 0, 'no tensor is left behind');
    await rt.close();
    t.end();
  });
}
