/** transpose: arguments -> problem. */
import { denseStrides } from '../../core/strided.ts';
import { moveProblem } from '../../problem/move.ts';
import { badArgument, checkOptions } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import type { Core } from '../core.ts';
import { readOperand, readOut } from '../operands.ts';
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
