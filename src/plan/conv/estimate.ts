/**
 * The cost model of convolutions: arithmetic on whole blocks at the kernel's speed, what moving operands into panels or
 * through transforms costs, not below what memory can deliver. Constants were fitted on the layers of `bench --suite conv`.
 */
import { ceilDiv, roundUp } from '../../core/math.ts';
import { holdsWeights } from '../../kernels/depthwise.ts';
import { findKernel, type Kernel, oneRowPartner } from '../../kernels/table.ts';
import { type ConvProblem, groupChannels, isPlainProduct, termsOf } from '../../problem/conv.ts';
import type { MachineProfile } from '../machine.ts';
import {
  blockGflops,
  CACHED_BYTES,
  CALL_BASE_US,
  EDGE_US,
  matmulMs,
  PACK_LINES_GBS,
  packMs,
  phaseUs,
  STEP_US,
  share,
} from '../matmul/estimate.ts';
import type { Plan } from '../plan.ts';
import { laneChannels, planeBlocks } from '../planes.ts';
import { directTile, patchPixels, strassenPixels, winogradSides, winogradSlices } from './slices.ts';
import { asProduct } from './view.ts';

/** Patches move in short runs, filters of one pixel take whole rows (17 to 40 GB/s in cache, Node 20 and 24). */
const PATCH_GBS = 6;
const WHOLE_ROWS_GBS = 20;
/** A padded copy moves whole rows. */
const PAD_GBS = PACK_LINES_GBS;
/** The offset kernels' look-ups, and rows that fall into few sets of the cache. */
const OFFSET_FACTOR = 1.08;
/** Nanoseconds for each element of a transformed matrix, of the image and of the products: F(2x2, 3x3), and the longer ones. */
const SHORT_LINES_NS = { image: 0.17, products: 0.17 } as const;
const LONG_LINES_NS = { image: 0.34, products: 0.22 } as const;
/** The same for weights, in cache and where all of them must be written to memory. */
const WINOGRAD_WEIGHT_NS = 0.35;
const WINOGRAD_WEIGHT_FAR_NS = 2;
/** Filters of five taps are evaluated point by point: 1.1 to 2.5 times as long for each element as those of three (Node 20 and 24). */
const WEIGHT_OF_FIVE = 2;
/** Elements that Strassen's method moves for each column of half a tile: of k for its right sides, of the rows for its sums. */
const STRASSEN_SIDES = 12;
const STRASSEN_SUMS = 10;
/** Sums of filters, in filters. */
const STRASSEN_FORMS = 7 / 4;
/** A row of a strip and the call that reads it; a call of a kernel that reads in place, with its table of rows. */
const STRIP_ROW_NS = 20;
const IN_PLACE_CALL_NS = 8;
/** An element on its way into a lane or out of it. */
const LANES_NS = 0.8;
/** Sums that a core adds to at the same time: a block of fewer takes as long as one of so many. */
const CHAINS = 5;
/** Far from the caches several streams of results cost, where sums are short: 3x3 with stride 1, 320 x 320 x 16, took r4x8 1.6 times as long as
 *  r1x16 on Node 24 and 1.7 on Node 20, where short measurements put r1x16 a third too low. With stride 2 and of 5x5 two rows still win. */
const STREAMS_FACTOR = 2;
/** Images in and out from which on that shows: 112 x 112 x 96 is below, 160 x 160 x 48 above. */
const STREAMS_BYTES = 2.3 * CACHED_BYTES;
/** Share of the multiply-add ceiling that depthwise kernels reach in cache. */
const DEPTHWISE_SHARE = 0.3;

interface Cost {
  /** Milliseconds of one thread that tiles share, and how many tiles there are. */
  readonly work: number;
  readonly tiles: number;
  /** Shared evenly before the tiles. */
  readonly before: number;
  readonly phases: number;
}

function copied(p: ConvProblem): boolean {
  return p.padTop + p.padLeft + p.padBottom + p.padRight > 0 || (p.layout === 'nchw' && p.strideW > 1);
}

/** Copying the image with its padding, read and written. */
function padMs(p: ConvProblem): number {
  if (!copied(p)) return 0;
  return (4 * p.batch * p.inC * (p.inH + 2) * (p.inW + 2)) / PAD_GBS / 1e6;
}

