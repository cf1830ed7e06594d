/**
 * The last pass over a block of the result, while it is still in cache:
 *   c = activation(alpha * c + beta * c0 + bias)
 * Every element takes the same operations whatever the block, so blockings do not show in the bits. NaN stays NaN in every
 * activation: it must not vanish in a relu.
 */
import {
  ACTIVATION_AFFINE_HARD_SWISH, ACTIVATION_CLIP, ACTIVATION_GELU, ACTIVATION_HARD_SIGMOID, ACTIVATION_HARD_SWISH, ACTIVATION_LEAKY_RELU, ACTIVATION_NONE,
  ACTIVATION_PRELU, ACTIVATION_RELU, ACTIVATION_SIGMOID, ACTIVATION_SILU, ACTIVATION_TANH,
  BIAS_KIND_COLUMN, BIAS_KIND_NONE, BIAS_KIND_ROW,
  JOB_ALPHA, JOB_BETA, JOB_BIAS, JOB_C, JOB_C0, JOB_P0, JOB_P1, JOB_SLOPE,
  PROGRAM_ACTIVATION, PROGRAM_BIAS_KIND, PROGRAM_FLAGS, PROGRAM_OLD_ROWS, PROGRAM_OUT_KIND, PROGRAM_SLOPE_KIND,
  PROGRAM_FLAG_ACCUMULATE, PROGRAM_FLAG_EXACT, PROGRAM_FLAG_SCALED, SCRATCH_ADDRESS,
} from '../gen/layout';
import { finishIntegers } from '../quantized/finish';
import { partOr, storePart } from './parts';
import { finishBounded, finishHardSwish, isPlainSum } from './rows';
import { atLeast, atMost, CONSTANTS_BYTES, gelu4, layConstants, ONE, select, sigmoid4, SIXTH, splat, tanh4, THREE } from './math';

/**
 * How an activation is computed; several share a form. Each form has a loop of its own with the form as a constant: engines
 * do not take a switch out of a loop, and it costs as much as all the rest of a cheap activation.
 */
const CLAMP = 0; // none, relu, clip: between p0 and p1
const SLOPED = 1; // leaky relu, prelu
const HARD_SIGMOID = 2; // p0 * x + p1 between 0 and 1
const HARD_SWISH = 3;
const AFFINE_HARD_SWISH = 4; // p0 * hard swish + p1
const GELU = 5; // from here on the arithmetic outweighs the loop: not unrolled
const SILU = 6;
const TANH = 7;
const SIGMOID = 8;

/** Where the two scalars lie for the ends of lines, beside the constants. */
const P0 = CONSTANTS_BYTES;
const P1 = CONSTANTS_BYTES + 4;

function formOf(kind: i32): i32 {
  switch (kind) {
    case ACTIVATION_LEAKY_RELU: case ACTIVATION_PRELU: return SLOPED;
    case ACTIVATION_HARD_SIGMOID: return HARD_SIGMOID;
    case ACTIVATION_HARD_SWISH: return HARD_SWISH;
    case ACTIVATION_AFFINE_HARD_SWISH: return AFFINE_HARD_SWISH;
    case ACTIVATION_GELU: return GELU;
    case ACTIVATION_SILU: return SILU;
    case ACTIVATION_TANH: return TANH;
    case ACTIVATION_SIGMOID: return SIGMOID;
    default: return CLAMP;
  }
}

/** The two scalars of a form: relu and none are clamps too, and hard swish has two of its own. */
function first(kind: i32, p0: f32, k: usize): f32 {
  if (kind == ACTIVATION_NONE) return f32.NEGATIVE_INFINITY;
  if (kind == ACTIVATION_RELU) return 0;
  return kind == ACTIVATION_HARD_SWISH ? load<f32>(k, THREE) : p0;
}

function second(kind: i32, p1: f32, k: usize): f32 {
  if (kind == ACTIVATION_NONE || kind == ACTIVATION_RELU) return f32.POSITIVE_INFINITY;
  return kind == ACTIVATION_HARD_SWISH ? load<f32>(k, SIXTH) : p1;
}

/** Hard swish takes (x + 3) / 6 and not x / 6 + 1/2: near -3 that is exact, so that small results are not all rounding. */
// @ts-ignore: decorator
@inline
function hardSwish4(v: v128, three: v128, sixth: v128, k: usize): v128 {
  return f32x4.mul(v, atMost(atLeast(f32x4.mul(f32x4.add(v, three), sixth), splat(0)), v128.load32_splat(k, ONE)));
}

