/**
 * tesserae as a contestant: timed through `await rt.matmul(...)` or `await rt.conv2d(...)`, the call that a user writes.
 * Operands and result are resident tensors and `out` is used again, so no copy is part of a call.
 */
import { type MatmulOptions, type ProblemSpec, printPlan, type Runtime, type Tensor } from '../../index.ts';
import { type ConvShape, convExtents, type MatmulShape, type Shape } from '../shapes/index.ts';
import type { ConvOperands, MatmulOperands, Operands } from './operands.ts';
import type { ContestantInfo, Peer, Prepared } from './types.ts';

export const OURS = 'tesserae';

type ConvOptions = NonNullable<Parameters<Runtime['conv2d']>[2]>;
type Spec = Exclude<ProblemSpec, string>;

/** The problem as the library's planner is asked about it. */
export function problemOf(shape: Shape): Spec {
  return shape.kind === 'conv' ? convProblemOf(shape) : matmulProblemOf(shape);
}

function convProblemOf(shape: ConvShape): Spec {
  const { batch, inC, inH, inW, outC, kH, kW, groups, bias } = shape;
  return {
    op: 'conv',
    input: [batch, inC, inH, inW],
    weights: [outC, inC / groups, kH, kW],
    ...windowOptions(shape),
    prepacked: true,
    ...(bias && { bias }),
  };
}

function windowOptions({ stride, padding, dilation, groups, activation }: ConvShape) {
  return { stride, padding, dilation, groups, ...(activation !== undefined && { activation }) };
}

export function matmulProblemOf(shape: MatmulShape): Exclude<Spec, { readonly op: 'conv' }> {
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
    ...(activation !== undefined && { activation }),
  };
}

/** `rt.prepack` takes one matrix. */
function canPrepack({ batch = 1 }: MatmulShape): boolean {
  return batch === 1;
}

export function ours(runtime: Runtime): Peer {
  const { version, threads } = runtime.info;
  const info: ContestantInfo = {
    id: OURS,
    version,
    threads: threads.actual,
    includes: 'await rt.matmul() or rt.conv2d(); resident tensors, weights prepacked, out reused',
  };
  return { info, prepare: async (operands) => prepare(runtime, operands), dispose: async () => undefined };
}

/** Takes note of what must be disposed of. */
type Own = <T extends { dispose(): void }>(value: T) => T;

type Ready = Omit<Prepared, 'dispose'>;

function prepare(runtime: Runtime, operands: Operands): Prepared {
  const owned: { dispose(): void }[] = [];
  const own: Own = (value) => {
    owned.push(value);
    return value;
  };
  const dispose = () => {
    for (const value of owned.splice(0)) value.dispose();
  };
  try {
    const placed =
      operands.kind === 'conv' ? placeConv(runtime, operands, own) : placeMatmul(runtime, operands, own);
    return { ...placed, dispose };
  } catch (error) {
    // Out of memory halfway: what is there already goes back.
    dispose();
    throw error;
  }
}

function ready(runtime: Runtime, shape: Shape, out: Tensor, run: () => Promise<Tensor>): Ready {
  return {
    run,
    poison: () => void out.data.fill(Number.NaN),
    result: async () => out.data.slice(),
    plan: () => printPlan(runtime.explain(problemOf(shape)).plan),
  };
}

function placeMatmul(runtime: Runtime, operands: MatmulOperands, own: Own): Ready {
  const { shape, batch } = operands;
  const { m, k, n, transposeB = false } = shape;
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
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
  return ready(runtime, shape, out, () => runtime.matmul(a, b, options));
}

function placeConv(runtime: Runtime, { shape, ...operands }: ConvOperands, own: Own): Ready {
  const { batch, inC, inH, inW, outC, kH, kW, groups } = shape;
  const { outH, outW } = convExtents(shape);
  const x = own(runtime.tensor(operands.x, [batch, inC, inH, inW]));
  const weights = own(runtime.tensor(operands.w, [outC, inC / groups, kH, kW]));
  const w = own(runtime.prepackConv(weights));
  weights.dispose();
  const out: Tensor = own(runtime.zeros([batch, outC, outH, outW]));
  const bias = operands.bias && own(runtime.tensor(operands.bias, [outC]));
  const options: ConvOptions = { ...windowOptions(shape), out, ...(bias && { bias }) };
  return ready(runtime, shape, out, () => runtime.conv2d(x, w, options));
}
