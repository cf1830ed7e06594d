/** Operators on single elements: on the host for integers and small constants, else by the runtime's functions of elements. */
import { functionOf } from '../../backends/reference/array.ts';
import { broadcast, sizeOf } from '../../core/shape.ts';
import { broadcastStrides } from '../../core/strided.ts';
import { readUnary } from '../../ops/array/map.ts';
import type { Unary } from '../../ops/array/types.ts';
import type { BinaryKind, MapKind } from '../../problem/map.ts';
import type { Context } from '../context.ts';
import { arrayFor, typeOfCode } from '../model/tensor-proto.ts';
import type { ElementType, Numbers } from '../model/types.ts';
import { isFloat, type Value } from '../value.ts';
import { type Operators, operator } from './types.ts';
import { perChannel } from './views.ts';

/** A number as its type holds it: integers wrap around, floats of 32 bits are rounded. */
export function wrap(type: ElementType, value: number): number {
  switch (type) {
    case 'float32':
    case 'float16':
      return Math.fround(value);
    case 'float64':
      return value;
    case 'bool':
      return value ? 1 : 0;
    case 'int32':
      return value | 0;
    case 'uint32':
      return value >>> 0;
    case 'int16':
      return (value << 16) >> 16;
    case 'uint16':
      return value & 0xffff;
    case 'int8':
      return (value << 24) >> 24;
    case 'uint8':
      return value & 0xff;
    default:
      return Number.isFinite(value) ? Math.trunc(value) : 0;
  }
}

/** Elements of arrays that broadcast, by a function, on the host. */
export function onHost(
  context: Context,
  type: ElementType,
  values: readonly Value[],
  of: (...numbers: number[]) => number,
): Value {
  const shape = values.reduce<readonly number[]>((all, { shape: own }) => {
    const wider = broadcast(all, own);
    if (!wider)
      throw context.refuse(`shapes ${values.map((v) => `[${v.shape}]`).join(' and ')} do not broadcast`);
    return wider;
  }, []);
  const count = sizeOf(shape);
  const out = arrayFor(type, count);
  const lists = values.map((value) => value.numbers!);
  const strides = values.map((value) => broadcastStrides(value.shape, shape));
  const place = new Array<number>(shape.length).fill(0);
  const at = values.map(() => 0);
  for (let i = 0; i < count; i++) {
    out[i] = wrap(type, of(...lists.map((list, x) => list[at[x]!]!)));
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place[axis]!++;
      for (let x = 0; x < at.length; x++) at[x]! += strides[x]![axis]!;
      if (place[axis]! < shape[axis]!) break;
      for (let x = 0; x < at.length; x++) at[x]! -= strides[x]![axis]! * shape[axis]!;
      place[axis] = 0;
    }
  }
  return context.made(type, shape, out, values);
}

const COMPARISONS: ReadonlySet<MapKind> = new Set<MapKind>([
  ...(['equal', 'less', 'lessOrEqual', 'greater', 'greaterOrEqual', 'and', 'or', 'xor'] as const),
]);

function resultType(kind: MapKind, type: ElementType): ElementType {
  return COMPARISONS.has(kind) || kind === 'not' || kind === 'isNaN' || kind === 'isInf' ? 'bool' : type;
}

/** Integers divide towards zero. */
function integerFunction(kind: BinaryKind, type: ElementType): (a: number, b: number) => number {
  const of = functionOf(kind, { p0: 0, p1: 0 });
  return kind === 'div' && !isFloat(type) ? (a, b) => (b === 0 ? 0 : Math.trunc(a / b)) : (a, b) => of(a, b);
}

export function binary(context: Context, kind: BinaryKind, a: Value, b: Value): Value {
  if (context.isHost(a) && context.isHost(b))
    return onHost(context, resultType(kind, a.type), [a, b], integerFunction(kind, a.type));
  const y = context.rt.binarySync(kind, context.tensor(a), context.tensor(b));
  return context.result(y, resultType(kind, a.type));
}

export function unary(context: Context, fn: Unary, x: Value): Value {
  const { kind, p0, p1 } = readUnary(fn);
  const type = resultType(kind, x.type);
  if (context.isHost(x)) {
    const of = functionOf(kind, { p0, p1 });
    return onHost(context, type, [x], (v) => of(v));
  }
  return context.result(context.rt.unarySync(fn, context.tensor(x)), type);
}

/** min, max and their like of any number of inputs. */
function folded(kind: BinaryKind) {
  return operator(1, 1, (context: Context, ...inputs: Value[]) => {
    const [first, ...rest] = inputs;
    return rest.reduce((sum, value) => binary(context, kind, sum, value), first!);
  });
}

/** Until opset 7 the second operand's extents may begin at an axis of the first, not end with its last. */
function alignedAt(context: Context, a: Value, b: Value): Value {
  if (context.opset >= 7 || !context.node.attributes.has('axis')) return b;
  const axis = context.axis(context.int('axis', 0), a.rank);
  const behind = new Array<number>(Math.max(0, a.rank - axis - b.rank)).fill(1);
  return context.reshaped(b, [...b.shape, ...behind]);
}

