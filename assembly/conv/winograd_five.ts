/**
 * Winograd's lines for five taps: F(2, 5) and F(4, 5). In floats only: words of 16 bits could not hold the filters.
 *
 * F(2, 5) has the points of F(4, 3), so the transform of the input is the same (input4 and inputColumns4 of winograd_lines.ts), over tiles that begin two
 * inputs apart instead of four. F(4, 5) has 0, 1/2, -1/2, 1, -1, 2, -2 and infinity, as F(6, 3) usually has: all constants are exact.
 * Error relative to sum |x||w| in units of 2^-24, as in winograd_lines.ts: root mean square 0.5 and 1.8, largest 2.3 and 13.
 */
import { high32, high64, low32, low64, shift } from './transpose4';
import { A, B, input4, storeFours, storeLanes, storePairs } from './winograd_lines';

/** Constants of F(4, 5), for its lines to load before their loops, as writePoints does. */
export function writePoints4of5(to: usize): void {
  v128.store(to, f32x4.splat(5.25));
  v128.store(to, f32x4.splat(4.25), 16);
  v128.store(to, f32x4.splat(4), 32);
  v128.store(to, f32x4.splat(0.25), 48);
  v128.store(to, f32x4.splat(0.5), 64);
  v128.store(to, f32x4.splat(8), 80);
}

/**
 * B^T of F(4, 5): row 0 is (x^2 - 1/4)(x^2 - 1)(x^2 - 4) = x^6 - 21/4 x^4 + 21/4 x^2 - 1 and the last one x times that; those of a point
 * and its negative are even + odd and even - odd, and have x^6 - x^4 and x^4 - x^2 in common. c: constants of writePoints4of5.
 */
// @ts-ignore: decorator
@inline
function input4of5(
  x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, x5: v128, x6: v128, x7: v128,
  c21: v128, c17: v128, four: v128, quarter: v128, half: v128, to: usize, step: usize,
): void {
  const low = f32x4.sub(x4, x2), lowOdd = f32x4.sub(x5, x3);
  v128.store(to, f32x4.sub(f32x4.sub(x6, x0), f32x4.mul(low, c21)));
  v128.store(to + 7 * step, f32x4.sub(f32x4.sub(x7, x1), f32x4.mul(lowOdd, c21)));
  const high = f32x4.sub(x6, x4), below = f32x4.sub(x3, x1);
  to += step;
  const evenHalf = f32x4.sub(high, f32x4.mul(low, four)), oddHalf = f32x4.mul(f32x4.sub(lowOdd, f32x4.mul(below, four)), half);
  v128.store(to, f32x4.add(evenHalf, oddHalf));
  to += step;
  v128.store(to, f32x4.sub(evenHalf, oddHalf));
  to += step;
  const even = f32x4.sub(f32x4.add(x6, x2), f32x4.mul(x4, c17)), odd = f32x4.sub(f32x4.add(x5, x1), f32x4.mul(x3, c17));
  v128.store(to, f32x4.add(even, odd));
  to += step;
  v128.store(to, f32x4.sub(even, odd));
  to += step;
  const evenTwo = f32x4.sub(high, f32x4.mul(low, quarter)), oddOnce = f32x4.sub(lowOdd, f32x4.mul(below, quarter));
  const oddTwo = f32x4.add(oddOnce, oddOnce);
  v128.store(to, f32x4.add(evenTwo, oddTwo));
  to += step;
  v128.store(to, f32x4.sub(evenTwo, oddTwo));
}

/** One staged row along x, as inputRow4: of six neighbours each tile takes two more than the one before it. */
export function inputRow2of5(stage: usize, tiles: i32, to: usize, step: usize, points: usize): void {
  const a = v128.load(points), b = v128.load(points, 16), a2 = v128.load(points, 32), b2 = v128.load(points, 48);
  for (let tx = 0; tx < tiles; tx += 4) {
    const v0 = v128.load(stage), v1 = v128.load(stage, 16);
    const low = low32(v0, v1), high = high32(v0, v1);
    const x0 = low32(low, high), x1 = high32(low, high);
    const x2 = shift(x0, v128.load32_zero(stage, 32)), x3 = shift(x1, v128.load32_zero(stage, 36));
    const x4 = shift(x2, v128.load32_zero(stage, 40)), x5 = shift(x3, v128.load32_zero(stage, 44));
    input4<f32>(x0, x1, x2, x3, x4, x5, a, b, a2, b2, to, step);
    stage += 32;
    to += 16;
  }
}

