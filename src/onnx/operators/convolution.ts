/** Convolutions, forwards and transposed. */
import { showShape, sizeOf } from '../../core/shape.ts';
import { ConvWeights } from '../../ops/conv-weights.ts';
import { bytesBeyond, keepFilters } from '../../ops/prepack-conv.ts';
import type { DenseTensor } from '../../ops/tensor.ts';
import type { ConvOptions, PrepackedConv } from '../../ops/types.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary } from './elementwise.ts';
import { convActivation, fusedActivation } from './fused.ts';
import { concatenated } from './tensor.ts';
import { type Operators, operator } from './types.ts';
import { assemble, regrouped, take } from './views.ts';
import {
  type Axis,
  asImage,
  asLine,
  axesOf,
  lineAsImage,
  listed,
  plane,
  refolded,
  unfolded,
} from './windows.ts';

/** A function of its own, so that what it closes over is nothing else. */
function copying(weights: ConvWeights): () => Float32Array {
  return () => Float32Array.from(weights.values());
}

/** Weights that are constant are kept in whatever form their convolutions want. */
function weightsOf(context: Context, w: Value): PrepackedConv | DenseTensor {
  if (!w.isConstant || !w.hasNumbers) return context.tensor(asImage(context, w));
  const known = context.kept.weights.get(w.key);
  if (known) return known;
  const fill = (floats: Float32Array) => w.writeTo(floats);
  const canRepeat = w.canWriteAgain;
  const made = context.outside(() =>
    context.kept.own(keepFilters(context.core, lineAsImage(w.shape), fill, { canRepeat })),
  );
  context.kept.weights.set(w.key, made);
  if (!canRepeat) w.letGo(copying(made));
  return made;
}

/** From the fastest, Winograd's methods, which keep filters in forms of 4 and 1.8 times their size, or Strassen's (1.75 times), to one that needs no more. */
const ALGORITHMS = [undefined, 'winograd2', 'implicit'] as const;
const ALGORITHMS_OF_PIXELS = [undefined, 'implicit'] as const;

/** The options with the fastest algorithm whose form of the filters finds room. */
function withRoom(context: Context, x: Value, w: Value, options: ConvOptions): ConvOptions {
  const { room } = context.kept;
  if (room.fits(w.key, Number.POSITIVE_INFINITY)) return options;
  const shape = lineAsImage(w.shape);
  const isPixel = shape[2] === 1 && shape[3] === 1;
  const ways = (isPixel ? ALGORITHMS_OF_PIXELS : ALGORITHMS).map((algorithm) =>
    algorithm ? { ...options, algorithm } : options,
  );
  // the last one takes nothing beyond the filters
  return ways.find((way) => room.fits(w.key, bytesBeyond(context.core, x.shape, shape, way)))!;
}

/** What of a convolution is the same whatever its extents. */
interface Tail {
  readonly groups: number;
  readonly bias: Value | undefined;
  readonly residual: Value | undefined;
  /** Whether the node's activation follows at once. */
  readonly isLast: boolean;
}

/**
 * Whether filters scaled by a gate, one number for each channel of one image, are less than the image is: by half at least, for the scaled ones are
 * used as they are, and not in a form made once. Filters of several pixels gain more by their forms.
 */
function scalesFilters(x: Value, w: Value, gate: Value): boolean {
  const [batch, channels, ...extents] = x.shape;
  const isGate = showShape(gate.shape) === showShape([1, channels!, ...extents.map(() => 1)]);
  return isGate && batch === 1 && w.size === w.shape[0]! * channels! && 2 * w.size <= x.size;
}

/** A convolution of an image times a gate (`joinGate`). */
function gated(
  context: Context,
  x: Value,
  w: Value,
  gate: Value,
  { bias, residual, zeros }: { readonly [name in 'bias' | 'residual' | 'zeros']: Value | undefined },
): Value {
  const toFilters = scalesFilters(x, w, gate);
  const product = binary(context, 'mul', toFilters ? w : x, gate);
  const [image, filters] = toFilters ? [x, product] : [product, w];
  const y = conv(context, image, filters, bias, residual, undefined, zeros);
  product.dispose();
  return y;
}

/**
 * Whether a convolution to which an image with further channels of zeros is added (`joinZeros`) adds the image alone. A GPU's adds what has the
 * result's shape, and so do batches, whose images would lie elsewhere than those of the result.
 */