function both(kind: BinaryKind, since = 1) {
  return operator(since, 2, (context: Context, a: Value, b: Value) =>
    binary(context, kind, a, alignedAt(context, a, b)),
  );
}

function one(fn: Exclude<Unary, object>, since = 1) {
  return operator(since, 1, (context: Context, x: Value) => unary(context, fn, x));
}

function one1(since: number, of: (context: Context) => Unary) {
  return operator(since, 1, (context: Context, x: Value) => unary(context, of(context), x));
}

/** Bounds as attributes, later as inputs. */
function clip(context: Context, x: Value, low?: Value, high?: Value): Value {
  const [min, max] =
    context.opset < 11
      ? [context.float('min', -3.402823e38), context.float('max', 3.402823e38)]
      : [
          low ? context.numbers(low)[0]! : Number.NEGATIVE_INFINITY,
          high ? context.numbers(high)[0]! : Number.POSITIVE_INFINITY,
        ];
  return unary(context, { kind: 'clip', min, max: Math.max(min, max) }, x);
}

function cast(context: Context, x: Value): Value {
  const type = typeOfCode(context.int('to', 0));
  if (!type) throw context.refuse(`casts to type ${context.int('to', 0)}`);
  return castTo(context, x, type);
}

/** Floats become integers towards zero. */
export function castTo(context: Context, x: Value, type: ElementType): Value {
  if (type === x.type) return context.reshaped(x, x.shape);
  const toInteger = !isFloat(type) && isFloat(x.type);
  const of = toInteger && type !== 'bool' ? Math.trunc : (v: number) => v;
  if (context.isHost(x)) return onHost(context, type, [x], of);
  if (isFloat(type)) return context.retyped(x, type);
  const zero = context.number(0);
  if (type === 'bool') {
    const isZero = context.rt.binarySync('equal', context.tensor(x), context.tensor(zero));
    return context.result(context.rt.unarySync('not', isZero, { out: isZero }), type);
  }
  if (!toInteger) return context.retyped(x, type);
  const size = context.rt.unarySync('abs', context.tensor(x));
  context.rt.unarySync('floor', size, { out: size });
  const sign = context.rt.unarySync('sign', context.tensor(x));
  const y = context.rt.binarySync('mul', size, sign, { out: size });
  sign.dispose();
  return context.result(y, type);
}

export function where(context: Context, condition: Value, a: Value, b: Value): Value {
  if ([condition, a, b].every((value) => context.isHost(value)))
    return onHost(context, a.type, [condition, a, b], (c, x, y) => (c ? x : y));
  const [c, x, y] = [condition, a, b].map((value) => context.tensor(value));
  return context.result(context.rt.whereSync(c!, x!, y!), a.type);
}

/** The tanh form of GELU where it is asked for (Hendrycks & Gimpel, "Gaussian error linear units", 2016). */
function gelu(context: Context, x: Value): Value {
  if (context.string('approximate', 'none') === 'none') return unary(context, 'gelu', x);
  const cube = binary(context, 'mul', binary(context, 'mul', x, x), x);
  const inner = binary(context, 'add', x, binary(context, 'mul', cube, context.number(0.044715)));
  const t = unary(context, 'tanh', binary(context, 'mul', inner, context.number(Math.sqrt(2 / Math.PI))));
  const half = binary(context, 'mul', x, context.number(0.5));
  return binary(context, 'mul', half, binary(context, 'add', t, context.number(1)));
}

/** x sigmoid(alpha x). */
function swish(context: Context, x: Value): Value {
  const alpha = context.float('alpha', 1);
  if (alpha === 1) return unary(context, 'silu', x);
  const scaled = binary(context, 'mul', x, context.number(alpha));
  return binary(context, 'mul', x, unary(context, 'sigmoid', scaled));
}

function sumOf(context: Context, ...inputs: Value[]): Value {
  return inputs.slice(1).reduce((sum, value) => binary(context, 'add', sum, value), inputs[0]!);
}

function mean(context: Context, ...inputs: Value[]): Value {
  const count = context.number(inputs.length);
  return binary(context, 'div', sumOf(context, ...inputs), count);
}

/** Slopes may lack leading extents, as NumPy's rule has it; until opset 7 there was one for each channel. */
function prelu(context: Context, x: Value, slope: Value): Value {
  const isChannels = context.opset < 7 && slope.size > 1 && slope.rank === 1;
  return binary(context, 'prelu', x, isChannels ? perChannel(context, slope, x.rank) : slope);
}

function isInf(context: Context, x: Value): Value {
  const [low, high] = [context.int('detect_negative', 1), context.int('detect_positive', 1)];
  if (low && high) return unary(context, 'isInf', x);
  const end = high ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  const bound = context.number(low || high ? end : Number.NaN);
  return binary(context, 'equal', x, bound);
}

