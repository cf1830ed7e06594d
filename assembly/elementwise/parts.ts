/** The last one to three floats of a line, as vectors that are not full. */

/** Up to three floats from `at`; the other lanes are `fill`. */
export function partOr(at: usize, count: i32, fill: f32): v128 {
  let v = v128.load32_lane(at, f32x4.splat(fill), 0);
  if (count > 1) v = v128.load32_lane(at, v, 1, 4);
  if (count > 2) v = v128.load32_lane(at, v, 2, 8);
  return v;
}

export function storePart(at: usize, v: v128, count: i32): void {
  v128.store32_lane(at, v, 0);
  if (count > 1) v128.store32_lane(at, v, 1, 4);
  if (count > 2) v128.store32_lane(at, v, 2, 8);
}
