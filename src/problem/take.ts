/** Parts of an array by a list of places: of [outer, size, inner], the middle index i of the result is place `list[i]` of what is read. */

export interface TakeProblem {
  readonly op: 'take';
  readonly dtype: 'f32';
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  /** Length of the list. */
  readonly count: number;
}

/** Canonical key: `take f32 8x40x64 of 20`. */
export function takeKey({ dtype, outer, size, inner, count }: TakeProblem): string {
  return `take ${dtype} ${outer}x${count}x${inner} of ${size}`;
}

export function takenElements({ outer, inner, count }: TakeProblem): number {
  return outer * inner * count;
}
