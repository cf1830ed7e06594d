/** How convolutions are cut: what the cost model and the lowering both go by. */
import { ceilDiv, roundUp } from '../../core/math.ts';
import type { Kernel } from '../../kernels/table.ts';
import { type ConvProblem, convFlops, groupChannels } from '../../problem/conv.ts';
import { fairBlock, fairBlocks } from '../fair.ts';
import type { Plan } from '../plan.ts';

/** Slices for each thread from which on each is one thread's work: with fewer, one waits too long for the other's last. */
const SLICES_EACH = 2;
/** Elements of a thread's own transformed image at most (16 MiB). */
const OWN_MOST = 4 * 1024 * 1024;
/** Transformed weights up to so many elements are read again for a smaller slice: those of a second cache of 1 MiB. */
const WEIGHTS_MOST = 192 * 1024;

export interface WinogradSlices {
  readonly tilesX: number;
  readonly tilesY: number;
  /** Rows of tiles in a slice: nc counts tiles. */
  readonly sliceRows: number;
  /** Of all images and groups. */
  readonly count: number;
  /** Whether a slice is one thread's from beginning to end. */
  readonly alone: boolean;
  /** Output channels of a step, where slices are shared. */
  readonly rows: number;
}

/** Sides of Winograd's tiles: of their outputs, and of the inputs that these are made from. */
export function winogradSides(p: ConvProblem, algorithm: Plan['algorithm']): { side: number; alpha: number } {
  const side = algorithm === 'winograd2' ? 2 : 4;
  return { side, alpha: side + p.kH - 1 };
}

export function winogradSlices(p: ConvProblem, plan: Plan, { mr, nr }: Kernel): WinogradSlices {
  const { threads } = plan;
  const { side, alpha } = winogradSides(p, plan.algorithm);
  const points = alpha ** 2;
  const tilesX = ceilDiv(p.outW, side);
  const tilesY = ceilDiv(p.outH, side);
  const outC = p.outC / p.groups;
  const members = p.batch * p.groups;
  const flops = convFlops(p);
  const planned = Math.min(tilesY, Math.max(1, Math.floor(plan.nc / tilesX)));
  const isAlone = (sliceRows: number) =>
    threads > 1 &&
    members * ceilDiv(tilesY, sliceRows) >= SLICES_EACH * threads &&
    points * sliceRows * tilesX * groupChannels(p) <= OWN_MOST;
  const width = (sliceRows: number) => roundUp(sliceRows * tilesX, nr);
  const fair =
    points * outC * groupChannels(p) <= WEIGHTS_MOST
      ? fairBlock(tilesY, planned, 1, { threads, flops, parts: members }, width)
      : planned;
  const sliceRows = isAlone(fair) ? fair : planned;
  const count = members * ceilDiv(tilesY, sliceRows);
  const rows = fairBlock(outC, plan.mc, mr, { threads, flops: flops / count, parts: 1 });
  return { tilesX, tilesY, sliceRows, count, alone: isAlone(sliceRows), rows };
}

/** Pixels of a tile whose patches are packed for all of its channels. */
export function patchPixels(p: ConvProblem, { mc, nc, threads }: Plan, { nr }: Kernel): number {
  const parts = p.batch * p.groups * ceilDiv(p.outC / p.groups, mc);
  return fairBlock(p.outH * p.outW, nc, nr, { threads, flops: convFlops(p), parts });
}

/** Pixels of a tile by Strassen's method: pairs of panels. */
export function strassenPixels(p: ConvProblem, { nc, threads }: Plan, { nr }: Kernel): number {
  const parts = p.batch * p.groups;
  return fairBlock(p.outH * p.outW, nc, 2 * nr, { threads, flops: convFlops(p), parts });
}

/** Output rows and channels of a tile that reads the image in place (NCHW). */
export function directTile(
  p: ConvProblem,
  { mc, nc, threads }: Plan,
  { mr }: Kernel,
): { rows: number; channels: number } {
  const lines = { extent: p.outH, most: Math.max(1, Math.floor(nc / p.outW)), unit: 1 };
  const planes = { extent: p.outC / p.groups, most: mc, unit: mr };
  const whole = { threads, flops: convFlops(p), parts: p.batch * p.groups };
  const [rows, channels] = fairBlocks([lines, planes], whole);
  return { rows, channels };
}
