/** Operators on images: convolutions, pooling, resizing. */
import { showShape } from '../../core/shape.ts';
import type { ConvWeights } from '../../ops/conv-weights.ts';
import { keepFilters } from '../../ops/prepack-conv.ts';
import type { DenseTensor } from '../../ops/tensor.ts';
import type { ConvOptions, PrepackedConv, Tensor } from '../../ops/types.ts';
import { type Padding, windowOf } from '../../problem/window.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary } from './elementwise.ts';
import { convActivation, fusedActivation } from './fused.ts';
import { type Operators, operator } from './types.ts';
import { take } from './views.ts';

/** An image as [n, c, h, w]: one extent more where there is only one. */
function asImage(context: Context, x: Value): Value {
  if (x.rank === 4) return x;
  if (x.rank === 3) return context.reshaped(x, [x.shape[0]!, x.shape[1]!, 1, x.shape[2]!]);
  throw context.refuse(`images of ${x.rank - 2} extents`, { shape: x.shape });
}

/** What belongs to two extents, from attributes for one or two. */
function pair(list: readonly number[] | undefined, fallback: number): readonly [number, number] {
  if (!list) return [fallback, fallback];
  return list.length === 1 ? [fallback, list[0]!] : [list[0]!, list[1]!];
}

function paddingOf(context: Context, rank: number): Padding {
  const auto = context.string('auto_pad', 'NOTSET');
  if (auto === 'SAME_UPPER') return 'same';
  if (auto === 'SAME_LOWER') return 'same-lower';
  if (auto === 'VALID') return 0;
  const pads = context.intList('pads') ?? new Array<number>(2 * (rank - 2)).fill(0);
  return pads.length === 2 ? [0, pads[0]!, 0, pads[1]!] : (pads as [number, number, number, number]);
}

/** How windows go over an image. */
export function geometryOf(context: Context, rank: number) {
  return {
    stride: pair(context.intList('strides'), 1),
    dilation: pair(context.intList('dilations'), 1),
    padding: paddingOf(context, rank),
    groups: context.int('group', 1),
  };
}

/** A function of its own, so that what it closes over is nothing else. */
function copying(weights: ConvWeights): () => Float32Array {
  return () => Float32Array.from(weights.values());
}

/** Weights that are constant are kept in whatever form their convolutions want. */
function weightsOf(context: Context, w: Value): PrepackedConv | DenseTensor {
  if (!w.isConstant || !w.hasNumbers) return context.tensor(w);
  const known = context.kept.weights.get(w.key);
  if (known) return known;
  const shape = w.rank === 3 ? [w.shape[0]!, w.shape[1]!, 1, w.shape[2]!] : w.shape;
  const fill = (floats: Float32Array) => w.writeTo(floats);
  const made = context.outside(() => context.kept.own(keepFilters(context.core, shape, fill)));
  context.kept.weights.set(w.key, made);
  w.letGo(copying(made));
  return made;
}

/** One extent more is taken away again where there was one only. */
function result(context: Context, y: Tensor, rank: number, x: Value): Value {
  const image = context.result(y, x.type);
  if (rank === 4) return image;
  const [n, c, , l] = image.shape as [number, number, number, number];
  const line = context.reshaped(image, [n, c, l]);
  image.dispose();
  return line;
}

/** A convolution with what was joined to it; a summand that only broadcasts to the result is added after it. */
function conv(context: Context, x: Value, w: Value, b?: Value, residual?: Value): Value {
  if (!residual || showShape(residual.shape) === showShape(convShape(context, x, w)))
    return convolved(context, x, w, b, residual, true);
  const y = convolved(context, x, w, b, undefined, false);
  const sum = binary(context, 'add', y, residual);
  y.dispose();
  const activation = fusedActivation(context);
  if (activation !== 'none')
    context.rt.unarySync(activation, context.tensor(sum), { out: context.tensor(sum) });
  return sum;
}

function convShape(context: Context, x: Value, w: Value): readonly number[] {
  const [height, width] = asPair(x.shape.slice(2));
  const [kH, kW] = asPair(w.shape.slice(2));
  const options = {
    stride: pair(context.intList('strides'), 1),
    dilation: pair(context.intList('dilations'), 1),
    padding: paddingOf(context, x.rank),
  };
  const { outH, outW } = windowOf({ height, width }, { kH, kW }, options);
  return [x.shape[0]!, w.shape[0]!, ...(x.rank === 4 ? [outH, outW] : [outW])];
}

