/**
 * Functions of one and of two elements. Those that are arithmetic work on vectors; the others (logarithm, powers, trigonometry) go
 * element by element through the language's own library, whose routines are built from basic operations too: the same bits on
 * every engine.
 */
import {
  MAP_KIND_ABS, MAP_KIND_ACOS, MAP_KIND_ACOSH, MAP_KIND_ADD, MAP_KIND_AND, MAP_KIND_ASIN, MAP_KIND_ASINH, MAP_KIND_ATAN, MAP_KIND_ATANH,
  MAP_KIND_CEIL, MAP_KIND_CELU, MAP_KIND_COS, MAP_KIND_COSH, MAP_KIND_DIV, MAP_KIND_ELU, MAP_KIND_EQUAL, MAP_KIND_ERF, MAP_KIND_EXP,
  MAP_KIND_FLOOR, MAP_KIND_FMOD, MAP_KIND_GREATER, MAP_KIND_GREATER_OR_EQUAL, MAP_KIND_IS_INF, MAP_KIND_IS_NA_N, MAP_KIND_LESS,
  MAP_KIND_LESS_OR_EQUAL, MAP_KIND_LOG, MAP_KIND_MAX, MAP_KIND_MIN, MAP_KIND_MISH, MAP_KIND_MOD, MAP_KIND_MUL, MAP_KIND_NEG, MAP_KIND_NOT,
  MAP_KIND_OR, MAP_KIND_POW, MAP_KIND_PRELU, MAP_KIND_RECIPROCAL, MAP_KIND_ROUND, MAP_KIND_SELU, MAP_KIND_SIGN, MAP_KIND_SIN, MAP_KIND_SINH,
  MAP_KIND_SOFTPLUS, MAP_KIND_SOFTSIGN, MAP_KIND_SQRT, MAP_KIND_SUB, MAP_KIND_TAN, MAP_KIND_XOR,
} from '../gen/layout';
import { exp4, splat } from './math';

/** 1 where a mask is set, else 0. */
// @ts-ignore: decorator
@inline
function truth(mask: v128): v128 {
  return v128.and(mask, splat(1));
}

// @ts-ignore: decorator
@inline
function isTrue(v: v128): v128 {
  return f32x4.ne(v, splat(0));
}

/** `kind` is a constant here. */
// @ts-ignore: decorator
@inline
export function unary4(kind: i32, x: v128, k: usize): v128 {
  switch (kind) {
    case MAP_KIND_NEG: return f32x4.neg(x);
    case MAP_KIND_ABS: return f32x4.abs(x);
    case MAP_KIND_SQRT: return f32x4.sqrt(x);
    case MAP_KIND_RECIPROCAL: return f32x4.div(splat(1), x);
    case MAP_KIND_EXP: return exp4(x, k);
    case MAP_KIND_FLOOR: return f32x4.floor(x);
    case MAP_KIND_CEIL: return f32x4.ceil(x);
    case MAP_KIND_ROUND: return f32x4.nearest(x);
    // NaN is neither above nor below, and stays
    case MAP_KIND_SIGN: return v128.bitselect(x, f32x4.sub(truth(f32x4.gt(x, splat(0))), truth(f32x4.lt(x, splat(0)))), f32x4.ne(x, x));
    case MAP_KIND_NOT: return truth(f32x4.eq(x, splat(0)));
    case MAP_KIND_IS_NA_N: return truth(f32x4.ne(x, x));
    default: return truth(f32x4.eq(f32x4.abs(x), splat(f32.POSITIVE_INFINITY)));
  }
}

/** `kind` is a constant here. */
// @ts-ignore: decorator
@inline
export function binary4(kind: i32, x: v128, y: v128): v128 {
  switch (kind) {
    case MAP_KIND_ADD: return f32x4.add(x, y);
    case MAP_KIND_SUB: return f32x4.sub(x, y);
    case MAP_KIND_MUL: return f32x4.mul(x, y);
    case MAP_KIND_DIV: return f32x4.div(x, y);
    case MAP_KIND_MIN: return f32x4.min(x, y);
    case MAP_KIND_MAX: return f32x4.max(x, y);
    case MAP_KIND_PRELU: return v128.bitselect(f32x4.mul(x, y), x, f32x4.lt(x, splat(0)));
    case MAP_KIND_EQUAL: return truth(f32x4.eq(x, y));
    case MAP_KIND_LESS: return truth(f32x4.lt(x, y));
    case MAP_KIND_LESS_OR_EQUAL: return truth(f32x4.le(x, y));
    case MAP_KIND_GREATER: return truth(f32x4.gt(x, y));
    case MAP_KIND_GREATER_OR_EQUAL: return truth(f32x4.ge(x, y));
    case MAP_KIND_AND: return truth(v128.and(isTrue(x), isTrue(y)));
    case MAP_KIND_OR: return truth(v128.or(isTrue(x), isTrue(y)));
    default: return truth(v128.xor(isTrue(x), isTrue(y)));
  }
}

