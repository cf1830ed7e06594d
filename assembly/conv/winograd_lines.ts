/**
 * Winograd's one-dimensional transforms over lines of tiles, four tiles to a vector: lane l holds the same place of the
 * l-th tile. Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016: F(2, 3) with the points 0, 1, -1 and
 * infinity, F(4, 3) with 0, A, -A, B, -B and infinity.
 *
 * Lavin & Gray take A = 1 and B = 2. Here A = 5/8 and B = 3/2, as oneDNN does: the powers of both stay near 1, so less is
 * lost in the sums, and every constant of the input and output transforms is exact in f32. Error relative to sum |x||w|
 * in units of 2^-24, against float64, 64 channels of uniform random numbers, plain f32 products: largest 5.6 and root mean
 * square 0.75, where 1 and 2 gave 14 and 1.60, the sum over taps 2.8 and 0.39, and F(2, 3) 1.0 and 0.25. The price is 22
 * operations a line of the input instead of 17.
 *
 * Words of two 16-bit integers (T = i16) and their 32-bit sums (i32) take the same ways, with A = 1 and B = 2 and filters that are not
 * divided: a result is then 4 (F(2, 3)) or 576 times (F(4, 3), both directions together) what it should be, modulo 2^32, for
 * the sums may overflow, but in a ring that is no loss: as long as the true result is below 2^29 (2^25), the last line finds it. A
 * transformed value has at most 10^2 times the size of an input of 255 and 7^2 times that of a weight, so 16 bits hold it. Both
 * halves of a word are transformed at once.
 */
import { high32, high64, low32, low64, shift } from './transpose4';

export const A: f64 = 0.625;
export const B: f64 = 1.5;
const A2: f64 = A * A;
const B2: f64 = B * B;
/** What the filter's rows are divided by: products of a point's distances to the other finite points. */
const AT_ZERO: f64 = A2 * B2;
const AT_A: f64 = 2 * A2 * (A2 - B2);
const AT_B: f64 = 2 * B2 * (B2 - A2);

/** Where integers have other powers of the points, and factors in place of divisors: what the rows of 0, +-A and infinity are
 *  multiplied by, so that all are 24 times too large. */
const ROW_ZERO: i32 = 6;
const ROW_A: i32 = -4;
const ROW_INFINITY: i32 = 24;
/** 576 is 64 times 9, and this times 9 is 1 modulo 2^32. */
const INVERSE_OF_9: i32 = 0x38e38e39;

// @ts-ignore: decorator
@inline
function times<T>(v: v128, x: f64): v128 {
  // weights of integers stay undivided
  return isInteger<T>() ? v : f32x4.mul(v, f32x4.splat(<f32>x));
}

/** v times a power of a point; integers have 1, 2 and 4. */
// @ts-ignore: decorator
@inline
function timesPower<T>(v: v128, x: f64, shift: i32): v128 {
  return isInteger<T>() ? i16x8.shl(v, shift) : f32x4.mul(v, f32x4.splat(<f32>x));
}

/** Bytes of the constants that the lines read: of F(4, 5), which has most of them. */
export const POINTS_BYTES: i32 = 96;

/**
 * A, B, A^2 and B^2 as vectors, for the lines of F(4, 3) to load before their loops: a constant in the code is built anew
 * in every step by V8 11.3 (three instructions each; the input's lines took 1.3 times as long), a loaded one is kept.
 */
export function writePoints<T>(to: usize): void {
  v128.store(to, isInteger<T>() ? v128.splat<T>(<T>1) : f32x4.splat(<f32>A));
  v128.store(to, isInteger<T>() ? v128.splat<T>(<T>2) : f32x4.splat(<f32>B), 16);
  v128.store(to, isInteger<T>() ? v128.splat<T>(<T>1) : f32x4.splat(<f32>A2), 32);
  v128.store(to, isInteger<T>() ? v128.splat<T>(<T>4) : f32x4.splat(<f32>B2), 48);
}

