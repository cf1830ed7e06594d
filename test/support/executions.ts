/** What an executor is given, for a backend that computes nothing. */
import type { Plan } from '../../src/plan/plan.ts';
import { type MatmulProblem, matmulKey } from '../../src/problem/matmul.ts';
import type { Execution } from '../../src/schedule/execute.ts';
import type { Operands } from '../../src/schedule/operands.ts';

export const PLAN: Plan = {
  backend: 'null',
  algorithm: 'gemm',
  kernel: 'f32_gemm_4x8__simd_loadsplat',
  packing: 'ab',
  mc: 8,
  kc: 16,
  nc: 16,
  order: 'mn',
  threads: 3,
};
export const OPERANDS: Operands = {
  a: 64,
  b: 128,
  c: 192,
  bias: 0,
  slope: 0,
  packedB: undefined,
  alpha: 1,
  beta: 0,
  p0: 0,
  p1: 0,
};
export function executionOf(p: MatmulProblem, ms: number, plan = PLAN): Execution {
  return { key: matmulKey(p), problem: p, plan, ms };
}
