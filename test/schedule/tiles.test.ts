/** Cutting: every element of a result in exactly one tile, in the order that was asked for. */
import fc from 'fast-check';
import test from 'tape';
import { stretchesOf, tilesOf } from '../../src/schedule/tiles.ts';
import { SEED, seeded } from '../support/seed.ts';

const extent = fc.integer({ min: 0, max: 70 });
const block = fc.integer({ min: 1, max: 90 });

test(seeded('tiles: cover every element exactly once, none larger than asked'), (t) => {
  const property = fc.property(
    extent,
    extent,
    block,
    block,
    fc.constantFrom('mn' as const, 'nm' as const),
    (m, n, mc, nc, order) => {
      const hits = new Uint8Array(m * n);
      for (const { m0, rows, n0, cols } of tilesOf(m, n, mc, nc, order)) {
        if (
          rows < 1 ||
          cols < 1 ||
          rows > mc ||
          cols > nc ||
          m0 % mc !== 0 ||
          n0 % nc !== 0 ||
          m0 + rows > m ||
          n0 + cols > n
        )
          return false;
        for (let i = m0; i < m0 + rows; i++) for (let j = n0; j < n0 + cols; j++) hits[i * n + j]!++;
      }
      return hits.every((count) => count === 1);
    },
  );
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 300 }));
  t.end();
});

test(seeded('tiles: order says which way they walk'), (t) => {
  const places = (order: 'mn' | 'nm') => tilesOf(5, 7, 4, 3, order).map(({ m0, n0 }) => `${m0},${n0}`);
  t.deepEqual(places('mn'), ['0,0', '4,0', '0,3', '4,3', '0,6', '4,6'], 'mn: down the rows first');
  t.deepEqual(places('nm'), ['0,0', '0,3', '0,6', '4,0', '4,3', '4,6'], 'nm: along the columns first');
  t.end();
});

test(seeded('stretches: cover a count without gaps'), (t) => {
  const property = fc.property(extent, block, (count, chunk) => {
    const list = stretchesOf(count, chunk);
    let at = 0;
    for (const { from, length } of list) {
      if (from !== at || length < 1 || length > chunk) return false;
      at += length;
    }
    return at === count && list.length === Math.ceil(count / chunk);
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 300 }));
  t.end();
});
