/**
 * A depthwise convolution and the 1x1 convolution behind it as one: rows of the first go straight into the panels of the second, in the thread's
 * own space, and what lies between the two is never written to memory nor read from it (layer fusion: Alwani, Chen, Ferdman & Milder,
 * "Fused-layer CNN accelerators", 2016).
 */
import { ceilDiv, roundUp } from '../core/math.ts';
import { findKernel, type Kernel } from '../kernels/table.ts';
import { type ConvProblem, convFlops, isPlainProduct } from '../problem/conv.ts';
import type { Problem } from '../problem/problem.ts';
import { fairBlock } from './fair.ts';
import type { Plan } from './plan.ts';

/** Elements of the panels of a tile: with the result's they stay in a second cache, and most of them in the first. */
const TILE_ELEMENTS = 24 * 1024;
/** Elements of the panels of the fewest rows that a kernel computes at once, at most. PP-OCRv4 recognition, where they were 300 KiB: 0.97 times as fast. */
const MOST_ELEMENTS = 48 * 1024;

/** What lies between them stays in a second cache anyway where it is smaller: maps of 16x16 and 32x32 in BlazeFace 0.99 to 1.02 times as fast. */
const LEAST_ELEMENTS = 32 * 1024;
/** The part of their time that threads compute at least, when all tiles take equally long. Two convolutions can be cut finer than one: three tiles
 *  for two threads made recognition 0.90 times as fast. */
const LEAST_SHARED = 0.9;

/** Columns are written in eights, and found in panels by shifts. */
const PANEL_LANES = [8, 16, 32];

/** What was planned for a problem. */
interface Planned {
  readonly problem: Problem;
  readonly plan: Plan;
}

/** How the second of two convolutions goes when it computes the first as well. */
export interface Pair {
  readonly plan: Plan;
  /** Output rows of a tile. */
  readonly rows: number;
}

/** The kernel of a depthwise convolution that can write panels: it reads rows in place. */
function panelWriter({ problem, plan }: Planned): Kernel | undefined {
  if (problem.op !== 'conv' || problem.layout !== 'nchw' || plan.algorithm !== 'depthwise') return undefined;
  const kernel = findKernel(plan.kernel);
  const isLarge = problem.outC * problem.outH * problem.outW >= LEAST_ELEMENTS;
  return kernel?.taps && isLarge && !problem.residual ? kernel : undefined;
}

/** Whether something was planned that may be the first of two. */
export function isFirst(planned: Planned): boolean {
  return panelWriter(planned) !== undefined;
}

/** The kernel of a product over the pixels of one image that reads panels of whole rows. */
function panelReader(p: ConvProblem, { algorithm, kc, kernel: name }: Plan): Kernel | undefined {
  const isProduct = p.layout === 'nchw' && p.groups === 1 && isPlainProduct(p);
  if (!isProduct || (algorithm !== 'gemm' && algorithm !== 'implicit') || kc < p.inC) return undefined;
  const kernel = findKernel(name);
  const isPanelled = kernel?.family === 'packed' || kernel?.family === 'direct';
  return isPanelled && PANEL_LANES.includes(kernel.nr) ? kernel : undefined;
}

/** Whether the second reads the first's result as what it is, and not in another shape. */
function isSameImage(first: ConvProblem, second: ConvProblem): boolean {
  const { batch, outC, outH, outW } = first;
  return second.batch === batch && second.inC === outC && second.inH === outH && second.inW === outW;
}

/** How two convolutions go as one, of which the second reads what the first writes; undefined where they do not. */
export function pairOf(first: Planned, { problem: p, plan }: Planned): Pair | undefined {
  if (p.op !== 'conv' || plan.backend !== first.plan.backend || plan.backend !== 'wasm') return undefined;
  const [writer, reader] = [panelWriter(first), panelReader(p, plan)];
  if (!writer || !reader || p.outW % reader.nr > 0) return undefined;
  if (!isSameImage(first.problem as ConvProblem, p)) return undefined;
  const perRow = p.inC * p.outW;
  if (writer.mr * perRow > MOST_ELEMENTS) return undefined;
  const { threads } = plan;
  const most = roundUp(Math.max(1, Math.floor(TILE_ELEMENTS / perRow)), writer.mr);
  const flops = convFlops(p) + convFlops(first.problem as ConvProblem);
  const rows = Math.min(p.outH, fairBlock(p.outH, most, writer.mr, { threads, flops, parts: p.batch }));
  const tiles = p.batch * ceilDiv(p.outH, rows);
  if (tiles < threads * LEAST_SHARED * ceilDiv(tiles, threads)) return undefined;
  const packing = reader.family === 'packed' ? 'ab' : 'b';
  const blocks = { mc: roundUp(p.outC, reader.mr), nc: rows * p.outW };
  return { plan: { ...plan, algorithm: 'implicit', packing, ...blocks }, rows };
}