/** As inputRow4, for F(4, 5). */
export function inputRow4of5(stage: usize, tiles: i32, to: usize, step: usize, points: usize): void {
  const c21 = v128.load(points), c17 = v128.load(points, 16), four = v128.load(points, 32), quarter = v128.load(points, 48);
  const half = v128.load(points, 64);
  for (let tx = 0; tx < tiles; tx += 4) {
    const v0 = v128.load(stage), v1 = v128.load(stage, 16), v2 = v128.load(stage, 32), v3 = v128.load(stage, 48);
    const low01 = low32(v0, v1), low23 = low32(v2, v3), high01 = high32(v0, v1), high23 = high32(v2, v3);
    const x0 = low64(low01, low23), x1 = high64(low01, low23), x2 = low64(high01, high23), x3 = high64(high01, high23);
    const x4 = shift(x0, v128.load32_zero(stage, 64)), x5 = shift(x1, v128.load32_zero(stage, 68));
    const x6 = shift(x2, v128.load32_zero(stage, 72)), x7 = shift(x3, v128.load32_zero(stage, 76));
    input4of5(x0, x1, x2, x3, x4, x5, x6, x7, c21, c17, four, quarter, half, to, step);
    stage += 64;
    to += 16;
  }
}

/** As inputColumns2, for F(4, 5): row r of a tile is at from + (r % 4) * phase + (r / 4) * nextRow. */
export function inputColumns4of5(
  from: usize, phase: usize, nextRow: usize, tiles: i32, to: usize, step: usize, lane: i32, nr: i32, gap: usize, points: usize,
): void {
  const c21 = v128.load(points), c17 = v128.load(points, 16), four = v128.load(points, 32), quarter = v128.load(points, 48);
  const half = v128.load(points, 64);
  for (let t = 0; t < tiles; t += 4) {
    const row1 = from + phase, row2 = row1 + phase, row3 = row2 + phase, row4 = from + nextRow, row5 = row4 + phase, row6 = row5 + phase;
    const x0 = v128.load(from), x1 = v128.load(row1), x2 = v128.load(row2), x3 = v128.load(row3);
    const x4 = v128.load(row4), x5 = v128.load(row5), x6 = v128.load(row6), x7 = v128.load(row6 + phase);
    input4of5(x0, x1, x2, x3, x4, x5, x6, x7, c21, c17, four, quarter, half, to, step);
    from += 16;
    to += 16;
    lane += 4;
    if (lane == nr) {
      lane = 0;
      to += gap;
    }
  }
}

/** A^T of F(2, 5) along y, as outputColumns2. */
export function outputColumns2of5(from: usize, step: usize, tiles: i32, to: usize, phase: usize, points: usize): void {
  const a = v128.load(points), b = v128.load(points, 16);
  for (let t = 0; t < tiles; t += 4) {
    const from1 = from + step, from2 = from1 + step, from3 = from2 + step, from4 = from3 + step;
    const y1 = v128.load(from1), y2 = v128.load(from2), y3 = v128.load(from3), y4 = v128.load(from4);
    v128.store(to, f32x4.add(f32x4.add(v128.load(from), f32x4.add(y1, y2)), f32x4.add(y3, y4)));
    const odd = f32x4.add(f32x4.mul(f32x4.sub(y1, y2), a), f32x4.mul(f32x4.sub(y3, y4), b));
    v128.store(to + phase, f32x4.add(odd, v128.load(from4 + step)));
    from += 16;
    to += 16;
  }
}

