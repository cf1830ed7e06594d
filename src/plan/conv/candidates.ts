/** The plans that are worth considering for a convolution: for each algorithm its kernels and blockings. */
import { clamp, roundUp } from '../../core/math.ts';
import { servesBy } from '../../kernels/select.ts';
import type { Kernel } from '../../kernels/table.ts';
import {
  algorithmsFor,
  type ConvAlgorithm,
  type ConvProblem,
  groupChannels,
  termsOf,
} from '../../problem/conv.ts';
import { different, evenBlock, type Ladders, NARROW, STEP_FLOPS } from '../ladders.ts';
import { matmulPlanFits, matmulPlans } from '../matmul/candidates.ts';
import type { Packing, Plan } from '../plan.ts';
import { winogradSides } from './slices.ts';
import { asProduct } from './view.ts';

const ALL = Number.MAX_SAFE_INTEGER;

/** Blockings of each algorithm: narrow ones for estimates, few because every new layer of a model waits for them, wide ones for the
 *  tuner. A row of the ladder is tried with all of
 *  the others; what does not fit the problem falls together. */
interface Blocks {
  /** Output channels of a tile. */
  readonly mc: readonly number[];
  /** Steps of k in one pass. */
  readonly kc: readonly number[];
  /** Pixels of a tile, or tiles of the transform in a slice. */
  readonly nc: readonly number[];
}

const IMPLICIT = {
  narrow: { mc: [ALL], kc: [256, 512], nc: [64, 256] },
  wide: { mc: [ALL, 128, 64], kc: [128, 256, 512, 1024], nc: [32, 64, 128, 256, 512, 1024] },
};
const DIRECT = {
  narrow: { mc: [ALL], kc: [512, ALL], nc: [256, 1024] },
  wide: { mc: [ALL, 128, 64, 32], kc: [256, 512, 1024, ALL], nc: [64, 256, 1024, 4096] },
};
const WINOGRAD = {
  narrow: { mc: [ALL, 64], kc: [ALL], nc: [64, 192] },
  wide: { mc: [ALL, 128, 64, 32], kc: [ALL], nc: [32, 64, 128, 256, 512, ALL] },
};
const STRASSEN = {
  narrow: { mc: [ALL], kc: [256], nc: [128] },
  wide: { mc: [ALL], kc: [128, 256, 512], nc: [64, 128, 256, 512] },
};
/** Filters of a group from which on its sums pay: 1.12 times as fast with 480 x 480, 1.07 with 240 x 240, 1.05 with 96 x 336, 0.99 to 1.02 with 128 x 128
 *  and 96 x 96, which may go with a depthwise convolution instead (Node 20, Xeon of 2.5 GHz). */
const STRASSEN_LEAST = 24 * 1024;
const DEPTHWISE = {
  narrow: { mc: [1], kc: [1], nc: [8192, 32768] },
  wide: { mc: [1], kc: [1], nc: [2048, 8192, 32768, 131072] },
};

function blocksOf(algorithm: Exclude<ConvAlgorithm, 'gemm'>, narrow: boolean): Blocks {
  switch (algorithm) {
    case 'implicit':
      return narrow ? IMPLICIT.narrow : IMPLICIT.wide;
    case 'direct':
      return narrow ? DIRECT.narrow : DIRECT.wide;
    case 'depthwise':
      return narrow ? DEPTHWISE.narrow : DEPTHWISE.wide;
    case 'winograd2':
    case 'winograd4':
      return narrow ? WINOGRAD.narrow : WINOGRAD.wide;
    case 'strassen':
      return narrow ? STRASSEN.narrow : STRASSEN.wide;
    default:
      throw new Error(`no blocks for ${algorithm satisfies never}`);
  }
}

function packingOf(kernel: Kernel, algorithm: ConvAlgorithm): Packing {
  if (kernel.family === 'packed') return 'ab';
  // the lanes of four channels read an image that is interleaved first
  if (algorithm === 'depthwise') return kernel.lanes ? 'b' : 'none';
  return kernel.family === 'offset' ? 'none' : 'b';
}

interface Extents {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Products of such extents: one for each point of Winograd's transforms. */
  readonly products: number;
}

function extentsOf(p: ConvProblem, algorithm: ConvAlgorithm): Extents {
  const [channels, pixels] = [p.outC / p.groups, p.outH * p.outW];
  if (algorithm === 'winograd2' || algorithm === 'winograd4') {
    const { side, alpha } = winogradSides(p, algorithm);
    const tiles = Math.ceil(p.outH / side) * Math.ceil(p.outW / side);
    return { m: channels, n: tiles, k: groupChannels(p), products: alpha ** 2 };
  }
  const products = 1;
  if (algorithm === 'strassen') return { m: channels, n: pixels, k: groupChannels(p) / 2, products };
  const k = termsOf(p);
  if (algorithm === 'depthwise') return { m: 1, n: p.outC * pixels, k, products };
  const [m, n] = p.layout === 'nchw' ? [channels, pixels] : [pixels, channels];
  return { m, n, k, products };
}

