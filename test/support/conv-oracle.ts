/**
 * What the public calls on images should give, from shapes and options alone, in float64. Nothing is shared with the library's
 * reading of options: extents are found by counting windows, sums by adding tap after tap to a plane of results, and everything
 * happens in NCHW, whatever the layout of the call.
 */
import { referenceActivation } from '../../src/backends/reference/matmul.ts';
import type { ArrayWithShape } from '../../src/ops/types.ts';
import type { ConvAlgorithm, Layout } from '../../src/problem/conv.ts';
import { type Activation, readActivation } from '../../src/problem/epilogue.ts';
import type { PoolKind } from '../../src/problem/pool.ts';
import type { Padding, Pair } from '../../src/problem/window.ts';
import { EPS } from './compare.ts';
import { type Answer, sizeOf } from './oracle.ts';

export interface AskedConv {
  readonly x: ArrayWithShape;
  readonly w: ArrayWithShape;
  readonly stride?: Pair;
  readonly padding?: Padding;
  readonly dilation?: Pair;
  readonly groups?: number;
  readonly layout?: Layout;
  readonly bias?: ArrayWithShape;
  readonly residual?: ArrayWithShape;
  readonly activation?: Activation<ArrayWithShape>;
  readonly algorithm?: ConvAlgorithm;
}

export interface AskedTranspose extends Omit<AskedConv, 'algorithm'> {
  readonly outputPadding?: Pair;
}

export interface AskedPool {
  readonly kind: PoolKind;
  readonly x: ArrayWithShape;
  readonly size: Pair;
  readonly stride?: Pair;
  readonly padding?: Padding;
  readonly dilation?: Pair;
  readonly ceil?: boolean;
  readonly countPadding?: boolean;
  readonly layout?: Layout;
}

/**
 * How far Winograd may be off: |error| <= (c + channels / 32) * eps * sum over input channels of (largest |x|) * (sum of |w|), with
 * eps = 2^-23. A transform mixes all pixels of its tile, so no element can rely on its own window being small: the largest |x| is
 * that of the image. For three taps a side and for five. Measured, see test/ops/conv/winograd.test.ts: with one channel up to 1.9 and 7.8, and 2.8 and 19.
 */
export const WINOGRAD_BOUND = {
  3: { winograd2: 4, winograd4: 12 },
  5: { winograd2: 6, winograd4: 32 },
} as const;

/**
 * The same for Strassen's method: |error| <= (c + channels / 32) * eps * sum over input channels of (largest |x|) * (largest |w|), each of the channel
 * and of the one half of the channels away: products mix halves of both. Measured in test/ops/conv/strassen.test.ts.
 */
export const STRASSEN_BOUND = 4;

/** One of the two directions of a window. */
export interface Axis {
  readonly size: number;
  readonly taps: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
  readonly out: number;
}

type Raw = Omit<Axis, 'before' | 'after' | 'out'>;

export function bothOf(pair: Pair | undefined): readonly [number, number] {
  if (pair === undefined) return [1, 1];
  return typeof pair === 'number' ? [pair, pair] : pair;
}

/** Windows that fit whole into `size` pixels, by putting down one after the other. */
function windowsIn(size: number, { taps, stride, dilation }: Raw): number {
  const span = (taps - 1) * dilation + 1;
  let count = 0;
  while (count * stride + span <= size) count++;
  return count;
}

/** The same, where one that begins before the image's end and after which something would be left over counts too. */
function windowsOver(before: number, after: number, axis: Raw): number {
  const span = (axis.taps - 1) * axis.dilation + 1;
  const end = before + axis.size + after;
  let count = windowsIn(end, axis);
  const over = count * axis.stride + span - end;
  if (over < axis.stride && count * axis.stride < before + axis.size) count++;
  return count;
}

/** The least padding with which one window begins every `stride` pixels of the image. */
function samePadding(axis: Raw): number {
  let wanted = 0;
  for (let at = 0; at < axis.size; at += axis.stride) wanted++;
  let total = 0;
  while (windowsIn(axis.size + total, axis) < wanted) total++;
  return total;
}

