/** Launches of problems by plans, kept as long as the plans are: writing one down takes as long as recording it. */
import type { Launch } from '../../backends/webgpu/launch.ts';
import { lower } from '../../backends/webgpu/lower.ts';
import { findGpuKernel } from '../../kernels/gpu.ts';
import type { Plan } from '../../plan/plan.ts';
import { keyOf, type Problem } from '../../problem/problem.ts';

export class Launches {
  /** A plan is of one problem, and of what its trial makes of that. */
  readonly #kept = new WeakMap<Plan, Map<string, Launch>>();

  get(problem: Problem, plan: Plan): Launch {
    const key = keyOf(problem);
    let kept = this.#kept.get(plan);
    if (!kept) {
      kept = new Map();
      this.#kept.set(plan, kept);
    }
    const known = kept.get(key);
    if (known) return known;
    const row = findGpuKernel(plan.kernel);
    const launch = row && lower(problem, row, plan.kc);
    if (!launch) throw new Error(`${plan.kernel} does not serve ${key}`);
    kept.set(key, launch);
    return launch;
  }
}
