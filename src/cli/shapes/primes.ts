/** Extents that no block divides: every edge path of every kernel is on the way. */
import type { MatmulShape, ShapeList } from './types.ts';

const EXTENTS: readonly (readonly [m: number, k: number, n: number])[] = [
  [13, 17, 19],
  [31, 37, 29],
  [61, 67, 59],
  [97, 101, 103],
  [127, 131, 137],
  [251, 257, 263],
  [509, 521, 503],
  [1009, 1013, 1019],
];

function primes([m, k, n]: readonly [number, number, number]): MatmulShape {
  return { name: `primes ${m}`, m, k, n, source: 'prime extents' };
}

export const PRIMES: ShapeList = {
  name: 'primes',
  about: 'prime extents from 13 to 1019',
  shapes: EXTENTS.map(primes),
};
