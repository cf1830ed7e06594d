/** Values between pixels: sampled by a grid, in regions, and put back where pooling took them from. On the host. */
import { sizeOf } from '../../core/shape.ts';
import type { Context } from '../context.ts';
import { arrayFor } from '../model/tensor-proto.ts';
import type { Numbers } from '../model/types.ts';
import type { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';

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

interface Plane {
  readonly numbers: Numbers;
  readonly first: number;
  readonly height: number;
  readonly width: number;
  readonly locate: Locate;
}

function pixel({ numbers, first, height, width, locate }: Plane, row: number, column: number): number {
  const [y, x] = [locate(row, height), locate(column, width)];
  return y === undefined || x === undefined ? 0 : numbers[first + y * width + x]!;
}

function sample(plane: Plane, y: number, x: number, mode: string): number {
  if (mode === 'nearest') {
    const even = (value: number) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
    return pixel(plane, even(y), even(x));
  }
  const [y0, x0] = [Math.floor(y), Math.floor(x)];
  const isCubic = mode === 'cubic';
  const [down, across] = isCubic
    ? [cubicWeights(y - y0), cubicWeights(x - x0)]
    : [
        [1 - (y - y0), y - y0],
        [1 - (x - x0), x - x0],
      ];
  const before = isCubic ? 1 : 0;
  let sum = 0;
  for (const [i, wy] of down.entries())
    for (const [j, wx] of across.entries()) sum += wy * wx * pixel(plane, y0 + i - before, x0 + j - before);
  return sum;
}

const MODES: Readonly<Record<string, string>> = { bilinear: 'linear', bicubic: 'cubic' };

function gridSample(context: Context, x: Value, grid: Value): Value {
  if (x.rank !== 4) throw context.refuse(`images of ${x.rank - 2} extents`, { shape: x.shape });
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [, outH, outW] = grid.shape as [number, number, number];
  const named = context.string('mode', 'linear');
  const mode = MODES[named] ?? named;
  const isAligned = context.int('align_corners', 0) === 1;
  const padding = context.string('padding_mode', 'zeros') as PaddingMode;
  const [numbers, places] = [context.numbers(x), context.numbers(grid)];
  const at = (value: number, extent: number) => {
    const place = isAligned ? ((value + 1) / 2) * (extent - 1) : ((value + 1) * extent - 1) / 2;
    // cubic curves go by the pixels that they pass, wherever these are taken from
    if (mode === 'cubic') return place;
    if (padding === 'border') return Math.max(0, Math.min(extent - 1, place));
    return padding === 'reflection' ? mirrored(place, extent, isAligned) : place;
  };
  const locate = locator(padding, isAligned);
  const out = arrayFor(x.type, batch * channels * outH * outW);
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < outH * outW; i++) {
      const from = 2 * (n * outH * outW + i);
      const [column, row] = [at(places[from]!, width), at(places[from + 1]!, height)];
      for (let c = 0; c < channels; c++) {
        const plane = { numbers, first: (n * channels + c) * height * width, height, width, locate };
        out[(n * channels + c) * outH * outW + i] = sample(plane, row, column, mode);
      }
    }
  return context.made(x.type, [batch, channels, outH, outW], out, [x, grid]);
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
  RoiAlign: operator(10, 3, roiAlign),
  MaxUnpool: operator(9, 2, maxUnpool),
};
