/**
 * Lines of an array [outer, size, inner] to single values or to lines of the same length. The order of every sum follows from `size` and
 * `inner` alone, so the bits do not depend on how the lines are shared out. Softmax and norms are done where a line is still in cache:
 * three passes over it, one over memory.
 */
import { exp4, layConstants, splat } from './math';
import { partOr, storePart } from './parts';
import {
  AFFINE_LINE, AFFINE_NONE,
  JOB_A, JOB_ALPHA, JOB_B, JOB_BIAS, JOB_C,
  LINE_KIND_L1, LINE_KIND_L2, LINE_KIND_LOG_SOFTMAX, LINE_KIND_LOG_SUM, LINE_KIND_LOG_SUM_EXP, LINE_KIND_MAX, LINE_KIND_MEAN, LINE_KIND_MIN,
  LINE_KIND_NORM, LINE_KIND_PROD, LINE_KIND_RMS_NORM, LINE_KIND_SOFTMAX, LINE_KIND_SUM, LINE_KIND_SUM_SQUARE,
  PROGRAM_INNER, PROGRAM_K, PROGRAM_KIND, PROGRAM_LINE_CHANNELS, PROGRAM_SCALE_KIND, PROGRAM_SHIFT_KIND,
  RECORD_COLS, RECORD_K0, RECORD_KS, RECORD_N0,
} from '../gen/layout';

/** What lines are gathered by; kinds share them. */
const ADD = 0;
const LARGEST = 1;
const SMALLEST = 2;
const MULTIPLY = 3;
const SQUARES = 4;
const SIZES = 5;

function gatherOf(kind: i32): i32 {
  switch (kind) {
    case LINE_KIND_MAX: return LARGEST;
    case LINE_KIND_MIN: return SMALLEST;
    case LINE_KIND_PROD: return MULTIPLY;
    case LINE_KIND_SUM_SQUARE: case LINE_KIND_L2: return SQUARES;
    case LINE_KIND_L1: return SIZES;
    default: return ADD;
  }
}

/** What changes nothing. */
// @ts-ignore: decorator
@inline
function neutral(gather: i32): f32 {
  return gather == LARGEST ? -f32.POSITIVE_INFINITY : gather == SMALLEST ? f32.POSITIVE_INFINITY : gather == MULTIPLY ? 1 : 0;
}

// @ts-ignore: decorator
@inline
function take4(gather: i32, sum: v128, x: v128): v128 {
  switch (gather) {
    case LARGEST: return f32x4.max(sum, x);
    case SMALLEST: return f32x4.min(sum, x);
    case MULTIPLY: return f32x4.mul(sum, x);
    case SQUARES: return f32x4.add(sum, f32x4.mul(x, x));
    case SIZES: return f32x4.add(sum, f32x4.abs(x));
    default: return f32x4.add(sum, x);
  }
}

/** Partial results to one. */
// @ts-ignore: decorator
@inline
function join4(gather: i32, a: v128, b: v128): v128 {
  return gather == SQUARES || gather == SIZES ? f32x4.add(a, b) : take4(gather, a, b);
}

