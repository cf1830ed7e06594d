/** The plans that are worth considering for a problem, and whether one from elsewhere can be run. */
import type { Kernel } from '../kernels/table.ts';
import type { Problem } from '../problem/problem.ts';
import { convPlanFits, convPlans } from './conv/candidates.ts';
import { type Ladders, threadLadder } from './ladders.ts';
import { matmulPlanFits, matmulPlans } from './matmul/candidates.ts';
import type { Plan } from './plan.ts';
import { quantizedPlanFits, quantizedPlans } from './quantized/candidates.ts';

/** All plans of the given kernels over the ladders, without doubles. Extents are at least 1. */
/** Problems that there are several plans for; of the others calls make the only one themselves. */
const PLANNED: ReadonlySet<Problem['op']> = new Set<Problem['op']>(['matmul', 'conv', 'qmatmul', 'qconv']);

export function isPlanned({ op }: Problem): boolean {
  return PLANNED.has(op);
}

export function candidatePlans(
  p: Problem,
  kernels: readonly Kernel[],
  ladders: Ladders,
  maxThreads: number,
): Plan[] {
  const threads = threadLadder(maxThreads);
  switch (p.op) {
    case 'matmul':
      return matmulPlans(p, kernels, ladders, threads);
    case 'conv':
      return convPlans(p, kernels, ladders, threads);
    case 'qmatmul':
    case 'qconv':
      return quantizedPlans(p, kernels, ladders, threads);
    case 'pool':
    case 'fold':
    case 'map':
    case 'lines':
    case 'move':
    case 'take':
      return [];
    default:
      throw new Error(`no plans for ${p satisfies never}`);
  }
}

/** Whether a plan that came from elsewhere is one that its kernel can run on this problem. A plan that does not fit would
 *  give wrong results, not slow ones. */
export function planFits(p: Problem, plan: Plan, kernel: Kernel): boolean {
  if (plan.backend !== 'wasm') return false;
  switch (p.op) {
    case 'matmul':
      return matmulPlanFits(p, plan, kernel);
    case 'conv':
      return convPlanFits(p, plan, kernel);
    case 'qmatmul':
    case 'qconv':
      return quantizedPlanFits(p, plan, kernel);
    case 'pool':
    case 'fold':
    case 'map':
    case 'lines':
    case 'move':
    case 'take':
      return false;
    default:
      throw new Error(`no plans for ${p satisfies never}`);
  }
}