/** A^T of F(4, 5) along y, as outputColumns4. */
export function outputColumns4of5(from: usize, step: usize, tiles: i32, to: usize, phase: usize, points: usize): void {
  const four = v128.load(points, 32), quarter = v128.load(points, 48), half = v128.load(points, 64), eight = v128.load(points, 80);
  for (let t = 0; t < tiles; t += 4) {
    let at = from + step;
    const h1 = v128.load(at), h2 = v128.load(at + step);
    at += 2 * step;
    const y1 = v128.load(at), y2 = v128.load(at + step);
    at += 2 * step;
    const t1 = v128.load(at), t2 = v128.load(at + step);
    const evenHalf = f32x4.add(h1, h2), even = f32x4.add(y1, y2), evenTwo = f32x4.add(t1, t2);
    const oddHalf = f32x4.mul(f32x4.sub(h1, h2), half), odd = f32x4.sub(y1, y2), oddOnce = f32x4.sub(t1, t2);
    let line = to;
    v128.store(line, f32x4.add(f32x4.add(v128.load(from), evenHalf), f32x4.add(even, evenTwo)));
    line += phase;
    v128.store(line, f32x4.add(f32x4.add(odd, oddHalf), f32x4.add(oddOnce, oddOnce)));
    line += phase;
    v128.store(line, f32x4.add(f32x4.add(even, f32x4.mul(evenHalf, quarter)), f32x4.mul(evenTwo, four)));
    line += phase;
    const last = f32x4.add(f32x4.add(odd, f32x4.mul(oddHalf, quarter)), f32x4.mul(oddOnce, eight));
    v128.store(line, f32x4.add(last, v128.load(at + 2 * step)));
    from += 16;
    to += 16;
  }
}

/** A^T of F(2, 5) along x, as outputRow2. */
export function outputRow2of5(from: usize, step: usize, row: usize, width: i32, points: usize): void {
  const a = v128.load(points), b = v128.load(points, 16);
  for (let left = width; left > 0; left -= 8) {
    const from1 = from + step, from2 = from1 + step, from3 = from2 + step, from4 = from3 + step;
    const x1 = v128.load(from1), x2 = v128.load(from2), x3 = v128.load(from3), x4 = v128.load(from4);
    const even = f32x4.add(f32x4.add(v128.load(from), f32x4.add(x1, x2)), f32x4.add(x3, x4));
    const odds = f32x4.add(f32x4.mul(f32x4.sub(x1, x2), a), f32x4.mul(f32x4.sub(x3, x4), b));
    const odd = f32x4.add(odds, v128.load(from4 + step));
    storePairs(row, even, odd, left);
    from += 16;
    row += 32;
  }
}

/** A^T of F(4, 5) along x, as outputRow4. */
export function outputRow4of5(from: usize, step: usize, row: usize, width: i32, points: usize): void {
  const four = v128.load(points, 32), quarter = v128.load(points, 48), half = v128.load(points, 64), eight = v128.load(points, 80);
  for (let left = width; left > 0; left -= 16) {
    let at = from + step;
    const h1 = v128.load(at), h2 = v128.load(at + step);
    at += 2 * step;
    const x1 = v128.load(at), x2 = v128.load(at + step);
    at += 2 * step;
    const t1 = v128.load(at), t2 = v128.load(at + step);
    const evenHalf = f32x4.add(h1, h2), even = f32x4.add(x1, x2), evenTwo = f32x4.add(t1, t2);
    const oddHalf = f32x4.mul(f32x4.sub(h1, h2), half), odd = f32x4.sub(x1, x2), oddOnce = f32x4.sub(t1, t2);
    const y0 = f32x4.add(f32x4.add(v128.load(from), evenHalf), f32x4.add(even, evenTwo));
    const y1 = f32x4.add(f32x4.add(odd, oddHalf), f32x4.add(oddOnce, oddOnce));
    const y2 = f32x4.add(f32x4.add(even, f32x4.mul(evenHalf, quarter)), f32x4.mul(evenTwo, four));
    const y3 = f32x4.add(f32x4.add(odd, f32x4.mul(oddHalf, quarter)), f32x4.mul(oddOnce, eight));
    storeFours(row, y0, y1, y2, f32x4.add(y3, v128.load(at + 2 * step)), left);
    from += 16;
    row += 64;
  }
}

