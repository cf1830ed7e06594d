/** What shaders over elements share: which elements a thread has, and where a walk stands at one of them. */

import { PARAMS } from './params.ts';
import { BINDINGS, type Binding } from './product.ts';

export const THREADS = 256;
/** Elements of a thread, a workgroup's width apart, so that neighbours read neighbours. */
export const PER_THREAD = 4;

export const LANES = [0, 1, 2, 3] as const;

/** `vec4<f32>(...)` of what is said of each lane. */
export function vector(text: (lane: number) => string, type = 'f32'): string {
  return `vec4<${type}>(${LANES.map(text).join(', ')})`;
}

export function declared(names: readonly Binding[]): string {
  const arrays = names.filter((name) => name !== 'params');
  return `${PARAMS}
@group(0) @binding(0) var<uniform> params: Params;
${arrays
  .map((name) => {
    const access = name === 'c' ? 'read_write' : 'read';
    const type = name === 'table' ? 'u32' : 'f32';
    return `@group(0) @binding(${BINDINGS.indexOf(name)}) var<storage, ${access}> ${name}: array<${type}>;`;
  })
  .join('\n')}
`;
}

/**
 * A function from an element's number to its index in an array: the table has the extents first, then lists of strides; this array's is list
 * `list`. Distances may be negative: they are added modulo 2^32.
 */
export function walkSource(name: string, rank: number, list: number): string {
  const axes = Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const steps = axes.map((axis) => {
    const extent = `table[${axis}u]`;
    return `at += (rest % ${extent}) * table[${rank * (1 + list) + axis}u]; rest /= ${extent};`;
  });
  return `fn ${name}(i: u32) -> u32 {
  var rest = i; var at = 0u;
  ${steps.join('\n  ')}
  return at;
}
`;
}

/** Elements of a workgroup; params.m is the workgroups in a row of the grid, params.n the number of elements. */
export const ELEMENTS = `let first = (group.y * params.m + group.x) * ${THREADS * PER_THREAD}u + thread;
  ${LANES.map((i) => `let i${i} = first + ${i * THREADS}u;`).join(' ')}`;

export const MAIN = `@compute @workgroup_size(${THREADS}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32)`;
