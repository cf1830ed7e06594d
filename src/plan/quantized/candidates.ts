/** The plans that are worth considering for 8-bit integers: those of the plain problem over words, and over floats where they are exact. */
import { readsBytes, stepsPerWord } from '../../kernels/quantized.ts';
import type { Kernel } from '../../kernels/table.ts';
import type { QuantizedProblem } from '../../problem/quantized.ts';
import { convPlanFits, convPlans } from '../conv/candidates.ts';
import type { Ladders } from '../ladders.ts';
import { matmulPlanFits, matmulPlans } from '../matmul/candidates.ts';
import type { Plan } from '../plan.ts';
import { innerProblem, readsByteImage } from './view.ts';

export function quantizedPlans(
  p: QuantizedProblem,
  kernels: readonly Kernel[],
  ladders: Ladders,
  threads: readonly number[],
): Plan[] {
  // kernels that count k and take the image alike share a plain problem
  const kinds = new Map<string, Kernel[]>();
  for (const kernel of kernels) {
    const kind = `${stepsPerWord(kernel)} ${readsBytes(kernel)} ${readsByteImage(kernel)}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), kernel]);
  }
  return [...kinds.values()].flatMap((alike) => {
    const inner = innerProblem(p, alike[0]!);
    return inner.op === 'matmul'
      ? matmulPlans(inner, alike, ladders, threads)
      : convPlans(inner, alike, ladders, threads);
  });
}

export function quantizedPlanFits(p: QuantizedProblem, plan: Plan, kernel: Kernel): boolean {
  const inner = innerProblem(p, kernel);
  return inner.op === 'matmul' ? matmulPlanFits(inner, plan, kernel) : convPlanFits(inner, plan, kernel);
}
