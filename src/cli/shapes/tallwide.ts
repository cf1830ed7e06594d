/** Matrices far from square: each kind starves another of the five loops. */
import type { ShapeList } from './types.ts';

export const TALLWIDE: ShapeList = {
  name: 'tallwide',
  about: 'tall, wide, inner-product-like (long k) and outer-product-like (short k)',
  shapes: [
    { name: 'tall narrow', m: 8192, k: 64, n: 16, source: 'tall: few columns' },
    { name: 'tall', m: 4096, k: 128, n: 64, source: 'tall: many rows' },
    { name: 'tall square k', m: 4096, k: 256, n: 256, source: 'tall: many rows' },
    { name: 'wide narrow', m: 16, k: 64, n: 8192, source: 'wide: few rows' },
    { name: 'wide', m: 64, k: 128, n: 4096, source: 'wide: many columns' },
    { name: 'wide square k', m: 256, k: 256, n: 4096, source: 'wide: many columns' },
    { name: 'inner small', m: 8, k: 16384, n: 8, source: 'inner product: long k, tiny result' },
    { name: 'inner', m: 64, k: 8192, n: 64, source: 'inner product: long k, small result' },
    { name: 'outer thin', m: 1024, k: 1, n: 1024, source: 'outer product: k = 1, bound by writing' },
    { name: 'outer', m: 1024, k: 8, n: 1024, source: 'outer product: short k' },
    { name: 'outer 32', m: 1024, k: 32, n: 1024, source: 'outer product: short k' },
  ],
};