/** One value of the four lanes. */
// @ts-ignore: decorator
@inline
function across(gather: i32, v: v128): f32 {
  v = join4(gather, v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(join4(gather, v, v128.shuffle<f32>(v, v, 1, 0, 3, 2)), 0);
}

/** A line whose elements are side by side; `gather` is a constant here. Element i goes to partial result i % 16 up to the last whole 16. */
// @ts-ignore: decorator
@inline
function rowBy(gather: i32, x: usize, size: i32): f32 {
  const start = splat(neutral(gather));
  let s0 = start, s1 = start, s2 = start, s3 = start;
  for (; size >= 16; size -= 16) {
    s0 = take4(gather, s0, v128.load(x)); s1 = take4(gather, s1, v128.load(x, 16));
    s2 = take4(gather, s2, v128.load(x, 32)); s3 = take4(gather, s3, v128.load(x, 48));
    x += 64;
  }
  s0 = join4(gather, join4(gather, s0, s1), join4(gather, s2, s3));
  for (; size >= 4; size -= 4) {
    s0 = take4(gather, s0, v128.load(x));
    x += 16;
  }
  if (size) s0 = take4(gather, s0, partOr(x, size, neutral(gather)));
  return across(gather, s0);
}

/** e^(x - most) of a line into `y`, where there is one, and their sum. */
function exponentials(x: usize, y: usize, size: i32, most: f32, k: usize): f32 {
  const shift = splat(most);
  let s0 = splat(0), s1 = splat(0);
  for (; size >= 8; size -= 8) {
    const e0 = exp4(f32x4.sub(v128.load(x), shift), k), e1 = exp4(f32x4.sub(v128.load(x, 16), shift), k);
    if (y) {
      v128.store(y, e0); v128.store(y, e1, 16);
      y += 32;
    }
    s0 = f32x4.add(s0, e0); s1 = f32x4.add(s1, e1);
    x += 32;
  }
  s0 = f32x4.add(s0, s1);
  for (; size > 0; size -= 4) {
    const e = exp4(f32x4.sub(size < 4 ? partOr(x, size, -f32.POSITIVE_INFINITY) : v128.load(x), shift), k);
    if (size >= 4) {
      if (y) v128.store(y, e);
      s0 = f32x4.add(s0, e);
    } else {
      if (y) storePart(y, e, size);
      // lanes beyond the end are e^-infinity
      s0 = f32x4.add(s0, e);
    }
    x += 16;
    if (y) y += 16;
  }
  return across(ADD, s0);
}

/** x * scale + shift of a line; both step by 16 bytes, or by 0. */
function scaled(x: usize, less: f32, by: f32, scale: usize, stepScale: usize, shift: usize, stepShift: usize, y: usize, size: i32): void {
  const mean = splat(less), factor = splat(by);
  for (; size > 0; size -= 4) {
    const isWhole = size >= 4;
    const v = f32x4.mul(f32x4.sub(isWhole ? v128.load(x) : partOr(x, size, 0), mean), factor);
    const s = isWhole || !stepScale ? v128.load(scale) : partOr(scale, size, 0);
    const t = isWhole || !stepShift ? v128.load(shift) : partOr(shift, size, 0);
    const r = f32x4.add(f32x4.mul(v, s), t);
    if (isWhole) v128.store(y, r);
    else storePart(y, r, size);
    x += 16; y += 16; scale += stepScale; shift += stepShift;
  }
}

/** Mean of the squares of x - mean. */
function variance(x: usize, size: i32, less: f32): f32 {
  const mean = splat(less), count = <f32>size;
  let s0 = splat(0), s1 = splat(0);
  for (; size >= 8; size -= 8) {
    const d0 = f32x4.sub(v128.load(x), mean), d1 = f32x4.sub(v128.load(x, 16), mean);
    s0 = f32x4.add(s0, f32x4.mul(d0, d0)); s1 = f32x4.add(s1, f32x4.mul(d1, d1));
    x += 32;
  }
  s0 = f32x4.add(s0, s1);
  for (; size > 0; size -= 4) {
    const d = f32x4.sub(size >= 4 ? v128.load(x) : partOr(x, size, less), mean);
    s0 = f32x4.add(s0, f32x4.mul(d, d));
    x += 16;
  }
  return across(ADD, s0) / count;
}

function gatherRow(gather: i32, x: usize, size: i32): f32 {
  switch (gather) {
    case LARGEST: return rowBy(LARGEST, x, size);
    case SMALLEST: return rowBy(SMALLEST, x, size);
    case MULTIPLY: return rowBy(MULTIPLY, x, size);
    case SQUARES: return rowBy(SQUARES, x, size);
    case SIZES: return rowBy(SIZES, x, size);
    default: return rowBy(ADD, x, size);
  }
}

/** What was gathered to what was asked for. */
function finished(kind: i32, v: f32, size: i32): f32 {
  switch (kind) {
    case LINE_KIND_MEAN: return v / <f32>size;
    case LINE_KIND_L2: return sqrt<f32>(v);
    case LINE_KIND_LOG_SUM: return Mathf.log(v);
    default: return v;
  }
}

/** Infinities less themselves are no number: what is as large as it can be stays. */
// @ts-ignore: decorator
@inline
function isFinite1(x: f32): bool {
  return abs<f32>(x) < f32.POSITIVE_INFINITY;
}

function reducedRow(kind: i32, x: usize, size: i32, k: usize): f32 {
  if (kind != LINE_KIND_LOG_SUM_EXP) return finished(kind, gatherRow(gatherOf(kind), x, size), size);
  const most = rowBy(LARGEST, x, size);
  return isFinite1(most) ? most + Mathf.log(exponentials(x, 0, size, most, k)) : most;
}

/** The largest value that is a number, for softmax: one that is none makes the sum none, and f32x4.max takes nine instructions on x86. */
function mostOfRow(x: usize, size: i32): f32 {
  let m0 = splat(-f32.POSITIVE_INFINITY), m1 = m0, m2 = m0, m3 = m0;
  for (; size >= 16; size -= 16) {
    m0 = f32x4.pmax(m0, v128.load(x)); m1 = f32x4.pmax(m1, v128.load(x, 16));
    m2 = f32x4.pmax(m2, v128.load(x, 32)); m3 = f32x4.pmax(m3, v128.load(x, 48));
    x += 64;
  }
  m0 = f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3));
  for (; size >= 4; size -= 4) {
    m0 = f32x4.pmax(m0, v128.load(x));
    x += 16;
  }
  if (size) m0 = f32x4.pmax(m0, partOr(x, size, -f32.POSITIVE_INFINITY));
  return across(LARGEST, m0);
}