// @ts-ignore: decorator
@inline
function activate(form: i32, v: v128, p0: v128, p1: v128, slope: v128, k: usize): v128 {
  switch (form) {
    case SLOPED: return f32x4.add(atLeast(v, splat(0)), f32x4.mul(atMost(v, splat(0)), slope));
    case HARD_SIGMOID: return atMost(atLeast(f32x4.add(f32x4.mul(v, p0), p1), splat(0)), v128.load32_splat(k, ONE));
    case HARD_SWISH: return hardSwish4(v, p0, p1, k);
    case AFFINE_HARD_SWISH:
      return f32x4.add(f32x4.mul(hardSwish4(v, v128.load32_splat(k, THREE), v128.load32_splat(k, SIXTH), k), p0), p1);
    case GELU: return gelu4(v, k);
    case SILU: return f32x4.mul(v, sigmoid4(v, k));
    case TANH: return tanh4(v, k);
    case SIGMOID: return sigmoid4(v, k);
    default: return atMost(atLeast(v, p0), p1);
  }
}

/** The same with a form that is known at run time only. */
function activateAny(form: i32, v: v128, p0: v128, p1: v128, slope: v128, k: usize): v128 {
  return activate(form, v, p0, p1, slope, k);
}

// @ts-ignore: decorator
@inline
function canonical(v: v128): v128 {
  return select(v, i32x4.splat(0x7fc00000), f32x4.eq(v, v));
}

/**
 * The last one to three elements of a line: the very same operations on a vector that is not full. The two scalars come from memory, not from
 * the vectors that the loop before it uses: V8 13.6 with 256-bit vectors ends the process ("unreachable code") on such an outside use.
 */
function finishTail(form: i32, flags: i32, job: usize, p: usize, count: i32, c0: usize, bias: v128, slope: v128, k: usize): void {
  let v = partOr(p, count, 0);
  if (flags & PROGRAM_FLAG_SCALED) v = f32x4.mul(v, v128.load32_splat(job, JOB_ALPHA));
  if (flags & PROGRAM_FLAG_ACCUMULATE) v = f32x4.add(v, f32x4.mul(partOr(c0, count, 0), v128.load32_splat(job, JOB_BETA)));
  v = activateAny(form, f32x4.add(v, bias), v128.load32_splat(k, P0), v128.load32_splat(k, P1), slope, k);
  if (flags & PROGRAM_FLAG_EXACT) v = canonical(v);
  storePart(p, v, count);
}

/**
 * One line of `cols` elements at p. `bias` and `slope` step by 16 bytes from vector to vector, or by 0 where one value serves
 * the whole line (then 16 bytes of scratch hold it four times). `form` is a constant here.
 */
// @ts-ignore: decorator
@inline
function line(
  form: i32, flags: i32, job: usize, p0: v128, p1: v128, p: usize, cols: i32, toC0: usize,
  bias: usize, biasStep: usize, slope: usize, slopeStep: usize, k: usize,
): void {
  const alpha = v128.load32_splat(job, JOB_ALPHA), beta = v128.load32_splat(job, JOB_BETA);
  const end = p + ((cols & ~3) << 2);
  if (form < GELU) {
    for (; p + 64 <= end; p += 64) {
      let v0 = v128.load(p), v1 = v128.load(p, 16), v2 = v128.load(p, 32), v3 = v128.load(p, 48);
      if (flags & PROGRAM_FLAG_SCALED) {
        v0 = f32x4.mul(v0, alpha); v1 = f32x4.mul(v1, alpha); v2 = f32x4.mul(v2, alpha); v3 = f32x4.mul(v3, alpha);
      }
      if (flags & PROGRAM_FLAG_ACCUMULATE) {
        const c0 = p + toC0;
        v0 = f32x4.add(v0, f32x4.mul(v128.load(c0), beta)); v1 = f32x4.add(v1, f32x4.mul(v128.load(c0, 16), beta));
        v2 = f32x4.add(v2, f32x4.mul(v128.load(c0, 32), beta)); v3 = f32x4.add(v3, f32x4.mul(v128.load(c0, 48), beta));
      }
      const bias1 = bias + biasStep, bias2 = bias1 + biasStep, bias3 = bias2 + biasStep;
      v0 = f32x4.add(v0, v128.load(bias)); v1 = f32x4.add(v1, v128.load(bias1));
      v2 = f32x4.add(v2, v128.load(bias2)); v3 = f32x4.add(v3, v128.load(bias3));
      bias = bias3 + biasStep;
      const slope1 = slope + slopeStep, slope2 = slope1 + slopeStep, slope3 = slope2 + slopeStep;
      v0 = activate(form, v0, p0, p1, form == SLOPED ? v128.load(slope) : p0, k);
      v1 = activate(form, v1, p0, p1, form == SLOPED ? v128.load(slope1) : p0, k);
      v2 = activate(form, v2, p0, p1, form == SLOPED ? v128.load(slope2) : p0, k);
      v3 = activate(form, v3, p0, p1, form == SLOPED ? v128.load(slope3) : p0, k);
      slope = slope3 + slopeStep;
      if (flags & PROGRAM_FLAG_EXACT) {
        v0 = canonical(v0); v1 = canonical(v1); v2 = canonical(v2); v3 = canonical(v3);
      }
      v128.store(p, v0); v128.store(p, v1, 16); v128.store(p, v2, 32); v128.store(p, v3, 48);
    }
  }
  for (; p < end; p += 16) {
    let v = v128.load(p);
    if (flags & PROGRAM_FLAG_SCALED) v = f32x4.mul(v, alpha);
    if (flags & PROGRAM_FLAG_ACCUMULATE) v = f32x4.add(v, f32x4.mul(v128.load(p + toC0), beta));
    v = activate(form, f32x4.add(v, v128.load(bias)), p0, p1, form == SLOPED ? v128.load(slope) : p0, k);
    if (flags & PROGRAM_FLAG_EXACT) v = canonical(v);
    v128.store(p, v);
    bias += biasStep;
    slope += slopeStep;
  }
  const rest = cols & 3;
  if (rest) {
    const add = biasStep ? partOr(bias, rest, 0) : v128.load(bias);
    const factor = slopeStep ? partOr(slope, rest, 0) : v128.load(slope);
    finishTail(form, flags, job, p, rest, p + toC0, add, factor, k);
  }
}