/** erf x after W. J. Cody, "Rational Chebyshev approximations for the error function" (1969), in float64. */
function erf(value: f32): f32 {
  const x = <f64>value, y = Math.abs(x);
  if (!(y > 0.46875)) {
    const z = x * x;
    const p = (((1.85777706184603153e-1 * z + 3.16112374387056560) * z + 1.13864154151050156e2) * z + 3.77485237685302021e2) * z + 3.20937758913846947e3;
    const q = (((z + 2.36012909523441209e1) * z + 2.44024637934444173e2) * z + 1.28261652607737228e3) * z + 2.84423683343917062e3;
    return <f32>((x * p) / q);
  }
  // beyond 4 the difference from 1 is below half a unit in the last place of f32
  if (y >= 4) return x < 0 ? -1 : 1;
  const p = (((((((2.15311535474403846e-8 * y + 5.64188496988670089e-1) * y + 8.88314979438837594) * y + 6.61191906371416295e1) * y
    + 2.98635138197400131e2) * y + 8.81952221241769090e2) * y + 1.71204761263407058e3) * y + 2.05107837782607147e3) * y + 1.23033935479799725e3;
  const q = (((((((y + 1.57449261107098347e1) * y + 1.17693950891312499e2) * y + 5.37181101862009858e2) * y + 1.62138957456669019e3) * y
    + 3.29079923573345963e3) * y + 4.36261909014324716e3) * y + 3.43936767414372164e3) * y + 1.23033935480374942e3;
  const r = 1 - Math.exp(-y * y) * (p / q);
  return <f32>(x < 0 ? -r : r);
}

/** ln (1 + e^x), without overflow. */
// @ts-ignore: decorator
@inline
function softplus(x: f32): f32 {
  return Mathf.max(x, 0) + Mathf.log1p(Mathf.exp(-Mathf.abs(x)));
}

export function unary1(kind: i32, x: f32, p0: f32, p1: f32): f32 {
  switch (kind) {
    case MAP_KIND_LOG: return Mathf.log(x);
    case MAP_KIND_ERF: return erf(x);
    case MAP_KIND_SIN: return Mathf.sin(x);
    case MAP_KIND_COS: return Mathf.cos(x);
    case MAP_KIND_TAN: return Mathf.tan(x);
    case MAP_KIND_ASIN: return Mathf.asin(x);
    case MAP_KIND_ACOS: return Mathf.acos(x);
    case MAP_KIND_ATAN: return Mathf.atan(x);
    case MAP_KIND_SINH: return Mathf.sinh(x);
    case MAP_KIND_COSH: return Mathf.cosh(x);
    case MAP_KIND_ASINH: return Mathf.asinh(x);
    case MAP_KIND_ACOSH: return Mathf.acosh(x);
    case MAP_KIND_ATANH: return Mathf.atanh(x);
    case MAP_KIND_SOFTPLUS: return softplus(x);
    case MAP_KIND_SOFTSIGN: return x / (1 + Mathf.abs(x));
    case MAP_KIND_MISH: return x * Mathf.tanh(softplus(x));
    case MAP_KIND_ELU: return x >= 0 ? x : p0 * Mathf.expm1(x);
    case MAP_KIND_SELU: return p1 * (x >= 0 ? x : p0 * Mathf.expm1(x));
    case MAP_KIND_CELU: return x >= 0 ? x : p0 * Mathf.expm1(x / p0);
    default: return x;
  }
}

/** x to the power y: squares and roots, of which there are most, are one operation each. */
// @ts-ignore: decorator
@inline
function power(x: f32, y: f32): f32 {
  if (y == 2) return x * x;
  if (y == 0.5 && x >= 0) return sqrt<f32>(x);
  return Mathf.pow(x, y);
}

export function binary1(kind: i32, x: f32, y: f32): f32 {
  if (kind == MAP_KIND_POW) return power(x, y);
  const rest = Mathf.mod(x, y);
  return kind == MAP_KIND_MOD && rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