/** Padding before and after in one direction: 0 vertical, 1 horizontal. */
function paddingOf(padding: Padding, direction: 0 | 1, same: () => number): readonly [number, number] {
  if (padding === 'valid') return [0, 0];
  if (padding === 'same') return [Math.trunc(same() / 2), same() - Math.trunc(same() / 2)];
  if (padding === 'same-lower') return [same() - Math.trunc(same() / 2), Math.trunc(same() / 2)];
  if (typeof padding === 'number') return [padding, padding];
  if (padding.length === 2) return [padding[direction], padding[direction]];
  return [padding[direction], padding[direction === 0 ? 2 : 3]];
}

/** Both directions of a window on an image. */
export function axesOf(
  image: readonly [number, number],
  filter: readonly [number, number],
  options: Pick<AskedPool, 'stride' | 'padding' | 'dilation' | 'ceil'>,
): readonly [Axis, Axis] {
  const [strides, dilations] = [bothOf(options.stride), bothOf(options.dilation)];
  const axis = (direction: 0 | 1): Axis => {
    const raw = {
      size: image[direction],
      taps: filter[direction],
      stride: strides[direction],
      dilation: dilations[direction],
    };
    const [before, after] = paddingOf(options.padding ?? 0, direction, () => samePadding(raw));
    const empty = raw.size === 0 || raw.taps === 0;
    const count = options.ceil ? windowsOver(before, after, raw) : windowsIn(before + raw.size + after, raw);
    return { ...raw, before, after, out: empty ? 0 : count };
  };
  return [axis(0), axis(1)];
}

