/** unary, binary and where: arguments -> problem; the rest of the way is every call's. */
import { TesseraeError } from '../../core/errors.ts';
import { broadcast, type Shape, showShape } from '../../core/shape.ts';
import { readActivation } from '../../problem/epilogue.ts';
import { BINARY_KINDS, type BinaryKind, mapProblem, UNARY_KINDS, type UnaryKind } from '../../problem/map.ts';
import { badArgument, checkOptions, PLACED_NAMES } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import type { Core } from '../core.ts';
import { type Operand, readOperand, readOut } from '../operands.ts';
import type { PlacedOptions, Tensor, TensorLike } from '../types.ts';
import { ArrayRequest, type ArrayScalars } from './request.ts';
import type { ElementOptions, Unary } from './types.ts';

export const SYNC: ReadonlySet<string> = new Set(['out']);
export const ASYNC: ReadonlySet<string> = new Set(['out', ...PLACED_NAMES]);

export const NO_SCALARS: ArrayScalars = { p0: 0, p1: 0, epsilon: 0 };

/** Klambauer et al., "Self-normalizing neural networks" (2017), as ONNX rounds them. */
const SELU = { alpha: 1.6732631921768188, gamma: 1.0507010221481323 };

function checkNumber(value: unknown, name: string): number {
  if (typeof value === 'number') return value;
  throw badArgument(name, value, 'A number.');
}

/** A function's name and its numbers. */
export function readUnary(fn: Unary): { kind: UnaryKind; p0: number; p1: number } {
  const kind = typeof fn === 'object' && fn !== null ? fn.kind : fn;
  if (!UNARY_KINDS.includes(kind)) throw badArgument('fn', fn, `Use one of ${UNARY_KINDS.join(', ')}.`);
  const numbers = (typeof fn === 'object' ? fn : {}) as Record<string, unknown>;
  const number = (name: string, fallback: number) => checkNumber(numbers[name] ?? fallback, name);
  switch (kind) {
    case 'elu':
    case 'celu':
      return { kind, p0: number('alpha', 1), p1: 0 };
    case 'selu':
      return { kind, p0: number('alpha', SELU.alpha), p1: number('gamma', SELU.gamma) };
    case 'clip':
    case 'leakyRelu':
    case 'hardSigmoid': {
      const { p0, p1 } = readActivation(typeof fn === 'object' ? (fn as never) : ({ kind } as never));
      return { kind, p0, p1 };
    }
    default:
      return { kind, p0: 0, p1: 0 };
  }
}

function readUnaryRequest(core: Core, fn: Unary, x: TensorLike, options: ElementOptions): ArrayRequest {
  core.checkOpen('compute');
  const { kind, p0, p1 } = readUnary(fn);
  const a = readOperand(core.heap, x, 'x');
  const problem = mapProblem(kind, [a.shape], a.shape, core.exact);
  // an element is read before it is written: the operand itself will do
  const out = readOut(core.heap, options.out, a.shape, []);
  return new ArrayRequest(problem, a.shape, { a }, { p0, p1, epsilon: 0 }, out);
}

/** The shape that all broadcast to. */
function commonShape(operands: readonly Operand[]): Shape {
  return operands.reduce<Shape>((shape, operand) => {
    const wider = broadcast(shape, operand.shape);
    if (wider) return wider;
    const shapes = operands.map((one) => showShape(one.shape)).join(' and ');
    throw new TesseraeError(
      'E_SHAPE',
      `shapes ${shapes} do not broadcast`,
      { shapes: operands.map((one) => one.shape) },
      'From the right, extents must be equal, or one of them 1.',
    );
  }, []);
}

/** Operands that are walked like the result may be it. */
function othersThan(shape: Shape, operands: readonly Operand[], values: readonly TensorLike[]): TensorLike[] {
  return values.filter((_, i) => showShape(operands[i]!.shape) !== showShape(shape));
}

function readBinaryRequest(
  core: Core,
  fn: BinaryKind,
  x: TensorLike,
  y: TensorLike,
  options: ElementOptions,
): ArrayRequest {
  core.checkOpen('compute');
  if (!BINARY_KINDS.includes(fn)) throw badArgument('fn', fn, `Use one of ${BINARY_KINDS.join(', ')}.`);
  const [a, b] = [readOperand(core.heap, x, 'a'), readOperand(core.heap, y, 'b')];
  const shape = commonShape([a, b]);
  const problem = mapProblem(fn, [a.shape, b.shape], shape, core.exact);
  const out = readOut(core.heap, options.out, shape, othersThan(shape, [a, b], [x, y]));
  return new ArrayRequest(problem, shape, { a, b }, NO_SCALARS, out);
}

function readWhereRequest(
  core: Core,
  condition: TensorLike,
  x: TensorLike,
  y: TensorLike,
  options: ElementOptions,
): ArrayRequest {
  core.checkOpen('compute');
  const operands = [
    readOperand(core.heap, condition, 'condition'),
    readOperand(core.heap, x, 'a'),
    readOperand(core.heap, y, 'b'),
  ] as const;
  const [a, b, c0] = operands;
  const shape = commonShape(operands);
  const problem = mapProblem('where', [a.shape, b.shape, c0.shape], shape, core.exact);
  const out = readOut(core.heap, options.out, shape, othersThan(shape, operands, [condition, x, y]));
  return new ArrayRequest(problem, shape, { a, b, c0 }, NO_SCALARS, out);
}

export function unarySync(core: Core, fn: Unary, x: TensorLike, options: ElementOptions): Tensor {
  checkOptions(options, SYNC);
  return callSync(core, readUnaryRequest(core, fn, x, options));
}

export function unary(
  core: Core,
  fn: Unary,
  x: TensorLike,
  options: ElementOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC, () => readUnaryRequest(core, fn, x, options));
}

export function binarySync(
  core: Core,
  fn: BinaryKind,
  a: TensorLike,
  b: TensorLike,
  options: ElementOptions,
): Tensor {
  checkOptions(options, SYNC);
  return callSync(core, readBinaryRequest(core, fn, a, b, options));
}

export function binary(
  core: Core,
  fn: BinaryKind,
  a: TensorLike,
  b: TensorLike,
  options: ElementOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC, () => readBinaryRequest(core, fn, a, b, options));
}

export function whereSync(
  core: Core,
  condition: TensorLike,
  a: TensorLike,
  b: TensorLike,
  options: ElementOptions,
): Tensor {
  checkOptions(options, SYNC);
  return callSync(core, readWhereRequest(core, condition, a, b, options));
}

export function where(
  core: Core,
  condition: TensorLike,
  a: TensorLike,
  b: TensorLike,
  options: ElementOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC, () => readWhereRequest(core, condition, a, b, options));
}
