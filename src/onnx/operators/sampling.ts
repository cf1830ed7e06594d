/** Values between pixels: sampled by a grid, by offsets, in regions, and put back where pooling took them from. On the host. */
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import { arrayFor } from '../model/tensor-proto.ts';
import type { Numbers } from '../model/types.ts';
import type { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';
import { axesOf } from './windows.ts';

/** Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -0.75 as ONNX has it. */
function cubicWeights(t: number): readonly number[] {
  const a = -0.75;
  const near = (d: number) => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return [far(1 + t), near(t), near(1 - t), far(2 - t)];
}

type PaddingMode = 'zeros' | 'border' | 'reflection';

/** A pixel's place between 0 and extent - 1, or undefined where there is nothing. */
type Locate = (place: number, extent: number) => number | undefined;

/** Mirrored at the borders: at the middle of the last pixels, or at their outer edges. */
function mirrored(place: number, extent: number, isAligned: boolean): number {
  const [low, high] = isAligned ? [0, extent - 1] : [-0.5, extent - 0.5];
  const range = high - low;
  if (range === 0) return 0;
  const off = Math.abs(place - low) % (2 * range);
  return low + (off > range ? 2 * range - off : off);
}

function locator(mode: PaddingMode, isAligned: boolean): Locate {
  if (mode === 'zeros') return (place, extent) => (place >= 0 && place < extent ? place : undefined);
  if (mode === 'border') return (place, extent) => Math.max(0, Math.min(extent - 1, place));
  return (place, extent) => Math.max(0, Math.min(extent - 1, Math.round(mirrored(place, extent, isAligned))));
}

/** A pixel that counts, from the first of its image on, and by how much. */
interface Tap {
  readonly at: number;
  readonly weight: number;
}

/** Whole places around `place` and their weights. */
function around(place: number, mode: string): readonly Tap[] {
  if (mode === 'nearest') {
    const even = place % 1 === 0.5 ? 2 * Math.round(place / 2) : Math.round(place);
    return [{ at: even, weight: 1 }];
  }
  const low = Math.floor(place);
  const isCubic = mode === 'cubic';
  const weights = isCubic ? cubicWeights(place - low) : [1 - (place - low), place - low];
  return weights.map((weight, i) => ({ at: low + i - (isCubic ? 1 : 0), weight }));
}

/** The pixels that a sample at `place`, a coordinate for each extent, is made of. */
function tapsAt(
  place: readonly number[],
  extents: readonly number[],
  mode: string,
  locate: Locate,
): readonly Tap[] {
  return place.reduce<readonly Tap[]>(
    (taps, coordinate, axis) => {
      const along = around(coordinate, mode).flatMap(({ at, weight }) => {
        const inside = locate(at, extents[axis]!);
        return inside === undefined || weight === 0 ? [] : [{ at: inside, weight }];
      });
      return taps.flatMap(({ at, weight }) =>
        along.map((tap) => ({ at: at * extents[axis]! + tap.at, weight: weight * tap.weight })),
      );
    },
    [{ at: 0, weight: 1 }],
  );
}

function sampleOf(numbers: Numbers, first: number, taps: readonly Tap[]): number {
  let sum = 0;
  for (const { at, weight } of taps) sum += weight * numbers[first + at]!;
  return sum;
}

const MODES: Readonly<Record<string, string>> = { bilinear: 'linear', bicubic: 'cubic' };

/** The grid names the last extent first. */
function gridSample(context: Context, x: Value, grid: Value): Value {
  const [batch, channels, ...extents] = x.shape as [number, number, ...number[]];
  const rank = extents.length;
  const out = grid.shape.slice(1, -1);
  if (grid.rank !== x.rank || grid.shape.at(-1) !== rank || grid.shape[0] !== batch)
    throw context.refuse(`[${x.shape}] by a grid of [${grid.shape}]`, { shape: x.shape, grid: grid.shape });
  const named = context.string('mode', 'linear');
  const mode = MODES[named] ?? named;
  const isAligned = context.int('align_corners', 0) === 1;
  const padding = context.string('padding_mode', 'zeros') as PaddingMode;
  const [numbers, places] = [context.numbers(x), context.numbers(grid)];
  const placed = (value: number, extent: number) => {
    const place = isAligned ? ((value + 1) / 2) * (extent - 1) : ((value + 1) * extent - 1) / 2;
    // cubic curves go by the pixels that they pass, wherever these are taken from
    if (mode === 'cubic') return place;
    if (padding === 'border') return Math.max(0, Math.min(extent - 1, place));
    return padding === 'reflection' ? mirrored(place, extent, isAligned) : place;
  };
  const locate = locator(padding, isAligned);
  const [size, count] = [sizeOf(extents), sizeOf(out)];
  const values = arrayFor(x.type, batch * channels * count);
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < count; i++) {
      const last = rank * (n * count + i) + rank - 1;
      const place = extents.map((extent, axis) => placed(places[last - axis]!, extent));
      const taps = tapsAt(place, extents, mode, locate);
      for (let c = n * channels; c < (n + 1) * channels; c++)
        values[c * count + i] = sampleOf(numbers, c * size, taps);
    }
  return context.made(x.type, [batch, channels, ...out], values, [x, grid]);
}

