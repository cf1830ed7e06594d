/** The plans that are worth considering for a product. */
import { clamp, roundUp } from '../../core/math.ts';
import type { Kernel } from '../../kernels/table.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { different, evenBlock, type Ladders, STEP_FLOPS } from '../ladders.ts';
import type { Packing, Plan } from '../plan.ts';

/** Stretches of a matrix-vector product: their number is what threads share. */
const VECTOR_CHUNKS = [1, 2, 4];

function packingsOf(kernel: Kernel, p: MatmulProblem): Packing[] {
  if (kernel.family === 'packed') return ['ab'];
  if (p.prepackedB) return ['b'];
  return p.transposeB ? ['b'] : ['b', 'none'];
}

/** Whether a plan that came from elsewhere is one that its kernel can run on this problem: whole blocks, a packing that the
 *  kernel reads, the panels that are there. A plan that does not fit would give wrong results, not slow ones. */
export function matmulPlanFits(p: MatmulProblem, plan: Plan, kernel: Kernel): boolean {
  if (plan.algorithm !== 'gemm') return false;
  if (kernel.family === 'axpy' || kernel.family === 'dot') return plan.packing === 'none';
  const whole = plan.mc % kernel.mr === 0 && plan.nc % kernel.nr === 0;
  return whole && packingsOf(kernel, p).includes(plan.packing) && (!p.panel || plan.kc === p.panel.kc);
}

function gemmPlans(p: MatmulProblem, kernel: Kernel, ladders: Ladders, threads: readonly number[]): Plan[] {
  const { mr, nr, name } = kernel;
  const kcs = p.panel ? [p.panel.kc] : different(ladders.kc, (most) => evenBlock(p.k, most, 4));
  const mcs = different(ladders.mc, (most) => evenBlock(p.m, Math.max(mr, most), mr));
  const plans: Plan[] = [];
  for (const packing of packingsOf(kernel, p)) {
    for (const kc of kcs) {
      for (const mc of mcs) {
        // a tile spans the whole slice of k; one block of kc is the least that a slice can be
        const fitting = Math.max(nr, Math.floor(STEP_FLOPS / 2 / mc / Math.min(kc, p.k)));
        for (const nc of different(ladders.nc, (most) => evenBlock(p.n, clamp(most, nr, fitting), nr))) {
          const orders = mc >= p.m || nc >= p.n ? (['mn'] as const) : ladders.orders;
          for (const order of orders)
            for (const count of threads)
              plans.push({
                backend: 'wasm',
                kernel: name,
                algorithm: 'gemm',
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
  return plans;
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
        algorithm: 'gemm',
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
export function matmulPlans(
  p: MatmulProblem,
  kernels: readonly Kernel[],
  ladders: Ladders,
  threads: readonly number[],
): Plan[] {
  return kernels.flatMap((kernel) =>
    kernel.family === 'axpy' || kernel.family === 'dot'
      ? vectorPlans(p, kernel, threads)
      : gemmPlans(p, kernel, ladders, threads),
  );
}