function weightMs(p: ConvProblem, kernel: Kernel): number {
  return p.prepacked ? 0 : packMs(p.outC, termsOf(p), kernel.mr, false);
}

/** Rows of blocks, as many as take the time of `m`: those below the last block are padded in panels, and done one by one in place. */
function blockRows(m: number, k: number, kernel: Kernel, inPlace: boolean, machine: MachineProfile): number {
  if (!inPlace) return roundUp(m, kernel.mr);
  const lone = m % kernel.mr;
  return m - lone + (lone * blockGflops(kernel, k, machine)) / blockGflops(oneRowPartner(kernel), k, machine);
}

function implicitCost(p: ConvProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): Cost {
  const [m, n, k] = [p.outC / p.groups, p.outH * p.outW, termsOf(p)];
  const members = p.batch * p.groups;
  const [pass, inPlace] = [Math.min(k, plan.kc), plan.packing !== 'ab'];
  const flops = 2 * members * blockRows(m, pass, kernel, inPlace, machine) * roundUp(n, kernel.nr) * k;
  const gbs = isPlainProduct(p) ? WHOLE_ROWS_GBS : PATCH_GBS;
  const patches = (4 * members * k * n * ceilDiv(m, plan.mc)) / gbs / 1e6;
  const [ends, lasts] = [
    m % kernel.mr && !inPlace ? ceilDiv(n, kernel.nr) : 0,
    n % kernel.nr ? ceilDiv(m, kernel.mr) : 0,
  ];
  const edges = (members * (ends + lasts) * ceilDiv(k, plan.kc) * EDGE_US) / 1e3;
  return {
    work: flops / blockGflops(kernel, pass, machine) / 1e6 + patches + edges,
    tiles: members * ceilDiv(m, plan.mc) * ceilDiv(n, patchPixels(p, plan, kernel)),
    before: padMs(p) + (plan.packing === 'ab' ? weightMs(p, kernel) : 0),
    phases: copied(p) ? 1 : 0,
  };
}

function directCost(p: ConvProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): Cost {
  const [channels, k] = [p.outC / p.groups, termsOf(p)];
  const members = p.batch * p.groups;
  const nchw = p.layout === 'nchw';
  const pass = nchw ? Math.min(k, plan.kc) : k / p.kH;
  const [m, n] = nchw ? [channels, p.outW] : [p.outW, channels];
  const blocks = blockRows(m, pass, kernel, true, machine) * roundUp(n, kernel.nr);
  const flops = 2 * members * p.outH * blocks * k;
  const tile = nchw
    ? directTile(p, plan, kernel)
    : { rows: Math.max(1, Math.floor(plan.mc / p.outW)), channels: plan.nc };
  return {
    work: (OFFSET_FACTOR * flops) / blockGflops(kernel, pass, machine) / 1e6,
    tiles: members * ceilDiv(p.outH, tile.rows) * ceilDiv(channels, tile.channels),
    before: padMs(p) + (nchw ? 0 : weightMs(p, kernel)),
    phases: copied(p) ? 1 : 0,
  };
}

function winogradCost(p: ConvProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): Cost {
  const { alpha } = winogradSides(p, plan.algorithm);
  const points = alpha ** 2;
  const ns = alpha === 4 ? SHORT_LINES_NS : LONG_LINES_NS;
  const [m, k] = [p.outC / p.groups, groupChannels(p)];
  const members = p.batch * p.groups;
  const { tilesX, tilesY, sliceRows, count, alone, rows } = winogradSlices(p, plan, kernel);
  const slices = ceilDiv(tilesY, sliceRows);
  const tiles = slices * roundUp(sliceRows * tilesX, kernel.nr);
  const flops = 2 * members * points * roundUp(m, kernel.mr) * tiles * k;
  const inMs = (members * points * tiles * k * ns.image) / 1e6;
  const outMs = (members * points * tiles * m * ns.products) / 1e6;
  // every slice reads all transformed weights again: from memory where no cache holds them
  const bytes = 4 * points * p.outC * k;
  const weightNs = bytes > CACHED_BYTES ? WINOGRAD_WEIGHT_FAR_NS : WINOGRAD_WEIGHT_NS;
  const weights = p.prepacked
    ? 0
    : ((p.kH === 5 ? WEIGHT_OF_FIVE : 1) * p.outC * k * points * weightNs) / 1e6;
  const reread = bytes > CACHED_BYTES ? (members * slices * bytes) / machine.readGBs / 1e6 : 0;
  const work = Math.max(flops / blockGflops(kernel, k, machine) / 1e6, reread) + outMs;
  if (alone) return { work: work + inMs, tiles: count, before: weights, phases: 0 };
  // slices follow one another: threads share the blocks of one
  return { work, tiles: ceilDiv(m, rows), before: inMs + weights, phases: 2 * count };
}

