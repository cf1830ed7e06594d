/** What the tests of the wisdom table and of its file store share. */
import { TesseraeError } from '../../src/core/errors.ts';
import type { Effort, Plan } from '../../src/plan/plan.ts';
import type { WisdomEntry } from '../../src/plan/wisdom.ts';

export const SIGNATURE = 's1-test';
export const PLAN: Plan = {
  backend: 'wasm',
  algorithm: 'gemm',
  kernel: 'f32_gemm_4x8__simd',
  packing: 'ab',
  mc: 96,
  kc: 256,
  nc: 512,
  order: 'mn',
  threads: 2,
};

export function entry(mc: number, effort: Effort = 'measure', at = 1): WisdomEntry {
  return { plan: { ...PLAN, mc }, effort, ms: effort === 'estimate' ? undefined : 1.5, at };
}

export function wisdomError(act: () => unknown): TesseraeError | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof TesseraeError && error.code === 'E_WISDOM') return error;
    throw error;
  }
  return undefined;
}
