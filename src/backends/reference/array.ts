/** The oracle of functions of elements, of lines and of moves: as their definitions read, in float64. Never optimised. */
import { sizeOf } from '../../core/shape.ts';
import type { ActivationKind } from '../../problem/epilogue.ts';
import { isReduction, type LineKind, type LinesProblem } from '../../problem/lines.ts';
import type { BinaryKind, MapProblem, UnaryKind } from '../../problem/map.ts';
import type { MoveProblem } from '../../problem/move.ts';
import type { TakeProblem } from '../../problem/take.ts';
import { erf, referenceActivation } from './matmul.ts';

type Values = ArrayLike<number>;
type Out = Float32Array | Float64Array;

export interface MapScalars {
  readonly p0: number;
  readonly p1: number;
}

function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const exponential = (x: number, alpha: number) => (x >= 0 ? x : alpha * Math.expm1(x));
const truth = (is: boolean) => (is ? 1 : 0);

/** Those that are no activations of a product. */
type Own = Exclude<UnaryKind, ActivationKind>;

const UNARY: Readonly<Record<Own, (x: number, scalars: MapScalars) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  sqrt: Math.sqrt,
  reciprocal: (x) => 1 / x,
  exp: Math.exp,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  sign: Math.sign,
  not: (x) => truth(x === 0),
  isNaN: (x) => truth(Number.isNaN(x)),
  isInf: (x) => truth(Math.abs(x) === Number.POSITIVE_INFINITY),
  log: Math.log,
  erf,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  softplus,
  softsign: (x) => x / (1 + Math.abs(x)),
  mish: (x) => x * Math.tanh(softplus(x)),
  elu: (x, { p0 }) => exponential(x, p0),
  selu: (x, { p0, p1 }) => p1 * exponential(x, p0),
  celu: (x, { p0 }) => (x >= 0 ? x : p0 * Math.expm1(x / p0)),
};

const BINARY: Readonly<Record<BinaryKind, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  pow: (a, b) => a ** b,
  prelu: (a, b) => (a < 0 ? a * b : a),
  mod: (a, b) => (a % b !== 0 && a % b < 0 !== b < 0 ? (a % b) + b : a % b),
  fmod: (a, b) => a % b,
  equal: (a, b) => truth(a === b),
  less: (a, b) => truth(a < b),
  lessOrEqual: (a, b) => truth(a <= b),
  greater: (a, b) => truth(a > b),
  greaterOrEqual: (a, b) => truth(a >= b),
  and: (a, b) => truth(a !== 0 && b !== 0),
  or: (a, b) => truth(a !== 0 || b !== 0),
  xor: (a, b) => truth((a !== 0) !== (b !== 0)),
};

/** The element of an array at which a walk stands after `index` steps. */
function walkTo(extents: readonly number[], strides: readonly number[], index: number): number {
  let at = 0;
  let rest = index;
  for (let axis = extents.length - 1; axis >= 0; axis--) {
    at += (rest % extents[axis]!) * strides[axis]!;
    rest = Math.floor(rest / extents[axis]!);
  }
  return at;
}

/** A function of the values of one element of each operand. */
export function functionOf(kind: MapProblem['kind'], scalars: MapScalars): (...values: number[]) => number {
  if (kind === 'where') return (is, a, b) => (is !== 0 ? a! : b!);
  if (kind in BINARY) return (a, b) => BINARY[kind as BinaryKind](a!, b!);
  if (kind in UNARY) return (x) => UNARY[kind as Own](x!, scalars);
  return (x) => referenceActivation(kind as ActivationKind, x!, scalars.p0, scalars.p1);
}

export function referenceMap(
  p: MapProblem,
  operands: readonly Values[],
  scalars: MapScalars,
  out: Out,
): void {
  const of = functionOf(p.kind, scalars);
  const count = sizeOf(p.extents);
  for (let i = 0; i < count; i++)
    out[i] = of(...p.strides.map((strides, x) => operands[x]![walkTo(p.extents, strides, i)]!));
}