/** Places that a linear map has pixels come from (https://onnx.ai/onnx/operators/onnx__AffineGrid.html). */
function affineGrid(context: Context, theta: Value, sizeInput: Value): Value {
  const [n, , ...extents] = context.ints(sizeInput) as [number, number, ...number[]];
  const rank = extents.length;
  const isAligned = context.int('align_corners', 0) === 1;
  const count = sizeOf(extents);
  const along = (i: number, extent: number) => {
    if (!isAligned) return (2 * i + 1) / extent - 1;
    return extent === 1 ? 0 : (2 * i) / (extent - 1) - 1;
  };
  const strides = denseStrides(extents);
  const base = Float32Array.from({ length: count * (rank + 1) }, (_, at) => {
    const [i, which] = [Math.floor(at / (rank + 1)), at % (rank + 1)];
    const axis = rank - 1 - which;
    return axis < 0 ? 1 : along(Math.floor(i / strides[axis]!) % extents[axis]!, extents[axis]!);
  });
  const points = context.made('float32', [1, count, rank + 1], base, [sizeInput]);
  const grid = context.rt.matmulSync(context.tensor(points), context.tensor(theta), { transposeB: true });
  return context.reshaped(context.result(grid, theta.type), [n, ...extents, rank]);
}

/** Each tap of each window read where offsets have moved it to (Dai et al., "Deformable convolutional networks", 2017), then one product. */
function deformConv(context: Context, x: Value, w: Value, offset: Value, bias?: Value, mask?: Value): Value {
  const [n, c, ...extents] = x.shape as [number, number, ...number[]];
  const kernel = w.shape.slice(2);
  if (x.rank !== w.rank) throw context.refuse(`an image [${x.shape}] with filters [${w.shape}]`);
  const axes = axesOf(context, extents, kernel);
  const out = axes.map((axis) => axis.out);
  const [taps, count, size] = [sizeOf(kernel), sizeOf(out), sizeOf(extents)];
  const parts = context.int('offset_group', 1);
  const [numbers, offsets, factors] = [
    context.numbers(x),
    context.numbers(offset),
    mask && context.numbers(mask),
  ];
  const [tapStrides, outStrides] = [denseStrides(kernel), denseStrides(out)];
  const locate = locator('zeros', false);
  const columns = arrayFor(x.type, n * c * taps * count);
  for (let image = 0; image < n; image++)
    for (let part = 0; part < parts; part++)
      for (let tap = 0; tap < taps; tap++)
        for (let i = 0; i < count; i++) {
          const line = (image * parts + part) * taps + tap;
          const place = axes.map(({ out: length, k, stride, dilation, before }, axis) => {
            const window = Math.floor(i / outStrides[axis]!) % length;
            const within = Math.floor(tap / tapStrides[axis]!) % k;
            const moved = offsets[(line * axes.length + axis) * count + i]!;
            return window * stride - before + within * dilation + moved;
          });
          const found = tapsAt(place, extents, 'linear', locate);
          const factor = factors ? factors[line * count + i]! : 1;
          for (let channel = (part * c) / parts; channel < ((part + 1) * c) / parts; channel++) {
            const from = image * c + channel;
            columns[(from * taps + tap) * count + i] = factor * sampleOf(numbers, from * size, found);
          }
        }
  const patches = context.made(x.type, [n, c * taps, count, 1], columns, [x, offset, mask]);
  const filters = context.reshaped(w, [w.shape[0]!, w.shape[1]! * taps, 1, 1]);
  const options = {
    groups: context.int('group', 1),
    ...(bias ? { bias: context.tensor(bias) } : {}),
  };
  const y = context.rt.conv2dSync(context.tensor(patches), context.tensor(filters), options);
  return context.reshaped(context.result(y, x.type), [n, w.shape[0]!, ...out]);
}

