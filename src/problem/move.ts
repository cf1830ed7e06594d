/** Elements from one array into another in a different order: transposition, a part, a repetition. */

import { sizeOf } from '../core/shape.ts';
import { mergeWalk, type Walk } from '../core/strided.ts';

/** Of the two lists of strides the first is that of the array that is read, the second that of the one that is written. */
export interface MoveProblem extends Walk {
  readonly op: 'move';
  readonly dtype: 'f32';
}

export function moveProblem(
  extents: readonly number[],
  from: readonly number[],
  to: readonly number[],
): MoveProblem {
  return { op: 'move', dtype: 'f32', ...mergeWalk({ extents, strides: [from, to] }) };
}

/** Canonical key: `move f32 64x128 1:64 128:1`. */
export function moveKey({ dtype, extents, strides }: MoveProblem): string {
  return `move ${dtype} ${extents.join('x')} ${strides.map((list) => list.join(':')).join(' ')}`;
}

export function movedElements({ extents }: MoveProblem): number {
  return sizeOf(extents);
}
