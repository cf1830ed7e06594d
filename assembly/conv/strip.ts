/**
 * Strips: input rows with padding around them, in the form in which every tap of a window reads neighbours from
 * neighbours. With a horizontal stride s each row is split by phase: phase r holds the padded columns r, r + s, r + 2s and
 * so on, so that tap column d reads phase d % s from its element floor(d / s).
 *
 * Rows are moved by vectors and not by memory.copy, a call out of the module: 32 planes of 1024 x 1024 went to strips of six
 * rows at 6.3 GB/s against 2.4, short rows gain more, and only rows of 512 already in cache lose (23 against 28; Node 24).
 */

/** `count` floats of one value. */
// @ts-ignore: decorator
@inline
export function fillFloats(to: usize, count: i32, value: f32): void {
  if (count < 4) {
    if (count > 0) store<f32>(to, value);
    if (count > 1) store<f32>(to, value, 4);
    if (count > 2) store<f32>(to, value, 8);
    return;
  }
  const v = f32x4.splat(value);
  // the last vector may lie over the one before it
  const last = to + (<usize>(count - 4) << 2);
  for (; to < last; to += 16) v128.store(to, v);
  v128.store(last, v);
}

// @ts-ignore: decorator
@inline
export function copyFloats(to: usize, from: usize, count: i32): void {
  if (count < 4) {
    for (let i = 0; i < count; i++) store<f32>(to + (i << 2), load<f32>(from + (i << 2)));
    return;
  }
  const bytes = <usize>(count - 4) << 2;
  for (let q: usize = 0; q < bytes; q += 16) v128.store(to + q, v128.load(from + q));
  v128.store(to + bytes, v128.load(from + bytes));
}

/** Columns 0, 2, 4, ... of a row to `evens`, `evenCount` of them, and columns 1, 3, 5, ... to `odds`. */
// @ts-ignore: decorator
@inline
function splitRow(from: usize, evens: usize, evenCount: i32, odds: usize, oddCount: i32): void {
  const both = min(evenCount, oddCount);
  let i = 0;
  while (i < both) {
    // the last vectors may lie over the ones before them
    if (i + 4 > both) {
      if (both < 4) break;
      i = both - 4;
    }
    const pair = from + (<usize>i << 3), at = <usize>i << 2;
    const low = v128.load(pair), high = v128.load(pair, 16);
    v128.store(evens + at, v128.shuffle<f32>(low, high, 0, 2, 4, 6));
    v128.store(odds + at, v128.shuffle<f32>(low, high, 1, 3, 5, 7));
    i += 4;
  }
  for (let j = i; j < evenCount; j++) store<f32>(evens + (<usize>j << 2), load<f32>(from + (<usize>j << 3)));
  for (let j = i; j < oddCount; j++) store<f32>(odds + (<usize>j << 2), load<f32>(from + (<usize>j << 3), 4));
}

/** Elements of a phase before the first one that lies in the image. */
// @ts-ignore: decorator
@inline
function phaseStart(phase: i32, padLeft: i32, stride: i32, phasePitch: i32): i32 {
  return padLeft <= phase ? 0 : min(phasePitch, (padLeft - phase + stride - 1) / stride);
}

/** Elements of a phase that lie in the image. */
// @ts-ignore: decorator
@inline
function phaseCount(start: i32, phase: i32, padLeft: i32, stride: i32, phasePitch: i32, inW: i32): i32 {
  const column = start * stride + phase - padLeft;
  return column >= inW ? 0 : min(phasePitch - start, (inW - column + stride - 1) / stride);
}

function fillPlain(
  x: usize, inH: i32, inW: i32, row0: i32, rows: i32, padLeft: i32, rowPitch: i32, fill: f32, to: usize,
): void {
  const left = min(padLeft, rowPitch), count = min(inW, rowPitch - left), right = rowPitch - left - count;
  const pitch = <usize>rowPitch << 2, before = <usize>left << 2, after = before + (<usize>count << 2);
  for (let y = row0; y < row0 + rows; y++) {
    if (<u32>y >= <u32>inH) fillFloats(to, rowPitch, fill);
    else {
      fillFloats(to, left, fill);
      copyFloats(to + before, x + (<usize>(y * inW) << 2), count);
      fillFloats(to + after, right, fill);
    }
    to += pitch;
  }
}

function fillHalves(
  x: usize, inH: i32, inW: i32, row0: i32, rows: i32, padLeft: i32, phasePitch: i32, fill: f32, to: usize,
): void {
  const start0 = phaseStart(0, padLeft, 2, phasePitch), count0 = phaseCount(start0, 0, padLeft, 2, phasePitch, inW);
  const start1 = phaseStart(1, padLeft, 2, phasePitch), count1 = phaseCount(start1, 1, padLeft, 2, phasePitch, inW);
  const pitch = <usize>phasePitch << 2;
  // where the padding is odd, column 0 of the image is in phase 1
  const swapped = (padLeft & 1) != 0;
  for (let y = row0; y < row0 + rows; y++) {
    const odd = to + pitch;
    if (<u32>y >= <u32>inH) fillFloats(to, 2 * phasePitch, fill);
    else {
      const from = x + (<usize>(y * inW) << 2);
      const at0 = to + (<usize>start0 << 2), at1 = odd + (<usize>start1 << 2);
      fillFloats(to, start0, fill);
      fillFloats(odd, start1, fill);
      if (swapped) splitRow(from, at1, count1, at0, count0);
      else splitRow(from, at0, count0, at1, count1);
      fillFloats(at0 + (<usize>count0 << 2), phasePitch - start0 - count0, fill);
      fillFloats(at1 + (<usize>count1 << 2), phasePitch - start1 - count1, fill);
    }
    to = odd + pitch;
  }
}

function fillPhases(
  x: usize, inH: i32, inW: i32, row0: i32, rows: i32, padLeft: i32, stride: i32, phasePitch: i32, fill: f32, to: usize,
): void {
  const step = <usize>stride << 2;
  for (let y = row0; y < row0 + rows; y++) {
    const inside = <u32>y < <u32>inH;
    for (let phase = 0; phase < stride; phase++) {
      const start = phaseStart(phase, padLeft, stride, phasePitch);
      const count = inside ? phaseCount(start, phase, padLeft, stride, phasePitch, inW) : 0;
      let from = x + (<usize>(y * inW + start * stride + phase - padLeft) << 2);
      const at = to + (<usize>start << 2), end = at + (<usize>count << 2);
      fillFloats(to, start, fill);
      for (let out = at; out < end; out += 4) {
        store<f32>(out, load<f32>(from));
        from += step;
      }
      fillFloats(end, phasePitch - start - count, fill);
      to += <usize>phasePitch << 2;
    }
  }
}

/**
 * Rows row0, row0 + 1, ... (in rows of the image, so that the padding above has negative ones) of the plane at `x` to
 * `rows` rows of `rowPitch` = strideW * phasePitch floats at `to`. Every float is written: what is not image gets `fill`.
 */
export function fillStrip(
  x: usize, inH: i32, inW: i32, row0: i32, rows: i32, padLeft: i32, strideW: i32, phasePitch: i32, rowPitch: i32,
  fill: f32, to: usize,
): void {
  if (strideW == 1) fillPlain(x, inH, inW, row0, rows, padLeft, rowPitch, fill, to);
  else if (strideW == 2) fillHalves(x, inH, inW, row0, rows, padLeft, phasePitch, fill, to);
  else fillPhases(x, inH, inW, row0, rows, padLeft, strideW, phasePitch, fill, to);
}
