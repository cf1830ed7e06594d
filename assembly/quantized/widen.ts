/** Steps that bring 8-bit operands into memory as 32-bit elements, for the steps of the plain problem that follow. */
import {
  JOB_A, JOB_B, JOB_QUANTIZED, JOB_RAW_A, JOB_RAW_B,
  PROGRAM_DEPTH, PROGRAM_LDB, PROGRAM_RAW_CHANNELS, PROGRAM_RAW_H, PROGRAM_RAW_LEFT, PROGRAM_RAW_PITCH, PROGRAM_RAW_ROWS, PROGRAM_RAW_TOP,
  PROGRAM_RAW_W, PROGRAM_SIGNED_A, PROGRAM_SIGNED_B, PROGRAM_TAPS, PROGRAM_WORD_STEPS,
  QUANTIZED_ZERO_A, QUANTIZED_ZERO_A_STEP, QUANTIZED_ZERO_B, QUANTIZED_ZERO_B_STEP,
  RECORD_COLS, RECORD_K0, RECORD_KS, RECORD_M0, RECORD_N0, RECORD_ROWS,
} from '../gen/layout';
import { signedRows } from './bytes';
import { columnFloats, columnPairs, rowFloats, rowPairs } from './lines';

/** Elements that `depth` steps of k take. */
// @ts-ignore: decorator
@inline
function elementsOf(depth: i32, pairs: bool): i32 {
  return pairs ? (depth + 1) >> 1 : depth;
}

// @ts-ignore: decorator
@inline
function inPairs(program: usize): bool {
  return load<i32>(program, PROGRAM_WORD_STEPS) == 2;
}

// @ts-ignore: decorator
@inline
function rowTo(pairs: bool, from: usize, count: i32, signed: bool, zero: i32, to: usize): void {
  if (pairs) rowPairs(from, count, signed, zero, to);
  else rowFloats(from, count, signed, zero, to);
}

/** Lines of k that stand `pitch` bytes apart, `valid` of them (at least 1), to one line of elements. */
// @ts-ignore: decorator
@inline
function linesTo(pairs: bool, from: usize, pitch: usize, valid: i32, count: i32, signed: bool, zeros: usize, zeroStep: i32, to: usize): void {
  if (pairs) columnPairs(from, valid > 1 ? from + pitch : 0, count, signed, zeros, zeroStep, to);
  else columnFloats(from, count, signed, zeros, zeroStep, to);
}

/** Rows M0, ROWS of an operand whose rows run along k; zero points by row, or (B) by row within a matrix. */
export function widenRows(job: usize, program: usize, record: usize, ofB: bool): void {
  if (load<i32>(program, PROGRAM_WORD_STEPS) == 4) {
    signedRows(job, program, record);
    return;
  }
  const quantized = load<usize>(job, JOB_QUANTIZED);
  const depth = load<i32>(program, PROGRAM_DEPTH), pairs = inPairs(program);
  const signed = load<i32>(program + (ofB ? PROGRAM_SIGNED_B : PROGRAM_SIGNED_A)) != 0;
  const from = load<usize>(job + (ofB ? JOB_RAW_B : JOB_RAW_A)), to = load<usize>(job + (ofB ? JOB_B : JOB_A));
  const zeros = load<usize>(quantized + (ofB ? QUANTIZED_ZERO_B : QUANTIZED_ZERO_A));
  const zeroStep = load<i32>(quantized + (ofB ? QUANTIZED_ZERO_B_STEP : QUANTIZED_ZERO_A_STEP));
  const cycle = load<i32>(program, PROGRAM_RAW_ROWS);
  const bytes = <usize>elementsOf(depth, pairs) << 2;
  const m0 = load<i32>(record, RECORD_M0), end = m0 + load<i32>(record, RECORD_ROWS);
  for (let row = m0; row < end; row++) {
    const zero = load<i32>(zeros + (ofB ? row % cycle : row) * zeroStep);
    rowTo(pairs, from + row * depth, depth, signed, zero, to + row * bytes);
  }
}

/** Matrix M0 of B, stored as k lines: lines of elements K0, KS. */
export function widenColumns(job: usize, program: usize, record: usize): void {
  const quantized = load<usize>(job, JOB_QUANTIZED);
  const depth = load<i32>(program, PROGRAM_DEPTH), pairs = inPairs(program), steps = pairs ? 2 : 1;
  const n = load<i32>(program, PROGRAM_LDB), matrix = load<i32>(record, RECORD_M0);
  const from = load<usize>(job, JOB_RAW_B) + <usize>matrix * depth * n;
  const to = load<usize>(job, JOB_B) + (<usize>matrix * elementsOf(depth, pairs) * n << 2);
  const k0 = load<i32>(record, RECORD_K0), end = k0 + load<i32>(record, RECORD_KS);
  for (let k = k0; k < end; k++) {
    const line = k * steps;
    linesTo(
      pairs, from + <usize>line * n, n, depth - line, n, load<i32>(program, PROGRAM_SIGNED_B) != 0,
      load<usize>(quantized, QUANTIZED_ZERO_B), load<i32>(quantized, QUANTIZED_ZERO_B_STEP), to + (<usize>k * n << 2),
    );
  }
}

