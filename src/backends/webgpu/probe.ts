/** Measures a GPU: what a call costs, what moving costs, and how fast the rows of the table are. */

import type { Clock } from '../../core/clock.ts';
import { abortReason } from '../../core/errors.ts';
import {
  GPU_KERNELS,
  type GpuGemm,
  type GpuMatrixGemm,
  isOffered,
  workgroupBytes,
} from '../../kernels/gpu.ts';
import type { GpuProfile } from '../../plan/gpu.ts';
import { type ConvProblem, convProblem, termsOf } from '../../problem/conv.ts';
import { matmulProblem } from '../../problem/matmul.ts';
import { flopsOf } from '../../problem/problem.ts';
import { windowOf } from '../../problem/window.ts';
import type { Blocks, WebGpuBackend } from './backend.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { lower } from './lower.ts';
import { PEAK, PEAK_SOURCE } from './wgsl/peak.ts';

export interface GpuProbeOptions {
  readonly clock: Clock;
  /** Extent of the square product that rows are timed on, and how long each may take. */
  readonly extent: number;
  /** Rows and columns of a product as deep as that whose few tiles leave the machine idle. */
  readonly few: number;
  /** Whether rows are timed on images as well; the extent must be large enough for those (2048). */
  readonly gathers: boolean;
  readonly kernelMs: number;
  /** Bytes of the moves. */
  readonly moveBytes: number;
  /** Rows to try. */
  readonly kernels: readonly Row[];
}

/** Copies within the device that are timed together. */
const COPIES = 8;

/** As many as WebGPU guarantees to take at once. */
const PEAK_GROUPS = 65535;

const ONCE = { alpha: 1, beta: 0, p0: 0, p1: 0 } as const;

type Row = GpuGemm | GpuMatrixGemm;

/** What a processor that stands in for a GPU is tried with: a second of compiling each. */
const SOFTWARE_ROWS = ['f32_gemm_32x32x16_2x4__wgsl', 'f32_gemm_64x64x16_8x4__wgsl_ahead_blocks'];

/** Rows that a short probe tries of those that the device takes: on a software adapter each costs a second of compiling. */
export function probedGpuKernels({ report, device }: WebGpuBackend): Row[] {
  const most = device.limits.maxComputeWorkgroupStorageSize;
  const rows = GPU_KERNELS.filter((kernel): kernel is Row => {
    if (!isOffered(kernel, report.features)) return false;
    return (kernel.family === 'gpu-gemm' || kernel.family === 'gpu-matrix') && workgroupBytes(kernel) <= most;
  });
  return report.software ? rows.filter((row) => SOFTWARE_ROWS.includes(row.name)) : rows;
}

export async function probeGpu(backend: WebGpuBackend, options: GpuProbeOptions): Promise<GpuProfile> {
  const { clock } = options;
  const launchMs = await best(clock, 5, () => nothing(backend, options.kernels[0]!));
  const passMs = await pass(backend, options);
  const few = new Float32Array(4);
  const block = backend.buffers.upload(few);
  const readMs = await best(clock, 5, () => backend.download(block, () => few));
  backend.buffers.giveBack(block);
  const { uploadGBs, downloadGBs, memoryGBs } = await moves(backend, options);
  const peakGflops = await peak(backend, options);
  const rows = await rates(backend, options);
  return {
    launchMs,
    passMs,
    readbackMs: Math.max(0, readMs - launchMs),
    uploadGBs,
    downloadGBs,
    memoryGBs,
    peakGflops,
    ...rows,
  };
}

async function best(clock: Clock, times: number, work: () => Promise<unknown>): Promise<number> {
  await work();
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i++) {
    const start = clock.now();
    await work();
    least = Math.min(least, clock.now() - start);
  }
  return least;
}

