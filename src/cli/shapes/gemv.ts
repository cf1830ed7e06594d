/**
 * One row or one column: the matrix is read once, so memory sets the speed. "In cache" means that the matrix
 * fits an L2 of 1 MB; "beyond cache" starts at 64 MB, more than the L3 share of most cores.
 */
import type { ShapeList } from './types.ts';

export const GEMV: ShapeList = {
  name: 'gemv',
  about: 'one row times a matrix and a matrix times one column, in and beyond the caches',
  shapes: [
    { name: 'row 256', m: 1, k: 256, n: 256, source: 'in cache, 256 KB' },
    { name: 'row 512', m: 1, k: 512, n: 512, source: 'in cache, 1 MB' },
    { name: 'row 1024', m: 1, k: 1024, n: 1024, source: 'outer cache, 4 MB' },
    { name: 'row 4096', m: 1, k: 4096, n: 4096, source: 'beyond cache, 64 MB' },
    {
      name: 'row 4096 stored transposed',
      m: 1,
      k: 4096,
      n: 4096,
      transposeB: true,
      source: 'beyond cache, 64 MB',
    },
    { name: 'row 4096x11008', m: 1, k: 4096, n: 11008, source: 'beyond cache, 172 MB' },
    { name: 'column 256', m: 256, k: 256, n: 1, source: 'in cache, 256 KB' },
    { name: 'column 512', m: 512, k: 512, n: 1, source: 'in cache, 1 MB' },
    { name: 'column 1024', m: 1024, k: 1024, n: 1, source: 'outer cache, 4 MB' },
    { name: 'column 4096', m: 4096, k: 4096, n: 1, source: 'beyond cache, 64 MB' },
    { name: 'odd row', m: 1, k: 1021, n: 4093, source: 'prime extents, 16 MB' },
  ],
};