/** B^T of F(2, 3): results `step` bytes apart. */
// @ts-ignore: decorator
@inline
function input2<T>(x0: v128, x1: v128, x2: v128, x3: v128, to: usize, step: usize): void {
  v128.store(to, v128.sub<T>(x0, x2));
  to += step;
  v128.store(to, v128.add<T>(x1, x2));
  to += step;
  v128.store(to, v128.sub<T>(x2, x1));
  to += step;
  v128.store(to, v128.sub<T>(x1, x3));
}

/**
 * B^T of F(4, 3): the rows of a point and its negative are even + odd and even - odd. Row 0 is (x^2 - A^2)(x^2 - B^2) and
 * the last one x times that, which are built from the parts too; so A, B, A^2 and B^2 are all the constants there are.
 */
// @ts-ignore: decorator
@inline
export function input4<T>(
  x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, x5: v128, a: v128, b: v128, a2: v128, b2: v128, to: usize, step: usize,
): void {
  const evenB = v128.sub<T>(x4, v128.mul<T>(x2, a2));
  v128.store(to, v128.sub<T>(evenB, v128.mul<T>(v128.sub<T>(x2, v128.mul<T>(x0, a2)), b2)));
  to += step;
  const evenA = v128.sub<T>(x4, v128.mul<T>(x2, b2)), odd = v128.sub<T>(x3, v128.mul<T>(x1, b2)), oddA = v128.mul<T>(odd, a);
  v128.store(to, v128.add<T>(evenA, oddA));
  to += step;
  v128.store(to, v128.sub<T>(evenA, oddA));
  to += step;
  const oddB = v128.mul<T>(v128.sub<T>(x3, v128.mul<T>(x1, a2)), b);
  v128.store(to, v128.add<T>(evenB, oddB));
  to += step;
  v128.store(to, v128.sub<T>(evenB, oddB));
  to += step;
  v128.store(to, v128.sub<T>(v128.sub<T>(x5, v128.mul<T>(x3, b2)), v128.mul<T>(odd, a2)));
}

/** The lanes of v moved up by `lanes` (down where negative), zeros in the places that become free. */
// @ts-ignore: decorator
@inline
function moveLanes(v: v128, lanes: i32): v128 {
  // a swizzle gives zero for every index that is out of range
  const own = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return i8x16.swizzle(v, i8x16.sub(own, i8x16.splat(<i8>(lanes << 2))));
}

/**
 * A row of the image behind `pad` columns of zeros to `stage`, which is zero from the last row's end on. No byte outside
 * of the row is read: its last floats, less than a vector, are moved down from a load that ends with the row.
 */
export function stageRow(row: usize, width: i32, pad: i32, stage: usize): void {
  const lead = pad & 3;
  if (width < 4) {
    for (let k = 0; k < width; k++) store<f32>(stage + ((pad + k) << 2), load<f32>(row + (k << 2)));
    return;
  }
  const end = row + (width << 2);
  stage += (pad - lead) << 2;
  if (lead) {
    v128.store(stage, moveLanes(v128.load(row), lead));
    row += (4 - lead) << 2;
    stage += 16;
  }
  for (; row + 16 <= end; row += 16) {
    v128.store(stage, v128.load(row));
    stage += 16;
  }
  if (row < end) v128.store(stage, moveLanes(v128.load(end - 16), <i32>(end - row - 16) >> 2));
}

/** One staged row along x: place j of all tiles goes to `to` + j * step. */
export function inputRow2<T>(stage: usize, tiles: i32, to: usize, step: usize): void {
  for (let tx = 0; tx < tiles; tx += 4) {
    // evens and odds by two rounds of interleaving, one instruction each where a general shuffle is three
    const a = v128.load(stage), b = v128.load(stage, 16);
    const low = low32(a, b), high = high32(a, b);
    const x0 = low32(low, high), x1 = high32(low, high);
    input2<T>(x0, x1, shift(x0, v128.load32_zero(stage, 32)), shift(x1, v128.load32_zero(stage, 36)), to, step);
    stage += 32;
    to += 16;
  }
}

