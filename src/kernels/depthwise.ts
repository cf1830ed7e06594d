/**
 * The depthwise rows of the kernel table. `f32_dw_3x3_s1_r4x8__simd`: 3 x 3 taps, vertical stride 1, four output rows and
 * eight columns (two vectors) at once. Without a stride in its name a kernel takes any, and any vertical dilation.
 */
import type { Kernel, KernelFeature } from './kernel.ts';

interface Variant {
  readonly size: number;
  /** Vertical stride; 0 for any, with any dilation. */
  readonly strideH: number;
  readonly mr: number;
  readonly nr: number;
}

/**
 * What won somewhere (112 x 112 x 32, 14 x 14 x 512, 7 x 7 x 960; Node 20 and 24, with and without revectorisation). The first
 * of one row for a size finishes the rows that kernels of several leave over.
 */
const VARIANTS: readonly Variant[] = [
  { size: 3, strideH: 0, mr: 1, nr: 4 },
  { size: 3, strideH: 0, mr: 1, nr: 16 },
  { size: 3, strideH: 1, mr: 2, nr: 4 },
  { size: 3, strideH: 1, mr: 2, nr: 8 },
  { size: 3, strideH: 1, mr: 3, nr: 8 },
  { size: 3, strideH: 1, mr: 4, nr: 4 },
  { size: 3, strideH: 1, mr: 4, nr: 8 },
  { size: 3, strideH: 2, mr: 2, nr: 4 },
  { size: 3, strideH: 2, mr: 2, nr: 8 },
  { size: 3, strideH: 2, mr: 4, nr: 8 },
  { size: 5, strideH: 0, mr: 1, nr: 16 },
  { size: 5, strideH: 1, mr: 2, nr: 8 },
  { size: 5, strideH: 1, mr: 4, nr: 4 },
  { size: 5, strideH: 2, mr: 2, nr: 8 },
];

function fixedRow({ size, strideH, mr, nr }: Variant, feature: KernelFeature): Kernel {
  const stride = strideH === 0 ? '' : `_s${strideH}`;
  return {
    name: `f32_dw_${size}x${size}${stride}_r${mr}x${nr}__${feature}`,
    family: 'depthwise',
    feature,
    form: 'plain',
    mr,
    nr,
    taps: { kH: size, kW: size, strideH },
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
  if (kernel.lanes || one.lanes) return one === kernel;
  if (one.family !== 'depthwise' || one.mr !== 1 || one.feature !== kernel.feature) return false;
  return one.taps?.kH === kernel.taps?.kH && one.taps?.kW === kernel.taps?.kW;
}
