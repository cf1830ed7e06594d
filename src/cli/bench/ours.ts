/**
 * tesserae as a contestant: timed through `await rt.matmul(...)`, the call that a user writes.
 * Operands and result are resident tensors and `out` is used again, so no copy is part of a call.
 */
import {
  type Activation,
  type MatmulOptions,
  type ProblemSpec,
  printPlan,
  type Runtime,
  type Tensor,
} from '../../index.ts';
import type { Shape } from '../shapes/index.ts';
import type { Operands } from './operands.ts';
import type { ContestantInfo, Peer, Prepared } from './types.ts';

export const OURS = 'tesserae';

/** The problem as the library's planner is asked about it. */
export function problemOf(shape: Shape): Exclude<ProblemSpec, string> {
  const { m, k, n, batch, transposeB, bias, activation } = shape;
  const prepacked = shape.prepacked === true && canPrepack(shape);
  return {
    m,
    k,
    n,
    ...(batch !== undefined && { batch }),
    // Panels are the same however the matrix was stored before.
    ...(transposeB && !prepacked && { transposeB }),
    ...(prepacked && { prepacked }),
    ...(bias && { bias }),
    ...(activation !== undefined && { activation: activation satisfies Activation }),
  };
}

/** `rt.prepack` takes one matrix. */
function canPrepack({ batch = 1 }: Shape): boolean {
  return batch === 1;
}

export function ours(runtime: Runtime): Peer {
  const { version, threads } = runtime.info;
  const info: ContestantInfo = {
    id: OURS,
    version,
    threads: threads.actual,
    includes: 'await rt.matmul(); resident tensors, out reused',
  };
  return { info, prepare: async (operands) => prepare(runtime, operands), dispose: async () => undefined };
}

function prepare(runtime: Runtime, operands: Operands): Prepared {
  const owned: { dispose(): void }[] = [];
  const dispose = () => {
    for (const value of owned.splice(0)) value.dispose();
  };
  try {
    return place(runtime, operands, owned, dispose);
  } catch (error) {
    // Out of memory halfway: what is there already goes back.
    dispose();
    throw error;
  }
}

function place(
  runtime: Runtime,
  operands: Operands,
  owned: { dispose(): void }[],
  dispose: () => void,
): Prepared {
  const { shape, batch } = operands;
  const { m, k, n, transposeB = false } = shape;
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const own = <T extends { dispose(): void }>(value: T): T => {
    owned.push(value);
    return value;
  };
  const a = own(runtime.tensor(operands.a, stacked(m, k)));
  const matrix = own(runtime.tensor(operands.b, transposeB ? stacked(n, k) : stacked(k, n)));
  const packed = shape.prepacked === true && canPrepack(shape);
  const b = packed ? own(runtime.prepack(matrix, { transposeB, m })) : matrix;
  if (packed) matrix.dispose();
  const out: Tensor = own(runtime.zeros(stacked(m, n)));
  const bias = operands.bias && own(runtime.tensor(operands.bias, shape.bias === 'column' ? [m, 1] : [n]));
  const options: MatmulOptions = {
    out,
    ...(transposeB && !packed && { transposeB }),
    ...(bias && { bias }),
    ...(shape.activation !== undefined && { activation: shape.activation }),
  };
  return {
    run: () => runtime.matmul(a, b, options),
    poison: () => void out.data.fill(Number.NaN),
    result: async () => out.data.slice(),
    plan: () => printPlan(runtime.explain(problemOf(shape)).plan),
    dispose,
  };
}
