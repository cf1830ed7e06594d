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

/**
 * Four neighbours of the operand, zero outside: of A, which has lines along k, four steps of one line; of B four lines at one step. k runs
 * over (channel, kh, kw), lines are pixels of the result. What four have in common is divided out once. There are no branches, so that
 * neighbours are loaded together and ahead of their use: what lies outside is loaded from anywhere (devices see to it that there is
 * something), and not taken.
 */
export function patchesSource(
  name: 'a' | 'b',
  { layout, window, channels }: Patches,
  end: string,
  element: (index: string) => string,
): string {
  const { inH, inW, kH, kW, outW, strideH, strideW, dilationH, dilationW, padTop, padLeft } = window;
  const index =
    layout === 'nchw'
      ? `(channel * ${inH}u + u32(row)) * ${inW}u + u32(column)`
      : `(u32(row) * ${inW}u + u32(column)) * ${channels}u + channel`;
  const extent = name === 'a' ? 'm' : 'n';
  const pixel = (line: string) =>
    `vec2<i32>(i32(${line} / ${outW}u) * ${strideH} - ${padTop}, i32(${line} % ${outW}u) * ${strideW} - ${padLeft})`;
  // four pixels of one row are a stride apart
  const isOneRow = name === 'b' && outW % 4 === 0;
  const one = (j: number) => {
    if (name === 'a') return `${name}Pixel(origin, d + ${j}u, line < params.${extent})`;
    const origin = isOneRow ? `origin + vec2<i32>(0, ${j * strideW})` : pixel(`(line + ${j}u)`);
    return `${name}Pixel(${origin}, d, line + ${j}u < params.${extent})`;
  };
  return `fn ${name}Pixel(origin: vec2<i32>, d: u32, isLine: bool) -> f32 {
  let channel = d / ${kH * kW}u; let tap = d % ${kH * kW}u;
  let row = origin.x + i32(tap / ${kW}u) * ${dilationH};
  let column = origin.y + i32(tap % ${kW}u) * ${dilationW};
  let at = ${name}Base + ${index};
  // below zero is far beyond the extents
  let isInside = isLine && d < ${end} && u32(row) < ${inH}u && u32(column) < ${inW}u;
  return select(0.0, ${element('at')}, isInside);
}
fn ${name}Patch(line: u32, d: u32) -> vec4<f32> {
  ${name === 'a' || isOneRow ? `let origin = ${pixel('line')};` : ''}
  return vec4<f32>(${[0, 1, 2, 3].map(one).join(', ')});
}
`;
}
