/** Steps of networks at random that go on from an image [n, c, h, w]. */
import type { Live, Maker } from './random-network.ts';
import {
  activation,
  affine,
  biases,
  odd,
  reshaped,
  type Step,
  slice,
  together,
  weights,
} from './random-steps.ts';

/** A convolution of an image [n, c, h, w]. */
function conv(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, c, h, w] = x.dims as [number, number, number, number];
  const groups = random.pick([1, 1, 1, 1, c, c, c % 2 === 0 ? 2 : 1]);
  const outC =
    groups === c && random.chance(0.8) ? c : groups * random.int(1, Math.ceil(maker.size.channels / groups));
  const [kH, kW] = random.chance(0.8)
    ? Array(2).fill(random.pick([1, 1, 3, 3, 3, 5]))
    : [random.pick([1, 3, 5]), random.pick([1, 2, 3])];
  const strides = random.chance(0.75) ? [1, 1] : [random.int(1, 2), random.int(1, 2)];
  const dilations = random.chance(0.9) ? [1, 1] : [random.int(1, 2), random.int(1, 2)];
  const spans = [(kH - 1) * dilations[0]! + 1, (kW - 1) * dilations[1]! + 1];
  const same = random.chance(0.7);
  const pads = same
    ? [
        Math.floor((spans[0]! - 1) / 2),
        Math.floor((spans[1]! - 1) / 2),
        Math.ceil((spans[0]! - 1) / 2),
        Math.ceil((spans[1]! - 1) / 2),
      ]
    : [random.int(0, kH - 1), random.int(0, kW - 1), random.int(0, kH - 1), random.int(0, kW - 1)];
  const extents = [h, w].map(
    (extent, i) => Math.floor((extent + pads[i]! + pads[i + 2]! - spans[i]!) / strides[i]!) + 1,
  );
  if (extents.some((extent) => extent < 1)) return undefined;
  const inputs = [
    x.name,
    weights(maker, [outC, c / groups, kH, kW], (c / groups) * kH * kW),
    ...biases(maker, outC),
  ];
  return maker.add('Conv', inputs, [n, outC, ...extents], {
    group: groups,
    strides,
    dilations,
    pads,
    kernel_shape: [kH, kW],
  });
}

function convTranspose(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, c, h, w] = x.dims as [number, number, number, number];
  if (h * w > 150) return undefined;
  const [k, outC] = [random.int(2, 3), random.int(1, 8)];
  const pad = random.int(0, 1);
  const extents = [h, w].map((extent) => 2 * (extent - 1) + k - 2 * pad);
  if (extents.some((extent) => extent < 1)) return undefined;
  const inputs = [x.name, weights(maker, [c, outC, k, k], c * 2), ...biases(maker, outC)];
  return maker.add('ConvTranspose', inputs, [n, outC, ...extents], {
    strides: [2, 2],
    pads: [pad, pad, pad, pad],
  });
}

function normalization(maker: Maker, x: Live): Live {
  const c = x.dims[1]!;
  const inputs = [
    x.name,
    maker.factors([c]),
    maker.floats([c], 0.3),
    maker.floats([c], 0.3),
    maker.factors([c]),
  ];
  return maker.add('BatchNormalization', inputs, x.dims, { epsilon: 1e-3 });
}

function slopes(maker: Maker, x: Live): Live {
  const c = x.dims[1]!;
  return maker.add('PRelu', [x.name, maker.floats([c, ...x.dims.slice(2).map(() => 1)], 0.5)], x.dims);
}