function addsFirst(context: Context, residual: Value, zeros: Value, shape: readonly number[]): boolean {
  const [batch, channels = 0, ...extents] = residual.shape;
  const fits =
    showShape(zeros.shape) === showShape([batch!, shape[1]! - channels, ...extents]) &&
    showShape(shape) === showShape([1, shape[1]!, ...extents]);
  const isImage = batch === 1 && extents.length === 2 && sizeOf(extents) > 1;
  return fits && isImage && channels > 0 && !context.core.gpu;
}

/** A convolution with what was joined to it; a summand that only broadcasts to the result is added after it, as all are to volumes. */
function conv(
  context: Context,
  x: Value,
  w: Value,
  bias?: Value,
  residual?: Value,
  gate?: Value,
  zeros?: Value,
): Value {
  if (gate) return gated(context, x, w, gate, { bias, residual, zeros });
  if (x.rank !== w.rank || x.rank < 3)
    throw context.refuse(`an image [${x.shape}] with filters [${w.shape}]`);
  const groups = context.int('group', 1);
  const axes = axesOf(context, x.shape.slice(2), w.shape.slice(2));
  const shape = [x.shape[0]!, w.shape[0]!, ...axes.map(({ out }) => out)];
  const isFirst = residual && zeros && addsFirst(context, residual, zeros, shape);
  if (residual && zeros && !isFirst) {
    const whole = concatenated(context, 1, [residual, zeros]);
    const y = conv(context, x, w, bias, whole);
    whole.dispose();
    return y;
  }
  if (!residual || isFirst || (axes.length < 3 && showShape(residual.shape) === showShape(shape)))
    return convolved(context, x, w, axes, { groups, bias, residual, isLast: true });
  const y = convolved(context, x, w, axes, { groups, bias, residual: undefined, isLast: false });
  const sum = binary(context, 'add', y, residual);
  y.dispose();
  const activation = fusedActivation(context);
  if (activation !== 'none')
    context.rt.unarySync(activation, context.tensor(sum), { out: context.tensor(sum) });
  return sum;
}

function convolved(context: Context, x: Value, w: Value, axes: readonly Axis[], tail: Tail): Value {
  const [axis, ...rest] = axes as [Axis, ...Axis[]];
  if (axes.length > 2) {
    const [m, c, k, ...kernel] = w.shape as [number, number, number, ...number[]];
    const frames = unfolded(context, x, axis);
    const y = convolved(context, frames, context.reshaped(w, [m, c * k, ...kernel]), rest, tail);
    frames.dispose();
    return refolded(context, y, axis.out);
  }
  const image = asImage(context, x);
  const { groups, bias, residual, isLast } = tail;
  const options: ConvOptions = {
    ...plane(axes),
    groups,
    activation: isLast ? convActivation(context) : 'none',
    ...(bias ? { bias: context.tensor(bias) } : {}),
    ...(residual ? { residual: context.tensor(asImage(context, residual)) } : {}),
  };
  const weights = weightsOf(context, w);
  const y = context.rt.conv2dSync(context.tensor(image), weights, withRoom(context, image, w, options));
  if (weights instanceof ConvWeights) context.kept.room.note(w.key, weights.store.formBytes - 4 * w.size);
  if (image !== x) image.dispose();
  return asLine(context, context.result(y, x.type), x.rank);
}

/** An extent of a transposed convolution, and how far its result goes beyond what the image reaches. */
interface TransposedAxis extends Axis {
  readonly extra: number;
}

/** A result's extent that is asked for, or that `auto_pad` asks for, says what padding there is. */
function transposedAxes(
  context: Context,
  extents: readonly number[],
  kernel: readonly number[],
): readonly TransposedAxis[] {
  const auto = context.string('auto_pad', 'NOTSET');
  const pads = context.intList('pads') ?? [];
  const wanted = context.intList('output_shape')?.slice(-extents.length);
  return extents.map((extent, i): TransposedAxis => {
    const [stride, dilation, k] = [
      listed(context, 'strides', i),
      listed(context, 'dilations', i),
      kernel[i]!,
    ];
    const added = context.intList('output_padding')?.[i] ?? 0;
    const natural = stride * (extent - 1) + (k - 1) * dilation + 1;
    const target = wanted ? wanted[i] : auto.startsWith('SAME') ? extent * stride : undefined;
    const extra = Math.max(added, (target ?? 0) - natural);
    const total = Math.max(0, natural + extra - (target ?? natural + extra));
    const [less, more] = [Math.floor(total / 2), Math.ceil(total / 2)];
    const sides = auto === 'SAME_UPPER' ? [less, more] : [more, less];
    const [before, after] = target === undefined ? [pads[i] ?? 0, pads[i + extents.length] ?? 0] : sides;
    const sizes = { extent, k, stride, dilation, extra, before: before!, after: after! };
    return { ...sizes, out: natural + extra - before! - after! };
  });
}

