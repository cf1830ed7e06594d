/** transpose, and the moves that parts of arrays are made of: arguments -> problem. */
import type { Shape } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import { moveProblem } from '../../problem/move.ts';
import type { TakeProblem } from '../../problem/take.ts';
import { badArgument, checkOptions } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import type { Core } from '../core.ts';
import { readOperand, readOut } from '../operands.ts';
import { readIntegers } from '../quantized/operands.ts';
import type { DenseTensor } from '../tensor.ts';
import type { PlacedOptions, Tensor, TensorLike } from '../types.ts';
import { ASYNC, NO_SCALARS, SYNC } from './map.ts';
import { ArrayRequest } from './request.ts';
import type { TransposeOptions } from './types.ts';

function readOrder(axes: readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const order = Array.isArray(axes) ? axes.map((axis: number) => (axis < 0 ? axis + rank : axis)) : [];
  const isWhole = order.length === rank && new Set(order).size === rank;
  if (!isWhole || !order.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < rank))
    throw badArgument('axes', axes, `Each of the axes 0 to ${rank - 1} once.`);
  return order;
}

function readTranspose(
  core: Core,
  x: TensorLike,
  axes: readonly number[] | undefined,
  options: TransposeOptions,
): ArrayRequest {
  core.checkOpen('compute');
  const a = readOperand(core.heap, x, 'x');
  const order = readOrder(axes, a.shape.length);
  const shape = order.map((axis) => a.shape[axis]!);
  const from = denseStrides(a.shape);
  const problem = moveProblem(
    shape,
    order.map((axis) => from[axis]!),
    denseStrides(shape),
  );
  const out = readOut(core.heap, options.out, shape, [x]);
  return new ArrayRequest(problem, shape, { a }, NO_SCALARS, out);
}

export function transposeSync(
  core: Core,
  x: TensorLike,
  axes: readonly number[] | undefined,
  options: TransposeOptions,
): Tensor {
  checkOptions(options, SYNC);
  return callSync(core, readTranspose(core, x, axes, options));
}

export function transpose(
  core: Core,
  x: TensorLike,
  axes: readonly number[] | undefined,
  options: TransposeOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC, () => readTranspose(core, x, axes, options));
}

/** One array's part of another: extents with the strides of both, and where each begins. */
export interface Part {
  readonly extents: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly firstFrom: number;
  readonly firstTo: number;
}

/** Copies a part of `x` into a part of `out`, which are not the same. For what is checked already. */
export function movePart(core: Core, x: DenseTensor, out: DenseTensor, part: Part): void {
  const problem = moveProblem(part.extents, part.from, part.to);
  const a = readOperand(core.heap, x, 'x');
  const first = { from: part.firstFrom, to: part.firstTo };
  callSync(core, new ArrayRequest(problem, out.shape, { a }, NO_SCALARS, out, first));
}

/** Places `list` (in range) of the middle extent of `x`, seen as [outer, size, inner]. */
export function takePlaces(
  core: Core,
  x: DenseTensor,
  lines: { readonly outer: number; readonly size: number; readonly inner: number },
  list: DenseTensor<'i32'>,
  shape: Shape,
): Tensor {
  const problem: TakeProblem = { op: 'take', dtype: 'f32', ...lines, count: list.size };
  const inputs = { a: readOperand(core.heap, x, 'x'), b: readIntegers(core.heap, list, 'list', ['i32']) };
  return callSync(core, new ArrayRequest(problem, shape, inputs, NO_SCALARS, undefined));
}