/** A factor for each channel, from their means (squeeze and excitation: Hu et al., 2018), by convolutions or by products. */
function channelFactors(maker: Maker, x: Live): Live {
  const { random } = maker;
  const [n, c] = x.dims as [number, number];
  const one = [n, c, 1, 1];
  const mean = random.chance(0.5)
    ? maker.add('GlobalAveragePool', [x.name], one)
    : maker.add('ReduceMean', [x.name], one, {
        axes: random.pick([
          [2, 3],
          [-1, -2],
        ]),
        keepdims: 1,
      });
  const middle = random.int(1, 4);
  const sigmoid = (sum: Live) =>
    random.chance(0.5)
      ? maker.add('Sigmoid', [sum.name], sum.dims)
      : maker.add('HardSigmoid', [sum.name], sum.dims, { alpha: 0.2, beta: 0.5 });
  if (random.chance(0.7)) {
    const down = [mean.name, weights(maker, [middle, c, 1, 1], c), ...biases(maker, middle)];
    const relu = maker.add('Relu', [maker.add('Conv', down, [n, middle, 1, 1]).name], [n, middle, 1, 1]);
    const up = [relu.name, weights(maker, [c, middle, 1, 1], middle), ...biases(maker, c)];
    return sigmoid(maker.add('Conv', up, one));
  }
  const flat = maker.add('Flatten', [mean.name], [n, c]);
  const first = maker.add(
    'Gemm',
    [flat.name, weights(maker, [c, middle], c), maker.floats([middle])],
    [n, middle],
  );
  const relu = maker.add('Relu', [first.name], first.dims);
  const second = maker.add('MatMul', [relu.name, weights(maker, [middle, c], middle)], [n, c]);
  return maker.add('Reshape', [sigmoid(second).name, maker.ints(n, c, 1, 1)], one);
}

/** A factor for each pixel, from the mean of its channels (spatial attention: Woo et al., 2018). */
function pixelFactors(maker: Maker, x: Live): Live {
  const [n, , h, w] = x.dims as [number, number, number, number];
  const mean = maker.add('ReduceMean', [x.name], [n, 1, h, w], { axes: [1], keepdims: 1 });
  const inputs = [mean.name, weights(maker, [1, 1, 3, 3], 9), ...biases(maker, 1)];
  return maker.add('Sigmoid', [maker.add('Conv', inputs, mean.dims, { pads: [1, 1, 1, 1] }).name], mean.dims);
}

function gate(maker: Maker, x: Live): Live {
  const { random } = maker;
  const factor = random.chance(0.8) ? channelFactors(maker, x) : pixelFactors(maker, x);
  const product = maker.add(
    'Mul',
    random.chance(0.5) ? [x.name, factor.name] : [factor.name, x.name],
    x.dims,
  );
  if (random.chance(0.7)) return product;
  maker.live.push(product);
  return maker.add('Add', [x.name, product.name], x.dims);
}

function pool(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, c, h, w] = x.dims as [number, number, number, number];
  const [k, stride] = random.pick([
    [2, 2],
    [3, 2],
    [3, 1],
    [2, 1],
  ] as const);
  const pad = k === 3 ? random.int(0, 1) : 0;
  const up = random.chance(0.25) ? 1 : 0;
  const extents = [h, w].map((extent) => Math[up ? 'ceil' : 'floor']((extent + 2 * pad - k) / stride) + 1);
  // windows that begin behind the image are counted in different ways
  if ([h, w].some((extent, i) => extents[i]! < 1 || (extents[i]! - 1) * stride >= extent + pad))
    return undefined;
  const attributes = {
    kernel_shape: [k, k],
    strides: [stride, stride],
    pads: [pad, pad, pad, pad],
    ceil_mode: up,
  };
  if (random.chance(0.5)) return maker.add('MaxPool', [x.name], [n, c, ...extents], attributes);
  return maker.add('AveragePool', [x.name], [n, c, ...extents], {
    ...attributes,
    count_include_pad: up ? 0 : random.int(0, 1),
  });
}

