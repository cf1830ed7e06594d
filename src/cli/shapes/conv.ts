/** What follows from a convolution's shape: extents, and which kind of layer it is. */
import type { ConvShape } from './types.ts';

export interface ConvExtents {
  readonly outH: number;
  readonly outW: number;
  /** Terms of each output element's sum: channels of a group times taps. */
  readonly terms: number;
  /** Elements of the operands. */
  readonly input: number;
  readonly weights: number;
  readonly output: number;
}

export function convExtents(shape: ConvShape): ConvExtents {
  const { batch, inC, inH, inW, outC, kH, kW, stride, padding, dilation, groups } = shape;
  const [top, left, bottom, right] = padding;
  const outH = steps(inH + top + bottom, kH, stride[0], dilation[0]);
  const outW = steps(inW + left + right, kW, stride[1], dilation[1]);
  const terms = (inC / groups) * kH * kW;
  const input = batch * inC * inH * inW;
  return { outH, outW, terms, input, weights: outC * terms, output: batch * outC * outH * outW };
}

/** Places of the window along one padded extent; 0 or less where it does not fit. */
function steps(size: number, taps: number, stride: number, dilation: number): number {
  return Math.floor((size - ((taps - 1) * dilation + 1)) / stride) + 1;
}

/** One filter for each channel: little arithmetic for each byte, so memory sets its speed. */
export function isDepthwise({ inC, groups }: ConvShape): boolean {
  return groups > 1 && groups === inC;
}

/** Kinds of layers that want different algorithms, in the order of the tables. */
export const CONV_KINDS = ['3x3, stride 1', '1x1', 'first layer', 'depthwise', 'other'] as const;

export type ConvKind = (typeof CONV_KINDS)[number];

/** `other`: strided or dilated 3x3 and larger filters between many channels, and groups. */
export function convKind(shape: ConvShape): ConvKind {
  const { inC, kH, kW, stride, dilation, groups } = shape;
  if (isDepthwise(shape)) return 'depthwise';
  if (groups > 1) return 'other';
  if (kH === 1 && kW === 1) return '1x1';
  // Images of one to four channels: a patch has so few terms that gathering it dominates.
  if (inC <= 4) return 'first layer';
  const dense = [...stride, ...dilation].every((step) => step === 1);
  return kH === 3 && kW === 3 && dense ? '3x3, stride 1' : 'other';
}
