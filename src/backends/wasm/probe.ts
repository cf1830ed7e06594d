/**
 * What can this machine do? A short probe (a fraction of a second, kept in wisdom) that feeds the cost model, and the
 * pieces that the long measurement of `doctor` is made of. Times are minima: noise only ever adds.
 */
import { type Clock, stepOf } from '../../core/clock.ts';
import { findKernel, KERNELS, type Kernel } from '../../kernels/table.ts';
import type { MachineProfile } from '../../plan/machine.ts';
import { constantsOf, NO_EPILOGUE } from '../../plan/program.ts';
import { matmulProblem } from '../../problem/matmul.ts';
import type { WasmBackend } from './backend.ts';
import { ZEROS_ADDRESS } from './layout.ts';
import type { MicroKernel } from './module.ts';

/** Operations in one turn of the peak loops; see assembly/probe. */
const PEAK_FLOPS = { simd: 96, relaxed: 160 } as const;
const K = 192;
/** Lines of a matrix for vector kernels: 192 x 192 floats stay in the second cache. */
const LINES = 192;

export interface ProbeOptions {
  readonly clock: Clock;
  /** Milliseconds for the kernels; tier-up of the engine's compiler happens within it. */
  readonly kernelMs: number;
  readonly peakMs: number;
  /** Bytes of the stretch that the bandwidth loop reads. */
  readonly readBytes: number;
  readonly readMs: number;
  readonly kernels: readonly string[];
  /** Whether the engine may have fused 128-bit operations into wider ones: kernels may then pass the 128-bit ceiling. */
  readonly wideVectors: boolean;
  /** Gives the event loop a turn; called every few milliseconds. */
  readonly pause: () => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface Timed {
  readonly run: () => void;
  /** Runs of one stretch. */
  times: number;
  best: number;
}

/** Steps of the clock that a timed stretch has at least: its time is right to a tenth. */
const CLOCK_STEPS = 10;

const LEAST_ROUNDS = 2;
/**
 * Times have settled when for so long none became a tenth shorter: the engine compiles the kernels one after the other while they run, and a
 * machine with something else to do takes longer for it (92 kernels: 120 to more than 240 ms). Some rounds must have been as fast as the best
 * of each, or kernels that were compiled early were measured at another speed of the machine than late ones. All that is waited for up to
 * so many times as long as is asked for.
 */
const SETTLED_MS = 40;
const SHORTER = 0.9;
const SETTLED_ROUNDS = 5;
const CALM = 1.2;
const LONGEST = 4;

/** Of one run, from as many as take `shortest`. */
function timeOnce(timed: Timed, shortest: number, clock: Clock): number {
  for (;;) {
    const start = clock.now();
    repeat(timed.times, timed.run);
    const spent = clock.now() - start;
    if (spent >= shortest) return spent / timed.times;
    timed.times *= 2;
  }
}

/** Runs all in turn until the time is up and times have settled, so that each is warmed, compiled and timed under the same conditions. */
export async function timeAll(
  timed: readonly Timed[],
  ms: number,
  { clock, pause, signal }: Pick<ProbeOptions, 'clock' | 'pause' | 'signal'>,
): Promise<void> {
  const shortest = CLOCK_STEPS * stepOf(clock);
  const begin = clock.now();
  let paused = begin;
  let [changed, calm] = [begin, 0];
  const isOver = () => {
    const now = clock.now();
    const isSettled = now >= changed + SETTLED_MS && calm >= SETTLED_ROUNDS;
    return now >= begin + ms && (isSettled || now >= begin + LONGEST * ms);
  };
  // the first round warms up: where it is all that there is time for, another follows
  for (let round = 0; round < LEAST_ROUNDS || !isOver(); round++) {
    let [all, best] = [0, 0];
    for (const one of timed) {
      const spent = timeOnce(one, shortest, clock);
      if (spent < SHORTER * one.best) [changed, calm] = [clock.now(), 0];
      one.best = Math.min(one.best, spent);
      all += spent;
      best += one.best;
      if (clock.now() - paused > 6) {
        await pause();
        signal?.throwIfAborted();
        paused = clock.now();
      }
    }
    if (all < CALM * best) calm++;
  }
}

/** Calls a kernel on panels in cache a few times; returns the operations of one run. */
function kernelRun(backend: WasmBackend, kernel: Kernel, at: number): { run: () => void; flops: number } {
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  const a = at;
  const b = at + 65536;
  const c = b + LINES * K * 4;
  if (kernel.family === 'axpy')
    return { run: () => call(K, a, LINES, b, 4 * LINES, c, 4, c, 0, 1), flops: 2 * LINES * K };
  if (kernel.family === 'dot')
    return { run: () => call(K, a, LINES, b, 4 * K, c, 4, c, 0, 1), flops: 2 * LINES * K };
  const words = (address: number, count: number) =>
    new Int32Array(backend.view(address, count).buffer, address, count);
  if (kernel.family === 'depthwise') return depthwiseRun(call, kernel, words, a, b, c);
  const { mr, nr } = kernel;
  // the offset kernels' table stands behind the blocks of the result
  const table = c + 32768;
  const rowBytes = kernel.family === 'offset' ? table : 4 * nr;
  words(table, K).forEach((_, p, all) => {
    all[p] = 4 * nr * p;
  });
  const blocks = Math.max(1, Math.round(24 / mr));
  const lda = 4 * K;
  const ldc = 4 * nr;
  return {
    run: () => call(K, a, lda, b, rowBytes, ZEROS_ADDRESS, 0, c, ldc, blocks),
    flops: 2 * blocks * mr * nr * K,
  };
}

/** Operations of a run of a depthwise kernel, some as many as of a product's: V8 compiles what has run for long, and with eight calls each some
 *  of them were still waiting for it when all others were done. */
const DEPTHWISE_FLOPS = 120_000;

/** A depthwise kernel over rows of 112 columns, as many at once as it computes. */
function depthwiseRun(
  call: MicroKernel,
  { mr, taps, lanes }: Kernel,
  words: (address: number, count: number) => Int32Array,
  weights: number,
  image: number,
  c: number,
): { run: () => void; flops: number } {
  const columns = 112;
  const row = 4 * 128;
  const count = taps ? taps.size ** 2 : 9;
  // every column has a channel in each lane there
  const once = 2 * mr * columns * count * (lanes ? 4 : 1);
  const times = Math.ceil(DEPTHWISE_FLOPS / once);
  const flops = times * once;
  // weights are ones; masks, bounds and tables of tap offsets that are all zeros are as good as any for time
  if (!taps) {
    const one = () => call(columns, weights, count, image, row, ZEROS_ADDRESS, row, c, row, 1);
    return { run: () => repeat(times, one), flops };
  }
  // the table of rows stands behind the rows of the result
  const table = c + 32768;
  const rows = (mr - 1) * taps.stride + taps.size;
  words(table, rows).forEach((_, i, all) => {
    all[i] = image + i * row * taps.stride;
  });
  const one = () => call(columns, weights, ZEROS_ADDRESS, table, 0, ZEROS_ADDRESS, 0, c, row, rows << 8);
  return { run: () => repeat(times, one), flops };
}

function repeat(times: number, run: () => void): void {
  for (let i = 0; i < times; i++) run();
}

/** The register-only multiply-add ceiling and each kernel's speed on one block in cache. */
async function probeKernels(
  backend: WasmBackend,
  options: ProbeOptions,
): Promise<{ peakGflops: number; kernelGflops: Record<string, number> }> {
  const bytes = 65536 + LINES * K * 4 + 65536;
  const at = backend.allocate(bytes, 'scratch');
  try {
    // ones: products neither vanish into denormals nor overflow, both of which would be slow
    backend.view(at, bytes / 4).fill(1);
    const turns = 400;
    const peaks = [
      {
        run: () => void backend.exports.probe_peak_simd(turns, at),
        times: 1,
        best: Infinity,
        flops: PEAK_FLOPS.simd * turns,
      },
      ...(backend.relaxed
        ? [
            {
              run: () => void backend.relaxed!.probe_peak_relaxed(turns, at),
              times: 1,
              best: Infinity,
              flops: PEAK_FLOPS.relaxed * turns,
            },
          ]
        : []),
    ];
    const kernels = options.kernels.map((name) => ({
      name,
      ...kernelRun(backend, findKernel(name)!, at),
      times: 1,
      best: Infinity,
    }));
    await timeAll(peaks, options.peakMs, options);
    await timeAll(kernels, options.kernelMs, options);
    // a busy moment may have held the peak loops back; no 128-bit kernel is faster than the ceiling
    const floor = options.wideVectors ? 0 : Math.max(...kernels.map((k) => k.flops / k.best / 1e6));
    return {
      peakGflops: Math.max(...peaks.map((peak) => peak.flops / peak.best / 1e6), floor),
      kernelGflops: Object.fromEntries(kernels.map((k) => [k.name, round(k.flops / k.best / 1e6)])),
    };
  } finally {
    backend.free(at);
  }
}

/** GB/s that one thread reads from a stretch larger than the caches. In a memory of its own, which goes when this returns:
 *  the runtime's memory would keep the pages for good. */
async function probeRead(backend: WasmBackend, options: ProbeOptions): Promise<number> {
  const piece = 4 * 1024 * 1024;
  const { exports, memory } = backend.instantiateApart(options.readBytes);
  // untouched pages would all be the operating system's one zero page, and come from the cache
  new Float32Array(memory.buffer).fill(1);
  let offset = 0;
  const timed: Timed = {
    run: () => {
      exports.probe_read(offset, piece);
      offset = offset + 2 * piece > options.readBytes ? 0 : offset + piece;
    },
    times: 1,
    best: Infinity,
  };
  await timeAll([timed], options.readMs, options);
  return piece / timed.best / 1e6;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/**
 * The machine's profile. Bandwidth of all threads and wake-up latency are the team's business and are passed in: the team
 * may not be running yet.
 */
export async function probeMachine(
  backend: WasmBackend,
  options: ProbeOptions,
  team: { readGBsAllThreads?: number; wakeUs: number },
): Promise<MachineProfile> {
  const kernels = await probeKernels(backend, options);
  const readGBs = await probeRead(backend, options);
  return {
    peakGflops: round(kernels.peakGflops),
    kernelGflops: kernels.kernelGflops,
    readGBs: round(readGBs),
    readGBsAllThreads: round(Math.max(readGBs, team.readGBsAllThreads ?? readGBs)),
    wakeUs: round(team.wakeUs),
  };
}

/** Runs of a small job that measure the way to the team and back. */
const WAKE_RUNS = 60;

/**
 * What only a running team can tell: how long it takes to wake it, and what all threads together read from memory. Reading
 * is done by dot products over a matrix of `bytes`, which are as memory-bound as a read loop.
 */
export async function measureTeam(
  backend: WasmBackend,
  threads: number,
  bytes: number,
  clock: Clock,
): Promise<{ wakeUs: number; readGBsAllThreads?: number }> {
  if (threads < 2 || !(await backend.team.whenReady(threads))) return { wakeUs: 0 };
  const kernel = KERNELS.find((row) => row.family === 'dot' && backend.kernels.has(row.name))!;
  const k = 4096;
  const rows = Math.floor(bytes / 4 / k);
  const plan = (nc: number) => ({
    backend: 'wasm' as const,
    kernel: kernel.name,
    algorithm: 'gemm' as const,
    packing: 'none' as const,
    mc: 1,
    kc: k,
    nc,
    order: 'mn' as const,
    threads,
  });
  const held = [rows * k, k, rows].map((count) => {
    const address = backend.allocate(4 * count, 'scratch');
    backend.view(address, count).fill(1);
    return address;
  }) as [number, number, number];
  const [a, b, c] = held;
  const none = { c0: 0, bias: 0, slope: 0, packedA: 0, packedB: 0, own: 0 };
  const call = { a, b, c, ...none, alpha: 1, beta: 0, p0: 0, p1: 0 };
  const run = async (m: number, nc: number) => {
    const steps = Array.from({ length: Math.ceil(m / nc) }, (_, i) => ({
      op: 'vector' as const,
      needs: 0,
      a: 0,
      b: 0,
      c: 0,
      m0: 0,
      rows: 0,
      n0: i * nc,
      cols: Math.min(nc, m - i * nc),
      k0: 0,
      ks: k,
      first: true,
      last: true,
      packedA: 0,
      packedB: 0,
      channel: 0,
    }));
    const problem = matmulProblem({ m, n: 1, k });
    const prepared = backend.prepare({
      problem,
      plan: plan(nc),
      constants: constantsOf({ k, kc: k, lda: k, ldb: 1, ldc: 1, matrixA: 1 }),
      epilogue: NO_EPILOGUE,
      offsets: [],
      steps,
      packedAElements: 0,
      packedBElements: 0,
      privateElements: 0,
    });
    const start = clock.now();
    await backend.run(prepared, call, threads).finished;
    const ms = clock.now() - start;
    prepared.release();
    return ms;
  };
  try {
    const wakes: number[] = [];
    for (let i = 0; i < WAKE_RUNS; i++) {
      wakes.push(await run(2, 1));
      // long enough for the team to fall asleep again
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    let best = Infinity;
    for (let i = 0; i < 6; i++) best = Math.min(best, await run(rows, Math.ceil(rows / threads / 8)));
    return {
      wakeUs: 1e3 * wakes.sort((x, y) => x - y)[WAKE_RUNS >> 1]!,
      readGBsAllThreads: (4 * rows * k) / best / 1e6,
    };
  } finally {
    for (const address of held) backend.free(address);
  }
}
