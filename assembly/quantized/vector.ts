/**
 * A vector times a matrix of bytes that is read in place, once: what memory delivers bounds it, and bytes are a quarter of floats. The
 * vector is words of 16-bit pairs less their zero point. c[j] = sum over p of v[p] * (m[p][j] - zero[j]), for `count` lines j.
 */
import {
  JOB_A, JOB_B, JOB_C, JOB_QUANTIZED, JOB_RAW_A, JOB_RAW_B,
  PROGRAM_DEPTH, PROGRAM_FLAGS, PROGRAM_FLAG_EPILOGUE, PROGRAM_KERNEL, PROGRAM_LDA, PROGRAM_LDB, PROGRAM_MATRIX_A,
  PROGRAM_SIGNED_A, PROGRAM_SIGNED_B, PROGRAM_TRANSPOSE_B,
  QUANTIZED_ZERO_A, QUANTIZED_ZERO_A_STEP, QUANTIZED_ZERO_B, QUANTIZED_ZERO_B_STEP,
  RECORD_A_OFFSET, RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_N0,
} from '../gen/layout';
import { epilogue } from '../elementwise/epilogue';

// @ts-ignore: decorator
@inline
function low8(v: v128, signed: bool): v128 {
  return signed ? i16x8.extend_low_i8x16_s(v) : i16x8.extend_low_i8x16_u(v);
}

// @ts-ignore: decorator
@inline
function high8(v: v128, signed: bool): v128 {
  return signed ? i16x8.extend_high_i8x16_s(v) : i16x8.extend_high_i8x16_u(v);
}

// @ts-ignore: decorator
@inline
function byteAt(at: usize, signed: bool): i32 {
  return signed ? <i32>load<i8>(at) : <i32>load<u8>(at);
}

// @ts-ignore: decorator
@inline
function sumOf(v: v128): i32 {
  return i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1) + i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3);
}

/** The sum of a vector of words: what a zero point is multiplied by. */
function vectorSum(k: i32, v: usize): i32 {
  let sum = 0;
  for (let p = 0; p < k; p++) sum += <i32>load<i16>(v + (p << 1));
  return sum;
}

/** Four sums, less what the zero points add. */
// @ts-ignore: decorator
@inline
function storeLess(c: usize, sums: v128, zeros: usize, zeroStep: i32, total: i32): void {
  const zero = zeroStep ? v128.load(zeros) : v128.load32_splat(zeros);
  v128.store(c, i32x4.sub(sums, i32x4.mul(zero, i32x4.splat(total))));
}

/** Products of eight columns of two lines. */
// @ts-ignore: decorator
@inline
function pairLow(x: v128, y: v128): v128 {
  return i8x16.shuffle(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline
function pairHigh(x: v128, y: v128): v128 {
  return i8x16.shuffle(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** Lines of k, `ld` bytes apart. `signed` is known where this is inlined. */
// @ts-ignore: decorator
@inline
function columns(k: i32, v: usize, count: i32, m: usize, ld: usize, signed: bool, zeros: usize, zeroStep: i32, c: usize): void {
  const total = vectorSum(k, v);
  const pairs = (k + 1) >> 1;
  let j = 0;
  for (; j + 32 <= count; j += 32) {
    let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    let line = m + j;
    for (let p = 0; p < pairs; p++) {
      // an odd last line is paired with itself: the vector has a zero there
      const next = (p << 1) + 1 < k ? line + ld : line;
      const w = v128.load32_splat(v + (p << 2));
      const x0 = v128.load(line), y0 = v128.load(next), x1 = v128.load(line, 16), y1 = v128.load(next, 16);
      const a = pairLow(x0, y0), b = pairHigh(x0, y0), d = pairLow(x1, y1), e = pairHigh(x1, y1);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(low8(a, signed), w));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(high8(a, signed), w));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(low8(b, signed), w));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(high8(b, signed), w));
      s4 = i32x4.add(s4, i32x4.dot_i16x8_s(low8(d, signed), w));
      s5 = i32x4.add(s5, i32x4.dot_i16x8_s(high8(d, signed), w));
      s6 = i32x4.add(s6, i32x4.dot_i16x8_s(low8(e, signed), w));
      s7 = i32x4.add(s7, i32x4.dot_i16x8_s(high8(e, signed), w));
      line += ld << 1;
    }
    const to = c + (j << 2), zero = zeros + j * zeroStep;
    storeLess(to, s0, zero, zeroStep, total);
    storeLess(to + 16, s1, zero + 4 * zeroStep, zeroStep, total);
    storeLess(to + 32, s2, zero + 8 * zeroStep, zeroStep, total);
    storeLess(to + 48, s3, zero + 12 * zeroStep, zeroStep, total);
    storeLess(to + 64, s4, zero + 16 * zeroStep, zeroStep, total);
    storeLess(to + 80, s5, zero + 20 * zeroStep, zeroStep, total);
    storeLess(to + 96, s6, zero + 24 * zeroStep, zeroStep, total);
    storeLess(to + 112, s7, zero + 28 * zeroStep, zeroStep, total);
  }
  for (; j + 8 <= count; j += 8) {
    let s0 = i32x4.splat(0), s1 = s0;
    let line = m + j;
    for (let p = 0; p < pairs; p++) {
      const next = (p << 1) + 1 < k ? line + ld : line;
      const w = v128.load32_splat(v + (p << 2));
      const a = pairLow(v128.load64_zero(line), v128.load64_zero(next));
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(low8(a, signed), w));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(high8(a, signed), w));
      line += ld << 1;
    }
    const to = c + (j << 2), zero = zeros + j * zeroStep;
    storeLess(to, s0, zero, zeroStep, total);
    storeLess(to + 16, s1, zero + 4 * zeroStep, zeroStep, total);
  }
  for (; j < count; j++) {
    let sum = 0, line = m + j;
    for (let p = 0; p < k; p++) {
      sum += <i32>load<i16>(v + (p << 1)) * byteAt(line, signed);
      line += ld;
    }
    store<i32>(c + (j << 2), sum - load<i32>(zeros + j * zeroStep) * total);
  }
}

