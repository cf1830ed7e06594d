/** Pooling as WGSL: a thread computes four elements of the result, each from the taps of its own window. */
import type { PoolProblem } from '../../../problem/pool.ts';
import { windowKey } from '../../../problem/window.ts';
import type { Binding } from './product.ts';
import { declared, ELEMENTS, LANES, MAIN } from './walk.ts';

export const POOL_BINDINGS: readonly Binding[] = ['params', 'a', 'c'];

/** Nothing is less: WGSL knows no infinity. */
const LOWEST = '-3.4028234663852886e38';

export function poolShaderKey(name: string, p: PoolProblem): string {
  const { kind, layout, channels, inH, inW, countPadding } = p;
  const counted = kind === 'average' && countPadding ? ' counted' : '';
  return `${name} ${kind} ${layout} ${layout === 'nhwc' ? `${channels}x` : ''}${inH}x${inW} ${windowKey(p)}${counted}`;
}

/** Where element i of the result is: its plane or image, row, column and channel. */
function placeSource({ layout, outH, outW, inH, inW, channels }: PoolProblem): string {
  if (layout === 'nchw') {
    return `let plane = i / ${outH * outW}u; let pixel = i % ${outH * outW}u;
  let oy = pixel / ${outW}u; let ox = pixel % ${outW}u; let first = plane * ${inH * inW}u; let channel = 0u;`;
  }
  return `let pixel = (i / ${channels}u) % ${outH * outW}u; let channel = i % ${channels}u;
  let oy = pixel / ${outW}u; let ox = pixel % ${outW}u; let first = i / ${outH * outW * channels}u * ${inH * inW * channels}u;`;
}

export function poolSource(p: PoolProblem): string {
  const { kind, layout, channels, inH, inW, kH, kW, strideH, strideW, dilationH, dilationW } = p;
  const { padTop, padLeft, padBottom, padRight, countPadding } = p;
  const step = layout === 'nchw' ? '' : ` * ${channels}u + channel`;
  const isMax = kind === 'max';
  const outside = isMax || !countPadding ? '' : 'count += 1.0;';
  return `${declared(POOL_BINDINGS)}
fn pooled(i: u32) -> f32 {
  if (i >= params.n) { return 0.0; }
  ${placeSource(p)}
  var value = ${isMax ? LOWEST : '0.0'}; var count = 0.0;
  for (var kh = 0u; kh < ${kH}u; kh++) {
    let y = i32(oy * ${strideH}u + kh * ${dilationH}u) - ${padTop};
    if (y >= ${inH + padBottom}) { continue; }
    for (var kw = 0u; kw < ${kW}u; kw++) {
      let x = i32(ox * ${strideW}u + kw * ${dilationW}u) - ${padLeft};
      if (x >= ${inW + padRight}) { continue; }
      if (y < 0 || y >= ${inH} || x < 0 || x >= ${inW}) { ${outside} continue; }
      let v = a[first + (u32(y) * ${inW}u + u32(x))${step}];
      ${isMax ? 'value = max(value, v);' : 'value += v; count += 1.0;'}
    }
  }
  return ${isMax ? 'value' : 'value / count'};
}
${MAIN} {
  ${ELEMENTS}
  ${LANES.map((i) => `if (i${i} < params.n) { c[i${i}] = pooled(i${i}); }`).join('\n  ')}
}
`;
}
