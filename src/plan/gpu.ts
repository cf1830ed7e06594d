/**
 * Plans on a GPU and where a problem is worth being computed: what computing takes, and what moving takes of that which is not
 * there yet or is wanted back. Arithmetic only; the numbers come from a probe and from the tuner.
 */
import { ceilDiv, roundUp } from '../core/math.ts';
import { type Shape, sizeOf } from '../core/shape.ts';
import { GPU_KERNELS, type GpuGemm, type GpuKernel, type GpuMatrixGemm, gpuServes } from '../kernels/gpu.ts';
import { type ConvProblem, isPlainProduct, termsOf } from '../problem/conv.ts';
import type { FoldProblem } from '../problem/fold.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import type { PoolProblem } from '../problem/pool.ts';
import {
  type ArrayProblem,
  flopsOf,
  isArrayProblem,
  type Problem,
  resultElements,
} from '../problem/problem.ts';
import { cutOf, uploadOf } from './cut.ts';
import { type FieldChecks, fieldFault, isQuantity, isRecord } from './machine.ts';
import { type Candidate, type Plan, printPlan } from './plan.ts';

/** What the probe of a GPU found. */
export interface GpuProfile {
  /** Milliseconds from a call to its end on the device, for next to no work: recording, submitting, waiting. */
  readonly launchMs: number;
  /** Milliseconds of a kernel of next to nothing between others, each of which waits for the one before. */
  readonly passMs: number;
  /** Milliseconds that reading a few bytes back takes beyond that, and GB/s of large moves. */
  readonly readbackMs: number;
  readonly uploadGBs: number;
  readonly downloadGBs: number;
  /** GB/s of copying within the device, bytes read and bytes written counted. */
  readonly memoryGBs: number;
  /** GFLOP/s of multiply-adds in registers: the ceiling of percentages. */
  readonly peakGflops: number;
  /** GFLOP/s of each row that was tried on a large product that lies on the device. */
  readonly kernelGflops: Readonly<Record<string, number>>;
  /** Milliseconds that each of them takes for a step of k where the result is so small that only the way along k counts. */
  readonly kernelStepMs: Readonly<Record<string, number>>;
  /** The same of rows that gather patches of an image; those that are not here are as fast as with matrices. */
  readonly gatherGflops: Readonly<Record<string, number>>;
  readonly gatherStepMs: Readonly<Record<string, number>>;
}

const isRates = (value: unknown) => isRecord(value) && Object.values(value).every(isQuantity);

const PROFILE_FIELDS: FieldChecks<GpuProfile> = {
  launchMs: isQuantity,
  passMs: isQuantity,
  readbackMs: isQuantity,
  uploadGBs: isQuantity,
  downloadGBs: isQuantity,
  memoryGBs: isQuantity,
  peakGflops: isQuantity,
  kernelGflops: isRates,
  kernelStepMs: isRates,
  gatherGflops: isRates,
  gatherStepMs: isRates,
};

/** Why `value` is no profile of a GPU, or undefined if it is one. */
export function gpuFault(value: unknown): string | undefined {
  return fieldFault(value, PROFILE_FIELDS, 'gpu');
}

/** Bytes to move for a call, and whether anything is read back. */
export interface Moves {
  readonly upload: number;
  readonly download: number;
}

export interface GpuPlan {
  readonly plan: Plan;
  /** Milliseconds on the device, the call's own cost included, moving not. */
  readonly computeMs: number;
  readonly isMeasured?: boolean;
}