/** As inputRow2, for F(4, 3). */
export function inputRow4<T>(stage: usize, tiles: i32, to: usize, step: usize, points: usize): void {
  const a = v128.load(points), b = v128.load(points, 16), a2 = v128.load(points, 32), b2 = v128.load(points, 48);
  for (let tx = 0; tx < tiles; tx += 4) {
    const v0 = v128.load(stage), v1 = v128.load(stage, 16), v2 = v128.load(stage, 32), v3 = v128.load(stage, 48);
    const low01 = low32(v0, v1), low23 = low32(v2, v3), high01 = high32(v0, v1), high23 = high32(v2, v3);
    const x0 = low64(low01, low23), x1 = high64(low01, low23);
    const x4 = shift(x0, v128.load32_zero(stage, 64)), x5 = shift(x1, v128.load32_zero(stage, 68));
    input4<T>(x0, x1, low64(high01, high23), high64(high01, high23), x4, x5, a, b, a2, b2, to, step);
    stage += 64;
    to += 16;
  }
}

/**
 * `tiles` tiles along y, from rows transformed along x: row r of tile t is at from + (r % 2) * phase + (r / 2) * nextRow,
 * t floats on. Place i goes to `to` + i * step, in panels: after `nr` lanes skip `gap` bytes. The first tile has lane `lane`.
 */
export function inputColumns2<T>(
  from: usize, phase: usize, nextRow: usize, tiles: i32, to: usize, step: usize, lane: i32, nr: i32, gap: usize,
): void {
  for (let t = 0; t < tiles; t += 4) {
    const below = from + nextRow;
    input2<T>(v128.load(from), v128.load(from + phase), v128.load(below), v128.load(below + phase), to, step);
    from += 16;
    to += 16;
    lane += 4;
    if (lane == nr) {
      lane = 0;
      to += gap;
    }
  }
}

/** As inputColumns2, for six inputs, F(4, 3) and F(2, 5): rows 2 and 4 of a tile are `row2` and `row4` bytes from its first, and rows 1, 3 and 5 are
 *  `phase` bytes behind those. */
export function inputColumns4<T>(
  from: usize, phase: usize, row2: usize, row4: usize, tiles: i32, to: usize, step: usize, lane: i32, nr: i32, gap: usize, points: usize,
): void {
  const a = v128.load(points), b = v128.load(points, 16), a2 = v128.load(points, 32), b2 = v128.load(points, 48);
  for (let t = 0; t < tiles; t += 4) {
    const third = from + row2, fifth = from + row4;
    const x0 = v128.load(from), x1 = v128.load(from + phase), x2 = v128.load(third), x3 = v128.load(third + phase);
    input4<T>(x0, x1, x2, x3, v128.load(fifth), v128.load(fifth + phase), a, b, a2, b2, to, step);
    from += 16;
    to += 16;
    lane += 4;
    if (lane == nr) {
      lane = 0;
      to += gap;
    }
  }
}

/** Integers: what the rows of the transform back are multiplied by, and what becomes of results in the end. */
// @ts-ignore: decorator
@inline
function twice<T>(v: v128): v128 {
  return isInteger<T>() ? i32x4.shl(v, 1) : v;
}

// @ts-ignore: decorator
@inline
function quarter<T>(v: v128): v128 {
  return isInteger<T>() ? i32x4.shr_s(v, 2) : v;
}

// @ts-ignore: decorator
@inline
function rowZero<T>(v: v128): v128 {
  return isInteger<T>() ? i32x4.mul(v, i32x4.splat(ROW_ZERO)) : v;
}

// @ts-ignore: decorator
@inline
function rowA<T>(v: v128): v128 {
  return isInteger<T>() ? i32x4.mul(v, i32x4.splat(ROW_A)) : v;
}

// @ts-ignore: decorator
@inline
function rowInfinity<T>(v: v128): v128 {
  return isInteger<T>() ? i32x4.mul(v, i32x4.splat(ROW_INFINITY)) : v;
}

// @ts-ignore: decorator
@inline
function whole<T>(v: v128): v128 {
  return isInteger<T>() ? i32x4.shr_s(i32x4.mul(v, i32x4.splat(INVERSE_OF_9)), 6) : v;
}

