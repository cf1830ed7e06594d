/**
 * How finely work is cut that threads share. All wait for the last one, and threads are not equally fast: another program, a virtual machine's
 * host or the other half of a core slows one of them down. With a few steps for each, whoever is slow leaves some of its own to others (chunks
 * of a loop: Polychronopoulos & Kuck, "Guided self-scheduling", 1987); blocks that only caches ask for would often be one or two.
 */
import { ceilDiv, roundUp } from '../core/math.ts';

/**
 * Steps for each thread and the operations of each of them at least: a few of two or three microseconds, for claiming one and hearing of its end
 * takes tenths of one, and many where they take fifty, which costs nothing. Sixteen short ones instead of eight: 0.97 to 1.03 times as fast for networks
 * of a millisecond or two, 1.01 to 1.07 for those of ten (Node 24, two threads).
 */
const SHORT = { each: 4, flops: 1e5 } as const;
const LONG = { each: 16, flops: 2e6 } as const;
/** The part of a step for which a thread waits that is done before others, in the mean. */
const WAITED = 0.5;

/** Operations that take as long as reading and writing an element. */
export const ELEMENT_FLOPS = 32;

/** What is cut, beside the extent that is cut. */
export interface Whole {
  readonly threads: number;
  /** Operations of all of it. */
  readonly flops: number;
  /** Equal parts that it falls into anyway. */
  readonly parts: number;
}

function stepsOf(
  flops: number,
  threads: number,
  least: { readonly each: number; readonly flops: number },
): number {
  return Math.min(least.each * threads, Math.floor(flops / least.flops));
}

/** The block of at most `most`, in whole units, with which threads are done soonest; `cost` says how long blocks take beside one another. */
export function fairBlock(
  extent: number,
  most: number,
  unit: number,
  { threads, flops, parts }: Whole,
  cost: (block: number) => number = (block) => block,
): number {
  const block = Math.min(most, roundUp(extent, unit));
  const enough = Math.max(stepsOf(flops, threads, SHORT), stepsOf(flops, threads, LONG));
  const least = ceilDiv(extent, block);
  if (threads === 1 || least * parts >= enough) return block;
  const finest = Math.min(ceilDiv(extent, unit), ceilDiv(enough, parts));
  let fairest = block;
  let soonest = Number.POSITIVE_INFINITY;
  for (let count = least; count <= finest; count++) {
    const size = roundUp(ceilDiv(extent, count), unit);
    const end = (ceilDiv(ceilDiv(extent, size) * parts, threads) + WAITED) * cost(size);
    if (end >= soonest) continue;
    soonest = end;
    fairest = size;
  }
  return fairest;
}

/**
 * The same for two extents, the first one first: the second is cut where that gives too few blocks. Panels of A are read again for each stretch
 * of columns anyway, so columns come before rows.
 */
export function fairBlocks(
  [first, second]: readonly [first: Side, second: Side],
  { threads, flops, parts }: Whole,
): readonly [number, number] {
  const across = ceilDiv(second.extent, second.most);
  const one = fairBlock(first.extent, first.most, first.unit, { threads, flops, parts: parts * across });
  const along = ceilDiv(first.extent, one);
  if (parts * across * along >= SHORT.each * threads) return [one, second.most];
  return [one, fairBlock(second.extent, second.most, second.unit, { threads, flops, parts: parts * along })];
}

/** An extent, the block that is planned for it, and what that is a multiple of. */
export interface Side {
  readonly extent: number;
  readonly most: number;
  readonly unit: number;
}

/** A tile of a product, of which there are several. */
export function fairTile(
  { m, n, k }: { readonly m: number; readonly n: number; readonly k: number },
  members: number,
  { mc, nc, threads }: { readonly mc: number; readonly nc: number; readonly threads: number },
  { mr, nr }: { readonly mr: number; readonly nr: number },
): { readonly mc: number; readonly nc: number } {
  const columns = { extent: n, most: nc, unit: nr };
  const rows = { extent: m, most: mc, unit: mr };
  const whole = { threads, flops: 2 * members * m * n * k, parts: members };
  const [cols, high] = fairBlocks([columns, rows], whole);
  return { mc: high, nc: cols };
}
