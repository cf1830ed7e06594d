/** The convolution problem: what was asked, as plain data, with a canonical key. One-dimensional ones have one row. */
import { TesseraeError } from '../core/errors.ts';
import { type Shape, showShape } from '../core/shape.ts';
import type { ActivationKind } from './epilogue.ts';
import type { Halves } from './halves.ts';
import { type Window, windowKey } from './window.ts';

/** NCHW or NHWC: where the channels of images stand. Weights are [outC, inC / groups, kH, kW] in both. */
export type Layout = 'nchw' | 'nhwc';

/**
 * Ways to compute a convolution; the tuner picks one for each problem.
 * - `gemm`: 1x1 with stride 1 and no padding is a plain product, nothing is copied.
 * - `implicit`: patches are written straight into packed panels, a tile's worth at a time (Chellapilla, Puri & Simard 2006,
 *   without ever holding the whole matrix).
 * - `direct`: micro-kernels read taps in place, through a table of offsets (the idea of indirect convolution, Dukhan 2019).
 * - `depthwise`: one filter a channel, rows of the image through vector lanes.
 * - `winograd2`, `winograd4`: F(2x2, 3x3) and F(4x4, 3x3) (Lavin & Gray, "Fast algorithms for convolutional neural
 *   networks", 2016): 2.25 and 4 times fewer products, larger rounding errors. For filters of 5x5 F(2x2, 5x5) and F(4x4, 5x5): 2.8 and
 *   6.25 times fewer.
 * - `strassen`: filters of one pixel by one level of Strassen's method ("Gaussian elimination is not optimal", 1969): seven products of halves
 *   instead of eight, larger rounding errors; both numbers of channels of a group are even.
 */
export type ConvAlgorithm =
  | 'gemm'
  | 'implicit'
  | 'direct'
  | 'depthwise'
  | 'winograd2'
  | 'winograd4'
  | 'strassen';

export const CONV_ALGORITHMS: readonly ConvAlgorithm[] = [
  'gemm',
  'implicit',
  'direct',
  'depthwise',
  'winograd2',
  'winograd4',
  'strassen',
];

export interface ConvProblem extends Window {
  readonly op: 'conv';
  readonly dtype: 'f32';
  readonly layout: Layout;
  readonly batch: number;
  readonly groups: number;
  readonly inC: number;
  readonly outC: number;
  readonly bias: boolean;
  readonly activation: ActivationKind;
  /** Whether a tensor of the result's shape is added before the activation. */
  readonly residual: boolean;
  /** Its channels where there are fewer than of the result: the others have none. Of one image of several pixels, in NCHW. */
  readonly residualC?: number;
  /** Weights given once for many calls, so that their transformation costs nothing. */
  readonly prepacked: boolean;
  /** The one algorithm to use, where the caller named one. */
  readonly algorithm: ConvAlgorithm | undefined;
  readonly exact: boolean;
  /** Operands that a GPU keeps as halves. */
  readonly halves: Halves;
  /** Over words of integers, whose sums are exact in any order: no sum is larger (see problem/quantized.ts). */
  readonly largestSum?: number;
}

/** What of a problem does not follow from the shapes. */
export interface ConvTraits {
  readonly layout?: Layout;
  readonly groups?: number;
  readonly bias?: boolean;
  readonly activation?: ActivationKind;
  readonly residual?: boolean;
  readonly prepacked?: boolean;
  readonly algorithm?: ConvAlgorithm | undefined;
  readonly exact?: boolean;
  readonly halves?: Halves;
}

/** Input channels of one group: what each output channel sums over. */
export function groupChannels(p: Pick<ConvProblem, 'inC' | 'groups'>): number {
  return p.inC / p.groups;
}

/** Terms of each output element: channels of the group times taps. */
export function termsOf(p: ConvProblem): number {
  return groupChannels(p) * p.kH * p.kW;
}

/** The ways that can compute a problem, in the order of CONV_ALGORITHMS. */
export function algorithmsFor(p: ConvProblem): ConvAlgorithm[] {
  return CONV_ALGORITHMS.filter((algorithm) => {
    if (p.algorithm !== undefined && p.algorithm !== algorithm) return false;
    return applies(p, algorithm);
  });
}

/** Whether the image is a matrix as it lies: filters of one pixel, each pixel once. */
export function isPlainProduct(p: ConvProblem): boolean {
  const isWhole = p.outH === p.inH && p.outW === p.inW && p.padTop === 0 && p.padLeft === 0;
  return p.kH === 1 && p.kW === 1 && p.strideH === 1 && p.strideW === 1 && isWhole;
}

function applies(p: ConvProblem, algorithm: ConvAlgorithm): boolean {
  const { layout, strideH, strideW, dilationH, dilationW } = p;
  const dense = strideH === 1 && strideW === 1 && dilationH === 1 && dilationW === 1;
  switch (algorithm) {
    case 'gemm':
      return isPlainProduct(p);
    case 'implicit':
      return layout === 'nchw';
    case 'direct':
      return true;
    case 'depthwise':
      return p.inC === p.groups && (layout === 'nchw' || p.outC === p.inC);
    case 'winograd2':
    case 'winograd4':
      return layout === 'nchw' && dense && hasTransforms(p) && winogradIsTrue(p, algorithm);
    case 'strassen':
      return layout === 'nchw' && isPlainProduct(p) && hasHalves(p) && !p.exact && p.largestSum === undefined;
    default:
      throw new Error(`unknown algorithm ${algorithm satisfies never}`);
  }
}

