/**
 * What becomes of the sums of an integer product while they are in cache.
 *   u8, i8: saturate(round(float(sum + bias) * (scaleA * scaleB / scaleY)) + zeroY), rounding half to even;
 *   f32: float(sum) * (scaleA * scaleB), then what the plain epilogue adds;
 *   i32: the sums themselves.
 * Every operation on floats is rounded to f32 by itself: that is the definition, and the reference does the same.
 */
import {
  JOB_C, JOB_OUT, JOB_QUANTIZED, OUT_KIND_F32, OUT_KIND_I8, OUT_KIND_U8,
  PROGRAM_OUT_KIND, PROGRAM_WORD_STEPS,
  QUANTIZED_BIAS, QUANTIZED_BIAS_BY_ROW, QUANTIZED_COL_SCALE, QUANTIZED_COL_SCALE_STEP, QUANTIZED_OUT_SCALE, QUANTIZED_OUT_ZERO,
  QUANTIZED_ROW_SCALE, QUANTIZED_ROW_SCALE_STEP,
} from '../gen/layout';
import { correct } from './bytes';

/** 1.5 * 2^23: added to a float of less than 2^22, it leaves the integer nearest to that (half to even) in the low bits. */
const ROUNDER: f32 = 12582912;
const ROUNDER_BITS: i32 = 0x4b400000;

/** Four sums as integers, also those that were made in floats: integers of up to 2^24. */
// @ts-ignore: decorator
@inline
function sumsAt(at: usize, floats: bool): v128 {
  const v = v128.load(at);
  return floats ? i32x4.trunc_sat_f32x4_s(v) : v;
}

/** What is the same for all elements of a row; arrays of columns are 0 where one value serves all. */
// @ts-ignore: decorator
@inline
function finished(
  kind: i32, sum: v128, rowScale: v128, scale: v128, columns: usize, outScale: v128, rowBias: v128, bias: usize, low: v128, high: v128, back: v128,
): v128 {
  sum = i32x4.add(sum, bias ? v128.load(bias) : rowBias);
  if (columns) scale = f32x4.div(f32x4.mul(rowScale, v128.load(columns)), outScale);
  const value = f32x4.mul(f32x4.convert_i32x4_s(sum), scale);
  if (kind == OUT_KIND_F32) return value;
  // the bounds are whole numbers, so that clamping before rounding is the same as after; nothing here is a NaN
  return i32x4.sub(f32x4.add(f32x4.pmax(f32x4.pmin(value, high), low), f32x4.splat(ROUNDER)), back);
}

/** Integers of up to this size are floats; a sum of two such floats is rounded as their integers' sum is on its way to a float. */
const EXACT: i32 = 1 << 24;

/** Four sums to integers in the range of bytes, with one scale and one bias for all. `floats` is known where this is inlined. */
// @ts-ignore: decorator
@inline
function evenly(floats: bool, at: usize, bias: v128, scale: v128, low: v128, high: v128, back: v128): v128 {
  const v = v128.load(at);
  const value = f32x4.mul(floats ? f32x4.add(v, bias) : f32x4.convert_i32x4_s(i32x4.add(v, bias)), scale);
  return i32x4.sub(f32x4.add(f32x4.pmax(f32x4.pmin(value, high), low), f32x4.splat(ROUNDER)), back);
}

/** As many sixteens of a row as there are; returns their number of elements. */
// @ts-ignore: decorator
@inline
function sixteens(
  kind: i32, floats: bool, at: usize, count: i32, to: usize, bias: v128, scale: v128, low: v128, high: v128, back: v128,
): i32 {
  const end = to + (count & ~15);
  for (; to < end; to += 16) {
    const v0 = evenly(floats, at, bias, scale, low, high, back), v1 = evenly(floats, at + 16, bias, scale, low, high, back);
    const v2 = evenly(floats, at + 32, bias, scale, low, high, back), v3 = evenly(floats, at + 48, bias, scale, low, high, back);
    v128.store(to, narrow(kind, i16x8.narrow_i32x4_s(v0, v1), i16x8.narrow_i32x4_s(v2, v3)));
    at += 64;
  }
  return count & ~15;
}

// @ts-ignore: decorator
@inline
function narrow(kind: i32, low: v128, high: v128): v128 {
  return kind == OUT_KIND_I8 ? i8x16.narrow_i16x8_s(low, high) : i8x16.narrow_i16x8_u(low, high);
}

