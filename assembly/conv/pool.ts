/**
 * Pooling: the largest or the mean value under each window. Sums go from +0 in the order (kh, kw) and are divided by the
 * number of taps counted; the largest value starts from -Infinity and is NaN where a tap is NaN. A tap in the padding
 * changes neither.
 */
import { fillFloats, fillStrip } from './strip';

/** Taps start, start + dilation, ... (`taps` of them) that lie in low <= place < high. */
// @ts-ignore: decorator
@inline
function tapsInside(start: i32, taps: i32, dilation: i32, low: i32, high: i32): i32 {
  const before = start >= low ? 0 : (low - start + dilation - 1) / dilation;
  const until = start >= high ? 0 : min(taps, (high - start + dilation - 1) / dilation);
  return max(0, until - before);
}

/** The larger of values that are not NaN, +0 before -0. Three instructions; f32x4.max takes nine, one after the other, on x86. */
// @ts-ignore: decorator
@inline
function larger(a: v128, b: v128): v128 {
  return v128.and(f32x4.pmax(a, b), f32x4.pmax(b, a));
}

/** `Maximum` is a flag known when compiled: i32 is the largest value, f32 the sum. */
// @ts-ignore: decorator
@inline
function pick<Maximum>(acc: v128, x: v128): v128 {
  return isInteger<Maximum>() ? f32x4.max(acc, x) : f32x4.add(acc, x);
}

// @ts-ignore: decorator
@inline
function pickOne<Maximum>(acc: f32, x: f32): f32 {
  return isInteger<Maximum>() ? max(acc, x) : acc + x;
}

/** What a value starts from. */
// @ts-ignore: decorator
@inline
function startOf<Maximum>(): f32 {
  return isInteger<Maximum>() ? -f32.POSITIVE_INFINITY : <f32>0;
}

/** One output row of `count` columns from a strip; `offsets` has the byte offset of each tap. */
function poolRow<Maximum>(b: usize, offsets: usize, taps: i32, c: usize, count: i32): void {
  const end = offsets + (<usize>taps << 2);
  const start = f32x4.splat(startOf<Maximum>());
  const whole = count >= 4;
  for (; count >= 16; count -= 16) {
    let m0 = start, m1 = start, m2 = start, m3 = start;
    for (let tap = offsets; tap < end; tap += 4) {
      const p = b + load<usize>(tap);
      m0 = pick<Maximum>(m0, v128.load(p));
      m1 = pick<Maximum>(m1, v128.load(p, 16));
      m2 = pick<Maximum>(m2, v128.load(p, 32));
      m3 = pick<Maximum>(m3, v128.load(p, 48));
    }
    v128.store(c, m0);
    v128.store(c, m1, 16);
    v128.store(c, m2, 32);
    v128.store(c, m3, 48);
    b += 64;
    c += 64;
  }
  for (; count > 0; count -= 4) {
    if (count < 4 && whole) {
      // the last vector lies over the one before it
      const back = <usize>(4 - count) << 2;
      b -= back;
      c -= back;
      count = 4;
    }
    let m = start;
    for (let tap = offsets; tap < end; tap += 4) m = pick<Maximum>(m, v128.load(b + load<usize>(tap)));
    if (count < 4) {
      v128.store_lane<f32>(c, m, 0);
      if (count > 1) v128.store_lane<f32>(c, m, 1, 4);
      if (count > 2) v128.store_lane<f32>(c, m, 2, 8);
      return;
    }
    v128.store(c, m);
    b += 16;
    c += 16;
  }
}

/**
 * The largest values of each column over `rows` rows, `pitch` bytes apart, to `to`; `count` columns. Says whether one of them may be NaN: a
 * sum of all is NaN then. (So it may be without, where both infinities are.)
 */