/** Whether an algorithm gets by with fewer products than there are terms: its sums of filters take more room, and it rounds more. */
export function multipliesLess(algorithm: string): boolean {
  return algorithm === 'winograd2' || algorithm === 'winograd4' || algorithm === 'strassen';
}

function hasHalves(p: ConvProblem): boolean {
  return (p.outC / p.groups) % 2 === 0 && groupChannels(p) % 2 === 0;
}

/** Three or five taps; words of integers are too short for transformed filters of five. */
function hasTransforms({ kH, kW, largestSum }: ConvProblem): boolean {
  return kH === kW && (kH === 3 || (kH === 5 && largestSum === undefined));
}

/** Winograd rounds; over words of integers it is exact, as long as no sum reaches a bound: what is left of 32 bits when its factors of
 *  4 and 576 = 64 x 9 are taken out (assembly/conv/winograd_lines.ts). */
const WINOGRAD_SUMS = { winograd2: 2 ** 29, winograd4: 2 ** 25 } as const;

function winogradIsTrue({ exact, largestSum }: ConvProblem, algorithm: keyof typeof WINOGRAD_SUMS): boolean {
  return largestSum === undefined ? !exact : largestSum < WINOGRAD_SUMS[algorithm];
}

export function convFlops(p: ConvProblem): number {
  return 2 * p.batch * p.outC * p.outH * p.outW * termsOf(p);
}

/** Extents of a batch of images in a layout. */
export function imageShape(
  layout: Layout,
  batch: number,
  channels: number,
  height: number,
  width: number,
): Shape {
  return layout === 'nchw' ? [batch, channels, height, width] : [batch, height, width, channels];
}

/** Extents that a batch of images of rank 4 has. */
export function readImage(
  shape: Shape,
  layout: Layout,
): { batch: number; channels: number; height: number; width: number } {
  const [batch, x, y, z] = shape as readonly [number, number, number, number];
  return layout === 'nchw'
    ? { batch, channels: x, height: y, width: z }
    : { batch, channels: z, height: x, width: y };
}

/** Checks that channels, groups and weights agree; the window comes from `windowOf`. */
export function convProblem(
  extents: { batch: number; inC: number; outC: number },
  window: Window,
  traits: ConvTraits = {},
): ConvProblem {
  const { groups = 1 } = traits;
  const { inC, outC } = extents;
  if (inC % groups !== 0 || outC % groups !== 0) {
    throw new TesseraeError(
      'E_SHAPE',
      `${groups} groups do not divide ${inC} input and ${outC} output channels`,
      { groups, inC, outC },
      'Both numbers of channels must be multiples of groups.',
    );
  }
  // field by field: V8 11 takes microseconds for objects that are put together from others
  return {
    op: 'conv',
    dtype: 'f32',
    layout: traits.layout ?? 'nchw',
    batch: extents.batch,
    inC,
    outC,
    groups,
    inH: window.inH,
    inW: window.inW,
    outH: window.outH,
    outW: window.outW,
    kH: window.kH,
    kW: window.kW,
    strideH: window.strideH,
    strideW: window.strideW,
    dilationH: window.dilationH,
    dilationW: window.dilationW,
    padTop: window.padTop,
    padLeft: window.padLeft,
    padBottom: window.padBottom,
    padRight: window.padRight,
    bias: traits.bias ?? false,
    activation: traits.activation ?? 'none',
    residual: traits.residual ?? false,
    prepacked: traits.prepacked ?? false,
    algorithm: traits.algorithm,
    exact: traits.exact ?? false,
    halves: traits.halves ?? 'none',
  };
}

/** The channels that weights of a shape take and give; throws where they do not fit the input. */
export function readWeights(
  weights: Shape,
  inC: number,
  groups: number,
): { outC: number; kH: number; kW: number } {
  const [outC, perGroup, kH, kW] = weights as readonly [number, number, number, number];
  if (perGroup * groups !== inC) {
    throw new TesseraeError(
      'E_SHAPE',
      `the weights ${showShape(weights)} take ${perGroup} channels in each of ${groups} groups, the input has ${inC}`,
      { weights, groups, inC },
      'Weights are [outC, inC / groups, kH, kW] in both layouts.',
    );
  }
  return { outC, kH, kW };
}

/** Canonical key: equal problems have equal keys. `conv f32 nchw 1x64x56x56 64 3x3 s1 p1 bias act=relu`. */
export function convKey(p: ConvProblem): string {
  let key = `conv ${p.dtype} ${p.layout} ${p.batch}x${p.inC}x${p.inH}x${p.inW} ${p.outC} ${windowKey(p)}`;
  if (p.groups > 1) key += ` g${p.groups}`;
  if (p.prepacked) key += ' prepacked';
  if (p.bias) key += ' bias';
  if (p.residual) key += p.residualC === undefined ? ' residual' : ` residual=${p.residualC}`;
  if (p.activation !== 'none') key += ` act=${p.activation}`;
  if (p.algorithm) key += ` by=${p.algorithm}`;
  if (p.exact) key += ' exact';
  if (p.halves !== 'none') key += ` f16=${p.halves}`;
  return key;
}
