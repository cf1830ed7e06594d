/**
 * Convolutions on TensorFlow.js, in NHWC as its wasm backend has them: input, filter and result change their order before
 * and after the timing. Activations that it cannot fuse are the operators that a converted model has behind the convolution.
 */
import { convExtents, isDepthwise, type ShapeActivation } from '../../shapes/index.ts';
import type { ConvOperands } from '../operands.ts';
import type { Prepared, Unsupported } from '../types.ts';
import type { FusedActivation, FusedConv, Tf, TfTensor } from './tfjs.ts';

interface Finish {
  readonly fused: FusedActivation;
  readonly leakyreluAlpha?: number;
  /** What comes behind the fused operator, with constants that are made once. */
  readonly after?: (y: TfTensor) => TfTensor;
}

export function prepareConv(tf: Tf, { shape, ...operands }: ConvOperands): Prepared | Unsupported {
  const { batch, inC, inH, inW, outC, kH, kW, groups, stride, dilation } = shape;
  const depthwise = isDepthwise(shape);
  if (groups !== 1 && !depthwise) return { unsupported: 'it has no grouped convolution' };
  if (Math.max(...stride) > 1 && Math.max(...dilation) > 1)
    return { unsupported: 'it has no strided and dilated convolution' };
  const constants: TfTensor[] = [];
  const finish = finishOf(tf, shape.activation, (value) => {
    const tensor = tf.scalar(value);
    constants.push(tensor);
    return tensor;
  });
  if (finish === undefined) return { unsupported: 'it has no such activation on its wasm backend' };
  const { outH, outW } = convExtents(shape);
  const image = permuted(operands.x, [batch, inC, inH * inW], [0, 2, 1]);
  // [outC, inC / groups, kH kW] to [kH kW, inC, outC]; depthwise filters [c, multiplier, kH kW] to [kH kW, c, multiplier].
  const perChannel = depthwise ? outC / groups : outC;
  const filter = depthwise
    ? permuted(operands.w, [groups, perChannel, kH * kW], [2, 0, 1])
    : permuted(operands.w, [outC, inC, kH * kW], [2, 1, 0]);
  const fused: FusedConv = {
    x: tf.tensor(image, [batch, inH, inW, inC], 'float32'),
    filter: tf.tensor(filter, [kH, kW, inC, perChannel], 'float32'),
    bias: operands.bias && tf.tensor(operands.bias, [outC], 'float32'),
    ...{ strides: stride, pad: padOf(shape.padding), dilations: dilation, dataFormat: 'NHWC' },
    activation: finish.fused,
    ...(finish.leakyreluAlpha !== undefined && { leakyreluAlpha: finish.leakyreluAlpha }),
  };
  const { after } = finish;
  const conv = depthwise ? () => tf.fused.depthwiseConv2d(fused) : () => tf.fused.conv2d(fused);
  const call = after === undefined ? conv : () => tf.tidy(() => after(conv()));
  let latest: TfTensor | undefined;
  return {
    run: () => {
      latest?.dispose();
      latest = call();
    },
    result: async () =>
      latest ? permuted(await latest.data(), [batch, outH * outW, outC], [0, 2, 1]) : new Float32Array(0),
    dispose: () => {
      for (const tensor of [fused.x, fused.filter, fused.bias, latest, ...constants]) tensor?.dispose();
    },
  };
}

/** `valid` is the faster way where there is no padding: nothing is checked at the borders. */
function padOf([top, left, bottom, right]: ConvOperands['shape']['padding']): FusedConv['pad'] {
  if (top === 0 && left === 0 && bottom === 0 && right === 0) return 'valid';
  return [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
}

function finishOf(
  tf: Tf,
  activation: ShapeActivation | undefined,
  constant: (value: number) => TfTensor,
): Finish | undefined {
  switch (activation) {
    case undefined:
    case 'none':
      return { fused: 'linear' };
    case 'relu':
    case 'sigmoid':
      return { fused: activation };
    case 'tanh':
      return { fused: 'linear', after: (y) => tf.tanh(y) };
    case 'silu':
      return { fused: 'linear', after: (y) => tf.mul(y, tf.sigmoid(y)) };
    case 'hardSwish': {
      const [three, sixth] = [constant(3), constant(1 / 6)];
      return { fused: 'linear', after: (y) => tf.mul(tf.mul(y, tf.relu6(tf.add(y, three))), sixth) };
    }
    case 'gelu':
    case 'hardSigmoid':
      return undefined;
    default: {
      if (activation.kind === 'leakyRelu') return { fused: 'leakyrelu', leakyreluAlpha: activation.slope };
      const { min, max } = activation;
      if (min === 0 && max === 6) return { fused: 'relu6' };
      return { fused: 'linear', after: (y) => tf.clipByValue(y, min, max) };
    }
  }
}

type Three = readonly [number, number, number];

/** The values of an array of three extents, with the extents in another order. */
function permuted(values: Float32Array, extents: Three, order: Three): Float32Array {
  const strides: Three = [extents[1] * extents[2], extents[2], 1];
  const [outer, middle, inner] = order;
  const result = new Float32Array(values.length);
  let at = 0;
  for (let i = 0; i < extents[outer]!; i++) {
    for (let j = 0; j < extents[middle]!; j++) {
      let from = i * strides[outer]! + j * strides[middle]!;
      for (let k = 0; k < extents[inner]!; k++, from += strides[inner]!) result[at++] = values[from]!;
    }
  }
  return result;
}
