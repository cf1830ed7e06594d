/**
 * The last pass that most networks need: c = activation(c + c0 + bias), where a row has one bias or none and the activation is cheap. Each
 * element takes the operations that `epilogue` gives it, but that loop asks for each of its parts again in each turn: here what is not there is
 * not there, and bias and scalars stay in registers.
 */
import { JOB_BETA, JOB_BIAS, JOB_C, JOB_C0 } from '../gen/layout';
import { partOr, storePart } from './parts';
import { atLeast, atMost, splat } from './math';

// What is known when compiled is said by types. An activation:
type Bare = u8;
type Raised = u16;
type Clamped = u32;
type HardSwish = u64;
type AffineHardSwish = f64;
// and whether old values are added:
type Kept = i32;
type Fresh = f32;

/** Scalars: the two bounds; or 3, a sixth, 1, scale and shift. */
// @ts-ignore: decorator
@inline
function finished<Form, Old>(v: v128, c0: usize, bias: v128, p0: v128, p1: v128, p2: v128, p3: v128, p4: v128): v128 {
  if (isInteger<Old>()) v = f32x4.add(v, v128.load(c0));
  v = f32x4.add(v, bias);
  if (isFloat<Form>() || sizeof<Form>() == 8) {
    const swish = f32x4.mul(v, atMost(atLeast(f32x4.mul(f32x4.add(v, p0), p1), splat(0)), p2));
    return isFloat<Form>() ? f32x4.add(f32x4.mul(swish, p3), p4) : swish;
  }
  if (sizeof<Form>() == 1) return v;
  return sizeof<Form>() == 2 ? atLeast(v, p0) : atMost(atLeast(v, p0), p1);
}

function finishLine<Form, Old>(
  p: usize, cols: i32, toC0: usize, bias: v128, p0: v128, p1: v128, p2: v128, p3: v128, p4: v128,
): void {
  const end = p + (<usize>(cols & ~3) << 2);
  for (; p + 64 <= end; p += 64) {
    const c0 = p + toC0;
    const v0 = finished<Form, Old>(v128.load(p), c0, bias, p0, p1, p2, p3, p4);
    const v1 = finished<Form, Old>(v128.load(p, 16), c0 + 16, bias, p0, p1, p2, p3, p4);
    const v2 = finished<Form, Old>(v128.load(p, 32), c0 + 32, bias, p0, p1, p2, p3, p4);
    const v3 = finished<Form, Old>(v128.load(p, 48), c0 + 48, bias, p0, p1, p2, p3, p4);
    v128.store(p, v0); v128.store(p, v1, 16); v128.store(p, v2, 32); v128.store(p, v3, 48);
  }
  for (; p < end; p += 16) v128.store(p, finished<Form, Old>(v128.load(p), p + toC0, bias, p0, p1, p2, p3, p4));
  const rest = cols & 3;
  if (!rest) return;
  let v = partOr(p, rest, 0);
  if (isInteger<Old>()) v = f32x4.add(v, partOr(p + toC0, rest, 0));
  storePart(p, finished<Form, Fresh>(v, 0, bias, p0, p1, p2, p3, p4), rest);
}

/** Lines of a block, each with its own bias. */
function finishRowsOf<Form, Old>(
  job: usize, c: usize, ldc: usize, row0: i32, rows: i32, cols: i32, isBiased: bool, p0: f32, p1: f32, scale: f32, shift: f32,
): void {
  const toC0 = load<usize>(job, JOB_C0) - load<usize>(job, JOB_C), biases = load<usize>(job, JOB_BIAS) + (<usize>row0 << 2);
  for (let i = 0; i < rows; i++) {
    const bias = isBiased ? v128.load32_splat(biases + (<usize>i << 2)) : splat(0);
    finishLine<Form, Old>(c + i * ldc, cols, toC0, bias, splat(p0), splat(p1), splat(1), splat(scale), splat(shift));
  }
}

// @ts-ignore: decorator
@inline
function finishRowsBy<Form>(
  job: usize, c: usize, ldc: usize, row0: i32, rows: i32, cols: i32, isKept: bool, isBiased: bool, p0: f32, p1: f32, scale: f32, shift: f32,
): void {
  if (isKept) finishRowsOf<Form, Kept>(job, c, ldc, row0, rows, cols, isBiased, p0, p1, scale, shift);
  else finishRowsOf<Form, Fresh>(job, c, ldc, row0, rows, cols, isBiased, p0, p1, scale, shift);
}

/** Whether old values are added as they are. */
export function isPlainSum(job: usize): bool {
  return load<f32>(job, JOB_BETA) == 1;
}

/** rows x cols elements at c, between two bounds. `isKept`: c0 is added as it is (`isPlainSum`). */
export function finishBounded(
  job: usize, c: usize, ldc: usize, row0: i32, rows: i32, cols: i32, isKept: bool, isBiased: bool, low: f32, high: f32,
): void {
  if (high < f32.POSITIVE_INFINITY) finishRowsBy<Clamped>(job, c, ldc, row0, rows, cols, isKept, isBiased, low, high, 0, 0);
  else if (low > f32.NEGATIVE_INFINITY) finishRowsBy<Raised>(job, c, ldc, row0, rows, cols, isKept, isBiased, low, high, 0, 0);
  else finishRowsBy<Bare>(job, c, ldc, row0, rows, cols, isKept, isBiased, low, high, 0, 0);
}

/** The same through hard swish, with a scale and a shift behind it where it `isAffine`. */
export function finishHardSwish(
  job: usize, c: usize, ldc: usize, row0: i32, rows: i32, cols: i32, isKept: bool, isBiased: bool,
  three: f32, sixth: f32, isAffine: bool, scale: f32, shift: f32,
): void {
  if (isAffine) finishRowsBy<AffineHardSwish>(job, c, ldc, row0, rows, cols, isKept, isBiased, three, sixth, scale, shift);
  else finishRowsBy<HardSwish>(job, c, ldc, row0, rows, cols, isKept, isBiased, three, sixth, 1, 0);
}