export function referenceMove(p: MoveProblem, from: Values, out: Out): void {
  const count = sizeOf(p.extents);
  for (let i = 0; i < count; i++)
    out[walkTo(p.extents, p.strides[1]!, i)] = from[walkTo(p.extents, p.strides[0]!, i)]!;
}

export function referenceTake(p: TakeProblem, from: Values, list: Values, out: Out): void {
  const { outer, size, inner, count } = p;
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < count; i++)
      for (let x = 0; x < inner; x++)
        out[(o * count + i) * inner + x] = from[(o * size + list[i]!) * inner + x]!;
}

const sum = (values: readonly number[]) => values.reduce((x, y) => x + y, 0);

function reduced(kind: LineKind, line: readonly number[]): number {
  switch (kind) {
    case 'sum':
      return sum(line);
    case 'mean':
      return sum(line) / line.length;
    case 'max':
      return line.reduce((x, y) => Math.max(x, y), Number.NEGATIVE_INFINITY);
    case 'min':
      return line.reduce((x, y) => Math.min(x, y), Number.POSITIVE_INFINITY);
    case 'prod':
      return line.reduce((x, y) => x * y, 1);
    case 'sumSquare':
      return sum(line.map((x) => x * x));
    case 'l1':
      return sum(line.map(Math.abs));
    case 'l2':
      return Math.sqrt(sum(line.map((x) => x * x)));
    case 'logSum':
      return Math.log(sum(line));
    case 'logSumExp': {
      const most = reduced('max', line);
      return Math.abs(most) === Number.POSITIVE_INFINITY
        ? most
        : most + Math.log(sum(line.map((x) => Math.exp(x - most))));
    }
    default:
      throw new Error(`${kind} is no reduction`);
  }
}

function transformed(kind: LineKind, line: readonly number[], epsilon: number): number[] {
  const most = reduced('max', line);
  switch (kind) {
    case 'softmax': {
      const total = sum(line.map((x) => Math.exp(x - most)));
      return line.map((x) => Math.exp(x - most) / total);
    }
    case 'logSoftmax': {
      const total = Math.log(sum(line.map((x) => Math.exp(x - most))));
      return line.map((x) => x - most - total);
    }
    case 'norm': {
      const mean = sum(line) / line.length;
      const variance = sum(line.map((x) => (x - mean) ** 2)) / line.length;
      return line.map((x) => (x - mean) / Math.sqrt(variance + epsilon));
    }
    case 'rmsNorm': {
      const spread = sum(line.map((x) => x * x)) / line.length;
      return line.map((x) => x / Math.sqrt(spread + epsilon));
    }
    default:
      throw new Error(`${kind} makes no line`);
  }
}

export interface LineOperands {
  readonly x: Values;
  readonly scale: Values | undefined;
  readonly bias: Values | undefined;
  readonly epsilon: number;
}

export function referenceLines(p: LinesProblem, { x, scale, bias, epsilon }: LineOperands, out: Out): void {
  const { outer, size, inner } = p;
  for (let o = 0; o < outer; o++) {
    for (let column = 0; column < inner; column++) {
      const at = (i: number) => (o * size + i) * inner + column;
      const line = Array.from({ length: size }, (_, i) => x[at(i)]!);
      if (isReduction(p.kind)) {
        out[o * inner + column] = reduced(p.kind, line);
        continue;
      }
      const of = (list: Values | undefined, kind: LinesProblem['scale'], none: number, i: number) =>
        list && kind !== 'none' ? list[kind === 'place' ? i : o % p.channels]! : none;
      transformed(p.kind, line, epsilon).forEach((value, i) => {
        out[at(i)] = value * of(scale, p.scale, 1, i) + of(bias, p.bias, 0, i);
      });
    }
  }
}