/** A batch of images, channels first. */
export interface Planes {
  readonly data: ArrayLike<number>;
  readonly batch: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Moves the axis of channels: to the front of images that have it last. */
export function planesOf({ data, shape }: ArrayWithShape, layout: Layout = 'nchw'): Planes {
  const [batch, p, q, r] = shape as readonly [number, number, number, number];
  if (layout === 'nchw') return { data, batch, channels: p, height: q, width: r };
  const moved = new Float32Array(data.length);
  let at = 0;
  for (let n = 0; n < batch; n++)
    for (let pixel = 0; pixel < p * q; pixel++)
      for (let c = 0; c < r; c++) moved[(n * r + c) * p * q + pixel] = data[at++]!;
  return { data: moved, batch, channels: r, height: p, width: q };
}

/** And back again. */
function stored(values: Float64Array, from: Omit<Planes, 'data'>, layout: Layout = 'nchw'): Float64Array {
  if (layout === 'nchw') return values;
  const pixels = from.height * from.width;
  return values.map((_, at) => {
    const c = at % from.channels;
    const pixel = Math.floor(at / from.channels) % pixels;
    const n = Math.floor(at / from.channels / pixels);
    return values[(n * from.channels + c) * pixels + pixel]!;
  });
}

/** Sums and the sums of magnitudes, channels first, before the epilogue. */
interface Sums {
  readonly values: Float64Array;
  readonly sizes: Float64Array;
  /** By how many roundings a sum may be off, in units of eps times its size. */
  readonly slack: number;
}

/** Adds a plane, seen through one tap, times a weight to a plane of results. */
function addTap(
  sums: Pick<Sums, 'values' | 'sizes'>,
  to: number,
  x: Planes,
  from: number,
  weight: number,
  [tall, wide]: readonly [Axis, Axis],
  [kh, kw]: readonly [number, number],
): void {
  // most of these tests' time is spent here: what the loops read lies in variables
  const { values, sizes } = sums;
  const { data } = x;
  const { out, size, stride } = wide;
  const first = kw * wide.dilation - wide.before;
  for (let oy = 0; oy < tall.out; oy++) {
    const y = oy * tall.stride + kh * tall.dilation - tall.before;
    if (y < 0 || y >= tall.size) continue;
    const row = from + y * size;
    const result = to + oy * out;
    for (let ox = 0; ox < out; ox++) {
      const column = first + ox * stride;
      if (column < 0 || column >= size) continue;
      const term = data[row + column]! * weight;
      values[result + ox]! += term;
      sizes[result + ox]! += Math.abs(term);
    }
  }
}

function sumTaps(x: Planes, w: ArrayWithShape, groups: number, axes: readonly [Axis, Axis]): Sums {
  const [outC, perGroup, kH, kW] = w.shape as readonly [number, number, number, number];
  const plane = axes[0].out * axes[1].out;
  const values = new Float64Array(x.batch * outC * plane);
  const sizes = new Float64Array(values.length);
  for (let n = 0; n < x.batch; n++) {
    w.data.forEach((weight, at) => {
      const [kw, kh] = [at % kW, Math.floor(at / kW) % kH];
      const c = Math.floor(at / (kW * kH)) % perGroup;
      const oc = Math.floor(at / (kW * kH * perGroup));
      const ic = Math.floor((oc * groups) / outC) * perGroup + c;
      const from = (n * x.channels + ic) * x.height * x.width;
      addTap({ values, sizes }, (n * outC + oc) * plane, x, from, weight, axes, [kh, kw]);
    });
  }
  return { values, sizes, slack: perGroup * kH * kW + 3 };
}

/** Sizes as Winograd's transforms see them: no element can rely on its own window being small. */
function winogradSizes(x: Planes, w: ArrayWithShape, groups: number, plane: number): Float64Array {
  const [outC, perGroup] = w.shape as readonly [number, number];
  const taps = sizeOf(w.shape.slice(2));
  const sizes = new Float64Array(x.batch * outC * plane);
  const area = x.height * x.width;
  for (let n = 0; n < x.batch; n++) {
    for (let oc = 0; oc < outC; oc++) {
      let size = 0;
      for (let c = 0; c < perGroup; c++) {
        const ic = Math.floor((oc * groups) / outC) * perGroup + c;
        let most = 0;
        for (let at = 0; at < area; at++)
          most = Math.max(most, Math.abs(x.data[(n * x.channels + ic) * area + at]!));
        let weights = 0;
        for (let at = 0; at < taps; at++) weights += Math.abs(w.data[(oc * perGroup + c) * taps + at]!);
        size += most * weights;
      }
      sizes.fill(size, (n * outC + oc) * plane, (n * outC + oc + 1) * plane);
    }
  }
  return sizes;
}

/** Sizes as Strassen's sums see them: all pixels, all filters of the group, and both halves of the channels. */
function strassenSizes(x: Planes, w: ArrayWithShape, groups: number): Float64Array {
  const [outC, perGroup] = w.shape as readonly [number, number];
  const [area, filters, half] = [x.height * x.width, outC / groups, perGroup / 2];
  const sizes = new Float64Array(x.batch * outC * area);
  const largest = (data: ArrayLike<number>, first: number, count: number, apart: number) => {
    let most = 0;
    for (let at = 0; at < count; at++) most = Math.max(most, Math.abs(data[first + at * apart]!));
    return most;
  };
  for (let n = 0; n < x.batch; n++) {
    for (let group = 0; group < groups; group++) {
      const image = (c: number) => largest(x.data, (n * x.channels + group * perGroup + c) * area, area, 1);
      const filter = (c: number) => largest(w.data, group * filters * perGroup + c, filters, perGroup);
      let size = 0;
      for (let c = 0; c < half; c++)
        size += 2 * Math.max(image(c), image(c + half)) * Math.max(filter(c), filter(c + half));
      const first = (n * outC + group * filters) * area;
      sizes.fill(size, first, first + filters * area);
    }
  }
  return sizes;
}

type Finishing = Pick<AskedConv, 'bias' | 'residual' | 'activation' | 'layout'>;

/** Bias, residual and activation on sums, and the result as it is stored. */
function finish(sums: Sums, shape: Omit<Planes, 'data'>, asked: Finishing): Answer {
  const { bias, layout = 'nchw' } = asked;
  const { kind, p0, p1, slope } = readActivation(asked.activation);
  const residual = asked.residual && planesOf(asked.residual, layout).data;
  const plane = shape.height * shape.width;
  const bounds = new Float64Array(sums.values.length);
  const values = sums.values.map((sum, at) => {
    const oc = Math.floor(at / plane) % shape.channels;
    const added = bias ? bias.data[oc]! : 0;
    const more = residual ? residual[at]! : 0;
    const before = sum + added + more;
    const rest = Math.abs(added) + Math.abs(more);
    const magnitude = sums.sizes[at]! + rest;
    // the steepest activation has slope 1.5, slopes and scalars that tests give are at most 1
    bounds[at] =
      1.5 * EPS * (sums.slack * sums.sizes[at]! + 3 * rest) +
      (kind === 'none' ? 0 : 4 * EPS * (1 + magnitude)) +
      2 ** -126;
    const own = slope?.data[slope.data.length > 1 ? oc : 0];
    return referenceActivation(kind, before, p0, p1, own);
  });
  const { batch, channels, height, width } = shape;
  const extents = layout === 'nchw' ? [batch, channels, height, width] : [batch, height, width, channels];
  return { shape: extents, values: stored(values, shape, layout), bounds: stored(bounds, shape, layout) };
}

export function convOracle(asked: AskedConv): Answer {
  const { w, groups = 1, layout, algorithm } = asked;
  const x = planesOf(asked.x, layout);
  const [outC, , kH, kW] = w.shape as readonly [number, number, number, number];
  const axes = axesOf([x.height, x.width], [kH, kW], asked);
  const shape = { batch: x.batch, channels: outC, height: axes[0].out, width: axes[1].out };
  const plain = sumTaps(x, w, groups, axes);
  if (algorithm === 'strassen') {
    const slack = (STRASSEN_BOUND + w.shape[1]! / 32) / 1.5;
    return finish({ values: plain.values, sizes: strassenSizes(x, w, groups), slack }, shape, asked);
  }
  if (algorithm !== 'winograd2' && algorithm !== 'winograd4') return finish(plain, shape, asked);
  const sizes = winogradSizes(x, w, groups, shape.height * shape.width);
  const slack = (WINOGRAD_BOUND[kH as 3 | 5][algorithm] + w.shape[1]! / 32) / 1.5;
  return finish({ values: plain.values, sizes, slack }, shape, asked);
}

/** The same over one extent, for operands of rank 3. */
export function conv1dOracle(
  asked: Omit<AskedConv, 'padding' | 'stride' | 'dilation' | 'layout'> & {
    readonly stride?: number;
    readonly dilation?: number;
    readonly padding?: number | readonly [number, number] | 'same' | 'same-lower' | 'valid';
  },
): Answer {
  const flat = ({ data, shape: [n, c, l] }: ArrayWithShape) => ({ data, shape: [n!, c!, 1, l!] });
  const { stride = 1, dilation = 1, padding = 0, residual, x, w, ...rest } = asked;
  const [before, after] = typeof padding === 'number' ? [padding, padding] : padding;
  const answer = convOracle({
    ...rest,
    x: flat(x),
    w: flat(w),
    ...(residual ? { residual: flat(residual) } : {}),
    stride: [1, stride],
    dilation: [1, dilation],
    padding:
      typeof padding === 'string' ? padding : ([0, before, 0, after] as [number, number, number, number]),
  });
  return { ...answer, shape: answer.shape.filter((_, axis) => axis !== 2) };
}

/** One direction of a transposed convolution: its axis is that of the convolution that it undoes, whose input is the result. */
function transposedAxis(
  size: number,
  taps: number,
  stride: number,
  dilation: number,
  extra: number,
  padding: Padding,
  direction: 0 | 1,
): Axis {
  const whole = (size - 1) * stride + (taps - 1) * dilation + 1 + extra;
  const [before, after] = paddingOf(padding, direction, () => Math.max(0, whole - size * stride));
  const isSame = padding === 'same' || padding === 'same-lower';
  const out = isSame ? size * stride : Math.max(0, whole - before - after);
  return { size: out, taps, stride, dilation, before, after, out: size };
}

/** Each element of the result gathers from the inputs that a convolution would have written it to. */
function sumTransposed(x: Planes, w: ArrayWithShape, groups: number, axes: readonly [Axis, Axis]): Sums {
  const [inC, perGroup, kH, kW] = w.shape as readonly [number, number, number, number];
  const [tall, wide] = axes;
  const outC = perGroup * groups;
  const plane = tall.size * wide.size;
  const values = new Float64Array(x.batch * outC * plane);
  const sizes = new Float64Array(values.length);
  const inputsPerGroup = inC / groups;
  for (let at = 0; at < values.length; at++) {
    const [ox, oy] = [at % wide.size, Math.floor(at / wide.size) % tall.size];
    const oc = Math.floor(at / plane) % outC;
    const n = Math.floor(at / plane / outC);
    for (let c = 0; c < inputsPerGroup; c++) {
      const ic = Math.floor(oc / perGroup) * inputsPerGroup + c;
      for (let tap = 0; tap < kH * kW; tap++) {
        const [kh, kw] = [Math.floor(tap / kW), tap % kW];
        const y = (oy + tall.before - kh * tall.dilation) / tall.stride;
        const column = (ox + wide.before - kw * wide.dilation) / wide.stride;
        if (!Number.isInteger(y) || !Number.isInteger(column)) continue;
        if (y < 0 || y >= x.height || column < 0 || column >= x.width) continue;
        const weight = w.data[(ic * perGroup + (oc % perGroup)) * kH * kW + tap]!;
        const term = x.data[((n * inC + ic) * x.height + y) * x.width + column]! * weight;
        values[at]! += term;
        sizes[at]! += Math.abs(term);
      }
    }
  }
  return { values, sizes, slack: inputsPerGroup * kH * kW + 3 };
}

export function transposeOracle(asked: AskedTranspose): Answer {
  const { w, groups = 1, layout, padding = 0 } = asked;
  const x = planesOf(asked.x, layout);
  const [strides, dilations] = [bothOf(asked.stride), bothOf(asked.dilation)];
  const extras = bothOf(asked.outputPadding ?? 0);
  const axis = (direction: 0 | 1) =>
    transposedAxis(
      direction === 0 ? x.height : x.width,
      w.shape[2 + direction]!,
      strides[direction],
      dilations[direction],
      extras[direction],
      padding,
      direction,
    );
  const axes = [axis(0), axis(1)] as const;
  const shape = { batch: x.batch, channels: w.shape[1]! * groups, height: axes[0].size, width: axes[1].size };
  return finish(sumTransposed(x, w, groups, axes), shape, asked);
}

/** The places in one direction that a window covers: inside of the image, or in its padding. */
function covered({ size, taps, stride, dilation, before, after }: Axis, out: number): readonly number[] {
  const all = Array.from({ length: taps }, (_, tap) => out * stride + tap * dilation - before);
  return all.filter((place) => place < size + after);
}

export function poolOracle(asked: AskedPool): Answer {
  const { kind, layout, countPadding = false } = asked;
  const x = planesOf(asked.x, layout);
  const [tall, wide] = axesOf([x.height, x.width], bothOf(asked.size), asked);
  const shape = { batch: x.batch, channels: x.channels, height: tall.out, width: wide.out };
  const values = new Float64Array(x.batch * x.channels * tall.out * wide.out);
  const bounds = new Float64Array(values.length);
  values.forEach((_, at) => {
    const rows = covered(tall, Math.floor(at / wide.out) % tall.out);
    const columns = covered(wide, at % wide.out);
    const from = Math.floor(at / wide.out / tall.out) * x.height * x.width;
    const seen = rows
      .filter((y) => y >= 0 && y < x.height)
      .flatMap((y) =>
        columns.filter((c) => c >= 0 && c < x.width).map((c) => x.data[from + y * x.width + c]!),
      );
    if (kind === 'max') values[at] = seen.some(Number.isNaN) ? Number.NaN : Math.max(...seen);
    else {
      const count = countPadding ? rows.length * columns.length : seen.length;
      let [sum, size] = [0, 0];
      for (const value of seen) [sum, size] = [sum + value, size + Math.abs(value)];
      values[at] = sum / count;
      bounds[at] = (EPS * (seen.length + 3) * size) / count + 2 ** -149;
    }
  });
  const { batch, channels, height, width } = shape;
  const extents = layout === 'nhwc' ? [batch, height, width, channels] : [batch, channels, height, width];
  return { shape: extents, values: stored(values, shape, layout), bounds: stored(bounds, shape, layout) };
}
