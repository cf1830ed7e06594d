/**
 * The shuffles of which 4 x 4 transposes are made, each one instruction on x86 and ARM. The transpose of rows a, b, c, d is
 *   low64(low32(a, b), low32(c, d)), high64 of the same two, low64(high32(a, b), high32(c, d)), high64 of the same two.
 */

/** a0 b0 a1 b1 */
// @ts-ignore: decorator
@inline
export function low32(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
}

/** a2 b2 a3 b3 */
// @ts-ignore: decorator
@inline
export function high32(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
}

/** a0 a1 b0 b1 */
// @ts-ignore: decorator
@inline
export function low64(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}

/** a2 a3 b2 b3 */
// @ts-ignore: decorator
@inline
export function high64(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

/** a1 a2 a3 b0 */
// @ts-ignore: decorator
@inline
export function shift(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19);
}