/** Point i of F(2, 5) (alpha = 6) or F(4, 5), but infinity. */
function pointOf(alpha: i32, i: i32): f64 {
  const pair = (i + 1) >> 1, side = i & 1 ? 1.0 : -1.0;
  if (pair == 0) return 0;
  if (alpha == 6) return side * (pair == 1 ? A : B);
  return side * (pair == 1 ? 0.5 : pair == 2 ? 1 : 2);
}

const FILTER_TAPS: usize = 25 * 16;

/** What the rows of G are made of, to the edge scratch behind a filter's taps: each point, and the product of its distances to the others, turned over. */
export function writePoints5(alpha: i32, scratch: usize): void {
  for (let i = 0; i < alpha - 1; i++) {
    const point = pointOf(alpha, i);
    let product: f64 = 1;
    for (let j = 0; j < alpha - 1; j++) if (j != i) product *= point - pointOf(alpha, j);
    store<f32>(scratch + FILTER_TAPS + (i << 3), <f32>point);
    store<f32>(scratch + FILTER_TAPS + (i << 3), <f32>(1 / product), 4);
  }
}

/** Row i of G times five taps: their polynomial at a point. */
function atPoint(g0: v128, g1: v128, g2: v128, g3: v128, g4: v128, row: usize): v128 {
  const x = v128.load32_splat(row);
  const upper = f32x4.add(f32x4.mul(f32x4.add(f32x4.mul(g4, x), g3), x), g2);
  return f32x4.mul(f32x4.add(f32x4.mul(f32x4.add(f32x4.mul(upper, x), g1), x), g0), v128.load32_splat(row, 4));
}

/** Taps 0 to 4 of four filters, `apart` bytes from one to the next, evaluated along one direction: at row i of G, or at infinity. */
function tapsAtPoint(taps: usize, apart: usize, row: usize, atInfinity: bool): v128 {
  const g4 = v128.load(taps + 4 * apart);
  if (atInfinity) return g4;
  return atPoint(v128.load(taps), v128.load(taps + apart), v128.load(taps + 2 * apart), v128.load(taps + 3 * apart), g4, row);
}

/**
 * G g G^T of F(2, 5) or F(4, 5) for four filters, one to a lane: result (i, j) at `to` + (alpha * i + j) * step, `lanes` of them stored.
 * The edge scratch holds the taps, and behind them what writePoints5 wrote.
 */
export function filter5(alpha: i32, p0: usize, p1: usize, p2: usize, p3: usize, to: usize, step: usize, lanes: i32, scratch: usize): void {
  for (let tap: usize = 0; tap < 25; tap++) {
    const at = tap << 2;
    let v = v128.load32_zero(p0 + at);
    v = v128.load32_lane(p1 + at, v, 1);
    v = v128.load32_lane(p2 + at, v, 2);
    v128.store(scratch + (tap << 4), v128.load32_lane(p3 + at, v, 3));
  }
  const points = scratch + FILTER_TAPS, last = alpha - 1;
  for (let i = 0; i < alpha; i++) {
    const row = points + (i << 3), isLast = i == last;
    const g0 = tapsAtPoint(scratch, 80, row, isLast), g1 = tapsAtPoint(scratch + 16, 80, row, isLast);
    const g2 = tapsAtPoint(scratch + 32, 80, row, isLast), g3 = tapsAtPoint(scratch + 48, 80, row, isLast);
    const g4 = tapsAtPoint(scratch + 64, 80, row, isLast);
    for (let j = 0; j < last; j++) {
      storeLanes(to, atPoint(g0, g1, g2, g3, g4, points + (j << 3)), lanes);
      to += step;
    }
    storeLanes(to, g4, lanes);
    to += step;
  }
}
