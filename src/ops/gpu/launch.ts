/** Launches of problems by rows of the table, kept: writing one down takes as long as recording it. */
import type { Launch } from '../../backends/webgpu/launch.ts';
import { lower } from '../../backends/webgpu/lower.ts';
import { findGpuKernel } from '../../kernels/gpu.ts';
import { keyOf, type Problem } from '../../problem/problem.ts';

/** Shapes that come and go must not gather. */
const KEPT_MOST = 1024;

export class Launches {
  readonly #kept = new Map<string, Launch>();

  get(problem: Problem, kernel: string): Launch {
    const key = `${kernel} ${keyOf(problem)}`;
    const kept = this.#kept.get(key);
    if (kept) return kept;
    const row = findGpuKernel(kernel);
    const launch = row && lower(problem, row);
    if (!launch) throw new Error(`${kernel} does not serve ${keyOf(problem)}`);
    if (this.#kept.size >= KEPT_MOST) this.#kept.clear();
    this.#kept.set(key, launch);
    return launch;
  }
}