/** All lines of a block by one form. */
// @ts-ignore: decorator
@inline
function block(
  form: i32, flags: i32, job: usize, program: usize, c: usize, ldc: usize, row0: i32, rows: i32, col0: i32, cols: i32, biasKind: i32, slopeKind: i32,
  scratch: usize,
): void {
  const k = scratch + 32;
  if (form > SLOPED) layConstants(k);
  const kind = load<i32>(program, PROGRAM_ACTIVATION);
  const low = first(kind, load<f32>(job, JOB_P0), k), high = second(kind, load<f32>(job, JOB_P1), k);
  const p0 = splat(low), p1 = splat(high);
  store<f32>(k, low, P0);
  store<f32>(k, high, P1);
  const toC0 = load<usize>(job, JOB_C0) - load<usize>(job, JOB_C);
  const biasBase = load<usize>(job, JOB_BIAS), slopeBase = load<usize>(job, JOB_SLOPE);
  const biasStep: usize = biasKind == BIAS_KIND_ROW ? 16 : 0, slopeStep: usize = slopeKind == BIAS_KIND_ROW ? 16 : 0;
  const bias = biasStep ? biasBase + (col0 << 2) : scratch, slope = slopeStep ? slopeBase + (col0 << 2) : scratch + 16;
  v128.store(scratch, splat(0));
  v128.store(scratch, p0, 16); // leaky relu
  for (let i = 0; i < rows; i++) {
    if (biasKind == BIAS_KIND_COLUMN) v128.store(scratch, v128.load32_splat(biasBase + ((row0 + i) << 2)));
    if (slopeKind == BIAS_KIND_COLUMN) v128.store(scratch, v128.load32_splat(slopeBase + ((row0 + i) << 2)), 16);
    line(form, flags, job, p0, p1, c + i * ldc, cols, toC0, bias, biasStep, slope, slopeStep, k);
  }
}

/** A kind of bias as seen from the transposed result. */
// @ts-ignore: decorator
@inline
function turned(kind: i32): i32 {
  return kind == BIAS_KIND_ROW ? BIAS_KIND_COLUMN : kind == BIAS_KIND_COLUMN ? BIAS_KIND_ROW : BIAS_KIND_NONE;
}

/** Whether the last pass is no more than a bias for each row and two bounds, which a kernel may apply itself: same operations, same bits. */
export function isBiasAndBounds(program: usize): bool {
  const flags = load<i32>(program, PROGRAM_FLAGS);
  return !(flags & (PROGRAM_FLAG_ACCUMULATE | PROGRAM_FLAG_SCALED | PROGRAM_FLAG_EXACT)) && load<i32>(program, PROGRAM_OUT_KIND) == 0
    && formOf(load<i32>(program, PROGRAM_ACTIVATION)) == CLAMP && load<i32>(program, PROGRAM_BIAS_KIND) != BIAS_KIND_ROW;
}

/**
 * Bias and bounds of a row for a kernel: three floats at `to`, then whether the bounds matter. No bias is +0, and so is one of -0: a sum from +0 is
 * never -0, so both change nothing, and a sum of products alone, which may be -0, becomes the same.
 */
