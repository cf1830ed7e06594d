/**
 * Elementary functions on four lanes, built from basic IEEE operations only, so that they give the same bits on every
 * engine. Each is one run of operations without branches. Polynomials are cut into even and odd powers: what limits them is
 * the length of the chain of operations, not their number. Coefficients are minimax fits (weighted least squares, Lawson's
 * iteration) in single precision. Errors are the largest over a dense sample of all f32 arguments, in units of EPS = 2^-23;
 * test/ops/activations.test.ts holds them.
 */

// @ts-ignore: decorator
@inline
export function splat(x: f32): v128 {
  return f32x4.splat(x);
}

// @ts-ignore: decorator
@inline
function madd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c - a b. */
// @ts-ignore: decorator
@inline
function msub(a: v128, b: v128, c: v128): v128 {
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** Picks a where the mask is set, b elsewhere. */
// @ts-ignore: decorator
@inline
export function select(a: v128, b: v128, mask: v128): v128 {
  return v128.bitselect(a, b, mask);
}

/** The larger of v and a bound: NaN stays NaN and -0 stays -0. `pmax(v, bound)` is `v < bound ? bound : v`, one instruction on
 *  x86, where `f32x4.max` takes eight. */
// @ts-ignore: decorator
@inline
export function atLeast(v: v128, bound: v128): v128 {
  return f32x4.pmax(v, bound);
}

/** The smaller of v and a bound, likewise. */
// @ts-ignore: decorator
@inline
export function atMost(v: v128, bound: v128): v128 {
  return f32x4.pmin(v, bound);
}

/**
 * Constants are read from memory at `k`, four bytes into all lanes: one instruction. As constants of the code they would be
 * built anew in every turn of a loop, three instructions each (gelu took 1.4 times as long by it on V8 11 and 13).
 */
export const ONE: usize = 0;
const MINUS_TWO: usize = 4;
export const THREE: usize = 8;
export const SIXTH: usize = 12;
/** 1.5 * 2^23 + 127: a small number added to it is rounded to an integer n, and the low bits of the sum are n + 127, which
 *  shifted into place make 2^n. n = -127 gives zero. */
const ROUNDER: usize = 16;
const LN2_HIGH: usize = 20; // ln 2 in two parts, so that n ln 2 is exact in the first (Cody & Waite)
const LN2_LOW: usize = 24;
const LOG2E: usize = 28; // -log2 e
const TWO_LOG2E: usize = 32;
const SIGMOID_HIGH: usize = 36;
const SIGMOID_LOW: usize = 40;
const TANH_ONE: usize = 44;
const GELU_ZERO: usize = 48;
const E: usize = 52; // e^-q = 1 - q + q^2 (E - E1 q + E2 q^2 - E3 q^3 + E4 q^4), |q| <= ln 2 / 2
const F: usize = 72; // 2^-f = 1 - f (F - F1 f + F2 f^2 - F3 f^3 + F4 f^4), |f| <= 1/2
const G: usize = 92; // -log2(erfc(x / sqrt 2) / 2) = 1 + G x + G1 x^2 + ... + G8 x^9, 0 <= x <= 13
export const CONSTANTS_BYTES = 128;

export function layConstants(k: usize): void {
  store<f32>(k, 1, ONE); store<f32>(k, -2, MINUS_TWO); store<f32>(k, 3, THREE); store<f32>(k, 0.16666666666666666, SIXTH);
  store<f32>(k, 12583039, ROUNDER); store<f32>(k, 0.693359375, LN2_HIGH); store<f32>(k, -2.12194440e-4, LN2_LOW);
  store<f32>(k, -1.4426950408889634, LOG2E); store<f32>(k, -2.8853900817779268, TWO_LOG2E);
  store<f32>(k, 87.33654, SIGMOID_HIGH); store<f32>(k, -87.33654, SIGMOID_LOW);
  store<f32>(k, 10, TANH_ONE); store<f32>(k, 13.05, GELU_ZERO);
  store<f32>(k, 0.499999933, E); store<f32>(k, 0.166665191, E + 4); store<f32>(k, 4.16684058e-2, E + 8);
  store<f32>(k, 8.36889918e-3, E + 12); store<f32>(k, 1.38142168e-3, E + 16);
  store<f32>(k, 0.693146977, F); store<f32>(k, 0.240222418, F + 4); store<f32>(k, 5.55073403e-2, F + 8);
  store<f32>(k, 9.67153447e-3, F + 12); store<f32>(k, 1.32646919e-3, F + 16);
  store<f32>(k, 1.15110794, G); store<f32>(k, 0.459175820, G + 4); store<f32>(k, 5.26145921e-2, G + 8);
  store<f32>(k, -7.25435549e-3, G + 12); store<f32>(k, 2.91768548e-4, G + 16); store<f32>(k, 1.21566430e-4, G + 20);
  store<f32>(k, -2.68084052e-5, G + 24); store<f32>(k, 2.19794128e-6, G + 28); store<f32>(k, -6.43007504e-8, G + 32);
}

/** 2^n from ROUNDER + n. */
// @ts-ignore: decorator
@inline
function power(shifted: v128): v128 {
  return i32x4.shl(shifted, 23);
}

/** x + n ln 2. */
// @ts-ignore: decorator
@inline
function reduced(x: v128, n: v128, k: usize): v128 {
  return madd(n, v128.load32_splat(k, LN2_LOW), madd(n, v128.load32_splat(k, LN2_HIGH), x));
}

/** e^-q - 1 for |q| <= ln 2 / 2. */
// @ts-ignore: decorator
@inline
function expm1Small(q: v128, k: usize): v128 {
  const z = f32x4.mul(q, q);
  let even = madd(v128.load32_splat(k, E + 16), z, v128.load32_splat(k, E + 8));
  even = madd(even, z, v128.load32_splat(k, E));
  const odd = madd(v128.load32_splat(k, E + 12), z, v128.load32_splat(k, E + 4));
  return f32x4.sub(f32x4.sub(f32x4.mul(even, z), f32x4.mul(odd, f32x4.mul(q, z))), q);
}

/** 2^-f for |f| <= 1/2. */
// @ts-ignore: decorator
@inline
function exp2Small(f: v128, k: usize): v128 {
  const z = f32x4.mul(f, f);
  let odd = madd(v128.load32_splat(k, F + 16), z, v128.load32_splat(k, F + 8));
  odd = madd(odd, z, v128.load32_splat(k, F));
  const even = madd(v128.load32_splat(k, F + 12), z, v128.load32_splat(k, F + 4));
  return madd(even, z, msub(odd, f, v128.load32_splat(k, ONE)));
}

/** e^x, error 1.1 EPS; 2^n in two factors, so that results at both ends of the range come out right. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128, k: usize): v128 {
  const rounder = v128.load32_splat(k, ROUNDER);
  const q = f32x4.neg(atMost(atLeast(x, splat(-104)), splat(89)));
  const shifted = madd(q, v128.load32_splat(k, LOG2E), rounder);
  const e = f32x4.add(expm1Small(reduced(q, f32x4.sub(shifted, rounder), k), k), v128.load32_splat(k, ONE));
  const n = i32x4.sub(shifted, rounder), half = i32x4.shr_s(n, 1), bias = i32x4.splat(127);
  return f32x4.mul(f32x4.mul(e, i32x4.shl(i32x4.add(half, bias), 23)), i32x4.shl(i32x4.add(i32x4.sub(n, half), bias), 23));
}

/** 1 / (1 + e^-x), error 1.3 EPS. Exactly 0 below -87.34, where the result leaves the normal numbers. */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128, k: usize): v128 {
  const one = v128.load32_splat(k, ONE), rounder = v128.load32_splat(k, ROUNDER), lowest = v128.load32_splat(k, SIGMOID_LOW);
  const inside = atMost(atLeast(x, lowest), v128.load32_splat(k, SIGMOID_HIGH));
  const shifted = madd(inside, v128.load32_splat(k, LOG2E), rounder);
  const small = expm1Small(reduced(inside, f32x4.sub(shifted, rounder), k), k);
  const e = f32x4.mul(f32x4.add(small, one), power(shifted));
  return v128.andnot(f32x4.div(one, f32x4.add(e, one)), f32x4.lt(x, lowest));
}