function largestOfRows(x: usize, pitch: usize, rows: i32, count: i32, to: usize): bool {
  if (count < 4) {
    let sum: f32 = 0;
    for (let i = 0; i < count; i++) {
      let m = load<f32>(x);
      sum += m;
      for (let r = 1; r < rows; r++) {
        const value = load<f32>(x + r * pitch);
        sum += value;
        m = max(m, value);
      }
      store<f32>(to, m);
      x += 4;
      to += 4;
    }
    return sum != sum;
  }
  let sum0 = f32x4.splat(0), sum1 = sum0;
  const last = x + (<usize>(count - 4) << 2);
  for (; x + 16 <= last; x += 32) {
    let m0 = v128.load(x), m1 = v128.load(x, 16), s0 = m0, s1 = m1, p = x;
    for (let r = 1; r < rows; r++) {
      p += pitch;
      const v0 = v128.load(p), v1 = v128.load(p, 16);
      s0 = f32x4.add(s0, v0);
      s1 = f32x4.add(s1, v1);
      m0 = larger(m0, v0);
      m1 = larger(m1, v1);
    }
    // one addition in each turn waits for the turn before
    sum0 = f32x4.add(sum0, s0);
    sum1 = f32x4.add(sum1, s1);
    v128.store(to, m0);
    v128.store(to, m1, 16);
    to += 32;
  }
  // fewer than eight columns are left; the last vector lies over the one before it where it has to
  if (x > last) {
    to -= x - last;
    x = last;
  }
  while (true) {
    let m = v128.load(x), p = x;
    sum0 = f32x4.add(sum0, m);
    for (let r = 1; r < rows; r++) {
      p += pitch;
      const v = v128.load(p);
      sum0 = f32x4.add(sum0, v);
      m = larger(m, v);
    }
    v128.store(to, m);
    if (x >= last) break;
    to += min(<usize>16, last - x);
    x = min(x + 16, last);
  }
  sum0 = f32x4.add(sum0, sum1);
  return v128.any_true(f32x4.ne(sum0, sum0));
}

/** The values of four windows next to one another, `stride` floats apart from `p` on. */
// @ts-ignore: decorator
@inline
function fourWindows(p: usize, stride: i32): v128 {
  if (stride == 1) return v128.load(p);
  if (stride == 2) return v128.shuffle<f32>(v128.load(p), v128.load(p, 16), 0, 2, 4, 6);
  const step = <usize>stride << 2;
  let v = v128.load32_zero(p);
  v = v128.load_lane<f32>(p + step, v, 1);
  v = v128.load_lane<f32>(p + 2 * step, v, 2);
  return v128.load_lane<f32>(p + 3 * step, v, 3);
}

/** `largestAlong` with strides known when compiled. */
// @ts-ignore: decorator
@inline
function largestAlongBy(line: usize, c: usize, count: i32, taps: i32, tapStep: usize, stride: i32): void {
  const four = <usize>stride << 4, whole = count >= 4;
  for (; count >= 8; count -= 8) {
    let p = line, m0 = fourWindows(p, stride), m1 = fourWindows(p + four, stride);
    for (let tap = 1; tap < taps; tap++) {
      p += tapStep;
      m0 = larger(m0, fourWindows(p, stride));
      m1 = larger(m1, fourWindows(p + four, stride));
    }
    v128.store(c, m0);
    v128.store(c, m1, 16);
    line += 2 * four;
    c += 32;
  }
  while (count > 0) {
    if (count < 4 && whole) {
      // the last vector lies over the one before it
      line -= <usize>(stride * (4 - count)) << 2;
      c -= <usize>(4 - count) << 2;
      count = 4;
    }
    let p = line, m = fourWindows(p, stride);
    for (let tap = 1; tap < taps; tap++) {
      p += tapStep;
      m = larger(m, fourWindows(p, stride));
    }
    if (count >= 4) v128.store(c, m);
    else {
      v128.store_lane<f32>(c, m, 0);
      if (count > 1) v128.store_lane<f32>(c, m, 1, 4);
      if (count > 2) v128.store_lane<f32>(c, m, 2, 8);
    }
    line += four;
    c += 16;
    count -= 4;
  }
}

/** The largest of `taps` values, `dilation` floats apart, for each of `count` windows along a line; none of them is NaN. */
function largestAlong(line: usize, c: usize, count: i32, taps: i32, dilation: i32, stride: i32): void {
  const tapStep = <usize>dilation << 2;
  if (stride == 1) largestAlongBy(line, c, count, taps, tapStep, 1);
  else if (stride == 2) largestAlongBy(line, c, count, taps, tapStep, 2);
  else largestAlongBy(line, c, count, taps, tapStep, stride);
}

/**
 * One output row of largest values: first down the columns, then along the row, so that a kH x kW window takes kH + kW steps. False, with the
 * row not written, where a value may be NaN. `line` has room for `pitch` floats, which are more than windows span.
 */
