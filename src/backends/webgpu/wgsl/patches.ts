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
 * over (channel, kh, kw), lines are pixels of the result. What four have in common is divided out once.
 */
export function patchesSource(
  name: 'a' | 'b',
  { layout, window, channels }: Patches,
  element: (index: string) => string,
): string {
  const { inH, inW, kH, kW, outW, strideH, strideW, dilationH, dilationW, padTop, padLeft } = window;
  const index =
    layout === 'nchw'
      ? `(channel * ${inH}u + u32(row)) * ${inW}u + u32(column)`
      : `(u32(row) * ${inW}u + u32(column)) * ${channels}u + channel`;
  const extent = name === 'a' ? 'm' : 'n';
  const pixel = (line: string) =>
    `i32(${line} / ${outW}u) * ${strideH} - ${padTop}, i32(${line} % ${outW}u) * ${strideW} - ${padLeft}`;
  // four pixels of one row are a stride apart
  const isOneRow = name === 'b' && outW % 4 === 0;
  const origin = (j: number) => {
    if (name === 'a' || j === 0) return '';
    return isOneRow ? ` column0 += ${strideW};` : ` origin = vec2<i32>(${pixel(`(line + ${j}u)`)});`;
  };
  const one = (j: number) => {
    const [l, step] = name === 'a' ? ['line', `d + ${j}u`] : [`line + ${j}u`, 'd'];
    const at = isOneRow ? 'vec2<i32>(origin.x, column0)' : 'origin';
    return `${origin(j)} if (${l} < params.${extent} && ${step} < params.k) { v[${j}] = ${name}Pixel(${at}, ${step}); }`;
  };
  return `fn ${name}Pixel(origin: vec2<i32>, d: u32) -> f32 {
  let channel = d / ${kH * kW}u; let tap = d % ${kH * kW}u;
  let row = origin.x + i32(tap / ${kW}u) * ${dilationH};
  let column = origin.y + i32(tap % ${kW}u) * ${dilationW};
  if (row < 0 || row >= ${inH} || column < 0 || column >= ${inW}) { return 0.0; }
  let at = ${name}Base + ${index};
  return ${element('at')};
}
fn ${name}Patch(line: u32, d: u32) -> vec4<f32> {
  var origin = vec2<i32>(${pixel('line')});
  ${isOneRow ? 'var column0 = origin.y;' : ''}
  var v = vec4<f32>();
  ${[0, 1, 2, 3].map(one).join('\n  ')}
  return v;
}
`;
}