/** The same of up to four lines across memory. */
function mostOfColumns(x: usize, pitch: usize, size: i32, count: i32): v128 {
  let most = splat(-f32.POSITIVE_INFINITY);
  for (let i = 0; i < size; i++) {
    most = f32x4.pmax(most, count < 4 ? partOr(x, count, 0) : v128.load(x));
    x += pitch;
  }
  return most;
}

function softmaxRow(kind: i32, x: usize, y: usize, size: i32, k: usize, spare: usize): void {
  const most = mostOfRow(x, size);
  v128.store(spare, splat(1));
  v128.store(spare, splat(0), 16);
  if (kind == LINE_KIND_SOFTMAX) {
    const sum = exponentials(x, y, size, most, k);
    divide(y, size, sum);
  } else scaled(x, most, 1, spare, 0, lay(spare + 16, -Mathf.log(exponentials(x, 0, size, most, k))), 0, y, size);
}

// @ts-ignore: decorator
@inline
function lay(at: usize, x: f32): usize {
  v128.store(at, splat(x));
  return at;
}

function divide(y: usize, size: i32, by: f32): void {
  const divisor = splat(by);
  for (; size >= 4; size -= 4) {
    v128.store(y, f32x4.div(v128.load(y), divisor));
    y += 16;
  }
  if (size) storePart(y, f32x4.div(partOr(y, size, 0), divisor), size);
}

/** Where a factor or summand of line `index` is: its own list, or 16 bytes with one value. */
function affineAt(kind: i32, list: usize, index: i32, channels: i32, none: f32, spare: usize): usize {
  if (kind == AFFINE_NONE) return lay(spare, none);
  return kind == AFFINE_LINE ? lay(spare, load<f32>(list + (<usize>(index % channels) << 2))) : list;
}