/** Seven products of halves for pairs of panels, four for what is left of a tile; right sides are made of up to four rows of the image. */
function strassenCost(p: ConvProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): Cost {
  const [m, k, n] = [p.outC / p.groups / 2, groupChannels(p) / 2, p.outH * p.outW];
  const members = p.batch * p.groups;
  const pass = Math.min(k, plan.kc);
  const columns = strassenPixels(p, plan, kernel);
  const rows = blockRows(m, pass, kernel, true, machine);
  const msOf = (cols: number): number => {
    const width = Math.floor(cols / 2 / kernel.nr) * kernel.nr;
    const rest = cols - 2 * width;
    const flops = 2 * rows * k * (7 * width + 4 * roundUp(rest, kernel.nr));
    const moved = 4 * (k * (STRASSEN_SIDES * width + 4 * rest) + STRASSEN_SUMS * m * width);
    const edges = rest % kernel.nr ? 4 * ceilDiv(m, kernel.mr) * ceilDiv(k, plan.kc) * EDGE_US : 0;
    return flops / blockGflops(kernel, pass, machine) / 1e6 + moved / WHOLE_ROWS_GBS / 1e6 + edges / 1e3;
  };
  const whole = Math.floor(n / columns);
  return {
    work: members * (whole * msOf(columns) + msOf(n - whole * columns)),
    tiles: members * ceilDiv(n, columns),
    before: p.prepacked ? 0 : packMs(p.outC, 2 * k * STRASSEN_FORMS, kernel.mr, false),
    phases: 0,
  };
}

/** Vectors of the blocks that a kernel that reads in place cuts a row into (assembly/templates/depthwise.ts). */
function inPlaceBlocks(columns: number, { nr }: Kernel): number[] {
  const widths = [4, 2, 1].filter((vectors) => 4 * vectors <= nr);
  const left = widths.find((vectors) => vectors === 1 || columns > 4 * vectors)!;
  const blocks = [left];
  let x = 4 * left;
  for (; x + 4 * left < columns; x += 4 * left) blocks.push(left);
  return [...blocks, widths.findLast((vectors) => columns - x <= 4 * vectors)!];
}

/** Which share of the rows that filters see lies in the image. */
function rowsInside({ inH, outH, kH, strideH, padTop }: ConvProblem): number {
  let outside = 0;
  const above = (row: number) => Math.min(kH, padTop - row * strideH);
  const below = (row: number) => Math.min(kH, row * strideH - padTop + kH - inH);
  for (let row = 0; row < outH && above(row) > 0; row++) outside += above(row);
  for (let row = outH - 1; row >= 0 && below(row) > 0; row--) outside += below(row);
  return 1 - outside / (outH * kH);
}

/** Nanoseconds of one channel by a kernel of a fixed size. */
function inPlaceNs(p: ConvProblem, kernel: Kernel, gflops: number, far: boolean): number {
  const { mr, nr } = kernel;
  const left = p.outH % mr;
  const goesBack = p.outH >= mr && 2 * left > mr;
  const calls = Math.floor(p.outH / mr) + (goesBack ? 1 : left);
  // single rows share no loads and have few sums: they take as long as 1.2 (wide ones) to 1.8 in a block
  const rows = p.outH - left + (goesBack ? mr : 1.8 * left);
  const streams = mr > 1 && far && p.kH === 3 && p.strideH === 1 ? STREAMS_FACTOR : 1;
  const whole = nr / Math.max(CHAINS, (mr * nr) / 4);
  const blocks = inPlaceBlocks(p.outW, kernel).map((vectors) => whole * Math.max(CHAINS, mr * vectors));
  const columns = blocks.reduce((sum, block) => sum + block, 0);
  const inside = holdsWeights(kernel.taps!) ? 1 : rowsInside(p);
  const flops = 2 * p.kH * p.kW * rows * columns * inside;
  return (flops / gflops) * streams + calls * IN_PLACE_CALL_NS;
}