function asPair(extents: readonly number[]): readonly [number, number] {
  return extents.length === 1 ? [1, extents[0]!] : [extents[0]!, extents[1]!];
}

function convolved(
  context: Context,
  x: Value,
  w: Value,
  b: Value | undefined,
  residual: Value | undefined,
  isLast: boolean,
): Value {
  if (x.rank !== w.rank) throw context.refuse(`an image [${x.shape}] with filters [${w.shape}]`);
  const image = asImage(context, x);
  const filters =
    w.rank === 3 && !w.isConstant ? context.reshaped(w, [w.shape[0]!, w.shape[1]!, 1, w.shape[2]!]) : w;
  const options: ConvOptions = {
    ...geometryOf(context, x.rank),
    activation: isLast ? convActivation(context) : 'none',
    ...(b ? { bias: context.tensor(b) } : {}),
    ...(residual ? { residual: context.tensor(asImage(context, residual)) } : {}),
  };
  const y = context.rt.conv2dSync(context.tensor(image), weightsOf(context, filters), options);
  if (image !== x) image.dispose();
  if (filters !== w) filters.dispose();
  return result(context, y, x.rank, x);
}

function convTranspose(context: Context, x: Value, w: Value, b?: Value): Value {
  const image = asImage(context, x);
  const filters = asImage(context, w);
  const strides = pair(context.intList('strides'), 1);
  const dilation = pair(context.intList('dilations'), 1);
  const added = pair(context.intList('output_padding'), 0);
  const wanted = context.intList('output_shape')?.slice(-2);
  const kernel = [filters.shape[2]!, filters.shape[3]!] as const;
  // an output shape that is asked for says what padding there is
  const padding = wanted
    ? outputPadding(context, image.shape.slice(2), kernel, strides, dilation, added, wanted)
    : paddingOf(context, x.rank);
  const natural = (i: number) =>
    strides[i]! * (image.shape[2 + i]! - 1) + (kernel[i]! - 1) * dilation[i]! + 1;
  const lacking = (i: number) => Math.max(added[i]!, wanted ? (wanted[i] ?? 0) - natural(i) : 0);
  const extra = [lacking(0), lacking(1)] as const;
  const options = {
    ...{ stride: strides, dilation, padding, outputPadding: extra, groups: context.int('group', 1) },
    activation: convActivation(context),
    ...(b ? { bias: context.tensor(b) } : {}),
  };
  const y = context.rt.convTranspose2dSync(context.tensor(image), context.tensor(filters), options);
  return result(context, y, x.rank, x);
}

function outputPadding(
  context: Context,
  image: readonly number[],
  kernel: readonly number[],
  strides: readonly number[],
  dilation: readonly number[],
  extra: readonly number[],
  wanted: readonly number[],
): [number, number, number, number] {
  const upper = context.string('auto_pad', 'NOTSET') === 'SAME_UPPER';
  const sides = wanted.map((extent, i) => {
    const whole = strides[i]! * (image[i]! - 1) + extra[i]! + (kernel[i]! - 1) * dilation[i]! + 1;
    const total = Math.max(0, whole - extent);
    const half = Math.floor(total / 2);
    return upper ? [half, total - half] : [total - half, half];
  });
  return [sides[0]![0]!, sides[1]![0]!, sides[0]![1]!, sides[1]![1]!];
}