export function layBiasAndBounds(job: usize, program: usize, row: i32, to: usize): void {
  const kind = load<i32>(program, PROGRAM_ACTIVATION), biased = load<i32>(program, PROGRAM_BIAS_KIND) == BIAS_KIND_COLUMN;
  const low = first(kind, load<f32>(job, JOB_P0), 0), high = second(kind, load<f32>(job, JOB_P1), 0);
  store<f32>(to, biased ? load<f32>(load<usize>(job, JOB_BIAS) + (<usize>row << 2)) + <f32>0 : <f32>0);
  store<f32>(to, low, 4);
  store<f32>(to, high, 8);
  store<i32>(to, low > -Infinity || high < Infinity, 12);
}

/** rows x cols elements at c, `ldc` bytes from row to row; row0 and col0 are their place in the (unbatched) result. */
export function epilogue(job: usize, program: usize, c: usize, ldc: usize, row0: i32, rows: i32, col0: i32, cols: i32, scratch: usize): void {
  const flags = load<i32>(program, PROGRAM_FLAGS), oldRows = load<i32>(program, PROGRAM_OLD_ROWS);
  if (!oldRows || row0 + rows <= oldRows) {
    finish(flags, job, program, c, ldc, row0, rows, col0, cols, scratch);
    return;
  }
  const old = max(0, oldRows - row0);
  if (old) finish(flags, job, program, c, ldc, row0, old, col0, cols, scratch);
  const fresh = flags & ~PROGRAM_FLAG_ACCUMULATE;
  finish(fresh, job, program, c + <usize>old * ldc, ldc, row0 + old, rows - old, col0, cols, scratch);
}

/** All rows with old values, or none, as the flags say. */
function finish(
  flags: i32, job: usize, program: usize, c: usize, ldc: usize, row0: i32, rows: i32, col0: i32, cols: i32, scratch: usize,
): void {
  if (load<i32>(program, PROGRAM_OUT_KIND) && !finishIntegers(job, program, c, ldc, row0, rows, col0, cols, scratch)) return;
  let biasKind = load<i32>(program, PROGRAM_BIAS_KIND), slopeKind = load<i32>(program, PROGRAM_SLOPE_KIND);
  // single elements one after the other are a line that runs down
  if (cols == 1 && ldc == 4) {
    const first = row0;
    row0 = col0, col0 = first, cols = rows, rows = 1;
    biasKind = turned(biasKind), slopeKind = turned(slopeKind);
  }
  const kind = load<i32>(program, PROGRAM_ACTIVATION);
  const isKept = (flags & PROGRAM_FLAG_ACCUMULATE) != 0;
  const isPlain = !(flags & (PROGRAM_FLAG_SCALED | PROGRAM_FLAG_EXACT)) && biasKind != BIAS_KIND_ROW && (!isKept || isPlainSum(job));
  const form = formOf(kind), isBiased = biasKind == BIAS_KIND_COLUMN;
  const p0 = load<f32>(job, JOB_P0), p1 = load<f32>(job, JOB_P1);
  if (isPlain && form == CLAMP) {
    finishBounded(job, c, ldc, row0, rows, cols, isKept, isBiased, first(kind, p0, 0), second(kind, p1, 0));
    return;
  }
  if (isPlain && (form == HARD_SWISH || form == AFFINE_HARD_SWISH)) {
    layConstants(scratch);
    const three = load<f32>(scratch, THREE), sixth = load<f32>(scratch, SIXTH);
    finishHardSwish(job, c, ldc, row0, rows, cols, isKept, isBiased, three, sixth, form == AFFINE_HARD_SWISH, p0, p1);
    return;
  }
  switch (form) {
    case CLAMP: block(CLAMP, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case SLOPED: block(SLOPED, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case HARD_SIGMOID: block(HARD_SIGMOID, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case HARD_SWISH: block(HARD_SWISH, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case AFFINE_HARD_SWISH:
      block(AFFINE_HARD_SWISH, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch);
      break;
    case GELU: block(GELU, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case SILU: block(SILU, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case TANH: block(TANH, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
    case SIGMOID: block(SIGMOID, flags, job, program, c, ldc, row0, rows, col0, cols, biasKind, slopeKind, scratch); break;
  }
}

/** activation over `count` floats in place (whole vectors are touched): what tests compare with float64, apart from any
 *  product. `slope` is the address of as many floats, for prelu. */
export function apply_activation(kind: i32, p0: f32, p1: f32, at: usize, count: i32, slope: usize): void {
  const k: usize = SCRATCH_ADDRESS;
  layConstants(k);
  const form = formOf(kind), low = splat(first(kind, p0, k)), high = splat(second(kind, p1, k));
  for (let i = 0; i < count; i += 4) {
    const p = at + (i << 2);
    const factor = kind == ACTIVATION_PRELU ? v128.load(slope + (i << 2)) : low;
    v128.store(p, activateAny(form, v128.load(p), low, high, factor, k));
  }
}
