/** What every operation makes of its arguments, once they have been checked: the problem, what lies where, and the ways to compute it. */
import type { Shape } from '../core/shape.ts';
import type { Problem } from '../problem/problem.ts';
import type { Keeper } from '../schedule/apart.ts';
import type { Execution } from '../schedule/execute.ts';
import type { Operands } from '../schedule/operands.ts';
import type { SpreadMatrix } from './apart/spread.ts';
import type { Core } from './core.ts';
import type { GpuForm } from './gpu/form.ts';
import type { DenseTensor, Held } from './tensor.ts';
import type { DType } from './types.ts';

/** An operand that never changes as long as its keeper lives, and goes over once. */
export interface KeptOperand {
  readonly name: 'a' | 'b' | 'packedB';
  readonly keeper: Keeper;
}

/** A call whose arguments have been checked: nothing can be wrong with it any more but memory and threads. */
export interface Request {
  readonly problem: Problem;
  readonly shape: Shape;
  /** Of the result; floats unless given. Callers know the type that they asked for. */
  readonly dtype?: DType;
  readonly inputs: readonly (Held | undefined)[];
  readonly out: DenseTensor | undefined;
  /** What a product on the GPU takes; not there, or undefined, where the GPU cannot do this. */
  gpu?(): GpuForm | undefined;
  /** A right operand that lies on other threads. */
  readonly spread?: SpreadMatrix | undefined;
  /** An operand that goes once to threads with a memory of their own, if there is one. */
  kept?(): KeptOperand | undefined;
  /** Whether an extent is 0, which no kernel takes. */
  readonly empty: boolean;
  /** Whether operands are made for the call and gone after it, so that it cannot be run again on them. */
  readonly isFleeting?: boolean;
  /** The plan, where the planner is not asked. */
  plan?(core: Core): Execution;
  /** Addresses and scalars for a plan; `at` are the inputs' addresses in their order. */
  operands(core: Core, planned: Execution | undefined, at: readonly number[], result: number): Operands;
  /** The result where an extent is 0. */
  runEmpty(core: Core, at: readonly number[], out: DenseTensor): void;
  /** The result by the oracle, where no kernel may be trusted. */
  runReference(core: Core, at: readonly number[], out: DenseTensor): void;
}

/** What of a request lies in memory. */
export type Placed = Pick<Request, 'inputs' | 'shape' | 'dtype' | 'out'>;

/** Whether the values of `out` are read before they are overwritten. */
export function readsOut({ problem }: Pick<Request, 'problem'>): boolean {
  return problem.op === 'matmul' && problem.accumulate;
}