/** A^T of F(2, 3) along y over `tiles` tiles: place i is at from + i * step; row r goes to `to` + r * phase. */
export function outputColumns2<T>(from: usize, step: usize, tiles: i32, to: usize, phase: usize): void {
  for (let t = 0; t < tiles; t += 4) {
    const y1 = v128.load(from + step), y2 = v128.load(from + 2 * step);
    v128.store(to, v128.add<T>(twice<T>(v128.load(from)), v128.add<T>(y1, y2)));
    v128.store(to + phase, v128.sub<T>(v128.sub<T>(y1, y2), twice<T>(v128.load(from + 3 * step))));
    from += 16;
    to += 16;
  }
}

/** A^T of F(4, 3) along y, as outputColumns2. */
export function outputColumns4<T>(from: usize, step: usize, tiles: i32, to: usize, phase: usize, points: usize): void {
  const a = v128.load(points), b = v128.load(points, 16), a2 = v128.load(points, 32), b2 = v128.load(points, 48);
  for (let t = 0; t < tiles; t += 4) {
    const from1 = from + step, from2 = from1 + step, from3 = from2 + step, from4 = from3 + step;
    const y1 = v128.load(from1), y2 = v128.load(from2), y3 = v128.load(from3), y4 = v128.load(from4);
    const evenA = rowA<T>(v128.add<T>(y1, y2)), oddA = rowA<T>(v128.mul<T>(v128.sub<T>(y1, y2), a));
    const evenB = v128.add<T>(y3, y4), oddB = v128.mul<T>(v128.sub<T>(y3, y4), b);
    let line = to;
    v128.store(line, v128.add<T>(v128.add<T>(rowZero<T>(v128.load(from)), evenA), evenB));
    line += phase;
    v128.store(line, v128.add<T>(oddA, oddB));
    line += phase;
    v128.store(line, v128.add<T>(v128.mul<T>(evenA, a2), v128.mul<T>(evenB, b2)));
    line += phase;
    v128.store(line, v128.add<T>(v128.add<T>(v128.mul<T>(oddA, a2), v128.mul<T>(oddB, b2)), rowInfinity<T>(v128.load(from4 + step))));
    from += 16;
    to += 16;
  }
}

/** The first `count` lanes; none where count <= 0, all from 4 on. */
// @ts-ignore: decorator
@inline
export function storeLanes(to: usize, v: v128, count: i32): void {
  if (count >= 4) v128.store(to, v);
  else if (count > 0) {
    if (count > 1) v128.store64_lane(to, v, 0);
    if (count == 1) v128.store32_lane(to, v, 0);
    if (count == 3) v128.store32_lane(to, v, 2, 8);
  }
}

/** Results 0 and 1 of four tiles, one tile to a lane, as `left` floats of a row. */
// @ts-ignore: decorator
@inline
export function storePairs(row: usize, even: v128, odd: v128, left: i32): void {
  const r0 = low32(even, odd), r1 = high32(even, odd);
  if (left >= 8) {
    v128.store(row, r0);
    v128.store(row, r1, 16);
  } else {
    storeLanes(row, r0, left);
    storeLanes(row + 16, r1, left - 4);
  }
}

/** As storePairs, for results 0 to 3. */
// @ts-ignore: decorator
@inline
export function storeFours(row: usize, y0: v128, y1: v128, y2: v128, y3: v128, left: i32): void {
  const low01 = low32(y0, y1), low23 = low32(y2, y3), high01 = high32(y0, y1), high23 = high32(y2, y3);
  const r0 = low64(low01, low23), r1 = high64(low01, low23), r2 = low64(high01, high23), r3 = high64(high01, high23);
  if (left >= 16) {
    v128.store(row, r0);
    v128.store(row, r1, 16);
    v128.store(row, r2, 32);
    v128.store(row, r3, 48);
  } else {
    storeLanes(row, r0, left);
    storeLanes(row + 16, r1, left - 4);
    storeLanes(row + 32, r2, left - 8);
    storeLanes(row + 48, r3, left - 12);
  }
}