/** Columns that a tile is a multiple of. */
function columnUnit({ nr }: Kernel, algorithm: ConvAlgorithm): number {
  return algorithm === 'strassen' ? 2 * nr : nr;
}

interface Block {
  readonly mc: number;
  readonly kc: number;
  readonly nc: number;
}

/** Different blocks that a kernel can run: whole multiples, no step above some milliseconds. */
function fittingBlocks(
  p: ConvProblem,
  algorithm: ConvAlgorithm,
  kernel: Kernel,
  blocks: Blocks,
): readonly Block[] {
  const { m, n, k, products } = extentsOf(p, algorithm);
  if (algorithm === 'depthwise')
    return different(blocks.nc, (most) => Math.min(most, n)).map((nc) => ({ mc: 1, kc: k, nc }));
  const unit = columnUnit(kernel, algorithm);
  const kcs = different(blocks.kc, (most) => evenBlock(k, most, 4));
  return different(blocks.mc, (most) => evenBlock(m, Math.max(kernel.mr, most), kernel.mr)).flatMap((mc) => {
    const fitting = Math.max(kernel.nr, Math.floor(STEP_FLOPS / 2 / products / mc / k));
    const ncs = different(blocks.nc, (most) => evenBlock(n, clamp(most, unit, fitting), unit));
    return kcs.flatMap((kc) => ncs.map((nc) => ({ mc, kc, nc })));
  });
}

function plansBy(
  p: ConvProblem,
  algorithm: Exclude<ConvAlgorithm, 'gemm'>,
  kernel: Kernel,
  blocks: Blocks,
  threads: readonly number[],
): Plan[] {
  const packing = packingOf(kernel, algorithm);
  const { name } = kernel;
  // written out: an object that is spread and added to takes V8 11 some 8 us, one that is written out 0.2
  return fittingBlocks(p, algorithm, kernel, blocks).flatMap(({ mc, kc, nc }) =>
    threads.map((count) => ({
      backend: 'wasm',
      kernel: name,
      algorithm,
      packing,
      mc,
      kc,
      nc,
      order: 'mn',
      threads: count,
    })),
  );
}

/** Whether an algorithm may pay that nobody asked for by name. */
function pays(p: ConvProblem, algorithm: ConvAlgorithm, ladders: Ladders): boolean {
  if (p.algorithm !== undefined) return true;
  // sums over one channel are no products: 24 x 128 x 128 took four times as long as by the depthwise kernels
  if (algorithm === 'winograd2' || algorithm === 'winograd4') return groupChannels(p) > 1;
  const filters = (p.outC / p.groups) * groupChannels(p);
  return algorithm !== 'strassen' || ladders !== NARROW || filters >= STRASSEN_LEAST;
}

export function convPlans(
  p: ConvProblem,
  kernels: readonly Kernel[],
  ladders: Ladders,
  threads: readonly number[],
): Plan[] {
  const algorithms = algorithmsFor(p);
  // the same blocks, read in place, without the table of taps: 3 to 28 % faster (19 layers, blocks of 6 x 8, Node 24)
  const inPlace = p.layout === 'nchw' && algorithms.includes('gemm');
  const worthwhile = algorithms.filter(
    (algorithm) => !(inPlace && algorithm === 'direct') && pays(p, algorithm, ladders),
  );
  return worthwhile.flatMap((algorithm) => {
    const serving = kernels.filter((kernel) => servesBy(kernel, p, algorithm));
    if (algorithm === 'gemm') return matmulPlans(asProduct(p), serving, ladders, threads);
    const blocks = blocksOf(algorithm, ladders === NARROW);
    return serving.flatMap((kernel) => plansBy(p, algorithm, kernel, blocks, threads));
  });
}

/** Whether a plan from elsewhere can be run: an algorithm that applies, a kernel that serves it, whole blocks. */
export function convPlanFits(p: ConvProblem, plan: Plan, kernel: Kernel): boolean {
  const { algorithm } = plan;
  if (algorithm === 'fixed' || !algorithmsFor(p).includes(algorithm)) return false;
  if (!servesBy(kernel, p, algorithm)) return false;
  if (algorithm === 'gemm') return matmulPlanFits(asProduct(p), plan, kernel);
  if (plan.packing !== packingOf(kernel, algorithm)) return false;
  if (algorithm === 'depthwise') return true;
  return (
    plan.mc === roundUp(plan.mc, kernel.mr) && plan.nc === roundUp(plan.nc, columnUnit(kernel, algorithm))
  );
}
