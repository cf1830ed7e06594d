/** Runtimes made to take a given plan, as if it had been measured. */
import type { ConvSpec, Runtime } from '../../src/ops/types.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { Wisdom } from '../../src/plan/wisdom.ts';
import type { AskedConv } from './conv-oracle.ts';

/** A convolution as it is asked for, as `explain` and `tune` want it. */
export function specOf({ x, w, bias, residual, ...rest }: AskedConv): ConvSpec {
  return {
    op: 'conv',
    input: x.shape,
    weights: w.shape,
    ...rest,
    ...(bias ? { bias: true } : {}),
    ...(residual ? { residual: true } : {}),
  };
}

/** From now on the problem of this key goes by this plan. */
export function usePlan(rt: Runtime, key: string, plan: Plan): void {
  const wisdom = new Wisdom(undefined, rt.info.wisdom.signature);
  wisdom.put(key, { plan, effort: 'exhaustive', ms: 0.001, at: Date.now() });
  rt.wisdom.clear();
  rt.wisdom.import(wisdom.export());
}