/** A^T of F(2, 3) along x: place j of all tiles is at from + j * step; `width` floats of the row are written. */
export function outputRow2<T>(from: usize, step: usize, row: usize, width: i32): void {
  for (let left = width; left > 0; left -= 8) {
    const from1 = from + step, from2 = from1 + step;
    const x1 = v128.load(from1), x2 = v128.load(from2);
    const even = quarter<T>(v128.add<T>(twice<T>(v128.load(from)), v128.add<T>(x1, x2)));
    const odd = quarter<T>(v128.sub<T>(v128.sub<T>(x1, x2), twice<T>(v128.load(from2 + step))));
    storePairs(row, even, odd, left);
    from += 16;
    row += 32;
  }
}

/** A^T of F(4, 3) along x, as outputRow2. */
export function outputRow4<T>(from: usize, step: usize, row: usize, width: i32, points: usize): void {
  const a = v128.load(points), b = v128.load(points, 16), a2 = v128.load(points, 32), b2 = v128.load(points, 48);
  for (let left = width; left > 0; left -= 16) {
    const from1 = from + step, from2 = from1 + step, from3 = from2 + step, from4 = from3 + step;
    const x1 = v128.load(from1), x2 = v128.load(from2), x3 = v128.load(from3), x4 = v128.load(from4);
    const evenA = rowA<T>(v128.add<T>(x1, x2)), oddA = rowA<T>(v128.mul<T>(v128.sub<T>(x1, x2), a));
    const evenB = v128.add<T>(x3, x4), oddB = v128.mul<T>(v128.sub<T>(x3, x4), b);
    const y0 = whole<T>(v128.add<T>(v128.add<T>(rowZero<T>(v128.load(from)), evenA), evenB)), y1 = whole<T>(v128.add<T>(oddA, oddB));
    const y2 = whole<T>(v128.add<T>(v128.mul<T>(evenA, a2), v128.mul<T>(evenB, b2)));
    const y3 = whole<T>(v128.add<T>(v128.add<T>(v128.mul<T>(oddA, a2), v128.mul<T>(oddB, b2)), rowInfinity<T>(v128.load(from4 + step))));
    storeFours(row, y0, y1, y2, y3, left);
    from += 16;
    row += 64;
  }
}

/** G of F(2, 3) applied to three taps: results `step` bytes apart, `lanes` of them stored. */
function filterLine2<T>(g0: v128, g1: v128, g2: v128, to: usize, step: usize, lanes: i32): void {
  const even = times<T>(v128.add<T>(g0, g2), 0.5), odd = times<T>(g1, 0.5);
  if (lanes >= 4) {
    v128.store(to, g0);
    v128.store(to + step, v128.add<T>(even, odd));
    v128.store(to + 2 * step, v128.sub<T>(even, odd));
    v128.store(to + 3 * step, g2);
  } else {
    storeLanes(to, g0, lanes);
    storeLanes(to + step, v128.add<T>(even, odd), lanes);
    storeLanes(to + 2 * step, v128.sub<T>(even, odd), lanes);
    storeLanes(to + 3 * step, g2, lanes);
  }
}

/** G of F(4, 3), as filterLine2. */
function filterLine4<T>(g0: v128, g1: v128, g2: v128, to: usize, step: usize, lanes: i32): void {
  const first = times<T>(g0, 1 / AT_ZERO);
  const evenA = v128.add<T>(times<T>(g0, 1 / AT_A), times<T>(g2, A2 / AT_A)), oddA = times<T>(g1, A / AT_A);
  const evenB = v128.add<T>(times<T>(g0, 1 / AT_B), timesPower<T>(g2, B2 / AT_B, 2)), oddB = timesPower<T>(g1, B / AT_B, 1);
  if (lanes >= 4) {
    v128.store(to, first);
    v128.store(to + step, v128.add<T>(evenA, oddA));
    v128.store(to + 2 * step, v128.sub<T>(evenA, oddA));
    v128.store(to + 3 * step, v128.add<T>(evenB, oddB));
    v128.store(to + 4 * step, v128.sub<T>(evenB, oddB));
    v128.store(to + 5 * step, g2);
  } else {
    storeLanes(to, first, lanes);
    storeLanes(to + step, v128.add<T>(evenA, oddA), lanes);
    storeLanes(to + 2 * step, v128.sub<T>(evenA, oddA), lanes);
    storeLanes(to + 3 * step, v128.add<T>(evenB, oddB), lanes);
    storeLanes(to + 4 * step, v128.sub<T>(evenB, oddB), lanes);
    storeLanes(to + 5 * step, g2, lanes);
  }
}

