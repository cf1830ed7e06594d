/** Parts of an array by a list of places as WGSL. */
import { PARAMS } from './params.ts';
import { BINDINGS, type Binding } from './product.ts';
import { ELEMENTS, LANES, MAIN } from './walk.ts';

export const TAKE_BINDINGS: readonly Binding[] = ['params', 'a', 'b', 'c'];

/** The list has words: as floats, small integers would be flushed to 0. params.k is the extent that is taken from, lda what lies within
 *  one of its places, ldb the length of the list. */
export function takeSource(): string {
  const at = (name: Binding) => `@group(0) @binding(${BINDINGS.indexOf(name)})`;
  return `${PARAMS}
${at('params')} var<uniform> params: Params;
${at('a')} var<storage, read> a: array<f32>;
${at('b')} var<storage, read> b: array<u32>;
${at('c')} var<storage, read_write> c: array<f32>;
fn taken(i: u32) -> f32 {
  let line = i / params.lda;
  return a[((line / params.ldb) * params.k + b[line % params.ldb]) * params.lda + i % params.lda];
}
${MAIN} {
  ${ELEMENTS}
  ${LANES.map((i) => `if (i${i} < params.n) { c[i${i}] = taken(i${i}); }`).join('\n  ')}
}
`;
}
