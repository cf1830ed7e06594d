/** The launch of a problem by a plan's kernel. */
import type { Launch } from '../../backends/webgpu/launch.ts';
import { lower } from '../../backends/webgpu/lower.ts';
import { findGpuKernel } from '../../kernels/gpu.ts';
import { keyOf, type Problem } from '../../problem/problem.ts';

export function launchFor(problem: Problem, kernel: string): Launch {
  const row = findGpuKernel(kernel);
  const launch = row && lower(problem, row);
  if (!launch) throw new Error(`${kernel} does not serve ${keyOf(problem)}`);
  return launch;
}
