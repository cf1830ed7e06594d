/** The oracle: pooling as its definition reads, in float64. Never optimised. */
import type { PoolProblem } from '../../problem/pool.ts';
import { type Images, imageIndex } from './conv.ts';

/** The taps of one window: values of those inside of the image, and how many of the others lie in the padding. Taps that hang
 *  over the padding's end (ceil mode) are neither. */
function tapsOf(
  p: PoolProblem,
  x: ArrayLike<number>,
  at: { readonly n: number; readonly c: number; readonly oy: number; readonly ox: number },
): { readonly values: readonly number[]; readonly padded: number } {
  const input: Images = { channels: p.channels, height: p.inH, width: p.inW };
  const values: number[] = [];
  let padded = 0;
  for (let kh = 0; kh < p.kH; kh++) {
    for (let kw = 0; kw < p.kW; kw++) {
      const y = at.oy * p.strideH - p.padTop + kh * p.dilationH;
      const column = at.ox * p.strideW - p.padLeft + kw * p.dilationW;
      if (y >= p.inH + p.padBottom || column >= p.inW + p.padRight) continue;
      if (y >= 0 && y < p.inH && column >= 0 && column < p.inW)
        values.push(x[imageIndex(p.layout, input, at.n, at.c, y, column)]!);
      else padded++;
    }
  }
  return { values, padded };
}

/** The largest value, NaN if there is one; of none at all minus infinity. */
function largest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
}

/** Fills `out`, stored in the problem's layout. The mean of no values at all is 0 / 0. */
export function referencePool(p: PoolProblem, x: ArrayLike<number>, out: Float32Array | Float64Array): void {
  const result: Images = { channels: p.channels, height: p.outH, width: p.outW };
  for (let n = 0; n < p.batch; n++) {
    for (let c = 0; c < p.channels; c++) {
      for (let oy = 0; oy < p.outH; oy++) {
        for (let ox = 0; ox < p.outW; ox++) {
          const { values, padded } = tapsOf(p, x, { n, c, oy, ox });
          const index = imageIndex(p.layout, result, n, c, oy, ox);
          if (p.kind === 'max') out[index] = largest(values);
          else {
            const sum = values.reduce((total, value) => total + value, 0);
            out[index] = sum / (values.length + (p.countPadding ? padded : 0));
          }
        }
      }
    }
  }
}
