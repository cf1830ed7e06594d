/**
 * Plans on a GPU and where a problem is worth being computed: what computing takes, and what moving takes of that which is not
 * there yet or is wanted back. Arithmetic only; the numbers come from a probe and from the tuner.
 */
import { ceilDiv } from '../core/math.ts';
import { type Shape, sizeOf } from '../core/shape.ts';
import { GPU_KERNELS, type GpuGemm, type GpuKernel, type GpuMatrixGemm, gpuServes } from '../kernels/gpu.ts';
import { type ConvProblem, termsOf } from '../problem/conv.ts';
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
import type { Candidate, Plan } from './plan.ts';

/** What the probe of a GPU found. */
export interface GpuProfile {
  /** Milliseconds from a call to its end on the device, for next to no work: recording, submitting, waiting. */
  readonly launchMs: number;
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
}

const isRates = (value: unknown) => isRecord(value) && Object.values(value).every(isQuantity);

const PROFILE_FIELDS: FieldChecks<GpuProfile> = {
  launchMs: isQuantity,
  readbackMs: isQuantity,
  uploadGBs: isQuantity,
  downloadGBs: isQuantity,
  memoryGBs: isQuantity,
  peakGflops: isQuantity,
  kernelGflops: isRates,
  kernelStepMs: isRates,
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

function gpuPlan(kernel: GpuKernel): Plan {
  const isGemm = isRow(kernel);
  const algorithm = isGemm ? 'gemm' : kernel.family === 'gpu-depthwise' ? 'depthwise' : 'fixed';
  const { tileM, tileN, tileK } = isGemm ? kernel : { tileM: 1, tileN: 4, tileK: 1 };
  return {
    backend: 'webgpu',
    kernel: kernel.name,
    algorithm,
    packing: 'none',
    mc: tileM,
    kc: tileK,
    nc: tileN,
    order: 'nm',
    threads: 1,
  };
}

/** Milliseconds of the arithmetic, where there is enough of it to fill the machine, or of the way along k. Padding up to whole tiles
 *  is computed too. */
function gemmMs(e: ProductExtents, kernel: Row, gflops: number, stepMs: number): number {
  const { tileM, tileN, tileK } = kernel;
  const k = ceilDiv(e.k, tileK) * tileK;
  const flops = 2 * e.products * ceilDiv(e.m, tileM) * tileM * ceilDiv(e.n, tileN) * tileN * k;
  return Math.max(flops / gflops / 1e6, k * stepMs);
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

function computeMs(p: Problem, kernel: GpuKernel, profile: GpuProfile): number | undefined {
  if (!gpuServes(p, kernel)) return undefined;
  if (p.op === 'pool' || p.op === 'fold' || isArrayProblem(p)) return movingAlone(p, profile);
  const extents = productOf(p);
  if (!extents) return undefined;
  if (kernel.family === 'gpu-depthwise') {
    const rate = DEPTHWISE_SHARE * Math.max(...Object.values(profile.kernelGflops));
    return flopsOf(p) / rate / 1e6;
  }
  if (!isRow(kernel)) return undefined;
  const gflops = profile.kernelGflops[kernel.name];
  return gflops === undefined
    ? undefined
    : gemmMs(extents, kernel, gflops, profile.kernelStepMs[kernel.name] ?? 0);
}

/** Rows that serve a problem, best guess first, with what they take beside moving. */
export function gpuPlans(p: Problem, profile: GpuProfile): GpuPlan[] {
  if ('exact' in p && p.exact) return [];
  const plans = GPU_KERNELS.flatMap((kernel): GpuPlan[] => {
    const ms = computeMs(p, kernel, profile);
    return ms === undefined ? [] : [{ plan: gpuPlan(kernel), computeMs: ms + profile.launchMs }];
  });
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
  const estimates = new Map(gpuPlans(p, profile).map(({ plan, computeMs: own }) => [plan.kernel, own]));
  return plans.map(({ plan, computeMs: own, isMeasured }) => ({
    plan,
    estimateMs: (estimates.get(plan.kernel) ?? own) + ms,
    ...(isMeasured ? { measuredMs: own + ms } : {}),
    transfer: { bytes: moves.upload + moves.download, ms },
  }));
}
