/**
 * Depthwise convolution as WGSL: a thread computes four neighbours of the result, pixels of one channel in NCHW, channels of one pixel in
 * NHWC. Nothing is shared through workgroup memory: a filter of a few taps finds its image in the caches.
 */
import type { ConvProblem } from '../../../problem/conv.ts';
import { windowKey } from '../../../problem/window.ts';
import { activationSource } from './activations.ts';
import { PARAMS } from './params.ts';
import { BINDINGS, type Binding, bindingsOf } from './product.ts';

/** Threads of a workgroup. */
export const DEPTHWISE_THREADS = 64;

export function depthwiseBindings(p: ConvProblem): Binding[] {
  return bindingsOf({
    bias: p.bias ? 'row' : 'none',
    activation: p.activation,
    adds: p.residual ? 'tensor' : 'nothing',
    table: false,
  });
}

export function depthwiseKey(name: string, p: ConvProblem): string {
  const { layout, inC, outC, inH, inW, bias, residual, activation } = p;
  return [
    name,
    layout,
    `${inC}x${inH}x${inW} ${outC} ${windowKey(p)}`,
    ...(bias ? ['bias'] : []),
    ...(residual ? ['residual'] : []),
    ...(activation === 'none' ? [] : [`act=${activation}`]),
  ].join(' ');
}

/** What one lane is: its channel, its row and its column of the result, and whether it is there at all. */
function laneSource({ layout, outC, outH, outW }: ConvProblem): string {
  const pixels = outH * outW;
  if (layout === 'nchw') {
    return `fn laneAt(item: u32, plane: u32, lane: u32) -> Lane {
  let pixel = 4u * item + lane;
  return Lane(pixel < ${pixels}u, plane % ${outC}u, plane / ${outC}u, pixel / ${outW}u, pixel % ${outW}u, plane * ${pixels}u + pixel);
}
`;
  }
  const wide = Math.ceil(outC / 4);
  return `fn laneAt(item: u32, image: u32, lane: u32) -> Lane {
  let pixel = item / ${wide}u; let channel = 4u * (item % ${wide}u) + lane;
  let isThere = pixel < ${pixels}u && channel < ${outC}u;
  return Lane(isThere, channel, image, pixel / ${outW}u, pixel % ${outW}u, (image * ${pixels}u + pixel) * ${outC}u + channel);
}
`;
}

function sumSource(p: ConvProblem): string {
  const { layout, inC, outC, inH, inW, kH, kW, strideH, strideW, dilationH, dilationW, padTop, padLeft } = p;
  const [w, x] = layout === 'nchw' ? ['a', 'b'] : ['b', 'a'];
  const channel = outC === inC ? 'at.channel' : `at.channel / ${outC / inC}u`;
  const index =
    layout === 'nchw'
      ? `((at.image * ${inC}u + channel) * ${inH}u + u32(row)) * ${inW}u + u32(column)`
      : `((at.image * ${inH}u + u32(row)) * ${inW}u + u32(column)) * ${inC}u + channel`;
  return `fn sumAt(at: Lane) -> f32 {
  if (!at.isThere) { return 0.0; }
  let channel = ${channel};
  var sum = 0.0;
  for (var kh = 0u; kh < ${kH}u; kh++) {
    let row = i32(at.row * ${strideH}u + kh * ${dilationH}u) - ${padTop};
    if (row < 0 || row >= ${inH}) { continue; }
    for (var kw = 0u; kw < ${kW}u; kw++) {
      let column = i32(at.column * ${strideW}u + kw * ${dilationW}u) - ${padLeft};
      if (column < 0 || column >= ${inW}) { continue; }
      sum = fma(${w}[(at.channel * ${kH}u + kh) * ${kW}u + kw], ${x}[${index}], sum);
    }
  }
  return sum;
}
`;
}

/** The whole shader: x are workgroups of items, z planes (NCHW: channels of all images; NHWC: images). */
export function depthwiseSource(p: ConvProblem): string {
  const lanes = [0, 1, 2, 3];
  const vector = (text: (lane: number) => string) => `vec4<f32>(${lanes.map(text).join(', ')})`;
  const names = depthwiseBindings(p).filter((name) => name !== 'params');
  const declared = names.map((name) => {
    const access = name === 'c' ? 'read_write' : 'read';
    const variable = name === 'slope' ? 'slopes' : name;
    return `@group(0) @binding(${BINDINGS.indexOf(name)}) var<storage, ${access}> ${variable}: array<f32>;`;
  });
  const slope =
    p.activation === 'prelu'
      ? vector((i) => `slopes[min(at${i}.channel, ${p.outC - 1}u)]`)
      : 'vec4<f32>(0.0)';
  const last = `arrayLength(&c0) - 1u`;
  return `${PARAMS}
@group(0) @binding(0) var<uniform> params: Params;
${declared.join('\n')}
struct Lane { isThere: bool, channel: u32, image: u32, row: u32, column: u32, index: u32 }
${laneSource(p)}${sumSource(p)}${activationSource(p.activation)}
@compute @workgroup_size(${DEPTHWISE_THREADS}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let item = group.x * ${DEPTHWISE_THREADS}u + thread; let plane = group.z + params.firstProduct;
  ${lanes.map((i) => `let at${i} = laneAt(item, plane, ${i}u);`).join('\n  ')}
  var v = params.alpha * ${vector((i) => `sumAt(at${i})`)};
  ${p.residual ? `v += params.beta * ${vector((i) => `c0[min(at${i}.index, ${last})]`)};` : ''}
  ${p.bias ? `v += ${vector((i) => `bias[min(at${i}.channel, ${p.outC - 1}u)]`)};` : ''}
  v = activate(v, ${slope});
  ${lanes.map((i) => `if (at${i}.isThere) { c[at${i}.index] = v[${i}]; }`).join('\n  ')}
}
`;
}