/** Extents of the products that a problem is. */
export interface ProductExtents {
  readonly products: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Undefined for what the GPU has no kernel for. */
export function productOf(p: Problem): ProductExtents | undefined {
  if (p.op === 'matmul') return p.panel ? undefined : { products: p.batch, m: p.m, n: p.n, k: p.k };
  if (p.op !== 'conv') return undefined;
  const pixels = p.outH * p.outW;
  const k = termsOf(p);
  return p.layout === 'nchw'
    ? { products: p.batch * p.groups, m: p.outC / p.groups, n: pixels, k }
    : { products: p.batch, m: pixels, n: p.outC, k };
}

type Row = GpuGemm | GpuMatrixGemm;

function isRow(kernel: GpuKernel): kernel is Row {
  return kernel.family === 'gpu-gemm' || kernel.family === 'gpu-matrix';
}

/** `kc`: steps of k that one workgroup sums; others sum the rest. */
function gpuPlan(kernel: GpuKernel, kc: number): Plan {
  const isGemm = isRow(kernel);
  const algorithm = isGemm ? 'gemm' : kernel.family === 'gpu-depthwise' ? 'depthwise' : 'fixed';
  const { tileM, tileN } = isGemm ? kernel : { tileM: 1, tileN: 4 };
  return {
    backend: 'webgpu',
    kernel: kernel.name,
    algorithm,
    packing: 'none',
    mc: tileM,
    kc,
    nc: tileN,
    order: 'nm',
    threads: 1,
  };
}

/** Parts that k is cut into where tiles are too few to fill the machine. */
const PARTS = [2, 4, 8, 16, 32] as const;
/** Slices that are worth a workgroup of their own, and bytes that the sums of parts may take. */
const SLICES_LEAST = 2;
const SUMS_MOST = 64 * 2 ** 20;

function tilesOf({ products, m, n }: ProductExtents, { tileM, tileN }: Row): number {
  return products * ceilDiv(m, tileM) * ceilDiv(n, tileN);
}

/** A row's rate where there is enough to do, and milliseconds of a step of k. */
interface RowRates {
  readonly gflops: number;
  readonly stepMs: number;
}

/** Undefined for a row that was not tried. */
function ratesOf(p: Problem, { name }: Row, profile: GpuProfile): RowRates | undefined {
  const gflops = profile.kernelGflops[name];
  if (gflops === undefined) return undefined;
  const isGathered = p.op === 'conv' && !isPlainProduct(p);
  const gathered = isGathered ? profile.gatherGflops[name] : undefined;
  return gathered === undefined
    ? { gflops, stepMs: profile.kernelStepMs[name] ?? 0 }
    : { gflops: gathered, stepMs: profile.gatherStepMs[name] ?? 0 };
}

/** Milliseconds of the arithmetic. Padding up to whole tiles is computed too. */
function arithmeticMs(e: ProductExtents, kernel: Row, { gflops }: RowRates): number {
  const { tileM, tileN, tileK } = kernel;
  const flops = 2 * tilesOf(e, kernel) * tileM * tileN * roundUp(e.k, tileK);
  return flops / gflops / 1e6;
}

/** Milliseconds of the arithmetic, where there is enough of it to fill the machine, or of the way along k; and of adding parts of k up. */
function gemmMs(e: ProductExtents, kernel: Row, kc: number, rates: RowRates, profile: GpuProfile): number {
  const along = roundUp(Math.min(kc, e.k), kernel.tileK) * rates.stepMs;
  const alone = Math.max(arithmeticMs(e, kernel, rates), along);
  const parts = ceilDiv(e.k, kc);
  if (parts === 1) return alone;
  const moved = 2 * sumsBytes(e, parts);
  return alone + profile.passMs + moved / profile.memoryGBs / 1e6;
}

function sumsBytes({ products, m, n }: ProductExtents, parts: number): number {
  return 4 * parts * products * m * n;
}

/** Steps of k that a workgroup may sum: all of them, or a part where the way along k is what takes the time. */
function kcsOf(e: ProductExtents, kernel: Row, rates: RowRates): number[] {
  const { family, tileK } = kernel;
  if (family !== 'gpu-gemm' || e.k * rates.stepMs <= arithmeticMs(e, kernel, rates)) return [e.k];
  const cut = PARTS.map((parts) => ({ parts, kc: roundUp(ceilDiv(e.k, parts), tileK) }));
  const worth = cut.filter(
    ({ parts, kc }) =>
      kc >= SLICES_LEAST * tileK && ceilDiv(e.k, kc) === parts && sumsBytes(e, parts) <= SUMS_MOST,
  );
  return [e.k, ...worth.map(({ kc }) => kc)];
}

/** What a depthwise kernel reaches of the best product's rate, until it is measured: it multiplies each value that it loads once. */
const DEPTHWISE_SHARE = 0.1;

/** Passes over memory that lines take: softmax and norms read them again. */
const LINE_PASSES = 3;

type Moving = ArrayProblem | PoolProblem | FoldProblem;

/** Elements that are read: taps as often as windows hold them. */
function readOf(p: Moving): number {
  switch (p.op) {
    case 'lines':
      return LINE_PASSES * flopsOf(p);
    case 'pool':
    case 'fold':
      return flopsOf(p);
    default:
      return resultElements(p) * (p.op === 'map' ? p.strides.length : 1);
  }
}

/** Reading and writing alone: what is computed of an element takes less. */
function movingAlone(p: Moving, { memoryGBs }: GpuProfile): number {
  return (4 * (readOf(p) + resultElements(p))) / memoryGBs / 1e6;
}

/** Ways to compute a problem by a row, with what they take. */
function waysOf(p: Problem, kernel: GpuKernel, profile: GpuProfile): GpuPlan[] {
  if (!gpuServes(p, kernel)) return [];
  const way = (ms: number, kc = 1) => ({ plan: gpuPlan(kernel, kc), computeMs: ms + profile.launchMs });
  if (p.op === 'pool' || p.op === 'fold' || isArrayProblem(p)) return [way(movingAlone(p, profile))];
  const extents = productOf(p);
  if (!extents) return [];
  if (kernel.family === 'gpu-depthwise') {
    const rate = DEPTHWISE_SHARE * Math.max(...Object.values(profile.kernelGflops));
    return [way(flopsOf(p) / rate / 1e6)];
  }
  const rates = isRow(kernel) ? ratesOf(p, kernel, profile) : undefined;
  if (!isRow(kernel) || !rates) return [];
  return kcsOf(extents, kernel, rates).map((kc) => way(gemmMs(extents, kernel, kc, rates, profile), kc));
}

/** Rows that serve a problem, best guess first, with what they take beside moving. */
export function gpuPlans(p: Problem, profile: GpuProfile): GpuPlan[] {
  if ('exact' in p && p.exact) return [];
  const plans = GPU_KERNELS.flatMap((kernel) => waysOf(p, kernel, profile));
  return plans.sort((a, b) => a.computeMs - b.computeMs);
}

/** Milliseconds that moving takes. */
export function movingMs({ upload, download }: Moves, profile: GpuProfile): number {
  const up = upload / profile.uploadGBs / 1e6;
  const down = download > 0 ? profile.readbackMs + download / profile.downloadGBs / 1e6 : 0;
  return up + down;
}

/** Elements of what is multiplied, in the order in which kernels multiply. */
export function sideElements(p: MatmulProblem | ConvProblem): readonly [a: number, b: number] {
  if (p.op === 'matmul') {
    const matrices = (leading: Shape | undefined, isShared: boolean) =>
      leading ? sizeOf(leading) : isShared ? 1 : p.batch;
    return [matrices(p.leading?.a, p.sharedA) * p.m * p.k, matrices(p.leading?.b, p.sharedB) * p.k * p.n];
  }
  const [image, weights] = [p.batch * p.inC * p.inH * p.inW, p.outC * termsOf(p)];
  return p.layout === 'nchw' ? [weights, image] : [image, weights];
}

/** Bytes that a call from memory to memory moves: every operand there, the result back. */
export function allMoves(p: Problem): Moves {
  const download = 4 * resultElements(p);
  if (!productOf(p)) return { upload: 0, download };
  const product = p as MatmulProblem | ConvProblem;
  const [a, b] = sideElements(product);
  const more =
    product.op === 'conv' ? (product.bias ? product.outC : 0) + (product.residual ? download / 4 : 0) : 0;
  return { upload: 4 * (a + b + more), download };
}

/** Bytes that a call moves where it is computed in memory, and where it is computed on the GPU. */
export interface BothMoves {
  readonly here: Moves;
  readonly there: Moves;
}

/** Where a call is computed: the cheaper place, moving included; `hereMs` is what memory's own backend takes. */
export function placeCall(
  hereMs: number,
  there: GpuPlan | undefined,
  moves: BothMoves,
  profile: GpuProfile,
): 'here' | 'there' {
  if (!there) return 'here';
  const here = hereMs + movingMs(moves.here, profile);
  return there.computeMs + movingMs(moves.there, profile) < here ? 'there' : 'here';
}

/** A call shorter than this is not worth being cut: waking both sides takes a part of it. */
const WORTH_CUTTING_MS = 5;
/** Both sides together must take this much less than the better one alone. */
const WORTH_GAIN = 0.85;

/**
 * The plan by which both sides compute one call from memory to memory and end together; its time has everything in it. Undefined where
 * one side alone is about as fast. What the GPU takes whatever its part: the call, reading back, and operands that every part reads whole.
 */
export function splitCall(
  p: Problem,
  hereMs: number,
  there: GpuPlan,
  profile: GpuProfile,
): GpuPlan | undefined {
  const cut = hereMs < WORTH_CUTTING_MS ? undefined : cutOf(p);
  if (!cut) return undefined;
  const upload = uploadOf(cut);
  const fixed =
    profile.launchMs + profile.readbackMs + movingMs({ upload: upload.fixed, download: 0 }, profile);
  const moved = { upload: upload.stride * cut.units, download: 4 * resultElements(p) };
  const perWhole = there.computeMs - profile.launchMs + movingMs(moved, profile) - profile.readbackMs;
  const exact = (hereMs - fixed) / (hereMs + perWhole);
  // whole tiles for the GPU, and a unit at least for both
  const tile = cut.byTiles ? there.plan.mc : 1;
  const part = Math.floor((exact * cut.units) / tile) * tile;
  if (part < tile || part >= cut.units) return undefined;
  const share = part / cut.units;
  const together = Math.max(hereMs * (1 - share), fixed + perWhole * share);
  if (together > WORTH_GAIN * Math.min(hereMs, fixed + perWhole)) return undefined;
  return { plan: { ...there.plan, share }, computeMs: together };
}

/** Candidates of a call from memory to memory, as `explain` lists them. */
export function gpuCandidates(p: Problem, plans: readonly GpuPlan[], profile: GpuProfile): Candidate[] {
  const moves = allMoves(p);
  const ms = movingMs(moves, profile);
  const estimates = new Map(gpuPlans(p, profile).map(({ plan, computeMs: own }) => [printPlan(plan), own]));
  return plans.map(({ plan, computeMs: own, isMeasured }) => ({
    plan,
    estimateMs: (estimates.get(printPlan(plan)) ?? own) + ms,
    ...(isMeasured ? { measuredMs: own + ms } : {}),
    transfer: { bytes: moves.upload + moves.download, ms },
  }));
}
