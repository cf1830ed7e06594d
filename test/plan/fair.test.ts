/** How finely work is cut that threads share. */
import fc from 'fast-check';
import test from 'tape';
import { ceilDiv } from '../../src/core/math.ts';
import { fairBlock, fairTile } from '../../src/plan/fair.ts';
import { SEED, seeded } from '../support/seed.ts';

const LARGE = 1e9;

/** What the thread with the most to do has to do where whoever is free takes the next block. */
function longest(extent: number, block: number, parts: number, threads: number): number {
  const busy = new Array<number>(threads).fill(0);
  for (let part = 0; part < parts; part++)
    for (let from = 0; from < extent; from += block) {
      const first = busy.indexOf(Math.min(...busy));
      busy[first]! += Math.min(block, extent - from);
    }
  return Math.max(...busy);
}

test(
  seeded('fair blocks: whole units, none larger than planned, and no thread has much more to do than it had'),
  (t) => {
    const some = fc.record({
      extent: fc.integer({ min: 1, max: 3000 }),
      unit: fc.constantFrom(1, 4, 6, 8, 16),
      units: fc.integer({ min: 1, max: 400 }),
      parts: fc.integer({ min: 1, max: 9 }),
      threads: fc.integer({ min: 1, max: 16 }),
      flops: fc.constantFrom(0, 1e5, 1e6, 1e7, LARGE),
    });
    let finer = 0;
    const property = fc.property(some, ({ extent, unit, units, parts, threads, flops }) => {
      const planned = units * unit;
      const block = fairBlock(extent, planned, unit, { threads, flops, parts });
      if (block % unit !== 0 || block > planned || block < 1) return false;
      if (block < planned && block < extent) finer++;
      // a whole unit for each round in which blocks are handed out may be lost to rounding
      const [before, now] = [planned, block].map((size) => longest(extent, size, parts, threads)) as [
        number,
        number,
      ];
      return now <= before + block;
    });
    t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 2000 }));
    t.ok(finer > 100, `${finer} are cut finer`);
    t.end();
  },
);

test('fair blocks: a few short ones for each thread, many where they are long, none that are too short', (t) => {
  const count = (flops: number, threads: number, parts = 1) =>
    ceilDiv(960, fairBlock(960, 960, 1, { threads, flops, parts }));
  t.equal(count(LARGE, 1), 1, 'one thread shares with nobody');
  t.equal(count(1e5, 2), 1, 'a microsecond or two is not shared');
  t.equal(count(3e5, 2), 2);
  t.equal(count(2e6, 2), 8, 'four each');
  t.equal(count(LARGE, 2), 32, 'sixteen each');
  t.equal(count(LARGE, 2, 40), 1, 'where there are enough parts, none is cut');
  t.equal(
    fairBlock(960, 8, 8, { threads: 4, flops: LARGE, parts: 1 }),
    8,
    'blocks that are small enough stay',
  );
  t.end();
});

test('fair blocks: what a block costs decides, not how large it is', (t) => {
  const whole = { threads: 2, flops: 1.2e6, parts: 1 };
  t.equal(fairBlock(10, 10, 1, whole), 2, 'ten rows, five blocks');
  // blocks of up to four rows take as long as one of four
  t.equal(
    fairBlock(10, 10, 1, whole, (rows) => 4 * ceilDiv(rows, 4)),
    4,
    'and three, where a block is four rows',
  );
  t.end();
});

test('fair tiles: columns first, then rows', (t) => {
  const kernel = { mr: 6, nr: 8 };
  const planned = { mc: 480, nc: 480, threads: 2 };
  const wide = fairTile({ m: 480, n: 480, k: 480 }, 1, planned, kernel);
  t.equal(wide.mc, 480, 'all rows');
  t.ok(wide.nc <= 32, `stretches of ${wide.nc} columns`);
  const narrow = fairTile({ m: 480, n: 8, k: 480 }, 1, planned, kernel);
  t.equal(narrow.nc, 8, 'one block of columns');
  t.ok(narrow.mc <= 120, `stretches of ${narrow.mc} rows`);
  t.deepEqual(fairTile({ m: 480, n: 480, k: 480 }, 1, { ...planned, threads: 1 }, kernel), {
    mc: 480,
    nc: 480,
  });
  t.end();
});
