/** Elements in another order as WGSL: four a thread, in the order in which they are written. */
import type { MoveProblem } from '../../../problem/move.ts';
import type { Binding } from './product.ts';
import { declared, ELEMENTS, LANES, MAIN, walkSource } from './walk.ts';

export const MOVE_BINDINGS: readonly Binding[] = ['params', 'a', 'c', 'table'];

export function moveShaderKey(name: string, { extents }: MoveProblem): string {
  return `${name} rank ${extents.length}`;
}

export function moveSource({ extents }: MoveProblem): string {
  const rank = extents.length;
  return `${declared(MOVE_BINDINGS)}${walkSource('fromAt', rank, 0)}${walkSource('toAt', rank, 1)}
${MAIN} {
  ${ELEMENTS}
  ${LANES.map((i) => `if (i${i} < params.n) { c[params.offsetC + toAt(i${i})] = a[params.offsetA + fromAt(i${i})]; }`).join('\n  ')}
}
`;
}
