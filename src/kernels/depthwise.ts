/**
 * The depthwise rows of the kernel table. `f32_dw_3x3_s1_r4x8__simd`: 3 x 3 taps, stride 1 in both directions, four output rows
 * and eight columns (two vectors) at once, read where the image lies; those of one row take any vertical stride. The general kernel takes any filter and stride through
 * strips, the one with channels in its lanes any on small maps.
 */
import type { Kernel, KernelFeature } from './kernel.ts';

interface Variant {
  readonly size: number;
  readonly stride: number;
  readonly mr: number;
  readonly nr: number;
}

/**
 * What won somewhere (from 7 x 7 x 960 to 1024 x 1024 x 16, Node 20 and 24): one row at a time where images come from memory, in the order
 * in which it is read ahead, else as many sums at once as there are registers. The first of one row for a size and a stride finishes the
 * rows that the others leave over.
 */
const VARIANTS: readonly Variant[] = [
  { size: 3, stride: 1, mr: 1, nr: 16 },
  { size: 3, stride: 1, mr: 2, nr: 8 },
  { size: 3, stride: 1, mr: 4, nr: 8 },
  { size: 3, stride: 2, mr: 1, nr: 8 },
  { size: 3, stride: 2, mr: 2, nr: 8 },
  { size: 5, stride: 1, mr: 1, nr: 16 },
  { size: 5, stride: 1, mr: 2, nr: 16 },
  { size: 5, stride: 1, mr: 4, nr: 8 },
  { size: 5, stride: 2, mr: 1, nr: 8 },
  { size: 5, stride: 2, mr: 2, nr: 8 },
];

/** So many weights stay in registers (of 15); more are loaded where they are used. */
const HELD_WEIGHTS = 9;

/** Whether all weights stay in registers: a filter of which they don't is looped over, and rows above and below the image are left out. */
export function holdsWeights({ size }: NonNullable<Kernel['taps']>): boolean {
  return size * size <= HELD_WEIGHTS;
}

function fixedRow({ size, stride, mr, nr }: Variant, feature: KernelFeature): Kernel {
  return {
    name: `f32_dw_${size}x${size}_s${stride}_r${mr}x${nr}__${feature}`,
    family: 'depthwise',
    feature,
    form: 'plain',
    mr,
    nr,
    taps: { size, stride },
    deterministic: feature === 'simd',
  };
}

/** Loops over a table of taps: any filter. */
function generalRow(feature: KernelFeature): Kernel {
  return {
    name: `f32_dw_taps_r1x16__${feature}`,
    family: 'depthwise',
    feature,
    form: 'plain',
    mr: 1,
    nr: 16,
    deterministic: feature === 'simd',
  };
}

/** Four interleaved channels, any filter, four pixels at once: for small maps. */
function interleavedRow(feature: KernelFeature): Kernel {
  return { ...generalRow(feature), name: `f32_dw_lanes_r1x4__${feature}`, nr: 4, lanes: 'channels' };
}

/** The rows of one feature: fixed sizes, then the kernels that take any. */
export function depthwiseRows(feature: KernelFeature): Kernel[] {
  return [
    ...VARIANTS.map((variant) => fixedRow(variant, feature)),
    generalRow(feature),
    interleavedRow(feature),
  ];
}

/** Whether `one` can finish the rows that `kernel` leaves over. */
export function finishesRowsOf(one: Kernel, kernel: Kernel): boolean {
  if (!kernel.taps || !one.taps) return one === kernel;
  if (one.mr !== 1 || one.feature !== kernel.feature) return false;
  return one.taps.size === kernel.taps.size && one.taps.stride === kernel.taps.stride;
}
