/** The square ladder, with a neighbour on both sides where a register or cache block ends. */
import type { MatmulShape, ShapeList } from './types.ts';

function square(n: number, source: string): MatmulShape {
  return { name: `square ${n}`, m: n, k: n, n, source };
}

/** From 32 up the neighbours cost little beside the rung itself, and show what an edge costs. */
const WITH_NEIGHBOURS = [32, 64, 128, 256, 512, 1024] as const;
const ALONE = [8, 16, 2048] as const;

const rungs = [
  ...ALONE.map((n) => square(n, 'power of two')),
  ...WITH_NEIGHBOURS.flatMap((n) => [
    square(n - 1, 'power of two minus one'),
    square(n, 'power of two'),
    square(n + 1, 'power of two plus one'),
  ]),
];

export const SQUARES: ShapeList = {
  name: 'squares',
  about: 'square matrices from 8 to 2048, plus and minus one',
  shapes: rungs.toSorted((a, b) => a.n - b.n),
};
