/** Floats to bytes: the range that they have, and each as round(x / scale) + zero, half to even, saturated. */

/** Smallest and largest of `count` floats (with 0) to `to`. */
export function float_range(from: usize, count: i32, to: usize): void {
  let low = f32x4.splat(0), high = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const v = v128.load(from + (i << 2));
    low = f32x4.min(low, v);
    high = f32x4.max(high, v);
  }
  for (; i < count; i++) {
    const v = v128.load32_splat(from + (i << 2));
    low = f32x4.min(low, v);
    high = f32x4.max(high, v);
  }
  store<f32>(to, min(min(f32x4.extract_lane(low, 0), f32x4.extract_lane(low, 1)), min(f32x4.extract_lane(low, 2), f32x4.extract_lane(low, 3))));
  store<f32>(to, max(max(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1)), max(f32x4.extract_lane(high, 2), f32x4.extract_lane(high, 3))), 4);
}

/** 1.5 * 2^23: added to a float of less than 2^22, it leaves the integer nearest to that (half to even) in the low bits. */
const ROUNDER: f32 = 12582912;
const ROUNDER_BITS: i32 = 0x4b400000;

export function quantize_floats(from: usize, count: i32, scale: f32, zero: i32, to: usize): void {
  const s = f32x4.splat(scale), back = i32x4.splat(ROUNDER_BITS - zero), rounder = f32x4.splat(ROUNDER);
  // whole numbers: clamping before rounding is the same as after
  const lowest = 0 - zero, highest = 255 - zero;
  const low = f32x4.splat(<f32>lowest), high = f32x4.splat(<f32>highest);
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    const p = from + (i << 2);
    const v0 = f32x4.pmax(f32x4.pmin(f32x4.div(v128.load(p), s), high), low);
    const v1 = f32x4.pmax(f32x4.pmin(f32x4.div(v128.load(p, 16), s), high), low);
    const words = i16x8.narrow_i32x4_s(i32x4.sub(f32x4.add(v0, rounder), back), i32x4.sub(f32x4.add(v1, rounder), back));
    v128.store64_lane(to + i, i8x16.narrow_i16x8_u(words, words), 0);
  }
  for (; i < count; i++) {
    const v = f32x4.pmax(f32x4.pmin(f32x4.div(v128.load32_splat(from + (i << 2)), s), high), low);
    store<u8>(to + i, <u8>i32x4.extract_lane(i32x4.sub(f32x4.add(v, rounder), back), 0));
  }
}