export function integerColumns(k: i32, v: usize, count: i32, m: usize, ld: usize, signed: bool, zeros: usize, zeroStep: i32, c: usize): void {
  if (signed) columns(k, v, count, m, ld, true, zeros, zeroStep, c);
  else columns(k, v, count, m, ld, false, zeros, zeroStep, c);
}

/** One row of k times the vector. */
// @ts-ignore: decorator
@inline
function rest(v: usize, row: usize, from: i32, k: i32, signed: bool): i32 {
  let sum = 0;
  for (let p = from; p < k; p++) sum += <i32>load<i16>(v + (p << 1)) * byteAt(row + p, signed);
  return sum;
}

/** Rows of k, `ld` bytes apart, two at once. */
// @ts-ignore: decorator
@inline
function rows(k: i32, v: usize, count: i32, m: usize, ld: usize, signed: bool, zeros: usize, zeroStep: i32, c: usize): void {
  const total = vectorSum(k, v), whole = k & ~15;
  let j = 0;
  for (; j < count; j += 2) {
    // the last row of an odd number of them is taken twice
    const two = j + 1 < count;
    const row = m + j * ld, next = two ? row + ld : row;
    let s0 = i32x4.splat(0), s1 = s0, t0 = s0, t1 = s0;
    for (let p = 0; p < whole; p += 16) {
      const x = v128.load(row + p), y = v128.load(next + p);
      const a = v128.load(v + (p << 1)), b = v128.load(v + (p << 1), 16);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(low8(x, signed), a));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(high8(x, signed), b));
      t0 = i32x4.add(t0, i32x4.dot_i16x8_s(low8(y, signed), a));
      t1 = i32x4.add(t1, i32x4.dot_i16x8_s(high8(y, signed), b));
    }
    const to = c + (j << 2);
    store<i32>(to, sumOf(i32x4.add(s0, s1)) + rest(v, row, whole, k, signed) - load<i32>(zeros + j * zeroStep) * total);
    if (two) store<i32>(to, sumOf(i32x4.add(t0, t1)) + rest(v, next, whole, k, signed) - load<i32>(zeros + (j + 1) * zeroStep) * total, 4);
  }
}

export function integerRows(k: i32, v: usize, count: i32, m: usize, ld: usize, signed: bool, zeros: usize, zeroStep: i32, c: usize): void {
  if (signed) rows(k, v, count, m, ld, true, zeros, zeroStep, c);
  else rows(k, v, count, m, ld, false, zeros, zeroStep, c);
}

/** Elements N0, COLS of the result, which is one line. The matrix is B, or A where MATRIX_A is set. */
export function integerVector(job: usize, program: usize, record: usize, scratch: usize): void {
  const matrixIsA = load<i32>(program, PROGRAM_MATRIX_A) != 0;
  const quantized = load<usize>(job, JOB_QUANTIZED);
  const k = load<i32>(program, PROGRAM_DEPTH), words = (k + 1) >> 1;
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  // offsets of the record are four bytes for each element: here elements are bytes, and vectors are rows of words
  const offsetA = load<usize>(record, RECORD_A_OFFSET) >> 2, offsetB = load<usize>(record, RECORD_B_OFFSET) >> 2;
  const v = matrixIsA
    ? load<usize>(job, JOB_B) + (offsetB / k) * (words << 2)
    : load<usize>(job, JOB_A) + (offsetA / k) * (words << 2);
  const raw = matrixIsA ? load<usize>(job, JOB_RAW_A) + offsetA : load<usize>(job, JOB_RAW_B) + offsetB;
  const ld = load<usize>(program + (matrixIsA ? PROGRAM_LDA : PROGRAM_LDB));
  const alongK = matrixIsA || load<i32>(program, PROGRAM_TRANSPOSE_B) != 0;
  const zeroStep = load<i32>(quantized + (matrixIsA ? QUANTIZED_ZERO_A_STEP : QUANTIZED_ZERO_B_STEP));
  const zeros = load<usize>(quantized + (matrixIsA ? QUANTIZED_ZERO_A : QUANTIZED_ZERO_B)) + n0 * zeroStep;
  const signed = load<i32>(program + (matrixIsA ? PROGRAM_SIGNED_A : PROGRAM_SIGNED_B));
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + (n0 << 2);
  call_indirect<void>(
    load<i32>(program, PROGRAM_KERNEL), k, v, <usize>cols, alongK ? raw + n0 * ld : raw + n0, ld, <usize>signed, zeros, c, <usize>zeroStep, 1,
  );
  if (!(load<i32>(program, PROGRAM_FLAGS) & PROGRAM_FLAG_EPILOGUE)) return;
  if (matrixIsA) epilogue(job, program, c, 4, n0, cols, 0, 1, scratch);
  else epilogue(job, program, c, 0, 0, 1, n0, cols, scratch);
}
