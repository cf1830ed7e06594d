/**
 * Block sizes to consider. They come from ladders around what caches of 32 KiB (L1) and 256 KiB to 1 MiB (L2) suggest; the
 * ladders are seeds, the tuner decides.
 */
import { roundUp } from '../core/math.ts';
import type { TileOrder } from './plan.ts';

export interface Ladders {
  readonly mc: readonly number[];
  readonly kc: readonly number[];
  readonly nc: readonly number[];
  readonly orders: readonly TileOrder[];
}

const ALL = Number.MAX_SAFE_INTEGER;

/** For estimates: one sensible blocking and its neighbours. */
export const NARROW: Ladders = { mc: [48, 120, 512], kc: [256, 512], nc: [128, 512], orders: ['mn'] };

/** For `exhaustive`, and for the second round of `measure`. */
export const WIDE: Ladders = {
  mc: [24, 48, 96, 192, ALL],
  kc: [128, 256, 512],
  nc: [128, 256, 512, ALL],
  orders: ['mn', 'nm'],
};

/** No step may take longer than some milliseconds, or an abort would wait for it: at most this many operations. */
export const STEP_FLOPS = 2e8;

/** Cuts `extent` into equal parts of at most `most`, each a multiple of `step`: no thin last block. */
export function evenBlock(extent: number, most: number, step: number): number {
  const parts = Math.ceil(extent / Math.max(step, Math.min(most, extent)));
  return roundUp(Math.ceil(extent / parts), step);
}

/** The different blocks that a ladder gives, which are few where an extent is small: whatever depends on them is then looked at once. */
export function different(ladder: readonly number[], blockOf: (most: number) => number): readonly number[] {
  return [...new Set(ladder.map(blockOf))];
}

/** 1, 2, 4, ... and the most. */
export function threadLadder(most: number): number[] {
  const counts = new Set([1, most]);
  for (let t = 2; t < most; t *= 2) counts.add(t);
  return [...counts].sort((a, b) => a - b);
}