/** G g G^T of F(2, 3): taps k0..k8 of four filters, result (i, j) at to + (4 i + j) * step. */
export function filter2<T>(
  k0: v128, k1: v128, k2: v128, k3: v128, k4: v128, k5: v128, k6: v128, k7: v128, k8: v128, to: usize, step: usize, lanes: i32,
): void {
  filterLine2<T>(k0, k1, k2, to, step, lanes);
  const even0 = times<T>(v128.add<T>(k0, k6), 0.5), even1 = times<T>(v128.add<T>(k1, k7), 0.5), even2 = times<T>(v128.add<T>(k2, k8), 0.5);
  const odd0 = times<T>(k3, 0.5), odd1 = times<T>(k4, 0.5), odd2 = times<T>(k5, 0.5);
  filterLine2<T>(v128.add<T>(even0, odd0), v128.add<T>(even1, odd1), v128.add<T>(even2, odd2), to + 4 * step, step, lanes);
  filterLine2<T>(v128.sub<T>(even0, odd0), v128.sub<T>(even1, odd1), v128.sub<T>(even2, odd2), to + 8 * step, step, lanes);
  filterLine2<T>(k6, k7, k8, to + 12 * step, step, lanes);
}

/** The two rows of G g of a point and its negative: `even` and `odd` parts weighed by e0, e2 and o1, of integers by powers of 2 to the
 *  `power`, for filter4. */
// @ts-ignore: decorator
@inline
function filterPair4<T>(
  k0: v128, k1: v128, k2: v128, k3: v128, k4: v128, k5: v128, k6: v128, k7: v128, k8: v128,
  e0: f64, o1: f64, e2: f64, power: i32, to: usize, step: usize, lanes: i32,
): void {
  const even0 = v128.add<T>(times<T>(k0, e0), timesPower<T>(k6, e2, 2 * power)), odd0 = timesPower<T>(k3, o1, power);
  const even1 = v128.add<T>(times<T>(k1, e0), timesPower<T>(k7, e2, 2 * power)), odd1 = timesPower<T>(k4, o1, power);
  const even2 = v128.add<T>(times<T>(k2, e0), timesPower<T>(k8, e2, 2 * power)), odd2 = timesPower<T>(k5, o1, power);
  filterLine4<T>(v128.add<T>(even0, odd0), v128.add<T>(even1, odd1), v128.add<T>(even2, odd2), to, step, lanes);
  filterLine4<T>(v128.sub<T>(even0, odd0), v128.sub<T>(even1, odd1), v128.sub<T>(even2, odd2), to + 6 * step, step, lanes);
}

/** G g G^T of F(4, 3): taps k0..k8 of four filters, result (i, j) at to + (6 i + j) * step. */
export function filter4<T>(
  k0: v128, k1: v128, k2: v128, k3: v128, k4: v128, k5: v128, k6: v128, k7: v128, k8: v128, to: usize, step: usize, lanes: i32,
): void {
  filterLine4<T>(times<T>(k0, 1 / AT_ZERO), times<T>(k1, 1 / AT_ZERO), times<T>(k2, 1 / AT_ZERO), to, step, lanes);
  filterPair4<T>(k0, k1, k2, k3, k4, k5, k6, k7, k8, 1 / AT_A, A / AT_A, A2 / AT_A, 0, to + 6 * step, step, lanes);
  filterPair4<T>(k0, k1, k2, k3, k4, k5, k6, k7, k8, 1 / AT_B, B / AT_B, B2 / AT_B, 1, to + 18 * step, step, lanes);
  filterLine4<T>(k6, k7, k8, to + 30 * step, step, lanes);
}