/** The largest pixel of each part of each region, whose corners are pixels (Girshick, "Fast R-CNN", 2015). */
function maxRoiPool(context: Context, x: Value, rois: Value): Value {
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [outH, outW] = (context.intList('pooled_shape') ?? [1, 1]) as [number, number];
  const scale = context.float('spatial_scale', 1);
  const [numbers, corners] = [context.numbers(x), context.numbers(rois)];
  const count = rois.shape[0]!;
  const round = (value: number) => Math.sign(value) * Math.round(Math.abs(value));
  /** First and last pixel of a part, which may be none. */
  const part = (at: number, parts: number, first: number, last: number, extent: number) => {
    const size = Math.max(last - first + 1, 1) / parts;
    const clamp = (place: number) => Math.max(0, Math.min(extent, place + first));
    return [clamp(Math.floor(at * size)), clamp(Math.ceil((at + 1) * size))] as const;
  };
  const out = arrayFor(x.type, count * channels * outH * outW);
  for (let i = 0; i < out.length; i++) {
    const [roi, channel] = [
      Math.floor(i / (channels * outH * outW)),
      Math.floor(i / (outH * outW)) % channels,
    ];
    const [image, ...sides] = corners.subarray(5 * roi, 5 * roi + 5) as unknown as number[];
    const [x1, y1, x2, y2] = sides.map((side) => round(side * scale)) as [number, number, number, number];
    const [top, bottom] = part(Math.floor(i / outW) % outH, outH, y1, y2, height);
    const [left, right] = part(i % outW, outW, x1, x2, width);
    let most = bottom > top && right > left ? Number.NEGATIVE_INFINITY : 0;
    for (let row = top; row < bottom; row++)
      for (let column = left; column < right; column++)
        most = Math.max(most, numbers[((image! * channels + channel) * height + row) * width + column]!);
    out[i] = most;
  }
  return context.made(x.type, [count, channels, outH, outW], out, [x, rois]);
}

/** The mean or the largest of samples in each part of each region (He et al., "Mask R-CNN", 2017). */
function roiAlign(context: Context, x: Value, rois: Value, images: Value): Value {
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [outH, outW] = [context.int('output_height', 1), context.int('output_width', 1)];
  const [scale, ratio] = [context.float('spatial_scale', 1), context.int('sampling_ratio', 0)];
  const isMax = context.string('mode', 'avg') === 'max';
  const usual = context.opset < 16 ? 'output_half_pixel' : 'half_pixel';
  const isHalf = context.string('coordinate_transformation_mode', usual) === 'half_pixel';
  const [numbers, places] = [context.numbers(x), context.numbers(rois)];
  const count = rois.shape[0]!;
  const out = arrayFor(x.type, count * channels * outH * outW);
  context.ints(images).forEach((image, roi) => {
    const [x1, y1, x2, y2] = [0, 1, 2, 3].map((i) => places[4 * roi + i]! * scale - (isHalf ? 0.5 : 0)) as [
      number,
      number,
      number,
      number,
    ];
    const least = isHalf ? 0 : 1;
    const [high, wide] = [Math.max(y2 - y1, least) / outH, Math.max(x2 - x1, least) / outW];
    const [down, across] = [ratio > 0 ? ratio : Math.ceil(high), ratio > 0 ? ratio : Math.ceil(wide)];
    for (let c = 0; c < channels; c++) {
      const first = (image * channels + c) * height * width;
      for (let i = 0; i < outH * outW; i++) {
        let [sum, most] = [0, Number.NEGATIVE_INFINITY];
        for (let sy = 0; sy < down; sy++)
          for (let sx = 0; sx < across; sx++) {
            const y = y1 + (Math.floor(i / outW) + (sy + 0.5) / down) * high;
            const column = x1 + ((i % outW) + (sx + 0.5) / across) * wide;
            const taps = regionTaps(numbers, first, height, width, y, column);
            sum += taps.reduce((a, b) => a + b, 0);
            most = Math.max(most, ...taps);
          }
        const samples = down * across;
        out[(roi * channels + c) * outH * outW + i] = samples === 0 ? 0 : isMax ? most : sum / samples;
      }
    }
  });
  return context.made(x.type, [count, channels, outH, outW], out, [x, rois, images]);
}