/** Largest values and their places in the whole array; on the host. */
function largestAt(context: Context, x: Value): readonly Value[] {
  const image = asImage(context, x);
  const [n, c, height, width] = image.shape as [number, number, number, number];
  const [kH, kW] = pair(context.intList('kernel_shape'), 1);
  const { stride, dilation, padding } = geometryOf(context, x.rank);
  const ceil = context.int('ceil_mode', 0) === 1;
  const w = windowOf({ height, width }, { kH, kW }, { stride, dilation, padding, ceil });
  const byColumn = context.int('storage_order', 0) === 1;
  const numbers = context.numbers(x);
  const count = n * c * w.outH * w.outW;
  const [values, places] = [new Float64Array(count).fill(Number.NEGATIVE_INFINITY), new Float64Array(count)];
  for (let i = 0; i < count; i++) {
    const plane = Math.floor(i / (w.outH * w.outW));
    const [oy, ox] = [Math.floor(i / w.outW) % w.outH, i % w.outW];
    for (let tap = 0; tap < kH * kW; tap++) {
      const y = oy * w.strideH - w.padTop + Math.floor(tap / kW) * w.dilationH;
      const column = ox * w.strideW - w.padLeft + (tap % kW) * w.dilationW;
      if (y < 0 || y >= height || column < 0 || column >= width) continue;
      const value = numbers[(plane * height + y) * width + column]!;
      if (value <= values[i]!) continue;
      values[i] = value;
      places[i] = plane * height * width + (byColumn ? column * height + y : y * width + column);
    }
  }
  const shape = x.rank === 3 ? [n, c, w.outW] : [n, c, w.outH, w.outW];
  return [context.made(x.type, shape, values, [x]), context.made('int64', shape, places, [x])];
}

function pool(kind: 'max' | 'average') {
  return operator(1, 1, (context: Context, x: Value): Value | readonly Value[] => {
    if (context.node.outputs[1]) return largestAt(context, x);
    const image = asImage(context, x);
    const size = pair(context.intList('kernel_shape'), 1);
    const options = {
      stride: pair(context.intList('strides'), 1),
      dilation: pair(context.intList('dilations'), 1),
      padding: paddingOf(context, x.rank),
      ceil: context.int('ceil_mode', 0) === 1,
    };
    const tensor = context.tensor(image);
    const y =
      kind === 'max'
        ? context.rt.maxPool2dSync(tensor, size, options)
        : context.rt.averagePool2dSync(tensor, size, {
            ...options,
            countPadding: context.int('count_include_pad', 0) === 1,
          });
    if (image !== x) image.dispose();
    return result(context, y, x.rank, x);
  });
}

function globalPool(kind: 'mean' | 'max') {
  return operator(1, 1, (context: Context, x: Value): Value => {
    const axes = x.shape.map((_, axis) => axis).slice(2);
    return context.result(context.rt.reduceSync(kind, context.tensor(x), { axes, keepDims: true }), x.type);
  });
}

