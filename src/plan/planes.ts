/** How work on single planes (depthwise convolution, pooling) is cut: what the cost model and the lowering both go by. */
import { roundUp } from '../core/math.ts';
import type { ConvProblem } from '../problem/conv.ts';
import type { Window } from '../problem/window.ts';
import { fairBlock } from './fair.ts';
import type { Plan } from './plan.ts';

/** Planes from which on each thread does its own rows of all channels, as it does before and after in products over pixels: where cores share
 *  no cache, values that another one made are dear. Whole planes below 16384 instead: BlazeFace back 0.97 times as fast where cores share
 *  none and 0.98 where they do, front 0.96 and 1.01, FastestDet 0.99 where they do (Node 24). */
const OWN_ROWS_PLANE = 4096;

/** Operations of products that take as long as one tap of one channel, and as an output row's beginning and end. */
const TAP_FLOPS = 8;
const ROW_FLOPS = 250;

/** Planes of a window, and how they are cut. */
export interface Planes {
  readonly batch: number;
  readonly channels: number;
}

function flopsOf(w: Window, { batch, channels }: Planes): number {
  return batch * channels * w.outH * (TAP_FLOPS * w.outW * w.kH * w.kW + ROW_FLOPS);
}

/** Rows and channels of a step of about `nc` output pixels (NCHW), `mr` rows at once. */
export function planeBlocks(
  w: Window,
  planes: Planes,
  { nc, threads }: Pick<Plan, 'nc' | 'threads'>,
  mr: number,
): { readonly rows: number; readonly channels: number } {
  const { batch, channels } = planes;
  const isLarge = w.outH * w.outW >= OWN_ROWS_PLANE;
  const own = isLarge ? roundUp(Math.ceil(w.outH / threads), mr) : w.outH;
  const rows = Math.min(own, Math.max(1, Math.floor(nc / w.outW)));
  const most = Math.max(1, Math.floor(nc / (rows * w.outW)));
  const parts = batch * Math.ceil(w.outH / rows);
  return { rows, channels: fairBlock(channels, most, 1, { threads, flops: flopsOf(w, planes), parts }) };
}

/** Channels of a step that takes whole planes of four at once, in lanes. */
export function laneChannels(p: ConvProblem, { nc, threads }: Pick<Plan, 'nc' | 'threads'>): number {
  const most = Math.max(4, roundUp(Math.floor(nc / (p.outH * p.outW)), 4));
  const flops = flopsOf(p, { batch: p.batch, channels: p.outC });
  return fairBlock(p.outC, most, 4, { threads, flops, parts: p.batch });
}