function convTranspose(context: Context, x: Value, w: Value, bias?: Value): Value {
  if (x.rank !== w.rank || x.rank < 3)
    throw context.refuse(`an image [${x.shape}] with filters [${w.shape}]`);
  return spread(context, x, w, transposedAxes(context, x.shape.slice(2), w.shape.slice(2)), {
    ...{ groups: context.int('group', 1), bias, residual: undefined, isLast: true },
  });
}

/** For each frame of the result and each tap along the first extent the frame that is spread there, or none, as channels. */
function spreadFrames(context: Context, x: Value, axis: TransposedAxis): Value {
  const [n, c, d, ...rest] = x.shape as [number, number, number, ...number[]];
  const { k, stride, dilation, before, out } = axis;
  const none = [n, c, d + 1, ...rest];
  const origin = x.shape.map(() => 0);
  const longer = assemble(context, none, 0, [{ value: x, at: origin }]);
  const places = Array.from({ length: out * k }, (_, i) => {
    const place = (Math.floor(i / k) + before - (i % k) * dilation) / stride;
    return Number.isInteger(place) && place >= 0 && place < d ? place : d;
  });
  const taken = take(context, longer, 2, places, [n, c, out * k, ...rest]);
  longer.dispose();
  const size = sizeOf(rest);
  const frames = regrouped(context, taken, [n, c, out, k, size], [0, 2, 1, 3, 4], [n * out, c * k, ...rest]);
  taken.dispose();
  return frames;
}

function spread(context: Context, x: Value, w: Value, axes: readonly TransposedAxis[], tail: Tail): Value {
  if (axes.length > 2) {
    const [axis, ...rest] = axes as [TransposedAxis, ...TransposedAxis[]];
    const [c, m, k, ...kernel] = w.shape as [number, number, number, ...number[]];
    const inner = [c, m, k, sizeOf(kernel)];
    const filters = regrouped(context, w, inner, [0, 2, 1, 3], [c * k, m, ...kernel]);
    const y = spread(context, spreadFrames(context, x, axis), filters, rest, tail);
    return refolded(context, y, axis.out);
  }
  const image = asImage(context, x);
  const [h, v] = axes.length === 1 ? [0, axes[0]!.extra] : [axes[0]!.extra, axes[1]!.extra];
  const options = {
    ...{ ...plane(axes), outputPadding: [h, v] as const, groups: tail.groups },
    activation: convActivation(context),
    ...(tail.bias ? { bias: context.tensor(tail.bias) } : {}),
  };
  const filters = context.tensor(asImage(context, w));
  const y = context.rt.convTranspose2dSync(context.tensor(image), filters, options);
  return asLine(context, context.result(y, x.type), x.rank);
}

/** Blocks of columns added up where they lie in an image: a transposed convolution in which each tap has a channel of its own. */
function col2im(context: Context, x: Value, imageInput: Value, blockInput: Value): Value {
  const [image, block] = [context.ints(imageInput), context.ints(blockInput)];
  const pads = context.intList('pads') ?? [];
  const taps = sizeOf(block);
  const [n, lines, columns] = x.shape as [number, number, number];
  const c = lines / taps;
  const axes = image.map((out, i): TransposedAxis => {
    const [stride, dilation, k] = [listed(context, 'strides', i), listed(context, 'dilations', i), block[i]!];
    const [before, after] = [pads[i] ?? 0, pads[i + image.length] ?? 0];
    const room = out + before + after - (k - 1) * dilation - 1;
    const extent = Math.floor(room / stride) + 1;
    return { ...{ extent, k, stride, dilation, before, after, out }, extra: room % stride };
  });
  const positions = axes.map(({ extent }) => extent);
  if (!Number.isInteger(c) || image.length !== block.length || sizeOf(positions) !== columns)
    throw context.refuse(`[${x.shape}] as blocks of [${block}] in [${image}]`, {
      shape: x.shape,
      image,
      block,
    });
  const one = new Float32Array(lines * taps);
  for (let i = 0; i < lines; i++) one[i * taps + (i % taps)] = 1;
  const filters = context.made('float32', [lines, 1, ...block], one, [imageInput, blockInput]);
  const blocks = context.reshaped(x, [n, lines, ...positions]);
  return spread(context, blocks, filters, axes, {
    ...{ groups: c, bias: undefined, residual: undefined, isLast: true },
  });
}

export const CONVOLUTION: Operators = {
  Conv: operator(1, 2, conv),
  ConvTranspose: operator(1, 2, convTranspose),
  Col2Im: operator(18, 3, col2im),
};