function resize(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, c, h, w] = x.dims as [number, number, number, number];
  if (h * w > 120) return undefined;
  const scales = maker.constant([4], Float32Array.of(1, 1, 2, 2));
  const attributes = random.pick([
    { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    { mode: 'linear', coordinate_transformation_mode: 'half_pixel' },
    { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
  ]);
  return maker.add('Resize', [x.name, '', scales], [n, c, 2 * h, 2 * w], attributes);
}

/** With another image, or with zeros, along the channels. */
function concat(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, c, h, w] = x.dims as [number, number, number, number];
  const extra = random.int(1, 4);
  const fits = maker.live.filter(
    ({ dims }) => dims.length === 4 && dims[0] === n && dims[2] === h && dims[3] === w,
  );
  const parts = random.chance(0.4)
    ? [x, { name: maker.all([n, extra, h, w], 0), dims: [n, extra, h, w] }]
    : [x, ...Array.from({ length: random.int(1, 2) }, () => random.pick(fits))];
  const channels = parts.reduce((sum, { dims }) => sum + dims[1]!, 0);
  if (channels > 3 * maker.size.channels || c < 1) return undefined;
  if (random.chance(0.3)) parts.reverse();
  return maker.add(
    'Concat',
    parts.map(({ name }) => name),
    [n, channels, h, w],
    { axis: random.pick([1, -3]) },
  );
}

/** Halves or thirds of the channels; both stay for later. */
function split(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, c, ...rest] = x.dims as [number, number, ...number[]];
  if (c < 2) return undefined;
  const first = random.int(1, c - 1);
  const dims = [first, c - first].map((part) => [n, part, ...rest]);
  const [one, two] = maker.split('Split', [x.name, maker.ints(first, c - first)], dims, { axis: 1 });
  maker.live.push(one!);
  return two;
}

/** Channels of two groups in turn (ShuffleNet). */
function shuffle(maker: Maker, x: Live): Live | undefined {
  const [n, c, h, w] = x.dims as [number, number, number, number];
  if (c % 2) return undefined;
  const five = maker.add('Reshape', [x.name, maker.ints(n, 2, c / 2, h, w)], [n, 2, c / 2, h, w]);
  const turned = maker.add('Transpose', [five.name], [n, c / 2, 2, h, w], { perm: [0, 2, 1, 3, 4] });
  return maker.add('Reshape', [turned.name, maker.ints(n, c, h, w)], x.dims);
}

function pad(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const mode = random.pick(['constant', 'constant', 'reflect', 'edge']);
  const [n, c, h, w] = x.dims as [number, number, number, number];
  if (mode === 'reflect' && Math.min(h, w) < 3) return undefined;
  const [top, left, bottom, right, behind] = Array.from({ length: 5 }, () => random.int(0, 2)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const channels = mode === 'constant' && random.chance(0.3) ? behind : 0;
  const inputs = [
    x.name,
    maker.ints(0, 0, top, left, 0, channels, bottom, right),
    ...(random.chance(0.2) ? [maker.all([], mode === 'constant' ? 0.5 : 0)] : []),
  ];
  const padded = maker.add('Pad', inputs, [n, c + channels, h + top + bottom, w + left + right], { mode });
  return random.chance(0.5) ? (conv(maker, padded) ?? padded) : padded;
}

/** Through the other layout, with something done in it. */
function turned(maker: Maker, x: Live): Live {
  const [n, c, h, w] = x.dims as [number, number, number, number];
  let inside = maker.add('Transpose', [x.name], [n, h, w, c], { perm: [0, 2, 3, 1] });
  if (maker.random.chance(0.6)) inside = maker.add('Add', [inside.name, maker.floats([c], 0.5)], inside.dims);
  if (maker.random.chance(0.4)) inside = activation(maker, inside);
  if (maker.random.chance(0.3))
    inside = maker.add('Softmax', [inside.name], inside.dims, { axis: maker.random.pick([3, 1]) });
  return maker.add('Transpose', [inside.name], x.dims, { perm: [0, 3, 1, 2] });
}

/** As often as they are listed. */
export const IMAGE_STEPS: readonly Step[] = [
  ...Array<Step>(8).fill(conv),
  ...Array<Step>(4).fill(activation),
  ...Array<Step>(3).fill(together),
  ...Array<Step>(2).fill(gate),
  ...[
    convTranspose,
    normalization,
    normalization,
    slopes,
    affine,
    affine,
    pool,
    resize,
    concat,
    concat,
    split,
    slice,
    shuffle,
    pad,
    turned,
    odd,
    reshaped,
  ],
];
