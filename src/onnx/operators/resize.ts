/** Operators that resample images to other extents. */
import { sizeOf } from '../../core/shape.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary, where } from './elementwise.ts';
import { type Operators, operator } from './types.ts';
import { take } from './views.ts';

const CROP = 'tf_crop_and_resize';

/** Where place `i` of the result lies in what is read, as the coordinate modes of Resize define it. */
function coordinate(mode: string, i: number, { extent, wanted, scale, region }: Stretch): number {
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
    case CROP: {
      const [start, end] = region ?? [0, 1];
      if (wanted === 1) return ((start + end) / 2) * (extent - 1);
      return start * (extent - 1) + (i * (end - start) * (extent - 1)) / (wanted - 1);
    }
    default:
      return (i + 0.5) / scale - 0.5;
  }
}

function coordinatesOf(context: Context, stretch: Stretch): readonly number[] {
  const usual = context.node.op === 'Upsample' || context.opset < 11 ? 'asymmetric' : 'half_pixel';
  const mode = context.string('coordinate_transformation_mode', usual);
  return Array.from({ length: stretch.wanted }, (_, i) => coordinate(mode, i, stretch));
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

function tapsOf(context: Context, stretch: Stretch): Taps {
  const { extent } = stretch;
  const mode = context.string('mode', 'nearest');
  const coordinates = coordinatesOf(context, stretch);
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
function keys(a: number, distance: number): number {
  const d = Math.abs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

function cubicTaps(
  coordinates: readonly number[],
  inside: (place: number) => number,
  extent: number,
  a: number,
  exclude: boolean,
): Taps {
  const taps = [-1, 0, 1, 2].map((offset) => ({
    places: coordinates.map((x) => inside(Math.floor(x) + offset)),
    weights: coordinates.map((x) => {
      const place = Math.floor(x) + offset;
      return exclude && (place < 0 || place >= extent) ? 0 : keys(a, x - place);
    }),
  }));
  const totals = coordinates.map((_, i) => taps.reduce((sum, tap) => sum + tap.weights[i]!, 0));
  for (const tap of taps) tap.weights = tap.weights.map((w, i) => w / (exclude ? totals[i]! : 1));
  return taps;
}

/** How an axis is resampled. */
interface Stretch {
  readonly extent: number;
  readonly wanted: number;
  /** The result's extent by that of the input, before it was cut to a whole number. */
  readonly scale: number;
  /** Which part of the extent is looked at, where the node crops: 0 to 1 is all of it. */
  readonly region: readonly [number, number] | undefined;
}

/** A linear or cubic curve as wide as what it shrinks (as Pillow has it: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters). */
function smoothMatrix(context: Context, stretch: Stretch): Float32Array {
  const { extent, wanted } = stretch;
  const scale = Math.min(1, stretch.scale);
  const isCubic = context.string('mode', 'nearest') === 'cubic';
  const a = context.float('cubic_coeff_a', -0.75);
  const curve = (distance: number) => (isCubic ? keys(a, distance) : Math.max(0, 1 - Math.abs(distance)));
  const reach = (isCubic ? 2 : 1) / scale;
  const exclude = context.int('exclude_outside', 0) === 1;
  const matrix = new Float32Array(wanted * extent);
  coordinatesOf(context, stretch).forEach((center, i) => {
    const places: number[] = [];
    for (let at = Math.floor(center - reach) + 1; at < center + reach; at++)
      if (!exclude || (at >= 0 && at < extent)) places.push(at);
    const weights = places.map((at) => curve((at - center) * scale));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    places.forEach((at, tap) => {
      matrix[i * extent + Math.max(0, Math.min(extent - 1, at))]! += weights[tap]! / total;
    });
  });
  return matrix;
}

/** All axes but one as they are, that one times a matrix [wanted, extent]. */
function smoothed(context: Context, x: Value, axis: number, stretch: Stretch): Value {
  const { extent, wanted } = stretch;
  const [outer, inner] = [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis + 1))];
  const matrix = context.made('float32', [1, wanted, extent], smoothMatrix(context, stretch), []);
  const lines = context.reshaped(x, [outer, extent, inner]);
  const y = context.rt.matmulSync(context.tensor(matrix), context.tensor(lines));
  lines.dispose();
  return shaped(context, context.result(y, x.type), x, axis, wanted);
}

function shaped(context: Context, y: Value, x: Value, axis: number, wanted: number): Value {
  const result = context.reshaped(
    y,
    x.shape.map((extent, i) => (i === axis ? wanted : extent)),
  );
  y.dispose();
  return result;
}

function resampled(context: Context, x: Value, axis: number, stretch: Stretch): Value {
  const { wanted } = stretch;
  const mode = context.string('mode', 'nearest');
  if (mode !== 'nearest' && context.int('antialias', 0) === 1 && stretch.scale < 1)
    return smoothed(context, x, axis, stretch);
  const shape = x.shape.map((extent, i) => (i === axis ? wanted : extent));
  const along = x.shape.map((_, i) => (i === axis ? wanted : 1));
  const parts = tapsOf(context, stretch).map(({ places, weights }) => {
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
  const whole = parts.reduce((sum, part) => {
    const both = binary(context, 'add', sum, part);
    sum.dispose();
    part.dispose();
    return both;
  });
  return stretch.region ? extrapolated(context, whole, along, stretch) : whole;
}

/** One number in all places that lie outside of the image. */
function extrapolated(context: Context, y: Value, along: readonly number[], stretch: Stretch): Value {
  const inside = coordinatesOf(context, stretch).map((at) => (at >= 0 && at <= stretch.extent - 1 ? 1 : 0));
  if (inside.every((is) => is === 1)) return y;
  const fill = context.made(y.type, [], Float32Array.of(context.float('extrapolation_value', 0)), []);
  const result = where(context, context.made('bool', along, Uint8Array.from(inside), []), y, fill);
  y.dispose();
  return result;
}

/** Sizes that keep the sides' ratio go by the smallest of their scales, or the largest. */
function keptRatio(context: Context, x: Value, axes: readonly number[], sizes: readonly number[]) {
  const policy = context.string('keep_aspect_ratio_policy', 'stretch');
  if (policy === 'stretch') return undefined;
  const scales = axes.map((axis, i) => sizes[i]! / x.shape[axis]!);
  return policy === 'not_larger' ? Math.min(...scales) : Math.max(...scales);
}

/** Scales or sizes for all axes, or for those that are named. */
function resize(context: Context, x: Value, ...inputs: (Value | undefined)[]): Value {
  const early = context.opset < 11;
  const scalesInput = early ? inputs[0] : inputs[1];
  const sizesInput = early ? undefined : inputs[2];
  const isCrop = context.string('coordinate_transformation_mode', '') === CROP;
  const regions = isCrop && inputs[0] ? Array.from(context.numbers(inputs[0])) : undefined;
  const given = scalesInput && scalesInput.size > 0 ? context.ints(scalesInput) : context.floatList('scales');
  const sizes = sizesInput && sizesInput.size > 0 ? context.ints(sizesInput) : undefined;
  const axes = context.intList('axes')?.map((axis) => context.axis(axis, x.rank)) ?? x.shape.map((_, i) => i);
  const common = sizes && keptRatio(context, x, axes, sizes);
  let y = x;
  axes.forEach((axis, i) => {
    const extent = x.shape[axis]!;
    const region = regions && ([regions[i]!, regions[i + axes.length]!] as const);
    const part = region ? region[1] - region[0] : 1;
    const scale = common ?? (sizes ? sizes[i]! / extent : (given?.[i] ?? 1));
    const wanted = common
      ? Math.floor(extent * common + 0.5)
      : sizes
        ? sizes[i]!
        : Math.floor(extent * scale * part);
    if (wanted === extent && scale === 1 && !region) return;
    const next = resampled(context, y, axis, { extent, wanted, scale, region });
    if (y !== x) y.dispose();
    y = next;
  });
  return y === x ? context.reshaped(x, x.shape) : y;
}

export const RESIZE: Operators = {
  Resize: operator(10, 1, resize),
  Upsample: operator(7, 1, resize),
};
