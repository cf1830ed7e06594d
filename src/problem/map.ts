/** Functions of single elements: of one array, of two, or a choice between two by a third, which broadcast as NumPy's do. */

import { type Shape, sizeOf } from '../core/shape.ts';
import { broadcastStrides, mergeWalk, type Walk } from '../core/strided.ts';
import { ACTIVATION_KINDS, type ActivationKind } from './epilogue.ts';

/** Activations are functions of an element too; prelu is one of two. */
type OneArgument = Exclude<ActivationKind, 'none' | 'prelu'>;

/**
 * Named as ONNX's operators of one input. `elu`: x, or alpha (e^x - 1) below 0. `selu`: gamma times that. `celu`: x, or alpha
 * (e^(x / alpha) - 1) below 0. `softplus`: ln(1 + e^x). `softsign`: x / (1 + |x|). `mish`: x tanh(softplus(x)). `round`: half to even.
 * `not`, `isNaN`, `isInf`: 1 where it is so, else 0.
 */
export const UNARY_KINDS = [
  ...(ACTIVATION_KINDS.filter((kind) => kind !== 'none' && kind !== 'prelu') as OneArgument[]),
  ...([
    'neg',
    'abs',
    'sqrt',
    'reciprocal',
    'exp',
    'floor',
    'ceil',
    'round',
    'sign',
    'not',
    'isNaN',
    'isInf',
  ] as const),
  ...([
    'log',
    'erf',
    'sin',
    'cos',
    'tan',
    'asin',
    'acos',
    'atan',
    'sinh',
    'cosh',
    'asinh',
    'acosh',
    'atanh',
  ] as const),
  ...(['softplus', 'softsign', 'mish', 'elu', 'selu', 'celu'] as const),
] as const;

/** `prelu`: a, or a times b where a is below 0. `mod` has the sign of b (Python), `fmod` that of a (C). Comparisons and logic: 1 or 0. */
export const BINARY_KINDS = [
  ...(['add', 'sub', 'mul', 'div', 'min', 'max', 'pow', 'prelu', 'mod', 'fmod'] as const),
  ...(['equal', 'less', 'lessOrEqual', 'greater', 'greaterOrEqual', 'and', 'or', 'xor'] as const),
] as const;

export type UnaryKind = (typeof UNARY_KINDS)[number];
export type BinaryKind = (typeof BINARY_KINDS)[number];
/** `where`: the second array where the first is not 0, else the third. */
export type MapKind = UnaryKind | BinaryKind | 'where';

export const MAP_KINDS: readonly MapKind[] = [...UNARY_KINDS, ...BINARY_KINDS, 'where'];

export interface MapProblem extends Walk {
  readonly op: 'map';
  readonly dtype: 'f32';
  readonly kind: MapKind;
  readonly exact: boolean;
}

/** The result, dense, has the shape `out`; operands broadcast to it. */
export function mapProblem(
  kind: MapKind,
  operands: readonly Shape[],
  out: Shape,
  exact: boolean,
): MapProblem {
  const strides = operands.map((shape) => broadcastStrides(shape, out));
  return { op: 'map', dtype: 'f32', kind, ...mergeWalk({ extents: out, strides }), exact };
}

/** Canonical key: `map add f32 8x64x3136 200704:3136:1 0:1:0`. */
export function mapKey({ kind, dtype, extents, strides, exact }: MapProblem): string {
  const walks = strides.map((list) => list.join(':')).join(' ');
  return `map ${kind} ${dtype} ${extents.join('x')} ${walks}${exact ? ' exact' : ''}`;
}

/** One for each element, whatever the function. */
export function mapFlops({ extents }: MapProblem): number {
  return sizeOf(extents);
}