/** Four neighbours, each times its weight; nothing beyond a pixel outside of the image. */
function regionTaps(
  numbers: Numbers,
  first: number,
  height: number,
  width: number,
  row: number,
  column: number,
): readonly number[] {
  if (row < -1 || row > height || column < -1 || column > width) return [0];
  const [y, x] = [Math.min(Math.max(row, 0), height - 1), Math.min(Math.max(column, 0), width - 1)];
  const [y0, x0] = [Math.floor(y), Math.floor(x)];
  const [y1, x1] = [Math.min(y0 + 1, height - 1), Math.min(x0 + 1, width - 1)];
  const [ly, lx] = [y - y0, x - x0];
  const at = (i: number, j: number) => numbers[first + i * width + j]!;
  return [
    (1 - ly) * (1 - lx) * at(y0, x0),
    (1 - ly) * lx * at(y0, x1),
    ly * (1 - lx) * at(y1, x0),
    ly * lx * at(y1, x1),
  ];
}

/** Values back at the places that pooling found them at; the places are of the whole array. */
function maxUnpool(context: Context, x: Value, places: Value, shapeInput?: Value): Value {
  const size = context.intList('kernel_shape') ?? [];
  const spatial = size.map((k, axis) => {
    const stride = context.intList('strides')?.[axis] ?? 1;
    const pads = context.intList('pads') ?? [];
    const cut = (pads[axis] ?? 0) + (pads[axis + size.length] ?? 0);
    return (x.shape[axis + 2]! - 1) * stride + k - cut;
  });
  const own = [...x.shape.slice(0, 2), ...spatial];
  const shape = shapeInput ? context.ints(shapeInput) : own;
  const out = arrayFor(x.type, sizeOf(shape));
  const [numbers, found] = [context.numbers(x), context.numbers(places)];
  // places count in the array that was pooled; the result may be larger in the last two extents
  const [planeH, planeW] = own.slice(-2) as [number, number];
  const [height, width] = shape.slice(-2) as [number, number];
  for (let i = 0; i < found.length; i++) {
    const at = found[i]!;
    const plane = Math.floor(at / (planeH * planeW));
    const [row, column] = [Math.floor((at % (planeH * planeW)) / planeW), at % planeW];
    const to = (plane * height + row) * width + column;
    if (!(at >= 0 && row < height && column < width && to < out.length))
      throw context.refuse(`place ${at} of ${out.length}`, { place: at });
    out[to] = numbers[i]!;
  }
  return context.made(x.type, shape, out, [x, places, shapeInput]);
}

export const SAMPLING: Operators = {
  GridSample: operator(16, 2, gridSample),
  AffineGrid: operator(20, 2, affineGrid),
  DeformConv: operator(19, 3, deformConv),
  MaxRoiPool: operator(1, 2, maxRoiPool),
  RoiAlign: operator(10, 3, roiAlign),
  MaxUnpool: operator(9, 2, maxUnpool),
};
