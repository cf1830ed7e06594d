/** reduce, softmax and layerNorm: arguments -> problem. Axes that are no neighbours are brought together first. */
import { TesseraeError } from '../../core/errors.ts';
import { type Shape, showShape, sizeOf } from '../../core/shape.ts';
import {
  type Affine,
  type LineKind,
  type LinesProblem,
  REDUCE_KINDS,
  type ReduceKind,
} from '../../problem/lines.ts';
import { badArgument, checkFlag, checkOptions, PLACED_NAMES } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import type { Core } from '../core.ts';
import { type Operand, readOperand, readOut } from '../operands.ts';
import type { PlacedOptions, Tensor, TensorLike } from '../types.ts';
import { NO_SCALARS } from './map.ts';
import { transpose, transposeSync } from './move.ts';
import { ArrayRequest } from './request.ts';
import type { LayerNormOptions, ReduceOptions, SoftmaxOptions } from './types.ts';

const OPTIONS = {
  reduce: ['axes', 'keepDims', 'out'],
  softmax: ['axis', 'log', 'out'],
  layerNorm: ['axis', 'scale', 'bias', 'epsilon', 'rms', 'out'],
} as const;
const KNOWN = {
  reduce: {
    sync: new Set<string>(OPTIONS.reduce),
    async: new Set<string>([...OPTIONS.reduce, ...PLACED_NAMES]),
  },
  softmax: {
    sync: new Set<string>(OPTIONS.softmax),
    async: new Set<string>([...OPTIONS.softmax, ...PLACED_NAMES]),
  },
  layerNorm: {
    sync: new Set<string>(OPTIONS.layerNorm),
    async: new Set<string>([...OPTIONS.layerNorm, ...PLACED_NAMES]),
  },
} as const;

/** An axis counted from the front. */
export function readAxis(axis: unknown, rank: number, name = 'axis'): number {
  const wanted = typeof axis === 'number' && axis < 0 ? axis + rank : axis;
  if (Number.isInteger(wanted) && (wanted as number) >= 0 && (wanted as number) < rank)
    return wanted as number;
  throw badArgument(name, axis, `A whole number from ${-rank} to ${rank - 1}.`);
}

function readAxes(axes: readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, axis) => axis);
  if (!Array.isArray(axes)) throw badArgument('axes', axes, 'An array of axes.');
  const read = axes.map((axis) => readAxis(axis, rank, 'axes')).sort((a, b) => a - b);
  if (new Set(read).size < read.length) throw badArgument('axes', axes, 'Each axis once.');
  return read;
}

const NO_AFFINE = { scale: 'none', bias: 'none', channels: 1 } as const;

/** Lines from axis `first` up to `end` of a shape. */
function linesOf(shape: Shape, first: number, end: number): Pick<LinesProblem, 'outer' | 'size' | 'inner'> {
  return {
    outer: sizeOf(shape.slice(0, first)),
    size: sizeOf(shape.slice(first, end)),
    inner: sizeOf(shape.slice(end)),
  };
}

function problemOf(
  core: Core,
  kind: LineKind,
  lines: Pick<LinesProblem, 'outer' | 'size' | 'inner'>,
  affine: { scale: Affine; bias: Affine; channels: number } = NO_AFFINE,
): LinesProblem {
  return { op: 'lines', dtype: 'f32', kind, ...lines, ...affine, exact: core.exact };
}

/** What of a reduction is known once its axes are. */
interface Reduction {
  readonly axes: readonly number[];
  readonly shape: Shape;
  /** The order of axes that brings the reduced ones together, where they are not. */
  readonly order: readonly number[] | undefined;
}

function reductionOf(shape: Shape, options: ReduceOptions): Reduction {
  const axes = readAxes(options.axes, shape.length);
  const keepDims = checkFlag(options.keepDims, 'keepDims');
  const isReduced = (axis: number) => axes.includes(axis);
  const result = keepDims
    ? shape.map((extent, axis) => (isReduced(axis) ? 1 : extent))
    : shape.filter((_, axis) => !isReduced(axis));
  const all = shape.map((_, axis) => axis);
  const between = all.filter(
    (axis) => axis > (axes[0] ?? 0) && axis < (axes.at(-1) ?? 0) && !isReduced(axis),
  );
  const apart = between.some((axis) => shape[axis] !== 1);
  const order = apart ? [...all.filter((axis) => !isReduced(axis)), ...axes] : undefined;
  return { axes, shape: result, order };
}

function reduceRequest(
  core: Core,
  kind: ReduceKind,
  x: TensorLike,
  { shape }: Reduction,
  lines: Pick<LinesProblem, 'outer' | 'size' | 'inner'>,
  out: Tensor | undefined,
): ArrayRequest {
  const a = readOperand(core.heap, x, 'x');
  return new ArrayRequest(
    problemOf(core, kind, lines),
    shape,
    { a },
    NO_SCALARS,
    readOut(core.heap, out, shape, [x]),
  );
}

