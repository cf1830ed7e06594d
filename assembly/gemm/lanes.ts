/** Small helpers on lanes, shared by the kernels. */

/** Lane 0 + lane 1 + lane 2 + lane 3, pairwise. */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  const pairs = f32x4.add(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** acc + a * b with two roundings, as the plain SIMD kernels do. */
// @ts-ignore: decorator
@inline
export function maddPlain(acc: f32, a: f32, b: f32): f32 {
  return acc + a * b;
}
