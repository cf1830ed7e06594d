/**
 * Floats to halves and back, four at a time. Halves lie two in a word, so that every device takes them, with and without `shader-f16`.
 * WGSL leaves open what becomes of floats beyond the halves' range and of NaN: they are written by their bits.
 */

import { PARAMS } from './params.ts';
import { BINDINGS } from './product.ts';

export const HALVES_THREADS = 256;

/** Words apart, four elements each, in both directions; params.n is their number. */
function convertSource(from: string, to: string, functions: string, call: string): string {
  const at = (name: 'params' | 'a' | 'c') => `@group(0) @binding(${BINDINGS.indexOf(name)})`;
  return `${PARAMS}
${at('params')} var<uniform> params: Params;
${at('a')} var<storage, read> a: array<${from}>;
${at('c')} var<storage, read_write> c: array<${to}>;
${functions}
@compute @workgroup_size(${HALVES_THREADS}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < params.n; i += groups.x * ${HALVES_THREADS}u) { c[i] = ${call}; }
}
`;
}

/** 65520 is the first float that rounds to infinity. */
export const NARROW_SOURCE = convertSource(
  'vec4<f32>',
  'vec2<u32>',
  `fn half(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  if (size < 0x477ff000u) { return pack2x16float(vec2<f32>(x, 0.0)); }
  return ((bits >> 16u) & 0x8000u) | select(0x7c00u, 0x7e00u, size > 0x7f800000u);
}`,
  'vec2<u32>(half(a[i].x) | (half(a[i].y) << 16u), half(a[i].z) | (half(a[i].w) << 16u))',
);

export const WIDEN_SOURCE = convertSource(
  'vec2<u32>',
  'vec4<f32>',
  '',
  'vec4<f32>(unpack2x16float(a[i].x), unpack2x16float(a[i].y))',
);