function largestRow(
  x: usize, c: usize, inH: i32, inW: i32, outW: i32, kH: i32, kW: i32, strideW: i32, dilationH: i32, dilationW: i32, top: i32,
  padLeft: i32, pitch: i32, line: usize,
): bool {
  const used = min(inW, pitch - padLeft);
  const above = top < 0 ? (dilationH - 1 - top) / dilationH : 0, taps = tapsInside(top, kH, dilationH, 0, inH);
  if (!taps || used <= 0) return false;
  const first = x + (<usize>((top + above * dilationH) * inW) << 2), inside = line + (<usize>padLeft << 2);
  if (largestOfRows(first, <usize>(dilationH * inW) << 2, taps, used, inside)) return false;
  fillFloats(line, padLeft, -f32.POSITIVE_INFINITY);
  fillFloats(inside + (<usize>used << 2), pitch - padLeft - used, -f32.POSITIVE_INFINITY);
  largestAlong(line, c, outW, kW, dilationW, strideW);
  return true;
}

/**
 * The largest of each 2 x 2 values, for windows that neither share values nor lie in the padding: `rows` rows of `outW` >= 4 columns in one go,
 * for `largestRow` takes longer to begin than to compute a row of 8 to 32 columns. False, with results that are wrong, where a value may be NaN.
 */
function largestOfPairs(x: usize, pitch: usize, y: usize, outW: i32, rows: i32): bool {
  const width = <usize>outW << 2;
  let sum = f32x4.splat(0);
  for (let row = 0; row < rows; row++) {
    const last = y + width - 16;
    for (let c = y; ; c = min(c + 16, last)) {
      const p = x + ((c - y) << 1), q = p + pitch;
      const a0 = v128.load(p), a1 = v128.load(p, 16), b0 = v128.load(q), b1 = v128.load(q, 16);
      sum = f32x4.add(sum, f32x4.add(f32x4.add(a0, b0), f32x4.add(a1, b1)));
      const m0 = larger(a0, b0), m1 = larger(a1, b1);
      v128.store(c, larger(v128.shuffle<f32>(m0, m1, 0, 2, 4, 6), v128.shuffle<f32>(m0, m1, 1, 3, 5, 7)));
      if (c >= last) break;
    }
    x += 2 * pitch;
    y += width;
  }
  return !v128.any_true(f32x4.ne(sum, sum));
}

/** Divides a row of sums: columns x0 up to x1 see whole windows, the others are counted one by one. */
function divideRow(
  c: usize, outW: i32, rowTaps: i32, x0: i32, x1: i32, kW: i32, strideW: i32, dilationW: i32, padLeft: i32, low: i32, high: i32,
): void {
  const whole = <f32>(rowTaps * kW), divisor = f32x4.splat(whole);
  for (let x = 0; x < outW; ) {
    const at = c + (<usize>x << 2);
    if (x >= x0 && x + 4 <= x1) {
      v128.store(at, f32x4.div(v128.load(at), divisor));
      x += 4;
    } else {
      const counted = x >= x0 && x < x1 ? whole : <f32>(rowTaps * tapsInside(x * strideW - padLeft, kW, dilationW, low, high));
      store<f32>(at, load<f32>(at) / counted);
      x++;
    }
  }
}

/**
 * Output rows y0, rows of one plane of an NCHW image; strips as in `depthwisePlane`, `offsets` holds the byte offset of every
 * tap (kh, kw) in a strip, `dilationW` serves the counts alone. With `countPadding` the mean counts taps in the padding, but
 * not those beyond it, where a last window hangs over (padBottom and padRight are the padding that was asked for).
 */
