/** Problem and plan to program: which steps there are, and what each must wait for. Extents are at least 1. */
import type { Plan } from '../../plan/plan.ts';
import type { Program } from '../../plan/program.ts';
import type { Problem } from '../../problem/problem.ts';
import { lowerConv } from './conv.ts';
import { lowerFold } from './fold.ts';
import { lowerMatmul } from './gemm.ts';
import { lowerLines } from './lines.ts';
import { lowerMap } from './map.ts';
import { lowerMove } from './move.ts';
import { lowerPool } from './pool.ts';
import { lowerQuantized } from './quantized.ts';
import { lowerTake } from './take.ts';

export function lower(problem: Problem, plan: Plan): Program {
  switch (problem.op) {
    case 'matmul':
      return lowerMatmul(problem, plan);
    case 'conv':
      return lowerConv(problem, plan);
    case 'pool':
      return lowerPool(problem, plan);
    case 'qmatmul':
    case 'qconv':
      return lowerQuantized(problem, plan);
    case 'fold':
      return lowerFold(problem, plan);
    case 'map':
      return lowerMap(problem, plan);
    case 'lines':
      return lowerLines(problem, plan);
    case 'move':
      return lowerMove(problem, plan);
    case 'take':
      return lowerTake(problem, plan);
    default:
      throw new Error(`no steps for ${problem satisfies never}`);
  }
}
