/** Walking several arrays by one list of extents: how far each goes in a step along every extent, 0 where it stays. */
import type { Shape } from './shape.ts';

export interface Walk {
  /** At least one extent. */
  readonly extents: readonly number[];
  /** Elements from step to step, for each array a list as long as the extents. */
  readonly strides: readonly (readonly number[])[];
}

/** Distances between neighbours along each extent of a dense row-major array. */
export function denseStrides(shape: Shape): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides.unshift(stride);
    stride *= shape[axis]!;
  }
  return strides;
}

/** The same for an array that is read as if it had the shape `out`, by NumPy's rule of broadcasting. */
export function broadcastStrides(shape: Shape, out: Shape): number[] {
  const strides = denseStrides(shape).map((stride, axis) => (shape[axis] === 1 ? 0 : stride));
  return [...Array.from({ length: out.length - shape.length }, () => 0), ...strides];
}

/** The same walk with as few extents as possible: neighbours that every array goes through in one run become one. */
export function mergeWalk({ extents, strides }: Walk): Walk {
  const merged: number[] = [];
  const steps: number[][] = strides.map(() => []);
  for (const [axis, extent] of extents.entries()) {
    if (extent === 1) continue;
    const last = merged.length - 1;
    const joins = last >= 0 && strides.every((list, i) => steps[i]![last] === extent * list[axis]!);
    if (joins) merged[last]! *= extent;
    else merged.push(extent);
    for (const [i, list] of strides.entries()) steps[i]![merged.length - 1] = list[axis]!;
  }
  if (merged.length > 0) return { extents: merged, strides: steps };
  return { extents: [1], strides: steps.map(() => [0]) };
}
