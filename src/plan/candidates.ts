/**
 * The plans that are worth considering for a problem. Block sizes come from ladders around what caches of 32 KiB (L1) and
 * 256 KiB to 1 MiB (L2) suggest; the ladders are seeds, the tuner decides.
 */
import { clamp, roundUp } from '../core/math.ts';
import type { Kernel } from '../kernels/table.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import type { Packing, Plan, TileOrder } from './plan.ts';

export interface Ladders {
  readonly mc: readonly number[];
  readonly kc: readonly number[];
  readonly nc: readonly number[];
  readonly orders: readonly TileOrder[];
}

const ALL = Number.MAX_SAFE_INTEGER;

/** For estimates: one sensible blocking and its neighbours. */
export const NARROW: Ladders = { mc: [48, 120, 512], kc: [256, 512], nc: [128, 512], orders: ['mn'] };

/** For `exhaustive`, and for the second round of `measure`. */
export const WIDE: Ladders = {
  mc: [24, 48, 96, 192, ALL],
  kc: [128, 256, 512],
  nc: [128, 256, 512, ALL],
  orders: ['mn', 'nm'],
};

/** No step may take longer than some milliseconds, or an abort would wait for it: at most this many operations. */
const STEP_FLOPS = 2e8;

/** Stretches of a matrix-vector product: their number is what threads share. */
const VECTOR_CHUNKS = [1, 2, 4];

/** Cuts `extent` into equal parts of at most `most`, each a multiple of `step`: no thin last block. */
function evenBlock(extent: number, most: number, step: number): number {
  const parts = Math.ceil(extent / Math.max(step, Math.min(most, extent)));
  return roundUp(Math.ceil(extent / parts), step);
}

function packingsOf(kernel: Kernel, p: MatmulProblem): Packing[] {
  if (kernel.family === 'packed') return ['ab'];
  if (p.prepackedB) return ['b'];
  return p.transposeB ? ['b'] : ['b', 'none'];
}

/** Whether a plan that came from elsewhere is one that its kernel can run on this problem: whole blocks, a packing that the
 *  kernel reads, the panels that are there. A plan that does not fit would give wrong results, not slow ones. */
export function planFits(p: MatmulProblem, plan: Plan, kernel: Kernel): boolean {
  if (plan.backend !== 'wasm') return false;
  if (kernel.family === 'axpy' || kernel.family === 'dot') return plan.packing === 'none';
  const whole = plan.mc % kernel.mr === 0 && plan.nc % kernel.nr === 0;
  return whole && packingsOf(kernel, p).includes(plan.packing) && (!p.panel || plan.kc === p.panel.kc);
}

/** 1, 2, 4, ... and the most. */
export function threadLadder(most: number): number[] {
  const counts = new Set([1, most]);
  for (let t = 2; t < most; t *= 2) counts.add(t);
  return [...counts].sort((a, b) => a - b);
}

function gemmPlans(p: MatmulProblem, kernel: Kernel, ladders: Ladders, threads: readonly number[]): Plan[] {
  const plans = new Map<string, Plan>();
  const { mr, nr, name } = kernel;
  for (const packing of packingsOf(kernel, p)) {
    for (const kcMost of p.panel ? [p.panel.kc] : ladders.kc) {
      const kc = p.panel ? p.panel.kc : evenBlock(p.k, kcMost, 4);
      for (const mcMost of ladders.mc) {
        const mc = evenBlock(p.m, Math.max(mr, mcMost), mr);
        for (const ncMost of ladders.nc) {
          // a tile spans the whole slice of k; one block of kc is the least that a slice can be
          const most = Math.max(nr, Math.floor(STEP_FLOPS / 2 / mc / Math.min(kc, p.k)));
          const nc = evenBlock(p.n, clamp(ncMost, nr, most), nr);
          const oneLine = mc >= p.m || nc >= p.n;
          for (const order of oneLine ? (['mn'] as const) : ladders.orders) {
            for (const count of threads) {
              plans.set(`${packing} ${kc} ${mc} ${nc} ${order} ${count}`, {
                backend: 'wasm',
                kernel: name,
                packing,
                mc,
                kc,
                nc,
                order,
                threads: count,
              });
            }
          }
        }
      }
    }
  }
  return [...plans.values()];
}

function vectorPlans(p: MatmulProblem, kernel: Kernel, threads: readonly number[]): Plan[] {
  const elements = p.m === 1 ? p.n : p.m;
  const most = Math.max(16, Math.floor(STEP_FLOPS / 2 / p.k));
  const plans = new Map<string, Plan>();
  for (const count of threads) {
    for (const chunks of VECTOR_CHUNKS) {
      const nc = Math.min(most, roundUp(Math.ceil(elements / (count * chunks)), 16));
      plans.set(`${count} ${nc}`, {
        backend: 'wasm',
        kernel: kernel.name,
        packing: 'none',
        mc: 1,
        kc: p.k,
        nc,
        order: 'mn',
        threads: count,
      });
    }
  }
  return [...plans.values()];
}

/** All plans of the given kernels over the ladders, without doubles. Extents are at least 1. */
export function candidatePlans(
  p: MatmulProblem,
  kernels: readonly Kernel[],
  ladders: Ladders,
  maxThreads: number,
): Plan[] {
  const threads = threadLadder(maxThreads);
  return kernels.flatMap((kernel) =>
    kernel.family === 'axpy' || kernel.family === 'dot'
      ? vectorPlans(p, kernel, threads)
      : gemmPlans(p, kernel, ladders, threads),
  );
}
