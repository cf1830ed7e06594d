/** The multiply-add ceiling: eight independent vectors of sums a thread, in registers. */

export const PEAK = { threads: 256, turns: 256, flopsPerTurn: 8 * 4 * 2 } as const;

export const PEAK_SOURCE = `@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;
@compute @workgroup_size(${PEAK.threads}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(0.999 + f32(id.x & 3u) * 1e-4);
  let y = vec4<f32>(1e-3);
  ${Array.from({ length: 8 }, (_, i) => `var s${i} = vec4<f32>(${i}.0);`).join(' ')}
  for (var turn = 0u; turn < ${PEAK.turns}u; turn++) {
    ${Array.from({ length: 8 }, (_, i) => `s${i} = fma(s${i}, x, y);`).join(' ')}
  }
  // a sum that nobody can foresee, so that nothing is left out
  let sum = ${Array.from({ length: 8 }, (_, i) => `s${i}`).join(' + ')};
  if (sum.x < -1e30) { c[0] = sum; }
}
`;