export function poolPlane(
  maximum: bool, countPadding: bool, x: usize, y: usize, inH: i32, inW: i32, outW: i32, kH: i32, kW: i32, strideH: i32,
  strideW: i32, dilationH: i32, dilationW: i32, padTop: i32, padLeft: i32, padBottom: i32, padRight: i32, y0: i32, rows: i32,
  offsets: usize, phasePitch: i32, stripRows: i32, strip: usize,
): void {
  const rowPitch = strideW * phasePitch, outputRow = <usize>(rowPitch * strideH) << 2, ldc = <usize>outW << 2;
  const taps = kH * kW, span = (kH - 1) * dilationH + 1, end = y0 + rows;
  const fill = maximum ? -f32.POSITIVE_INFINITY : <f32>0;
  const top = countPadding ? -padTop : 0, bottom = inH + (countPadding ? padBottom : 0);
  const left = countPadding ? -padLeft : 0, right = inW + (countPadding ? padRight : 0);
  // the first column with a whole window, and the first after the last
  const x0 = (left + padLeft + strideW - 1) / strideW;
  const room = right + padLeft - (kW - 1) * dilationW;
  const x1 = room <= 0 ? 0 : min(outW, (room - 1) / strideW + 1);
  const inPairs = kH == 2 && kW == 2 && strideH == 2 && strideW == 2 && dilationH == 1 && dilationW == 1 && outW >= 4;
  if (maximum && inPairs && padTop == 0 && padLeft == 0 && 2 * outW <= inW && 2 * end <= inH) {
    const pitch = <usize>inW << 2;
    if (largestOfPairs(x + 2 * y0 * pitch, pitch, y + y0 * ldc, outW, rows)) return;
  }
  for (let first = y0; first < end; ) {
    if (maximum && largestRow(
      x, y + first * ldc, inH, inW, outW, kH, kW, strideW, dilationH, dilationW, first * strideH - padTop, padLeft, rowPitch, strip,
    )) {
      first++;
      continue;
    }
    const count = maximum ? 1 : min(stripRows, end - first);
    fillStrip(
      x, inH, inW, first * strideH - padTop, (count - 1) * strideH + span, padLeft, strideW, phasePitch, rowPitch, fill, strip,
    );
    let b = strip;
    for (let row = first; row < first + count; row++) {
      const c = y + row * ldc;
      if (maximum) poolRow<i32>(b, offsets, taps, c, outW);
      else {
        poolRow<f32>(b, offsets, taps, c, outW);
        const rowTaps = tapsInside(row * strideH - padTop, kH, dilationH, top, bottom);
        divideRow(c, outW, rowTaps, x0, x1, kW, strideW, dilationW, padLeft, left, right);
      }
      b += outputRow;
    }
    first += count;
  }
}

/** One output pixel, all channels: the taps of a window that lie in the image are rows x columns from `x` on. */
function poolPixel<Maximum>(
  x: usize, rowStep: usize, columnStep: usize, rows: i32, columns: i32, channels: i32, counted: f32, y: usize,
): void {
  const bytes = <usize>channels << 2, start = f32x4.splat(startOf<Maximum>()), divisor = f32x4.splat(counted);
  let q: usize = 0;
  for (; q + 64 <= bytes; q += 64) {
    let m0 = start, m1 = start, m2 = start, m3 = start;
    let row = x + q;
    for (let r = 0; r < rows; r++) {
      let p = row;
      for (let i = 0; i < columns; i++) {
        m0 = pick<Maximum>(m0, v128.load(p));
        m1 = pick<Maximum>(m1, v128.load(p, 16));
        m2 = pick<Maximum>(m2, v128.load(p, 32));
        m3 = pick<Maximum>(m3, v128.load(p, 48));
        p += columnStep;
      }
      row += rowStep;
    }
    const to = y + q;
    v128.store(to, isInteger<Maximum>() ? m0 : f32x4.div(m0, divisor));
    v128.store(to, isInteger<Maximum>() ? m1 : f32x4.div(m1, divisor), 16);
    v128.store(to, isInteger<Maximum>() ? m2 : f32x4.div(m2, divisor), 32);
    v128.store(to, isInteger<Maximum>() ? m3 : f32x4.div(m3, divisor), 48);
  }
  for (; q + 16 <= bytes; q += 16) {
    let m = start, row = x + q;
    for (let r = 0; r < rows; r++) {
      let p = row;
      for (let i = 0; i < columns; i++) {
        m = pick<Maximum>(m, v128.load(p));
        p += columnStep;
      }
      row += rowStep;
    }
    v128.store(y + q, isInteger<Maximum>() ? m : f32x4.div(m, divisor));
  }
  for (; q < bytes; q += 4) {
    let m = startOf<Maximum>();
    for (let r = 0; r < rows; r++)
      for (let i = 0; i < columns; i++) m = pickOne<Maximum>(m, load<f32>(x + q + r * rowStep + i * columnStep));
    store<f32>(y + q, isInteger<Maximum>() ? m : m / counted);
  }
}

