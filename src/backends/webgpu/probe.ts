/** Measures a GPU: what a call costs, what moving costs, and how fast the rows of the table are. */

import type { Clock } from '../../core/clock.ts';
import { ceilDiv } from '../../core/math.ts';
import { GPU_KERNELS, type GpuGemm } from '../../kernels/gpu.ts';
import type { GpuProfile } from '../../plan/gpu.ts';
import { matmulProblem } from '../../problem/matmul.ts';
import type { Blocks, WebGpuBackend } from './backend.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { lower } from './lower.ts';
import { PEAK, PEAK_SOURCE } from './wgsl/peak.ts';

export interface GpuProbeOptions {
  readonly clock: Clock;
  /** Extent of the square product that rows are timed on, and how long each may take. */
  readonly extent: number;
  readonly kernelMs: number;
  /** Bytes of the moves. */
  readonly moveBytes: number;
  /** Rows to try. */
  readonly kernels: readonly GpuGemm[];
}

/** Copies within the device that are timed together. */
const COPIES = 8;

const ONCE = { alpha: 1, beta: 0, p0: 0, p1: 0 } as const;

/** Rows that a short probe tries: on a software adapter each costs a second of compiling. */
export function probedGpuKernels(software: boolean): GpuGemm[] {
  const rows = GPU_KERNELS.filter((kernel): kernel is GpuGemm => kernel.family === 'gpu-gemm');
  return software
    ? rows.filter(({ tileM, tileN, tileK }) => tileM === tileN && tileK === 16 && tileM <= 64)
    : rows;
}

export async function probeGpu(backend: WebGpuBackend, options: GpuProbeOptions): Promise<GpuProfile> {
  const { clock } = options;
  const launchMs = await best(clock, 5, () => run(backend, options.kernels[0]!, 16, 1));
  const small = new Float32Array(4);
  const block = backend.buffers.upload(small);
  const readMs = await best(clock, 5, () => backend.download(block, () => small));
  backend.buffers.giveBack(block);
  const { uploadGBs, downloadGBs, memoryGBs } = await moves(backend, options);
  const peakGflops = await peak(backend, options);
  const kernelGflops: Record<string, number> = {};
  for (const kernel of options.kernels) kernelGflops[kernel.name] = await gflops(backend, kernel, options);
  const { tileM, tileN } = options.kernels.at(-1)!;
  return {
    launchMs,
    readbackMs: Math.max(0, readMs - launchMs),
    uploadGBs,
    downloadGBs,
    memoryGBs,
    peakGflops,
    kernelGflops,
    fullGroups: Math.min(64, ceilDiv(options.extent, tileM) * ceilDiv(options.extent, tileN)),
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

/** Products of squares, one behind the other on the device. */
async function run(backend: WebGpuBackend, kernel: GpuGemm, extent: number, times: number): Promise<void> {
  const launch = lower(matmulProblem({ m: extent, n: extent, k: extent }), kernel)!;
  const pipeline = await backend.pipeline(launch);
  const bytes = 4 * extent * extent;
  const blocks = {
    a: backend.buffers.take(bytes),
    b: backend.buffers.take(bytes),
    c: backend.buffers.take(bytes),
  };
  for (let i = 0; i < times; i++) backend.record(launch, pipeline, blocks, ONCE);
  await backend.settle();
  for (const block of Object.values(blocks)) backend.buffers.giveBack(block);
}

async function gflops(
  backend: WebGpuBackend,
  kernel: GpuGemm,
  { clock, extent, kernelMs }: GpuProbeOptions,
): Promise<number> {
  const once = await best(clock, 1, () => run(backend, kernel, extent, 1));
  const times = Math.min(100, Math.max(1, Math.round(kernelMs / once)));
  const many = await best(clock, 1, () => run(backend, kernel, extent, times));
  return (2 * extent ** 3 * times) / many / 1e6;
}

/** Multiply-adds in registers, by as many workgroups as take `kernelMs`. */
async function peak(backend: WebGpuBackend, { clock, kernelMs }: GpuProbeOptions): Promise<number> {
  const launch = (groups: number): Launch => ({
    key: 'peak',
    source: () => PEAK_SOURCE,
    bindings: ['c'],
    groups: [groups, 1],
    products: 1,
    params: NO_EXTENTS,
    table: undefined,
  });
  const c = backend.buffers.take(16);
  const runs = async (groups: number) => {
    backend.record(launch(groups), await backend.pipeline(launch(groups)), { c }, ONCE);
    await backend.settle();
  };
  let groups = 64;
  let ms = await best(clock, 2, () => runs(groups));
  while (ms < kernelMs && groups < 32768) {
    groups *= 4;
    ms = await best(clock, 2, () => runs(groups));
  }
  backend.buffers.giveBack(c);
  return (groups * PEAK.threads * PEAK.turns * PEAK.flopsPerTurn) / ms / 1e6;
}

/** Milliseconds of a launch on blocks that lie on the device: the best of a few rounds. */
export async function timeLaunch(
  backend: WebGpuBackend,
  launch: Launch,
  blocks: Blocks,
  clock: Clock,
  budgetMs: number,
): Promise<number> {
  const pipeline = await backend.pipeline(launch);
  const runs = async (times: number) => {
    const start = clock.now();
    for (let i = 0; i < times; i++) backend.record(launch, pipeline, blocks, ONCE);
    await backend.settle();
    return (clock.now() - start) / times;
  };
  const first = Math.min(await runs(1), await runs(1));
  const times = Math.max(1, Math.min(20, Math.floor(budgetMs / 3 / first)));
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3; round++) least = Math.min(least, await runs(times));
  return least;
}