function bitwise(of: (a: bigint, b: bigint) => bigint) {
  return operator(18, 2, (context: Context, a: Value, b: Value) => {
    for (const value of [a, b]) context.numbers(value);
    return onHost(context, a.type, [a, b], (x, y) => Number(BigInt.asIntN(64, of(BigInt(x), BigInt(y)))));
  });
}

function bitwiseNot(context: Context, x: Value): Value {
  context.numbers(x);
  return onHost(context, x.type, [x], (v) => -1 - v);
}

function bitShift(context: Context, a: Value, b: Value): Value {
  const left = context.string('direction', 'LEFT') === 'LEFT';
  for (const value of [a, b]) context.numbers(value);
  return onHost(context, a.type, [a, b], (x, y) => (left ? x * 2 ** y : Math.floor(x / 2 ** y)));
}

function thresholded(context: Context, x: Value): Value {
  const alpha = context.number(context.float('alpha', 1));
  return binary(context, 'mul', x, binary(context, 'greater', x, alpha));
}

function shrink(context: Context, x: Value): Value {
  const [lambda, bias] = [context.float('lambd', 0.5), context.float('bias', 0)];
  const above = binary(context, 'greater', x, context.number(lambda));
  const below = binary(context, 'less', x, context.number(-lambda));
  const high = binary(context, 'mul', binary(context, 'sub', x, context.number(bias)), above);
  const low = binary(context, 'mul', binary(context, 'add', x, context.number(bias)), below);
  return binary(context, 'add', high, low);
}

export const ELEMENTWISE: Operators = {
  Add: both('add'),
  Sub: both('sub'),
  Mul: both('mul'),
  Div: both('div'),
  Pow: both('pow'),
  Mod: operator(10, 2, (context: Context, a: Value, b: Value) =>
    binary(context, context.int('fmod', 0) ? 'fmod' : 'mod', a, b),
  ),
  Min: folded('min'),
  Max: folded('max'),
  Sum: operator(1, 1, sumOf),
  Mean: operator(1, 1, mean),
  Equal: both('equal'),
  Less: both('less'),
  LessOrEqual: both('lessOrEqual', 12),
  Greater: both('greater'),
  GreaterOrEqual: both('greaterOrEqual', 12),
  And: both('and'),
  Or: both('or'),
  Xor: both('xor'),
  BitwiseAnd: bitwise((a, b) => a & b),
  BitwiseOr: bitwise((a, b) => a | b),
  BitwiseXor: bitwise((a, b) => a ^ b),
  BitwiseNot: operator(18, 1, bitwiseNot),
  BitShift: operator(11, 2, bitShift),
  Not: one('not'),
  Neg: one('neg'),
  Abs: one('abs'),
  Sqrt: one('sqrt'),
  Reciprocal: one('reciprocal'),
  Exp: one('exp'),
  Log: one('log'),
  Floor: one('floor'),
  Ceil: one('ceil'),
  Round: one('round', 11),
  Sign: one('sign', 9),
  IsNaN: one('isNaN', 9),
  IsInf: operator(10, 1, isInf),
  Erf: one('erf', 9),
  ...Object.fromEntries(
    (['Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh'] as const).map(
      (name) => [name, one(name.toLowerCase() as 'sin', 7)],
    ),
  ),
  Relu: one('relu'),
  Sigmoid: one('sigmoid'),
  Tanh: one('tanh'),
  Softplus: one('softplus'),
  Softsign: one('softsign'),
  Mish: one('mish', 18),
  HardSwish: one('hardSwish', 14),
  Swish: operator(24, 1, swish),
  Gelu: operator(20, 1, gelu),
  LeakyRelu: one1(1, (context) => ({ kind: 'leakyRelu', slope: context.float('alpha', 0.01) })),
  Elu: one1(1, (context) => ({ kind: 'elu', alpha: context.float('alpha', 1) })),
  Celu: one1(12, (context) => ({ kind: 'celu', alpha: context.float('alpha', 1) })),
  Selu: one1(1, (context) => ({
    kind: 'selu',
    alpha: context.float('alpha', 1.6732631921768188),
    gamma: context.float('gamma', 1.0507010221481323),
  })),
  HardSigmoid: one1(1, (context) => ({
    kind: 'hardSigmoid',
    alpha: context.float('alpha', 0.2),
    beta: context.float('beta', 0.5),
  })),
  ThresholdedRelu: operator(10, 1, thresholded),
  Shrink: operator(9, 1, shrink),
  PRelu: operator(1, 2, prelu),
  Clip: operator(1, 1, clip),
  Cast: operator(6, 1, cast),
  CastLike: operator(15, 2, (context: Context, x: Value, like: Value) => castTo(context, x, like.type)),
  Where: operator(9, 3, where),
};

/** Numbers of a host value, copied. */
export function copyOf(type: ElementType, numbers: Numbers): Numbers {
  const copy = arrayFor(type, numbers.length);
  copy.set(numbers);
  return copy;
}