async function moves(backend: WebGpuBackend, { clock, moveBytes }: GpuProbeOptions) {
  const values = new Float32Array(moveBytes / 4).fill(1);
  let block = backend.buffers.upload(values);
  const upload = await best(clock, 3, async () => {
    backend.buffers.giveBack(block);
    block = backend.buffers.upload(values);
    await backend.settle();
  });
  const download = await best(clock, 3, () => backend.download(block, () => values));
  const to = backend.buffers.take(moveBytes);
  const within = await best(clock, 3, async () => {
    for (let i = 0; i < COPIES; i++) backend.copy(block, to);
    await backend.settle();
  });
  backend.buffers.giveBack(to);
  backend.buffers.giveBack(block);
  return {
    uploadGBs: moveBytes / upload / 1e6,
    downloadGBs: moveBytes / download / 1e6,
    memoryGBs: (2 * COPIES * moveBytes) / within / 1e6,
  };
}

/** Works on the operands of a product of next to nothing. */
async function onLittle<T>({ buffers }: WebGpuBackend, work: (blocks: Blocks) => Promise<T>): Promise<T> {
  const blocks = { a: buffers.take(1024), b: buffers.take(1024), c: buffers.take(1024) };
  const made = await work(blocks);
  for (const block of Object.values(blocks)) buffers.giveBack(block);
  return made;
}

/** Such a product, on the device. */
function nothing(backend: WebGpuBackend, kernel: Row): Promise<void> {
  const launch = productLaunch(kernel, 16, 16);
  return onLittle(backend, async (blocks) => {
    backend.record(launch, await backend.pipeline(launch), blocks, ONCE);
    await backend.settle();
  });
}

/** Many of them behind one another. */
function pass(backend: WebGpuBackend, { clock, kernels, kernelMs }: GpuProbeOptions): Promise<number> {
  const launches = [productLaunch(kernels[0]!, 16, 16)];
  return onLittle(backend, async (blocks) => {
    const [ms] = await timeLaunches(backend, launches, blocks, { clock, budgetMs: kernelMs });
    return ms!;
  });
}

/** How fast each row is on a large problem that lies on the device, and what a step along k takes where tiles are few. */
async function rates(
  backend: WebGpuBackend,
  { clock, kernels, extent, few, gathers, kernelMs }: GpuProbeOptions,
): Promise<Pick<GpuProfile, 'kernelGflops' | 'kernelStepMs' | 'gatherGflops' | 'gatherStepMs'>> {
  const bytes = 4 * extent * extent;
  const { buffers } = backend;
  const blocks = { a: buffers.take(bytes), b: buffers.take(bytes), c: buffers.take(bytes) };
  const timed = async (rows: readonly Row[], launch: (row: Row) => Launch, per: (ms: number) => number) => {
    const budgetMs = kernelMs * rows.length;
    const times = await timeLaunches(backend, rows.map(launch), blocks, { clock, budgetMs });
    return Object.fromEntries(rows.map(({ name }, index) => [name, per(times[index]!)]));
  };
  const gflops = (flops: number) => (ms: number) => flops / ms / 1e6;
  const square = (lines: number) => (row: Row) => productLaunch(row, lines, extent);
  const found = {
    kernelGflops: await timed(kernels, square(extent), gflops(2 * extent ** 3)),
    kernelStepMs: await timed(kernels, square(few), (ms) => ms / extent),
  };
  const gathering = gathers ? kernels.filter(({ family }) => family === 'gpu-gemm') : [];
  const image = (p: ConvProblem) => (row: Row) => lower(p, row)!;
  const made = {
    ...found,
    gatherGflops: await timed(gathering, image(LARGE_IMAGE), gflops(flopsOf(LARGE_IMAGE))),
    gatherStepMs: await timed(gathering, image(SMALL_IMAGE), (ms) => ms / termsOf(SMALL_IMAGE)),
  };
  for (const block of Object.values(blocks)) buffers.giveBack(block);
  return made;
}

/** 3 x 3: much to do, and 128 x 128 of it as deep as a product of 2048. */
const LARGE_IMAGE = imageProblem({ inC: 128, outC: 512 }, { height: 64, width: 64 });
const SMALL_IMAGE = imageProblem({ inC: 228, outC: 128 }, { height: 8, width: 16 });