/** tanh x = -m / (2 + m) with m = e^-2|x| - 1 and the sign of x; error 1.7 EPS. */
// @ts-ignore: decorator
@inline
export function tanh4(x: v128, k: usize): v128 {
  const rounder = v128.load32_splat(k, ROUNDER);
  const size = atMost(f32x4.abs(x), v128.load32_splat(k, TANH_ONE));
  const shifted = madd(size, v128.load32_splat(k, TWO_LOG2E), rounder);
  const small = expm1Small(reduced(f32x4.add(size, size), f32x4.sub(shifted, rounder), k), k);
  const scale = power(shifted);
  const m = madd(small, scale, f32x4.sub(scale, v128.load32_splat(k, ONE)));
  const y = f32x4.div(m, f32x4.sub(v128.load32_splat(k, MINUS_TWO), m));
  return v128.or(y, v128.and(x, i32x4.splat(0x80000000)));
}

/**
 * x (1 + erf(x / sqrt 2)) / 2: the exact form of GELU, as ONNX and PyTorch default to. The share that is left on the negative
 * side, erfc(|x| / sqrt 2) / 2, is 2^-q with q a polynomial of |x|: no division, and far out it keeps its magnitude, where
 * 1 + erf would be all rounding. Error 2.1 EPS of the value on the right; 1.1 EPS of the argument and 8e-8 on the left.
 */
// @ts-ignore: decorator
@inline
export function gelu4(x: v128, k: usize): v128 {
  const one = v128.load32_splat(k, ONE), rounder = v128.load32_splat(k, ROUNDER);
  const size = atMost(f32x4.abs(x), v128.load32_splat(k, GELU_ZERO));
  const z = f32x4.mul(size, size);
  let odd = madd(v128.load32_splat(k, G + 32), z, v128.load32_splat(k, G + 24));
  let even = madd(v128.load32_splat(k, G + 28), z, v128.load32_splat(k, G + 20));
  odd = madd(odd, z, v128.load32_splat(k, G + 16));
  even = madd(even, z, v128.load32_splat(k, G + 12));
  odd = madd(odd, z, v128.load32_splat(k, G + 8));
  even = madd(even, z, v128.load32_splat(k, G + 4));
  odd = madd(odd, z, v128.load32_splat(k, G));
  const q = madd(odd, size, madd(even, z, one));
  const shifted = f32x4.sub(rounder, q);
  const f = f32x4.add(f32x4.sub(shifted, rounder), q);
  const left = f32x4.mul(exp2Small(f, k), power(shifted));
  return f32x4.mul(x, select(left, f32x4.sub(one, left), f32x4.lt(x, splat(0))));
}
