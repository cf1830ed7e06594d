/** Taking parts to steps: some of the outer indices in each, or stretches of the list. */
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, NO_EPILOGUE, type Program } from '../../plan/program.ts';
import type { TakeProblem } from '../../problem/take.ts';
import { addRows } from './map.ts';
import { StepList } from './steps.ts';

export function lowerTake(p: TakeProblem, plan: Plan): Program {
  const list = new StepList();
  addRows(list, 'take', [p.outer, p.count], plan, p.inner);
  return {
    problem: p,
    plan,
    constants: constantsOf({ k: p.size, inner: p.inner, taps: p.count }),
    epilogue: NO_EPILOGUE,
    offsets: [],
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: 0,
  };
}
