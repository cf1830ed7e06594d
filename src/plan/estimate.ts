/**
 * The cost model: a guess of a plan's milliseconds from what the probe measured. It need not be right, only rank well;
 * bench/regret.ts says how well it does.
 */
import { roundUp } from '../core/math.ts';
import type { Kernel } from '../kernels/table.ts';
import { type ConvProblem, groupChannels } from '../problem/conv.ts';
import { isArrayProblem, type Problem } from '../problem/problem.ts';
import { convMs } from './conv/estimate.ts';
import type { MachineProfile } from './machine.ts';
import { blockGflops, matmulMs } from './matmul/estimate.ts';
import type { Plan } from './plan.ts';
import { quantizedMs } from './quantized/estimate.ts';
import { innerProblem } from './quantized/view.ts';

/** Estimated milliseconds of a plan, call overhead included. */
export function estimateMs(p: Problem, plan: Plan, machine: MachineProfile): number {
  switch (p.op) {
    case 'matmul':
      return matmulMs(p, plan, machine);
    case 'conv':
      return convMs(p, plan, machine);
    case 'qmatmul':
    case 'qconv':
      return quantizedMs(p, plan, machine);
    case 'pool':
    case 'fold':
    case 'map':
    case 'lines':
    case 'move':
    case 'take':
      return Number.POSITIVE_INFINITY;
    default:
      throw new Error(`no estimate for ${p satisfies never}`);
  }
}

/** What a kernel's blocks cut in a convolution: rows and columns of a channel, or channels and pixels. */
function blockExtents(p: ConvProblem, { family }: Kernel): [number, number, number] {
  if (family === 'depthwise') return [p.outH, p.outW, p.kH * p.kW];
  return [p.outC / p.groups, p.outH * p.outW, Math.max(16, groupChannels(p))];
}

/** A kernel's speed on whole blocks, less what padding to its blocks would waste on this problem. */
export function usefulGflops(p: Problem, kernel: Kernel, machine: MachineProfile): number {
  if (p.op === 'pool' || p.op === 'fold' || isArrayProblem(p)) return 0;
  if (p.op === 'qmatmul' || p.op === 'qconv') return usefulGflops(innerProblem(p, kernel), kernel, machine);
  const [m, n, k] = p.op === 'matmul' ? [p.m, p.n, p.k] : blockExtents(p, kernel);
  return (blockGflops(kernel, k, machine) * m * n) / (roundUp(m, kernel.mr) * roundUp(n, kernel.nr));
}
