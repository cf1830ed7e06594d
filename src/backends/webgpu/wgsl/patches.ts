/**
 * Patches of an image as an operand of a product, gathered while they are loaded: implicit GEMM (Chetlur et al., "cuDNN:
 * efficient primitives for deep learning", 2014). The window is in the text, so that divisions become multiplications; the
 * batch, the group and the extents of the result are uniforms.
 */
import type { Layout } from '../../../problem/conv.ts';
import type { Window } from '../../../problem/window.ts';

export interface Patches {
  readonly key: string;
  readonly layout: Layout;
  readonly window: Window;
  /** Distance between neighbouring pixels and, in NCHW, between channels are those of the whole image. */
  readonly channels: number;
}

export function patchesOf(layout: Layout, channels: number, window: Window, windowKey: string): Patches {
  const { inH, inW } = window;
  return { key: `patches ${layout} ${channels}x${inH}x${inW} ${windowKey}`, layout, window, channels };
}

/** `head` opens the function and returns zero outside the extents; k runs over (channel, kh, kw), lines are pixels of the result. */
export function patchesSource(name: 'a' | 'b', { layout, window, channels }: Patches, head: string): string {
  const { inH, inW, kH, kW, outW, strideH, strideW, dilationH, dilationW, padTop, padLeft } = window;
  const index =
    layout === 'nchw'
      ? `(channel * ${inH}u + u32(row)) * ${inW}u + u32(column)`
      : `(u32(row) * ${inW}u + u32(column)) * ${channels}u + channel`;
  return `${head}
  let channel = d / ${kH * kW}u; let tap = d % ${kH * kW}u;
  let row = i32((line / ${outW}u) * ${strideH}u + (tap / ${kW}u) * ${dilationH}u) - ${padTop};
  let column = i32((line % ${outW}u) * ${strideW}u + (tap % ${kW}u) * ${dilationW}u) - ${padLeft};
  if (row < 0 || row >= ${inH} || column < 0 || column >= ${inW}) { return 0.0; }
  return ${name}[${name}Base + ${index}];
}
`;
}