/** rows x cols sums at c, bytes of them to `out` (`ldOut` apart). `kind` is known where this is inlined. */
// @ts-ignore: decorator
@inline
function finish(
  kind: i32, job: usize, c: usize, ldc: usize, out: usize, ldOut: usize, row0: i32, rows: i32, col0: i32, cols: i32, scratch: usize, floats: bool,
): void {
  const q = load<usize>(job, JOB_QUANTIZED);
  const rowStep = load<i32>(q, QUANTIZED_ROW_SCALE_STEP), rowScales = load<usize>(q, QUANTIZED_ROW_SCALE);
  const columnScales = load<usize>(q, QUANTIZED_COL_SCALE), byColumn = load<i32>(q, QUANTIZED_COL_SCALE_STEP) != 0;
  const outScale = v128.load32_splat(q, QUANTIZED_OUT_SCALE), outZero = load<i32>(q, QUANTIZED_OUT_ZERO);
  const bias = load<usize>(q, QUANTIZED_BIAS), biasByRow = load<i32>(q, QUANTIZED_BIAS_BY_ROW) != 0;
  const lowest = kind == OUT_KIND_I8 ? -128 : 0;
  const low = f32x4.splat(<f32>(lowest - outZero)), high = f32x4.splat(<f32>(lowest + 255 - outZero));
  const back = i32x4.splat(ROUNDER_BITS - outZero);
  for (let i = 0; i < rows; i++) {
    let at = c + i * ldc, to = out + i * ldOut;
    const rowScale = v128.load32_splat(rowScales + (row0 + i) * rowStep);
    const scale = f32x4.div(f32x4.mul(rowScale, v128.load32_splat(columnScales)), outScale);
    const rowBias = bias && biasByRow ? v128.load32_splat(bias + ((row0 + i) << 2)) : i32x4.splat(0);
    let columns = byColumn ? columnScales + (col0 << 2) : 0, biases = bias && !biasByRow ? bias + (col0 << 2) : 0;
    let rest = cols;
    if (kind != OUT_KIND_F32) {
      if (!columns && !biases) {
        const one = i32x4.extract_lane(rowBias, 0);
        let done = 0;
        if (!floats) done = sixteens(kind, false, at, cols, to, rowBias, scale, low, high, back);
        else if (one >= -EXACT && one <= EXACT) done = sixteens(kind, true, at, cols, to, f32x4.splat(<f32>one), scale, low, high, back);
        at += <usize>done << 2;
        to += done;
        rest -= done;
      }
      for (; rest >= 16; rest -= 16) {
        const v0 = finished(kind, sumsAt(at, floats), rowScale, scale, columns, outScale, rowBias, biases, low, high, back);
        const v1 = finished(kind, sumsAt(at + 16, floats), rowScale, scale, columns ? columns + 16 : 0, outScale, rowBias, biases ? biases + 16 : 0, low, high, back);
        const v2 = finished(kind, sumsAt(at + 32, floats), rowScale, scale, columns ? columns + 32 : 0, outScale, rowBias, biases ? biases + 32 : 0, low, high, back);
        const v3 = finished(kind, sumsAt(at + 48, floats), rowScale, scale, columns ? columns + 48 : 0, outScale, rowBias, biases ? biases + 48 : 0, low, high, back);
        v128.store(to, narrow(kind, i16x8.narrow_i32x4_s(v0, v1), i16x8.narrow_i32x4_s(v2, v3)));
        at += 64;
        to += 16;
        if (columns) columns += 64;
        if (biases) biases += 64;
      }
    }
    while (rest > 0) {
      let from = at;
      if (rest < 4) {
        // fewer than four take the very same operations, in scratch
        memory.copy(scratch, at, rest << 2);
        from = scratch;
      }
      const v = finished(kind, sumsAt(from, floats), rowScale, scale, columns, outScale, rowBias, biases, low, high, back);
      if (kind == OUT_KIND_F32) {
        v128.store(from, v);
        if (rest < 4) memory.copy(at, scratch, rest << 2);
      } else {
        const words = i16x8.narrow_i32x4_s(v, v), bytes = narrow(kind, words, words);
        if (rest >= 4) v128.store32_lane(to, bytes, 0);
        else {
          v128.store(scratch, bytes);
          memory.copy(to, scratch, rest);
        }
      }
      at += 16;
      to += 4;
      if (columns) columns += 16;
      if (biases) biases += 16;
      rest -= 4;
    }
  }
}

/** Sums that were made in floats become integers where they are. */
function toIntegers(c: usize, ldc: usize, rows: i32, cols: i32): void {
  for (let i = 0; i < rows; i++) {
    const at = c + i * ldc;
    let j = 0;
    for (; j + 4 <= cols; j += 4) v128.store(at + (j << 2), i32x4.trunc_sat_f32x4_s(v128.load(at + (j << 2))));
    for (; j < cols; j++) store<i32>(at + (j << 2), <i32>load<f32>(at + (j << 2)));
  }
}

/** rows x cols sums at c, in the place of the result; true where the epilogue of floats follows. */
export function finishIntegers(
  job: usize, program: usize, c: usize, ldc: usize, row0: i32, rows: i32, col0: i32, cols: i32, scratch: usize,
): bool {
  const out = load<usize>(job, JOB_OUT) + ((c - load<usize>(job, JOB_C)) >> 2);
  return finishIntegersTo(job, program, c, ldc, out, ldc >> 2, row0, rows, col0, cols, scratch);
}

/** The same for sums anywhere: bytes go to `out`, rows `ldOut` apart; sums that stay 32 bits wide stay where they are. */
export function finishIntegersTo(
  job: usize, program: usize, c: usize, ldc: usize, out: usize, ldOut: usize, row0: i32, rows: i32, col0: i32, cols: i32, scratch: usize,
): bool {
  const floats = load<i32>(program, PROGRAM_WORD_STEPS) == 1;
  if (load<i32>(program, PROGRAM_WORD_STEPS) == 4) correct(job, program, c, ldc, row0, rows, col0, cols);
  switch (load<i32>(program, PROGRAM_OUT_KIND)) {
    case OUT_KIND_U8: finish(OUT_KIND_U8, job, c, ldc, out, ldOut, row0, rows, col0, cols, scratch, floats); return false;
    case OUT_KIND_I8: finish(OUT_KIND_I8, job, c, ldc, out, ldOut, row0, rows, col0, cols, scratch, floats); return false;
    case OUT_KIND_F32: finish(OUT_KIND_F32, job, c, ldc, out, ldOut, row0, rows, col0, cols, scratch, floats); return true;
    default:
      if (floats) toIntegers(c, ldc, rows, cols);
      return false;
  }
}
