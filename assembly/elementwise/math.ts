/**
 * Elementary functions on four lanes, built from basic IEEE operations only, so that they give the same bits on every
 * engine. Polynomials and reduction constants are those of the Cephes library (S. Moshier), single precision.
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

/** Picks a where the mask is set, b elsewhere. */
// @ts-ignore: decorator
@inline
export function select(a: v128, b: v128, mask: v128): v128 {
  return v128.bitselect(a, b, mask);
}

/** e^x, relative error about 1e-7. Below -87.3 the result is the smallest normal number's size, above 88.37 infinity;
 *  NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 is split in two so that n ln 2 is exact. */
export function exp4(x: v128): v128 {
  const clamped = f32x4.max(f32x4.min(x, splat(88.72283905)), splat(-87.33654475));
  const n = f32x4.nearest(f32x4.mul(clamped, splat(1.44269504088896341)));
  let r = f32x4.sub(clamped, f32x4.mul(n, splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, splat(-2.12194440e-4)));
  let p = splat(1.9875691500e-4);
  p = madd(p, r, splat(1.3981999507e-3));
  p = madd(p, r, splat(8.3334519073e-3));
  p = madd(p, r, splat(4.1665795894e-2));
  p = madd(p, r, splat(1.6666665459e-1));
  p = madd(p, r, splat(5.0000001201e-1));
  p = f32x4.add(madd(f32x4.mul(p, r), r, r), splat(1));
  // 2^n in two factors: n = 128 would not fit one exponent
  const whole = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(whole, 1);
  const bias = i32x4.splat(127);
  const first = i32x4.shl(i32x4.add(half, bias), 23);
  const second = i32x4.shl(i32x4.add(i32x4.sub(whole, half), bias), 23);
  const y = f32x4.mul(f32x4.mul(p, first), second);
  const over = f32x4.gt(x, splat(88.72283905));
  return select(splat(f32.POSITIVE_INFINITY), y, over);
}

/** 1 / (1 + e^-x). */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  return f32x4.div(splat(1), f32x4.add(splat(1), exp4(f32x4.neg(x))));
}

/** tanh x: an odd polynomial below 0.625, else 1 - 2 / (e^2|x| + 1) with the sign of x. */
export function tanh4(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const size = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = splat(-5.70498872745e-3);
  p = madd(p, z, splat(2.06390887954e-2));
  p = madd(p, z, splat(-5.37397155531e-2));
  p = madd(p, z, splat(1.33314422036e-1));
  p = madd(p, z, splat(-3.33332819422e-1));
  const small = madd(f32x4.mul(p, z), x, x);
  const e = exp4(f32x4.add(size, size));
  const large = v128.or(f32x4.sub(splat(1), f32x4.div(splat(2), f32x4.add(e, splat(1)))), sign);
  return select(small, large, f32x4.lt(size, splat(0.625)));
}

/** erf x, absolute error about 1.5e-7: Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.26. */
export function erf4(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const size = f32x4.abs(x);
  const t = f32x4.div(splat(1), madd(size, splat(0.3275911), splat(1)));
  let p = splat(1.061405429);
  p = madd(p, t, splat(-1.453152027));
  p = madd(p, t, splat(1.421413741));
  p = madd(p, t, splat(-0.284496736));
  p = madd(p, t, splat(0.254829592));
  const tail = f32x4.mul(f32x4.mul(p, t), exp4(f32x4.neg(f32x4.mul(x, x))));
  return v128.or(f32x4.sub(splat(1), tail), sign);
}

/** x (1 + erf(x / sqrt 2)) / 2: the exact form of GELU, as ONNX and PyTorch default to. */
// @ts-ignore: decorator
@inline
export function gelu4(x: v128): v128 {
  const half = f32x4.mul(x, splat(0.5));
  return f32x4.add(half, f32x4.mul(half, erf4(f32x4.mul(x, splat(0.70710678118654752)))));
}