function normRow(job: usize, program: usize, kind: i32, x: usize, y: usize, size: i32, index: i32, spare: usize): void {
  const scaleKind = load<i32>(program, PROGRAM_SCALE_KIND), shiftKind = load<i32>(program, PROGRAM_SHIFT_KIND);
  const channels = load<i32>(program, PROGRAM_LINE_CHANNELS), epsilon = load<f32>(job, JOB_ALPHA);
  const scale = affineAt(scaleKind, load<usize>(job, JOB_B), index, channels, 1, spare);
  const shift = affineAt(shiftKind, load<usize>(job, JOB_BIAS), index, channels, 0, spare + 16);
  const mean: f32 = kind == LINE_KIND_NORM ? rowBy(ADD, x, size) / <f32>size : 0;
  const spread = kind == LINE_KIND_NORM ? variance(x, size, mean) : rowBy(SQUARES, x, size) / <f32>size;
  const stepScale: usize = scaleKind > AFFINE_LINE ? 16 : 0, stepShift: usize = shiftKind > AFFINE_LINE ? 16 : 0;
  scaled(x, mean, 1 / sqrt<f32>(spread + epsilon), scale, stepScale, shift, stepShift, y, size);
}

/** Lines that run across memory, four side by side (`count` of them at the end): a value of each. */
function gatherColumns(gather: i32, x: usize, pitch: usize, size: i32, count: i32): v128 {
  let s = splat(neutral(gather));
  for (let i = 0; i < size; i++) {
    s = takeAny(gather, s, count < 4 ? partOr(x, count, 0) : v128.load(x));
    x += pitch;
  }
  return s;
}

function takeAny(gather: i32, sum: v128, x: v128): v128 {
  return take4(gather, sum, x);
}

/** Sixteen lines across memory by sums: the bulk of means over rows. `gather` is a constant here. */
// @ts-ignore: decorator
@inline
function sixteen(gather: i32, x: usize, pitch: usize, size: i32, to: usize): void {
  const start = splat(neutral(gather));
  let s0 = start, s1 = start, s2 = start, s3 = start;
  for (let i = 0; i < size; i++) {
    s0 = take4(gather, s0, v128.load(x)); s1 = take4(gather, s1, v128.load(x, 16));
    s2 = take4(gather, s2, v128.load(x, 32)); s3 = take4(gather, s3, v128.load(x, 48));
    x += pitch;
  }
  v128.store(to, s0); v128.store(to, s1, 16); v128.store(to, s2, 32); v128.store(to, s3, 48);
}

function gatherSixteen(gather: i32, x: usize, pitch: usize, size: i32, to: usize): void {
  switch (gather) {
    case LARGEST: sixteen(LARGEST, x, pitch, size, to); return;
    case SMALLEST: sixteen(SMALLEST, x, pitch, size, to); return;
    case MULTIPLY: sixteen(MULTIPLY, x, pitch, size, to); return;
    case SQUARES: sixteen(SQUARES, x, pitch, size, to); return;
    case SIZES: sixteen(SIZES, x, pitch, size, to); return;
    default: sixteen(ADD, x, pitch, size, to);
  }
}

/** e^(x - most) of up to four lines across memory, into `y` where there is one, and their sums. */
function exponentialColumns(x: usize, y: usize, pitch: usize, size: i32, count: i32, most: v128, k: usize): v128 {
  let sum = splat(0);
  for (let i = 0; i < size; i++) {
    const e = exp4(f32x4.sub(count < 4 ? partOr(x, count, 0) : v128.load(x), most), k);
    sum = f32x4.add(sum, e);
    x += pitch;
    if (!y) continue;
    if (count < 4) storePart(y, e, count);
    else v128.store(y, e);
    y += pitch;
  }
  return sum;
}

function log4(v: v128): v128 {
  let r = f32x4.splat(Mathf.log(f32x4.extract_lane(v, 0)));
  r = f32x4.replace_lane(r, 1, Mathf.log(f32x4.extract_lane(v, 1)));
  r = f32x4.replace_lane(r, 2, Mathf.log(f32x4.extract_lane(v, 2)));
  return f32x4.replace_lane(r, 3, Mathf.log(f32x4.extract_lane(v, 3)));
}

