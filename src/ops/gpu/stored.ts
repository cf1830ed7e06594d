/** A problem as the GPU computes it: with the operands that lie there as halves. */
import { type Halves, halvesOf } from '../../problem/halves.ts';
import type { Problem } from '../../problem/problem.ts';
import type { Source } from '../tensor.ts';
import type { GpuForm } from './form.ts';
import { GpuValues } from './remote.ts';

export function halvesIn(problem: Problem): Halves {
  return problem.op === 'matmul' || problem.op === 'conv' ? problem.halves : 'none';
}

function isHalf(source: Source | undefined): boolean {
  const remote = source?.remote;
  return remote instanceof GpuValues && !remote.lost && remote.storage === 'f16';
}

/** Products take halves as they are; depthwise convolutions and everything else get floats. */
export function storedProblem(problem: Problem, { a, b }: GpuForm): Problem {
  const isDepthwise = problem.op === 'conv' && problem.groups === problem.inC;
  if ((problem.op !== 'matmul' && problem.op !== 'conv') || isDepthwise) return problem;
  const halves = halvesOf(isHalf(a), isHalf(b));
  return halves === problem.halves ? problem : { ...problem, halves };
}
