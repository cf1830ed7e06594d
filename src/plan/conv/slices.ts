/** How Winograd convolution cuts an image: what the cost model and the lowering both go by. */
import { ceilDiv } from '../../core/math.ts';
import { type ConvProblem, groupChannels } from '../../problem/conv.ts';
import type { Plan } from '../plan.ts';

/** Slices for each thread from which on each is one thread's work: with fewer, one waits too long for the other's last. */
const SLICES_EACH = 2;
/** Elements of a thread's own transformed image at most (16 MiB). */
const OWN_MOST = 4 * 1024 * 1024;

export interface WinogradSlices {
  readonly tilesX: number;
  readonly tilesY: number;
  /** Rows of tiles in a slice: nc counts tiles. */
  readonly sliceRows: number;
  /** Of all images and groups. */
  readonly count: number;
  /** Whether a slice is one thread's from beginning to end. */
  readonly alone: boolean;
}

export function winogradSlices(p: ConvProblem, plan: Plan): WinogradSlices {
  const side = plan.algorithm === 'winograd2' ? 2 : 4;
  const tilesX = ceilDiv(p.outW, side);
  const tilesY = ceilDiv(p.outH, side);
  const sliceRows = Math.min(tilesY, Math.max(1, Math.floor(plan.nc / tilesX)));
  const count = p.batch * p.groups * ceilDiv(tilesY, sliceRows);
  const own = (side + 2) ** 2 * sliceRows * tilesX * groupChannels(p);
  const alone = plan.threads > 1 && count >= SLICES_EACH * plan.threads && own <= OWN_MOST;
  return { tilesX, tilesY, sliceRows, count, alone };
}
