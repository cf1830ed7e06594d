/**
 * The cost model of products.
 *
 * time = kernel work on padded blocks + micro-kernel calls + edges + packing, shared by the threads that tiles can feed,
 * not below what memory can deliver, plus waking the team and waiting between phases.
 */
import { ceilDiv, roundUp } from '../../core/math.ts';
import { findKernel, type Kernel, oneRowPartner } from '../../kernels/table.ts';
import { flopsOf, type MatmulProblem } from '../../problem/matmul.ts';
import { fairTile } from '../fair.ts';
import type { MachineProfile } from '../machine.ts';
import type { Plan } from '../plan.ts';

/** Constants found by fitting times of the squares from 8 to 1024 on Node 20 and 24 (x86-64, 3 GHz class). */
const BLOCK_US = 0.003; // the way in and out of the accumulators, per block and pass
const PANEL_GBS = 25; // a panel of B on its way into the first cache, once for each row of tiles
export const EDGE_US = 0.06; // an edge block's extra: through scratch and out by memory.copy
export const PACK_LINES_GBS = 7; // copying neighbours into panels
const PACK_QUAD_GBS = 8; // transposing four lines at a time
const PACK_LANE_GBS = 2.5; // a lane by itself
export const STEP_US = 0.15; // claiming a step and reading its record
export const CALL_BASE_US = 1; // JavaScript's part of a call
const PHASE_US = 3; // one wait of a team for the end of a phase, where the machine profile says no other
/** B in place is read with a long stride: cheap while it fits the first cache, dearer beyond, and dearer still where rows
 *  are a multiple of 1 KiB apart and fall into few sets of the cache. */
const IN_PLACE_MID = 1.05;
const IN_PLACE_FAR = 1.2;
const SAME_SETS = 1.15;
/** Of few rows all lines that a block of columns reads stay in a first cache (64 sets of 8 lines), unless they fall into few of its sets: rows
 *  a multiple of 4 KiB apart share one (images of 64 x 64 pixels; 24 to 128 channels took 1.3 to 1.9 times as long in place as from panels,
 *  on Node 20 and 24), and twice as many sets cost half as much. */
const FEW_ROWS = 192;
const SETS = 64;
const WAYS = 8;
const ALIAS_BYTES = 4096;
const ONE_SET = 0.45;
/** A block of A beyond half of a small second cache comes from the third, which others may share. */
const L2_BLOCK_ELEMENTS = 64 * 1024;
const BEYOND_L2 = 1.04;
const LONG_ROW = 256;
const ROWS_SAME_SETS = 1.07;
const L1_ELEMENTS = 12 * 1024;
const STREAM_ROWS = 16;
export const CACHED_BYTES = 4 * 1024 * 1024;
const L2_ELEMENTS = 48 * 1024;

/** GFLOP/s of a kernel on whole blocks of `k` steps, its call included: narrow blocks lose more to short sums. */
export function blockGflops({ name, mr, nr }: Kernel, k: number, machine: MachineProfile): number {
  const flops = 2 * mr * nr * k;
  const us =
    flops / (machine.kernelGflops[name] ?? machine.peakGflops * 0.4) / 1e3 + BLOCK_US + mr * nr * 1e-4;
  return flops / us / 1e3;
}

function gflopsOf(kernel: Kernel, machine: MachineProfile): number {
  return machine.kernelGflops[kernel.name] ?? machine.peakGflops * 0.4;
}

/** Milliseconds to write `lines` x `k` elements into panels of `width`. */
export function packMs(lines: number, k: number, width: number, contiguous: boolean): number {
  const bytes = 4 * k * lines;
  if (contiguous) return bytes / (width % 4 === 0 ? PACK_LINES_GBS : PACK_LANE_GBS) / 1e6;
  const quads = (width - (width % 4)) / width;
  return (bytes * quads) / PACK_QUAD_GBS / 1e6 + (bytes * (1 - quads)) / PACK_LANE_GBS / 1e6;
}

/** How much slower a kernel is on operands in place than on panels. */
function inPlaceFactor(p: MatmulProblem, plan: Plan, mr: number): number {
  const elements = p.k * p.n;
  if (plan.packing === 'ab') return 1;
  // rows of A that fall into few sets of the cache
  const rows = p.k > LONG_ROW && (4 * p.k) % 1024 === 0 ? ROWS_SAME_SETS : 1;
  return rows * inPlaceB(p, plan, mr, elements);
}

/** Sets of a first cache that lines so many bytes apart fall into. */
function setsOf(bytes: number): number {
  let sets = SETS;
  while (sets > 1 && bytes % ((2 * ALIAS_BYTES) / sets) === 0) sets /= 2;
  return sets;
}

function inPlaceB(p: MatmulProblem, plan: Plan, mr: number, elements: number): number {
  if (plan.packing !== 'none' || elements <= L1_ELEMENTS) return 1;
  if (p.k <= FEW_ROWS) {
    const sets = setsOf(4 * p.n);
    return p.m > mr && p.k > WAYS * sets ? 1 + ONE_SET / sets : 1;
  }
  const far = elements > L2_ELEMENTS ? IN_PLACE_FAR : IN_PLACE_MID;
  return (4 * p.n) % 1024 === 0 ? far * SAME_SETS : far;
}