/** Output rows y0, rows of an NHWC image: lanes are channels. */
export function poolNhwc(
  maximum: bool, countPadding: bool, x: usize, y: usize, channels: i32, inH: i32, inW: i32, outW: i32, kH: i32, kW: i32,
  strideH: i32, strideW: i32, dilationH: i32, dilationW: i32, padTop: i32, padLeft: i32, padBottom: i32, padRight: i32,
  y0: i32, rows: i32,
): void {
  const pixel = <usize>channels << 2;
  const rowStep = <usize>(dilationH * inW) * pixel, columnStep = dilationW * pixel;
  let to = y + y0 * outW * pixel;
  for (let row = y0; row < y0 + rows; row++) {
    const top = row * strideH - padTop;
    const aboveTaps = top < 0 ? (dilationH - 1 - top) / dilationH : 0;
    const rowTaps = tapsInside(top, kH, dilationH, 0, inH);
    const rowCounted = countPadding ? tapsInside(top, kH, dilationH, -padTop, inH + padBottom) : rowTaps;
    for (let column = 0; column < outW; column++) {
      const left = column * strideW - padLeft;
      const beforeTaps = left < 0 ? (dilationW - 1 - left) / dilationW : 0;
      const columnTaps = tapsInside(left, kW, dilationW, 0, inW);
      const columnCounted = countPadding ? tapsInside(left, kW, dilationW, -padLeft, inW + padRight) : columnTaps;
      const from = x + <usize>((top + aboveTaps * dilationH) * inW + left + beforeTaps * dilationW) * pixel;
      const counted = <f32>(rowCounted * columnCounted);
      if (maximum) poolPixel<i32>(from, rowStep, columnStep, rowTaps, columnTaps, channels, counted, to);
      else poolPixel<f32>(from, rowStep, columnStep, rowTaps, columnTaps, channels, counted, to);
      to += pixel;
    }
  }
}

/** The largest value or the sum of `count` floats: float i goes to partial value i % 16, up to the last whole 16; then
 *  ((v0 + v1) + (v2 + v3)) of vectors, lanes (0 + 2) + (1 + 3), and the floats that are left one by one. */
function reducePlane<Maximum>(x: usize, count: i32): f32 {
  let m0 = f32x4.splat(startOf<Maximum>());
  let m1 = m0, m2 = m0, m3 = m0;
  const end = x + (<usize>count << 2);
  for (; x + 64 <= end; x += 64) {
    m0 = pick<Maximum>(m0, v128.load(x));
    m1 = pick<Maximum>(m1, v128.load(x, 16));
    m2 = pick<Maximum>(m2, v128.load(x, 32));
    m3 = pick<Maximum>(m3, v128.load(x, 48));
  }
  m0 = pick<Maximum>(pick<Maximum>(m0, m1), pick<Maximum>(m2, m3));
  m0 = pick<Maximum>(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1));
  let m = pickOne<Maximum>(f32x4.extract_lane(m0, 0), f32x4.extract_lane(m0, 1));
  for (; x < end; x += 4) m = pickOne<Maximum>(m, load<f32>(x));
  return m;
}

/**
 * Each of `planes` planes of `size` floats to one value. A plane is always reduced by one thread in one order
 * (`reducePlane`), so the bits depend on `size` alone.
 */
export function globalPlanes(maximum: bool, x: usize, y: usize, planes: i32, size: i32): void {
  for (let plane = 0; plane < planes; plane++) {
    store<f32>(y, maximum ? reducePlane<i32>(x, size) : reducePlane<f32>(x, size) / <f32>size);
    x += <usize>size << 2;
    y += 4;
  }
}

/** Each channel c0, count of an NHWC image of `size` pixels to one value; pixels in their order. */
export function globalNhwc(maximum: bool, x: usize, y: usize, channels: i32, c0: i32, count: i32, size: i32): void {
  const pixel = <usize>channels << 2, from = x + (<usize>c0 << 2), to = y + (<usize>c0 << 2);
  if (maximum) poolPixel<i32>(from, 0, pixel, 1, size, count, 1, to);
  else poolPixel<f32>(from, 0, pixel, 1, size, count, <f32>size, to);
}
