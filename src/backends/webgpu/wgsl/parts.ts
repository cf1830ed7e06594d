/**
 * The second half of a product whose k is cut into parts (split-K, as in Osama et al., "Stream-K", 2023, section 2): adds the sums that
 * workgroups made of their parts, and does what follows the sum.
 */
import { activationSource } from './activations.ts';
import {
  bindingsOf,
  type Finish,
  finishKey,
  finishSource,
  productHead,
  productStart,
  range,
} from './product.ts';

export const PARTS_THREADS = 64;
/** Parts that are loaded at once: alone, each would wait for the one before. */
const TOGETHER = 4;

/** Equal texts have equal keys. */
export function partsKey(finish: Finish): string {
  return `f32_parts__wgsl ${finishKey(finish)}`;
}

export function partsBindings(finish: Finish) {
  return bindingsOf({ ...finish, table: false }).filter((name) => name !== 'b');
}

/** Bound to `a` are the sums, of all parts of a product behind one another. A thread makes four neighbours of a row of the result. */
export function partsSource(finish: Finish): string {
  const { vectorC } = finish;
  const type = vectorC ? 'vec4<f32>' : 'f32';
  const load = vectorC
    ? 'return a[at / 4u];'
    : `return vec4<f32>(${range(4)
        .map((i) => `a[min(at + ${i}u, arrayLength(&a) - 1u)]`)
        .join(', ')});`;
  return `${productHead({ ...finish, table: false }, { a: type, b: type })}${activationSource(finish.activation)}${finishSource(finish)}
fn load(at: u32) -> vec4<f32> { ${load} }
@compute @workgroup_size(${PARTS_THREADS}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  ${productStart(false, 1, 1)}
  let wide = (params.n + 3u) / 4u; let item = group.x * ${PARTS_THREADS}u + thread;
  let row = item / wide; let column = 4u * (item % wide);
  if (row >= params.m) { return; }
  let apart = params.m * params.n; let first = product * params.parts * apart + row * params.n + column;
  var sum = vec4<f32>(0.0);
  for (var part = 0u; part < params.parts; part += ${TOGETHER}u) {
    ${range(TOGETHER)
      .map((i) => `let v${i} = load(first + min(part + ${i}u, params.parts - 1u) * apart);`)
      .join(' ')}
    ${range(TOGETHER)
      .map((i) => `sum += select(vec4<f32>(0.0), v${i}, part + ${i}u < params.parts);`)
      .join(' ')}
  }
  finish(sum, row, column);
}
`;
}