/** The same where rows go through strips, or four channels at once through lanes (then of one of them). */
function copiedNs(p: ConvProblem, { lanes }: Kernel, gflops: number): number {
  const flops = 2 * p.kH * p.kW * p.outH * roundUp(p.outW, 4);
  if (lanes) return flops / gflops + (p.inH * p.inW + p.outH * p.outW) * LANES_NS;
  return flops / gflops + (p.outH * p.strideH + p.kH) * STRIP_ROW_NS;
}

function depthwiseSteps(p: ConvProblem, plan: Plan, { lanes, mr }: Kernel): number {
  if (p.layout === 'nhwc')
    return p.batch * ceilDiv(p.outH, Math.max(1, Math.floor(plan.nc / (p.outW * p.outC))));
  if (lanes) return p.batch * ceilDiv(p.outC, laneChannels(p, plan));
  const { rows, channels } = planeBlocks(p, { batch: p.batch, channels: p.outC }, plan, mr);
  return p.batch * ceilDiv(p.outH, rows) * ceilDiv(p.outC, channels);
}

function depthwiseCost(p: ConvProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): Cost {
  const gflops = machine.kernelGflops[kernel.name] ?? machine.peakGflops * DEPTHWISE_SHARE;
  const far = 4 * p.batch * (p.inC * p.inH * p.inW + p.outC * p.outH * p.outW) > STREAMS_BYTES;
  const channelNs = kernel.taps ? inPlaceNs(p, kernel, gflops, far) : copiedNs(p, kernel, gflops);
  return {
    work: (p.batch * p.outC * channelNs) / 1e6,
    tiles: depthwiseSteps(p, plan, kernel),
    before: 0,
    phases: 0,
  };
}

function costOf(p: ConvProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): Cost {
  switch (plan.algorithm) {
    case 'implicit':
      return implicitCost(p, plan, kernel, machine);
    case 'direct':
      return directCost(p, plan, kernel, machine);
    case 'depthwise':
      return depthwiseCost(p, plan, kernel, machine);
    case 'winograd2':
    case 'winograd4':
      return winogradCost(p, plan, kernel, machine);
    case 'strassen':
      return strassenCost(p, plan, kernel, machine);
    case 'gemm':
    case 'fixed':
      throw new Error(`${plan.algorithm} has a model of its own`);
    default:
      throw new Error(`no model for ${plan.algorithm satisfies never}`);
  }
}

export function convMs(p: ConvProblem, plan: Plan, machine: MachineProfile): number {
  const kernel = findKernel(plan.kernel);
  if (!kernel) return Number.POSITIVE_INFINITY;
  if (plan.algorithm === 'gemm') {
    const free = p.prepacked && p.layout === 'nchw' && plan.packing === 'ab';
    const saved = free ? packMs(p.outC, groupChannels(p), kernel.mr, false) : 0;
    return Math.max(1e-3, matmulMs(asProduct(p), plan, machine) - saved);
  }
  const { work, tiles, before, phases } = costOf(p, plan, kernel, machine);
  const wait = plan.threads > 1 ? (machine.wakeUs + phaseUs(machine) * (1 + phases)) / 1e3 : 0;
  const spent = work * share(tiles, plan.threads) + before / plan.threads;
  const bytes = 4 * (p.batch * (p.inC * p.inH * p.inW + p.outC * p.outH * p.outW) + p.outC * termsOf(p));
  const bandwidth = plan.threads > 1 ? machine.readGBsAllThreads : machine.readGBs;
  const memory = bytes > CACHED_BYTES ? bytes / bandwidth / 1e6 : 0;
  return (
    Math.max(spent, memory) + 0.1 * Math.min(spent, memory) + wait + (tiles * STEP_US + CALL_BASE_US) / 1e3
  );
}