/** Where place `i` of the result lies in what is read, as the coordinate modes of Resize define it. */
function coordinate(mode: string, i: number, scale: number, extent: number, wanted: number): number {
  switch (mode) {
    case 'asymmetric':
      return i / scale;
    case 'align_corners': {
      // the exact length, before it was cut to a whole number
      const length = scale * extent;
      return length === 1 || wanted === 1 ? 0 : (i * (extent - 1)) / (length - 1);
    }
    case 'tf_half_pixel_for_nn':
      return (i + 0.5) / scale;
    case 'pytorch_half_pixel':
      return wanted > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case 'half_pixel_symmetric': {
      const adjustment = wanted / (scale * extent);
      return (extent / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5;
    }
    default:
      return (i + 0.5) / scale - 0.5;
  }
}

function nearest(mode: string, x: number): number {
  switch (mode) {
    case 'floor':
      return Math.floor(x);
    case 'ceil':
      return Math.ceil(x);
    case 'round_prefer_ceil':
      return Math.floor(x + 0.5);
    default:
      return Math.ceil(x - 0.5);
  }
}

/** Places and weights of the taps of every place of the result. */
type Taps = readonly { readonly places: number[]; readonly weights: number[] }[];

function tapsOf(context: Context, extent: number, wanted: number, scale: number): Taps {
  const mode = context.string('mode', 'nearest');
  const by = context.node.op === 'Upsample' ? 'asymmetric' : context.opset < 11 ? 'asymmetric' : 'half_pixel';
  const coordinates = Array.from({ length: wanted }, (_, i) =>
    coordinate(context.string('coordinate_transformation_mode', by), i, scale, extent, wanted),
  );
  const inside = (place: number) => Math.max(0, Math.min(extent - 1, place));
  if (mode === 'nearest') {
    const how = context.string('nearest_mode', context.opset < 11 ? 'floor' : 'round_prefer_floor');
    return [{ places: coordinates.map((x) => inside(nearest(how, x))), weights: [] }];
  }
  if (mode === 'linear') {
    const low = coordinates.map((x) => Math.max(0, Math.min(extent - 1, x)));
    return [
      { places: low.map((x) => Math.floor(x)), weights: low.map((x) => 1 - (x - Math.floor(x))) },
      { places: low.map((x) => inside(Math.floor(x) + 1)), weights: low.map((x) => x - Math.floor(x)) },
    ];
  }
  return cubicTaps(
    coordinates,
    inside,
    extent,
    context.float('cubic_coeff_a', -0.75),
    context.int('exclude_outside', 0) === 1,
  );
}

/** Keys, "Cubic convolution interpolation for digital image processing" (1981). */
function cubicTaps(
  coordinates: readonly number[],
  inside: (place: number) => number,
  extent: number,
  a: number,
  exclude: boolean,
): Taps {
  const weight = (distance: number) => {
    const d = Math.abs(distance);
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
  };
  const taps = [-1, 0, 1, 2].map((offset) => ({
    places: coordinates.map((x) => inside(Math.floor(x) + offset)),
    weights: coordinates.map((x) => {
      const place = Math.floor(x) + offset;
      return exclude && (place < 0 || place >= extent) ? 0 : weight(x - place);
    }),
  }));
  const totals = coordinates.map((_, i) => taps.reduce((sum, tap) => sum + tap.weights[i]!, 0));
  for (const tap of taps) tap.weights = tap.weights.map((w, i) => w / (exclude ? totals[i]! : 1));
  return taps;
}

function resampled(context: Context, x: Value, axis: number, wanted: number, scale: number): Value {
  const shape = x.shape.map((extent, i) => (i === axis ? wanted : extent));
  const along = x.shape.map((_, i) => (i === axis ? wanted : 1));
  const parts = tapsOf(context, x.shape[axis]!, wanted, scale).map(({ places, weights }) => {
    const taken = take(context, x, axis, places, shape);
    if (weights.length === 0) return taken;
    const scaled = binary(
      context,
      'mul',
      taken,
      context.made('float32', along, Float32Array.from(weights), []),
    );
    taken.dispose();
    return scaled;
  });
  return parts.reduce((sum, part) => {
    const both = binary(context, 'add', sum, part);
    sum.dispose();
    part.dispose();
    return both;
  });
}

/** Scales or sizes for all axes, or for those that are named. */
function resize(context: Context, x: Value, ...inputs: (Value | undefined)[]): Value {
  const early = context.opset < 11;
  const scalesInput = early ? inputs[0] : inputs[1];
  const sizesInput = early ? undefined : inputs[2];
  if (context.string('coordinate_transformation_mode', '') === 'tf_crop_and_resize')
    throw context.refuse('it crops while it resizes');
  if (context.int('antialias', 0) === 1) throw context.refuse('it asks for antialiasing');
  const given = scalesInput && scalesInput.size > 0 ? context.ints(scalesInput) : context.floatList('scales');
  const sizes = sizesInput && sizesInput.size > 0 ? context.ints(sizesInput) : undefined;
  const axes = context.intList('axes')?.map((axis) => context.axis(axis, x.rank)) ?? x.shape.map((_, i) => i);
  let y = x;
  axes.forEach((axis, i) => {
    const extent = x.shape[axis]!;
    const scale = sizes ? sizes[i]! / extent : (given?.[i] ?? 1);
    const wanted = sizes ? sizes[i]! : Math.floor(extent * scale);
    if (wanted === extent && scale === 1) return;
    const next = resampled(context, y, axis, wanted, scale);
    if (y !== x) y.dispose();
    y = next;
  });
  return y === x ? context.reshaped(x, x.shape) : y;
}

export const SPATIAL: Operators = {
  Conv: operator(1, 2, conv),
  ConvTranspose: operator(1, 2, convTranspose),
  MaxPool: pool('max'),
  AveragePool: pool('average'),
  GlobalAveragePool: globalPool('mean'),
  GlobalMaxPool: globalPool('max'),
  Resize: operator(10, 1, resize),
  Upsample: operator(7, 1, resize),
};