/** Work on one thread, in milliseconds: blocks, calls, edges. */
function blocksMs(p: MatmulProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): number {
  const { mr, nr } = kernel;
  const passes = ceilDiv(p.k, plan.kc);
  const direct = plan.packing !== 'ab';
  const wholeRows = Math.floor(p.m / mr);
  const restRows = p.m - wholeRows * mr;
  const colBlocks = ceilDiv(p.n, nr);
  // rows below the last block: one more padded block, or one by one with the direct kernel's partner
  const rowBlocks = wholeRows + (restRows > 0 && !direct ? 1 : 0);
  const lone = direct ? restRows : 0;
  const flops = 2 * colBlocks * nr * p.k;
  const work =
    (flops * rowBlocks * mr) / gflopsOf(kernel, machine) +
    (flops * lone) / gflopsOf(oneRowPartner(kernel), machine);
  const panels = (4 * ceilDiv(p.m, plan.mc) * p.k * p.n) / PANEL_GBS / 1e6;
  const edges = (p.n % nr ? rowBlocks + lone : 0) + (restRows && !direct ? colBlocks : 0);
  const calls = (rowBlocks + lone) * colBlocks * passes;
  const far = plan.mc * plan.kc > L2_BLOCK_ELEMENTS ? BEYOND_L2 : 1;
  return (
    (work / 1e6) * inPlaceFactor(p, plan, mr) * far +
    panels +
    (calls * (BLOCK_US + mr * nr * 1e-4) + edges * passes * EDGE_US) / 1e3
  );
}

/** One wait of a team for the end of a phase. */
export function phaseUs(machine: MachineProfile): number {
  return machine.phaseUs ?? PHASE_US;
}

/** The share of one thread when `count` equal steps are handed to `threads`. */
export function share(count: number, threads: number): number {
  return ceilDiv(count, threads) / count;
}

function gemmMs(p: MatmulProblem, plan: Plan, kernel: Kernel, machine: MachineProfile): number {
  const { mc, nc } = fairTile(p, p.batch, plan, kernel);
  const tiles = p.batch * ceilDiv(p.m, mc) * ceilDiv(p.n, nc);
  const packA =
    plan.packing === 'ab' ? packMs(p.m, p.k, kernel.mr, p.transposeA) * (p.sharedA ? 1 : p.batch) : 0;
  const packB =
    plan.packing !== 'none' && !p.prepackedB
      ? packMs(p.n, p.k, kernel.nr, !p.transposeB) * (p.sharedB ? 1 : p.batch)
      : 0;
  const work = p.batch * blocksMs(p, plan, kernel, machine) * share(tiles, plan.threads);
  const phases = packA + packB > 0 ? 1 : 0;
  const wait = plan.threads > 1 ? (machine.wakeUs + phaseUs(machine) * (1 + phases)) / 1e3 : 0;
  return work + (packA + packB) / plan.threads + wait + (tiles * STEP_US) / 1e3;
}

function vectorMs(p: MatmulProblem, plan: Plan, machine: MachineProfile, kernel: Kernel): number {
  const elements = p.m === 1 ? p.n : p.m;
  const chunks = p.batch * ceilDiv(elements, plan.nc);
  const work = (flopsOf(p) / gflopsOf(kernel, machine) / 1e6) * share(chunks, plan.threads);
  return work + (plan.threads > 1 ? machine.wakeUs / 1e3 : 0) + (chunks * STEP_US) / 1e3;
}

/** Bytes that must come from memory at least once. */
function bytesOf(p: MatmulProblem): number {
  const a = (p.sharedA ? 1 : p.batch) * p.m * p.k;
  const b = (p.sharedB ? 1 : p.batch) * p.k * roundUp(p.n, 1);
  return 4 * (a + b + p.batch * p.m * p.n);
}

/** Estimated milliseconds of a plan, call overhead included. */
export function matmulMs(p: MatmulProblem, plan: Plan, machine: MachineProfile): number {
  const kernel = findKernel(plan.kernel);
  if (!kernel) return Number.POSITIVE_INFINITY;
  const vector = kernel.family === 'axpy' || kernel.family === 'dot';
  const work = vector ? vectorMs(p, plan, machine, kernel) : gemmMs(p, plan, kernel, machine);
  const bandwidth = plan.threads > 1 ? machine.readGBsAllThreads : machine.readGBs;
  // one row or few: a narrow strip of each row of B at a time, which memory delivers at about half its speed
  const strips = !vector && plan.packing === 'none' && p.m < STREAM_ROWS ? 2 : 1;
  const bytes = bytesOf(p);
  // what stays in the caches between calls costs no memory traffic
  const memory = bytes > CACHED_BYTES ? (strips * bytes) / bandwidth / 1e6 : 0;
  // the lesser of the two is not quite hidden behind the other; it also decides between plans that memory holds back alike
  return Math.max(work, memory) + 0.1 * Math.min(work, memory) + CALL_BASE_US / 1e3;
}
