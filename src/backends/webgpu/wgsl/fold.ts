/**
 * The second half of a transposed convolution as WGSL (NCHW): a thread gathers, for each of four elements of the result, the columns'
 * values of the taps that reach it, in the order (kh, kw), as the threads do.
 */
import type { FoldProblem } from '../../../problem/fold.ts';
import { windowKey } from '../../../problem/window.ts';
import { activationSource } from './activations.ts';
import { type Binding, bindingsOf } from './product.ts';
import { declared, ELEMENTS, LANES, MAIN, vector } from './walk.ts';

export function foldBindings({ bias, activation, residual }: FoldProblem): Binding[] {
  const finish = {
    bias: bias ? 'column' : 'none',
    activation,
    adds: residual ? 'tensor' : 'nothing',
  } as const;
  return bindingsOf({ ...finish, table: false }).filter((name) => name !== 'a');
}

export function foldShaderKey(name: string, p: FoldProblem): string {
  const { outC, inH, inW, outH, outW, bias, residual, activation } = p;
  const ends = [bias && 'bias', residual && 'residual', activation !== 'none' && `act=${activation}`];
  return [
    name,
    `${outC}x${inH}x${inW} to ${outH}x${outW}`,
    windowKey(p),
    ...ends.filter((end) => end !== false),
  ].join(' ');
}

export function foldSource(p: FoldProblem): string {
  const { outC, inH, inW, outH, outW, kH, kW, strideH, strideW, dilationH, dilationW, padTop, padLeft } = p;
  const pixels = outH * outW;
  const channel = (i: number) => `min(i${i} / ${pixels}u, last) % ${outC}u`;
  const slope = p.activation === 'prelu' ? vector((i) => `slope[${channel(i)}]`) : 'vec4<f32>(0.0)';
  return `${declared(foldBindings(p))}${activationSource(p.activation)}
fn sumAt(i: u32) -> f32 {
  if (i >= params.n) { return 0.0; }
  let plane = i / ${pixels}u; let pixel = i % ${pixels}u;
  let oy = i32(pixel / ${outW}u) + ${padTop}; let ox = i32(pixel % ${outW}u) + ${padLeft};
  var sum = 0.0;
  for (var kh = 0; kh < ${kH}; kh++) {
    let y = oy - kh * ${dilationH};
    if (y < 0 || y % ${strideH} != 0 || y / ${strideH} >= ${inH}) { continue; }
    for (var kw = 0; kw < ${kW}; kw++) {
      let x = ox - kw * ${dilationW};
      if (x < 0 || x % ${strideW} != 0 || x / ${strideW} >= ${inW}) { continue; }
      let tap = plane * ${kH * kW}u + u32(kh * ${kW} + kw);
      sum += b[(tap * ${inH}u + u32(y / ${strideH})) * ${inW}u + u32(x / ${strideW})];
    }
  }
  return sum;
}
${MAIN} {
  ${ELEMENTS}
  let last = params.n / ${pixels}u - 1u;
  var v = ${vector((i) => `sumAt(i${i})`)};
  ${p.residual ? `v += params.beta * ${vector((i) => `c0[min(i${i}, params.n - 1u)]`)};` : ''}
  ${p.bias ? `v += ${vector((i) => `bias[${channel(i)}]`)};` : ''}
  v = activate(v, ${slope});
  ${LANES.map((i) => `if (i${i} < params.n) { c[i${i}] = v[${i}]; }`).join('\n  ')}
}
`;
}
