/**
 * The oracle: convolution as its definition reads, in float64, one element after the other. Never optimised. Taps in the
 * padding are multiplied like any others, zero times the weight, as all kernels do.
 */
import { type ConvProblem, groupChannels, type Layout } from '../../problem/conv.ts';
import { referenceActivation } from './matmul.ts';

export interface ReferenceConvOperands {
  readonly x: ArrayLike<number>;
  /** [outC, inC / groups, kH, kW] in both layouts. */
  readonly w: ArrayLike<number>;
  /** One value for each output channel. */
  readonly bias?: ArrayLike<number> | undefined;
  /** Added before the activation, stored as the result is. May be the result itself: each element is read before it is written. */
  readonly residual?: ArrayLike<number> | undefined;
  /** One value for each output channel, read by `prelu`. */
  readonly slope?: ArrayLike<number> | undefined;
  readonly p0: number;
  readonly p1: number;
}

/** Extents of a batch of images. */
export interface Images {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Where an element of a batch of images is stored. */
export function imageIndex(
  layout: Layout,
  { channels, height, width }: Images,
  n: number,
  c: number,
  y: number,
  x: number,
): number {
  return layout === 'nchw'
    ? ((n * channels + c) * height + y) * width + x
    : ((n * height + y) * width + x) * channels + c;
}

/** Sum over the channels of one group and all taps, for one element of the result. */
export function sumAt(
  p: ConvProblem,
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  at: { readonly n: number; readonly oc: number; readonly oy: number; readonly ox: number },
): number {
  const input: Images = { channels: p.inC, height: p.inH, width: p.inW };
  const channels = groupChannels(p);
  const firstChannel = Math.floor(at.oc / (p.outC / p.groups)) * channels;
  let sum = 0;
  for (let c = 0; c < channels; c++) {
    for (let kh = 0; kh < p.kH; kh++) {
      for (let kw = 0; kw < p.kW; kw++) {
        const y = at.oy * p.strideH - p.padTop + kh * p.dilationH;
        const column = at.ox * p.strideW - p.padLeft + kw * p.dilationW;
        const inside = y >= 0 && y < p.inH && column >= 0 && column < p.inW;
        const pixel = inside ? x[imageIndex(p.layout, input, at.n, firstChannel + c, y, column)]! : 0;
        sum += pixel * w[((at.oc * channels + c) * p.kH + kh) * p.kW + kw]!;
      }
    }
  }
  return sum;
}

/** Fills `out`, stored in the problem's layout, with activation(conv(x, w) + bias + residual). */
export function referenceConv(
  p: ConvProblem,
  operands: ReferenceConvOperands,
  out: Float32Array | Float64Array,
): void {
  const { x, w, bias, residual, slope, p0, p1 } = operands;
  const result: Images = { channels: p.outC, height: p.outH, width: p.outW };
  const { residualC = p.outC } = p;
  for (let n = 0; n < p.batch; n++) {
    for (let oc = 0; oc < p.outC; oc++) {
      for (let oy = 0; oy < p.outH; oy++) {
        for (let ox = 0; ox < p.outW; ox++) {
          const index = imageIndex(p.layout, result, n, oc, oy, ox);
          let value = sumAt(p, x, w, { n, oc, oy, ox });
          if (bias) value += bias[oc]!;
          if (residual && oc < residualC) value += residual[index]!;
          out[index] = referenceActivation(p.activation, value, p0, p1, slope?.[oc]);
        }
      }
    }
  }
}