/** Reduced axes of `x` as it lies, or of its transpose, where they are the last. */
function linesFor(shape: Shape, { axes, order }: Reduction): Pick<LinesProblem, 'outer' | 'size' | 'inner'> {
  if (order) {
    const size = axes.reduce((product, axis) => product * shape[axis]!, 1);
    return { outer: size === 0 ? 0 : sizeOf(shape) / size, size, inner: 1 };
  }
  return axes.length === 0
    ? { outer: 1, size: 1, inner: sizeOf(shape) }
    : linesOf(shape, axes[0]!, axes.at(-1)! + 1);
}

function readReduction(core: Core, kind: ReduceKind, x: TensorLike, options: ReduceOptions) {
  core.checkOpen('reduce');
  if (!REDUCE_KINDS.includes(kind)) throw badArgument('kind', kind, `Use one of ${REDUCE_KINDS.join(', ')}.`);
  const { shape } = readOperand(core.heap, x, 'x');
  const reduction = reductionOf(shape, options);
  return { reduction, lines: linesFor(shape, reduction) };
}

export function reduceSync(core: Core, kind: ReduceKind, x: TensorLike, options: ReduceOptions): Tensor {
  checkOptions(options, KNOWN.reduce.sync);
  const { reduction, lines } = readReduction(core, kind, x, options);
  const { order } = reduction;
  if (!order) return callSync(core, reduceRequest(core, kind, x, reduction, lines, options.out));
  using turned = transposeSync(core, x, order, {});
  return callSync(core, reduceRequest(core, kind, turned, reduction, lines, options.out));
}

export async function reduce(
  core: Core,
  kind: ReduceKind,
  x: TensorLike,
  options: ReduceOptions & PlacedOptions,
): Promise<Tensor> {
  checkOptions(options, KNOWN.reduce.async);
  const { reduction, lines } = readReduction(core, kind, x, options);
  const { order } = reduction;
  const { axes: _, keepDims: __, ...rest } = options;
  const of = (value: TensorLike) =>
    call(core, rest, KNOWN.reduce.async, () =>
      reduceRequest(core, kind, value, reduction, lines, options.out),
    );
  if (!order) return of(x);
  const { out: ___, ...placed } = rest;
  using turned = await transpose(core, x, order, placed);
  return await of(turned);
}

function readSoftmax(core: Core, x: TensorLike, options: SoftmaxOptions): ArrayRequest {
  core.checkOpen('compute');
  const a = readOperand(core.heap, x, 'x');
  const axis = readAxis(options.axis ?? -1, a.shape.length);
  const kind = checkFlag(options.log, 'log') ? 'logSoftmax' : 'softmax';
  const problem = problemOf(core, kind, linesOf(a.shape, axis, axis + 1));
  const out = readOut(core.heap, options.out, a.shape, []);
  return new ArrayRequest(problem, a.shape, { a }, NO_SCALARS, out);
}

export function softmaxSync(core: Core, x: TensorLike, options: SoftmaxOptions): Tensor {
  checkOptions(options, KNOWN.softmax.sync);
  return callSync(core, readSoftmax(core, x, options));
}

export function softmax(core: Core, x: TensorLike, options: SoftmaxOptions & PlacedOptions): Promise<Tensor> {
  return call(core, options, KNOWN.softmax.async, () => readSoftmax(core, x, options));
}

function readAffine(
  core: Core,
  value: TensorLike | undefined,
  name: string,
  shape: Shape,
): Operand | undefined {
  if (value === undefined) return undefined;
  const operand = readOperand(core.heap, value, name);
  if (sizeOf(operand.shape) === sizeOf(shape)) return operand;
  throw new TesseraeError(
    'E_SHAPE',
    `${name} has shape ${showShape(operand.shape)}, lines ${showShape(shape)}`,
    { [name]: operand.shape, lines: shape },
    `Use ${showShape(shape)}.`,
  );
}

function readLayerNorm(core: Core, x: TensorLike, options: LayerNormOptions): ArrayRequest {
  core.checkOpen('compute');
  const a = readOperand(core.heap, x, 'x');
  const axis = readAxis(options.axis ?? -1, a.shape.length);
  const { epsilon = 1e-5 } = options;
  if (typeof epsilon !== 'number' || !(epsilon >= 0))
    throw badArgument('epsilon', epsilon, 'A number from 0 up.');
  const lines = a.shape.slice(axis);
  const b = readAffine(core, options.scale, 'scale', lines);
  const bias = readAffine(core, options.bias, 'bias', lines);
  const of = (operand: Operand | undefined): Affine => (operand ? 'place' : 'none');
  const kind = checkFlag(options.rms, 'rms') ? 'rmsNorm' : 'norm';
  const problem = problemOf(core, kind, linesOf(a.shape, axis, a.shape.length), {
    scale: of(b),
    bias: of(bias),
    channels: 1,
  });
  const { scale, bias: shift } = options;
  const out = readOut(core.heap, options.out, a.shape, [scale, shift]);
  return new ArrayRequest(problem, a.shape, { a, b, bias }, { p0: 0, p1: 0, epsilon }, out);
}

export function layerNormSync(core: Core, x: TensorLike, options: LayerNormOptions): Tensor {
  checkOptions(options, KNOWN.layerNorm.sync);
  return callSync(core, readLayerNorm(core, x, options));
}

export function layerNorm(
  core: Core,
  x: TensorLike,
  options: LayerNormOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, KNOWN.layerNorm.async, () => readLayerNorm(core, x, options));
}