function imageProblem(channels: { inC: number; outC: number }, input: { height: number; width: number }) {
  return convProblem({ batch: 1, ...channels }, windowOf(input, { kH: 3, kW: 3 }, { padding: 1 }), {});
}

function productLaunch(kernel: Row, lines: number, k: number): Launch {
  const halves = kernel.family === 'gpu-matrix' ? 'ab' : 'none';
  return lower(matmulProblem({ m: lines, n: lines, k }, { halves }), kernel)!;
}

/** Milliseconds of multiply-adds in registers by workgroups. */
async function registersMs(backend: WebGpuBackend, clock: Clock, groups: number): Promise<number> {
  const launch: Launch = {
    key: 'peak',
    source: () => PEAK_SOURCE,
    bindings: ['c'],
    groups: [groups, 1],
    products: 1,
    params: NO_EXTENTS,
    table: undefined,
  };
  const c = backend.buffers.take(16);
  const pipeline = await backend.pipeline(launch);
  const ms = await best(clock, 2, async () => {
    backend.record(launch, pipeline, { c }, ONCE);
    await backend.settle();
  });
  backend.buffers.giveBack(c);
  return ms;
}

function registersGflops(groups: number, ms: number): number {
  return (groups * PEAK.threads * PEAK.turns * PEAK.flopsPerTurn) / ms / 1e6;
}

/** By as many workgroups as take `kernelMs`. */
async function peak(backend: WebGpuBackend, { clock, kernelMs }: GpuProbeOptions): Promise<number> {
  let groups = 64;
  let ms = await registersMs(backend, clock, groups);
  while (ms < kernelMs && groups < PEAK_GROUPS) {
    groups = Math.min(4 * groups, PEAK_GROUPS);
    ms = await registersMs(backend, clock, groups);
  }
  return registersGflops(groups, ms);
}

/** Before anything is timed: a card that waited runs at a fraction of its clock, and takes some milliseconds to notice work. */
const WARM_MS = 30;
/** A stretch of calls that is timed takes about so long, so that what a submit costs does not count, and has no more calls than that. */
const STRETCH_MS = 4;
const STRETCH_MOST = 200;
const ROUNDS_LEAST = 3;
const ROUNDS_MOST = 10;

export interface TimingLimits {
  readonly clock: Clock;
  readonly budgetMs: number;
  /** Ends the timing before the next stretch. */
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds of each of some launches on the same blocks: in turn, the best of a few rounds, as many as the budget allows. */
export async function timeLaunches(
  backend: WebGpuBackend,
  launches: readonly Launch[],
  blocks: Blocks,
  { clock, budgetMs, signal }: TimingLimits,
): Promise<number[]> {
  if (launches.length === 0) return [];
  const pipelines = await Promise.all(launches.map((launch) => backend.pipeline(launch)));
  const runs = async (index: number, times: number) => {
    const start = clock.now();
    for (let i = 0; i < times; i++) backend.record(launches[index]!, pipelines[index]!, blocks, ONCE);
    await backend.settle();
    return (clock.now() - start) / times;
  };
  const least: number[] = [];
  for (const index of launches.keys()) least.push(await runs(index, 1));
  const begun = clock.now();
  while (clock.now() - begun < Math.min(WARM_MS, budgetMs / 4)) await runs(0, 1);
  const started = clock.now();
  for (let round = 0; round < ROUNDS_MOST; round++) {
    for (const index of launches.keys()) {
      if (signal?.aborted) throw abortReason(signal);
      const times = Math.min(STRETCH_MOST, Math.max(1, Math.ceil(STRETCH_MS / least[index]!)));
      least[index] = Math.min(least[index]!, await runs(index, times));
    }
    if (round + 1 >= ROUNDS_LEAST && clock.now() - started >= budgetMs) break;
  }
  return least;
}
