/**
 * A program: a plan applied to a problem, as the list of steps that a team claims one by one. Plain data; any backend can
 * interpret it. Steps come in phases: a step may start when the `needs` first steps of the list are complete.
 */
import type { MatmulProblem } from '../problem/matmul.ts';
import type { Plan } from './plan.ts';

export type StepOp = 'packA' | 'packB' | 'tile' | 'vector';

export interface Step {
  readonly op: StepOp;
  readonly needs: number;
  /** Member of the batch: element offsets of its matrices. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Rows and columns of the result (tile), lines of A (packA) or of B (packB), elements (vector). */
  readonly m0: number;
  readonly rows: number;
  readonly n0: number;
  readonly cols: number;
  /** The slice of k. `first` and `last` mark the slices at its ends. */
  readonly k0: number;
  readonly ks: number;
  readonly first: boolean;
  readonly last: boolean;
  /** Element offsets of this member's panels. */
  readonly packedA: number;
  readonly packedB: number;
}

export interface Program {
  readonly problem: MatmulProblem;
  readonly plan: Plan;
  /** `vector`: matrix times vector by an axpy or dot kernel; `gemm`: everything else. */
  readonly kind: 'gemm' | 'vector';
  readonly steps: readonly Step[];
  /** Elements of packing space that a call needs; 0 where an operand is read in place or comes packed. */
  readonly packedAElements: number;
  readonly packedBElements: number;
}