function finish4(kind: i32, v: v128, size: i32): v128 {
  switch (kind) {
    case LINE_KIND_MEAN: return f32x4.div(v, splat(<f32>size));
    case LINE_KIND_L2: return f32x4.sqrt(v);
    case LINE_KIND_LOG_SUM: return log4(v);
    default: return v;
  }
}

function reduceColumns(kind: i32, x: usize, y: usize, pitch: usize, size: i32, count: i32, k: usize): void {
  let v: v128;
  if (kind == LINE_KIND_LOG_SUM_EXP) {
    const most = gatherColumns(LARGEST, x, pitch, size, count);
    const sum = f32x4.add(most, log4(exponentialColumns(x, 0, pitch, size, count, most, k)));
    v = v128.bitselect(sum, most, f32x4.lt(f32x4.abs(most), splat(f32.POSITIVE_INFINITY)));
  } else v = finish4(kind, gatherColumns(gatherOf(kind), x, pitch, size, count), size);
  if (count < 4) storePart(y, v, count);
  else v128.store(y, v);
}

function softmaxColumns(kind: i32, x: usize, y: usize, pitch: usize, size: i32, count: i32, k: usize): void {
  const most = mostOfColumns(x, pitch, size, count);
  const isLog = kind == LINE_KIND_LOG_SOFTMAX;
  const sum = exponentialColumns(x, isLog ? 0 : y, pitch, size, count, most, k);
  const less = isLog ? f32x4.add(most, log4(sum)) : sum;
  for (let i = 0; i < size; i++) {
    const from = isLog ? x : y;
    const v = count < 4 ? partOr(from, count, 0) : v128.load(from);
    const r = isLog ? f32x4.sub(v, less) : f32x4.div(v, less);
    if (count < 4) storePart(y, r, count);
    else v128.store(y, r);
    x += pitch; y += pitch;
  }
}

/** Columns K0, KS of one [size, inner]. */
function columns(kind: i32, x: usize, y: usize, inner: i32, size: i32, k0: i32, ks: i32, k: usize): void {
  const pitch = <usize>inner << 2, gather = gatherOf(kind), end = k0 + ks;
  for (let column = k0; column < end; ) {
    const from = x + (<usize>column << 2), to = y + (<usize>column << 2), left = end - column;
    if (kind < LINE_KIND_SOFTMAX && kind != LINE_KIND_LOG_SUM_EXP && left >= 16) {
      gatherSixteen(gather, from, pitch, size, to);
      for (let i: usize = 0; i < 64; i += 16) v128.store(to + i, finish4(kind, v128.load(to + i), size));
      column += 16;
      continue;
    }
    if (kind < LINE_KIND_SOFTMAX) reduceColumns(kind, from, to, pitch, size, min(left, 4), k);
    else softmaxColumns(kind, from, to, pitch, size, min(left, 4), k);
    column += 4;
  }
}

/** Outer indices N0, COLS. */
export function lines(job: usize, program: usize, record: usize, scratch: usize): void {
  const kind = load<i32>(program, PROGRAM_KIND), size = load<i32>(program, PROGRAM_K), inner = load<i32>(program, PROGRAM_INNER);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS), k = scratch + 128;
  const isReduction = kind < LINE_KIND_SOFTMAX;
  const perLine = <usize>(size * inner) << 2, perResult = isReduction ? <usize>inner << 2 : perLine;
  layConstants(k);
  for (let index = n0; index < n0 + cols; index++) {
    const x = load<usize>(job, JOB_A) + index * perLine, y = load<usize>(job, JOB_C) + index * perResult;
    if (inner > 1) columns(kind, x, y, inner, size, load<i32>(record, RECORD_K0), load<i32>(record, RECORD_KS), k);
    else if (isReduction) store<f32>(y, reducedRow(kind, x, size, k));
    else if (kind < LINE_KIND_NORM) softmaxRow(kind, x, y, size, k, scratch);
    else normRow(job, program, kind, x, y, size, index, scratch);
  }
}
