/**
 * The oracle: transposed convolution as ONNX ConvTranspose defines it, in float64. The definition scatters: each input element
 * is multiplied by each weight of its channel, and lands where a convolution would have read it from. Never optimised.
 */
import type { Layout } from '../../problem/conv.ts';
import type { ActivationKind } from '../../problem/epilogue.ts';
import type { FoldProblem } from '../../problem/fold.ts';
import type { Window } from '../../problem/window.ts';
import { type Images, imageIndex, type ReferenceConvOperands } from './conv.ts';
import { referenceActivation } from './matmul.ts';

/** What a transposed convolution is: rows and columns are cut off at the beginning by padTop and padLeft, the result's extents
 *  follow from padding at the end. */
export interface TransposedConv extends Omit<Window, 'padBottom' | 'padRight'> {
  readonly layout: Layout;
  readonly batch: number;
  readonly groups: number;
  readonly inC: number;
  readonly outC: number;
  readonly activation: ActivationKind;
}

/** Adds one input element times the weights of its channel to the result's sums. */
function scatter(
  p: TransposedConv,
  sums: Float64Array,
  value: number,
  w: ArrayLike<number>,
  from: { readonly n: number; readonly ic: number; readonly y: number; readonly x: number },
): void {
  const result: Images = { channels: p.outC, height: p.outH, width: p.outW };
  const channels = p.outC / p.groups;
  const firstChannel = Math.floor(from.ic / (p.inC / p.groups)) * channels;
  for (let c = 0; c < channels; c++) {
    for (let kh = 0; kh < p.kH; kh++) {
      const y = from.y * p.strideH + kh * p.dilationH - p.padTop;
      if (y < 0 || y >= p.outH) continue;
      for (let kw = 0; kw < p.kW; kw++) {
        const x = from.x * p.strideW + kw * p.dilationW - p.padLeft;
        if (x < 0 || x >= p.outW) continue;
        const weight = w[((from.ic * channels + c) * p.kH + kh) * p.kW + kw]!;
        sums[imageIndex(p.layout, result, from.n, firstChannel + c, y, x)]! += value * weight;
      }
    }
  }
}

/** Fills `out`, stored in the layout, with activation(convTranspose(x, w) + bias + residual); `w` is [inC, outC / groups, kH, kW]. */
export function referenceConvTranspose(
  p: TransposedConv,
  operands: ReferenceConvOperands,
  out: Float32Array | Float64Array,
): void {
  const { x, w, bias, residual, slope, p0, p1 } = operands;
  const input: Images = { channels: p.inC, height: p.inH, width: p.inW };
  const pixels = p.outH * p.outW;
  const sums = new Float64Array(p.batch * p.outC * pixels);
  for (let n = 0; n < p.batch; n++)
    for (let ic = 0; ic < p.inC; ic++)
      for (let y = 0; y < p.inH; y++)
        for (let column = 0; column < p.inW; column++) {
          const value = x[imageIndex(p.layout, input, n, ic, y, column)]!;
          scatter(p, sums, value, w, { n, ic, y, x: column });
        }
  sums.forEach((sum, index) => {
    const oc = p.layout === 'nchw' ? Math.floor(index / pixels) % p.outC : index % p.outC;
    const value = sum + (bias ? bias[oc]! : 0) + (residual ? residual[index]! : 0);
    out[index] = referenceActivation(p.activation, value, p0, p1, slope?.[oc]);
  });
}

/** Fills `out` (NCHW) with the columns' values, each added where its tap lands; nothing follows the sums. */
export function referenceFold(p: FoldProblem, columns: ArrayLike<number>, out: Float64Array): void {
  const pixels = p.inH * p.inW;
  out.fill(0);
  for (let plane = 0; plane < p.batch * p.outC; plane++)
    for (let tap = 0; tap < p.kH * p.kW; tap++)
      for (let pixel = 0; pixel < pixels; pixel++) {
        const [kh, kw] = [Math.floor(tap / p.kW), tap % p.kW];
        const y = Math.floor(pixel / p.inW) * p.strideH + kh * p.dilationH - p.padTop;
        const x = (pixel % p.inW) * p.strideW + kw * p.dilationW - p.padLeft;
        if (y < 0 || y >= p.outH || x < 0 || x >= p.outW) continue;
        out[(plane * p.outH + y) * p.outW + x]! += columns[(plane * p.kH * p.kW + tap) * pixels + pixel]!;
      }
}