/** Filters M0, ROWS: each has `depth` lines of taps; zero points by filter. */
export function widenFilters(job: usize, program: usize, record: usize, ofB: bool): void {
  const quantized = load<usize>(job, JOB_QUANTIZED);
  const depth = load<i32>(program, PROGRAM_DEPTH), taps = load<i32>(program, PROGRAM_TAPS), pairs = inPairs(program), steps = pairs ? 2 : 1;
  const signed = load<i32>(program + (ofB ? PROGRAM_SIGNED_B : PROGRAM_SIGNED_A)) != 0;
  const from = load<usize>(job + (ofB ? JOB_RAW_B : JOB_RAW_A)), to = load<usize>(job + (ofB ? JOB_B : JOB_A));
  const zeros = load<usize>(quantized + (ofB ? QUANTIZED_ZERO_B : QUANTIZED_ZERO_A));
  const zeroStep = load<i32>(quantized + (ofB ? QUANTIZED_ZERO_B_STEP : QUANTIZED_ZERO_A_STEP));
  const lines = elementsOf(depth, pairs);
  const m0 = load<i32>(record, RECORD_M0), end = m0 + load<i32>(record, RECORD_ROWS);
  for (let filter = m0; filter < end; filter++) {
    const zero = zeros + filter * zeroStep;
    const source = from + <usize>filter * depth * taps, out = to + (<usize>filter * lines * taps << 2);
    if (taps == 1) {
      rowTo(pairs, source, depth, signed, load<i32>(zero), out);
      continue;
    }
    for (let k = 0; k < lines; k++)
      linesTo(pairs, source + k * steps * taps, taps, depth - k * steps, taps, signed, zero, 0, out + (k * taps << 2));
  }
}

/** Planes K0, KS of elements (NCHW): channels interleaved, zeros around. */
export function widenPlanes(job: usize, program: usize, record: usize): void {
  const zeros = load<usize>(load<usize>(job, JOB_QUANTIZED), QUANTIZED_ZERO_B);
  const depth = load<i32>(program, PROGRAM_DEPTH), pairs = inPairs(program), steps = pairs ? 2 : 1;
  const signed = load<i32>(program, PROGRAM_SIGNED_B) != 0;
  const inH = load<i32>(program, PROGRAM_RAW_H), inW = load<i32>(program, PROGRAM_RAW_W);
  const top = load<i32>(program, PROGRAM_RAW_TOP), left = load<i32>(program, PROGRAM_RAW_LEFT);
  const pitch = <usize>load<i32>(program, PROGRAM_RAW_PITCH) << 2, rows = load<i32>(program, PROGRAM_RAW_ROWS);
  const before = <usize>left << 2, after = pitch - before - (<usize>inW << 2);
  const plane = <usize>(inH * inW), perGroup = elementsOf(depth, pairs);
  const k0 = load<i32>(record, RECORD_K0), end = k0 + load<i32>(record, RECORD_KS);
  for (let k = k0; k < end; k++) {
    const group = k / perGroup, line = (k - group * perGroup) * steps;
    const from = load<usize>(job, JOB_RAW_B) + <usize>(group * depth + line) * plane;
    let to = load<usize>(job, JOB_B) + <usize>k * pitch * rows;
    for (let y = -top; y < rows - top; y++) {
      if (y < 0 || y >= inH) memory.fill(to, 0, pitch);
      else {
        if (before) memory.fill(to, 0, before);
        linesTo(pairs, from + <usize>y * inW, plane, depth - line, inW, signed, zeros, 0, to + before);
        if (after) memory.fill(to + pitch - after, 0, after);
      }
      to += pitch;
    }
  }
}

/** Rows N0, COLS of padded NHWC images, counted through the batch: each group's channels of a pixel are a row of k. */
export function widenPixels(job: usize, program: usize, record: usize): void {
  const zero = load<i32>(load<usize>(load<usize>(job, JOB_QUANTIZED), QUANTIZED_ZERO_A));
  const depth = load<i32>(program, PROGRAM_DEPTH), pairs = inPairs(program);
  const signed = load<i32>(program, PROGRAM_SIGNED_A) != 0;
  const inH = load<i32>(program, PROGRAM_RAW_H), inW = load<i32>(program, PROGRAM_RAW_W), channels = load<i32>(program, PROGRAM_RAW_CHANNELS);
  const top = load<i32>(program, PROGRAM_RAW_TOP), left = load<i32>(program, PROGRAM_RAW_LEFT);
  const groups = channels / depth, bytes = <usize>elementsOf(depth, pairs) << 2, pixel = groups * bytes;
  const pitch = <usize>load<i32>(program, PROGRAM_RAW_PITCH) * pixel, rows = load<i32>(program, PROGRAM_RAW_ROWS);
  const before = left * pixel, after = pitch - before - inW * pixel;
  const n0 = load<i32>(record, RECORD_N0), end = n0 + load<i32>(record, RECORD_COLS);
  for (let row = n0; row < end; row++) {
    const image = row / rows, y = row - image * rows - top;
    const to = load<usize>(job, JOB_A) + <usize>row * pitch;
    if (y < 0 || y >= inH) {
      memory.fill(to, 0, pitch);
      continue;
    }
    memory.fill(to, 0, before);
    const from = load<usize>(job, JOB_RAW_A) + <usize>(image * inH + y) * inW * channels;
    // without a half word left over, all pixels of a row are one long row of k
    if (!pairs || !(depth & 1)) rowTo(pairs, from, inW * channels, signed, zero, to + before);
    else for (let i = 0; i < inW * groups; i++) rowTo(pairs, from + i * depth, depth, signed, zero, to + before + i * bytes);
    memory.fill(to + before + inW * pixel, 0, after);
  }
}
