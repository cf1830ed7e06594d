/**
 * Bytes to the 32-bit elements that kernels multiply: words of two 16-bit integers that are neighbours in k (`pairs`), or floats;
 * both less their zero point. Neighbours in k are neighbours in memory (`rows`) or stand one line apart (`columns`).
 */

/** Eight bytes as eight 16-bit integers. */
// @ts-ignore: decorator
@inline
function extendLow(v: v128, signed: bool): v128 {
  return signed ? i16x8.extend_low_i8x16_s(v) : i16x8.extend_low_i8x16_u(v);
}

// @ts-ignore: decorator
@inline
function extendHigh(v: v128, signed: bool): v128 {
  return signed ? i16x8.extend_high_i8x16_s(v) : i16x8.extend_high_i8x16_u(v);
}

// @ts-ignore: decorator
@inline
export function byteAt(at: usize, signed: bool): i32 {
  return signed ? <i32>load<i8>(at) : <i32>load<u8>(at);
}

/** Eight 16-bit integers to eight floats at `to`. */
// @ts-ignore: decorator
@inline
function storeFloats(v: v128, to: usize): void {
  v128.store(to, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(v)));
  v128.store(to, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(v)), 16);
}

/** `count` neighbours in k to half as many words; an odd one is followed by 0. */
export function rowPairs(from: usize, count: i32, signed: bool, zero: i32, to: usize): void {
  const zeros = i16x8.splat(<i16>zero);
  let i = 0;
  for (; i + 16 <= count; i += 16) {
    const v = v128.load(from + i);
    v128.store(to + (i << 1), i16x8.sub(extendLow(v, signed), zeros));
    v128.store(to + (i << 1), i16x8.sub(extendHigh(v, signed), zeros), 16);
  }
  for (; i + 8 <= count; i += 8) v128.store(to + (i << 1), i16x8.sub(extendLow(v128.load64_zero(from + i), signed), zeros));
  for (; i < count; i++) store<i16>(to + (i << 1), <i16>(byteAt(from + i, signed) - zero));
  if (count & 1) store<i16>(to + (count << 1), 0);
}

/** `count` bytes to floats. */
export function rowFloats(from: usize, count: i32, signed: bool, zero: i32, to: usize): void {
  const zeros = i16x8.splat(<i16>zero);
  let i = 0;
  for (; i + 8 <= count; i += 8) storeFloats(i16x8.sub(extendLow(v128.load64_zero(from + i), signed), zeros), to + (i << 2));
  for (; i < count; i++) store<f32>(to + (i << 2), <f32>(byteAt(from + i, signed) - zero));
}

/** Zero points of the eight columns from `column` on, each twice. */
// @ts-ignore: decorator
@inline
function zerosOfPairs(zeros: usize): v128 {
  return i16x8.narrow_i32x4_s(v128.load(zeros), v128.load(zeros, 16));
}

/**
 * Lines `from` and `next` of two steps of k to `count` words; without a `next` (0) its halves are 0. The zero points of columns are at
 * `zeros`, `zeroStep` bytes apart (4, or 0 where all share one).
 */
export function columnPairs(from: usize, next: usize, count: i32, signed: bool, zeros: usize, zeroStep: i32, to: usize): void {
  const one = load<i32>(zeros);
  const both = next != 0;
  const mask = both ? i32x4.splat(-1) : i32x4.splat(0xffff);
  const shared = v128.and(i16x8.splat(<i16>one), mask);
  const high = both ? next : from;
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    const x = v128.load64_zero(from + i), y = v128.load64_zero(high + i);
    const v = i8x16.shuffle(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let low = shared, top = shared;
    if (zeroStep) {
      const z = zerosOfPairs(zeros + (i << 2));
      low = v128.and(i8x16.shuffle(z, z, 0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7), mask);
      top = v128.and(i8x16.shuffle(z, z, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 15, 14, 15), mask);
    }
    v128.store(to + (i << 2), i16x8.sub(v128.and(extendLow(v, signed), mask), low));
    v128.store(to + (i << 2), i16x8.sub(v128.and(extendHigh(v, signed), mask), top), 16);
  }
  for (; i < count; i++) {
    const zero = load<i32>(zeros + i * zeroStep);
    const out = to + (i << 2);
    store<i16>(out, <i16>(byteAt(from + i, signed) - zero));
    store<i16>(out, both ? <i16>(byteAt(next + i, signed) - zero) : 0, 2);
  }
}

/** One line of k to floats. */
export function columnFloats(from: usize, count: i32, signed: bool, zeros: usize, zeroStep: i32, to: usize): void {
  if (!zeroStep) {
    rowFloats(from, count, signed, load<i32>(zeros), to);
    return;
  }
  for (let i = 0; i < count; i++) store<f32>(to + (i << 2), <f32>(byteAt(from + i, signed) - load<i32>(zeros + i * zeroStep)));
}
