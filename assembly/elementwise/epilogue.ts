/**
 * The last pass over a block of the result, while it is still in cache:
 *   c = activation(alpha * c + beta * c0 + bias)
 * Every element takes the same operations whatever the block, so blockings do not show in the bits.
 */
import {
  ACTIVATION_CLIP, ACTIVATION_GELU, ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_SIGMOID, ACTIVATION_SILU, ACTIVATION_TANH,
  BIAS_KIND_COLUMN, BIAS_KIND_ROW,
  JOB_ALPHA, JOB_BETA, JOB_BIAS, JOB_C0, JOB_C, JOB_CLIP_MAX, JOB_CLIP_MIN,
  PROGRAM_ACTIVATION, PROGRAM_BIAS_KIND, PROGRAM_FLAGS,
  PROGRAM_FLAG_ACCUMULATE, PROGRAM_FLAG_EXACT, PROGRAM_FLAG_SCALED,
} from '../gen/layout';
import { gelu4, select, sigmoid4, splat, tanh4 } from './math';

/** Min and max propagate NaN here (f32x4.max, not pmax): a NaN in the sum must not vanish in a relu. */
// @ts-ignore: decorator
@inline
function activate(v: v128, kind: i32, low: v128, high: v128): v128 {
  switch (kind) {
    case ACTIVATION_RELU: return f32x4.max(v, splat(0));
    case ACTIVATION_CLIP: return f32x4.min(f32x4.max(v, low), high);
    case ACTIVATION_GELU: return gelu4(v);
    case ACTIVATION_SILU: return f32x4.mul(v, sigmoid4(v));
    case ACTIVATION_TANH: return tanh4(v);
    case ACTIVATION_SIGMOID: return sigmoid4(v);
    default: return v;
  }
}

/** Four elements at c; c0 is where the old result was kept, bias is already a vector. */
// @ts-ignore: decorator
@inline
function finish(v: v128, job: usize, flags: i32, kind: i32, c0: usize, bias: v128): v128 {
  if (flags & PROGRAM_FLAG_SCALED) v = f32x4.mul(v, v128.load32_splat(job, JOB_ALPHA));
  if (flags & PROGRAM_FLAG_ACCUMULATE) v = f32x4.add(v, f32x4.mul(v128.load(c0), v128.load32_splat(job, JOB_BETA)));
  v = f32x4.add(v, bias);
  v = activate(v, kind, v128.load32_splat(job, JOB_CLIP_MIN), v128.load32_splat(job, JOB_CLIP_MAX));
  if (flags & PROGRAM_FLAG_EXACT) v = select(v, i32x4.splat(0x7fc00000), f32x4.eq(v, v));
  return v;
}

/** Fewer than four elements: through a scratch vector, so that they take the very same operations. */
function finishTail(c: usize, count: i32, job: usize, flags: i32, kind: i32, c0: usize, bias: usize, biasKind: i32, scratch: usize): void {
  const bytes = count << 2;
  memory.copy(scratch, c, bytes);
  if (flags & PROGRAM_FLAG_ACCUMULATE) memory.copy(scratch + 16, c0, bytes);
  let add = splat(0);
  if (biasKind == BIAS_KIND_ROW) {
    memory.copy(scratch + 32, bias, bytes);
    add = v128.load(scratch, 32);
  } else if (biasKind == BIAS_KIND_COLUMN) add = v128.load32_splat(bias);
  v128.store(scratch, finish(v128.load(scratch), job, flags, kind, scratch + 16, add));
  memory.copy(c, scratch, bytes);
}

/** rows x cols elements at c, `ldc` bytes from row to row; row0 and col0 are their place in the (unbatched) result. */
export function epilogue(job: usize, program: usize, c: usize, ldc: usize, row0: i32, rows: i32, col0: i32, cols: i32, scratch: usize): void {
  const flags = load<i32>(program, PROGRAM_FLAGS);
  const kind = load<i32>(program, PROGRAM_ACTIVATION);
  const biasKind = load<i32>(program, PROGRAM_BIAS_KIND);
  const biasBase = load<usize>(job, JOB_BIAS);
  const toC0 = load<usize>(job, JOB_C0) - load<usize>(job, JOB_C);
  for (let i = 0; i < rows; i++) {
    let p = c + i * ldc;
    const end = p + ((cols & ~3) << 2);
    let bias = biasKind == BIAS_KIND_COLUMN ? biasBase + ((row0 + i) << 2) : biasBase + (col0 << 2);
    let add = splat(0);
    if (biasKind == BIAS_KIND_COLUMN) add = v128.load32_splat(bias);
    for (; p < end; p += 16) {
      if (biasKind == BIAS_KIND_ROW) {
        add = v128.load(bias);
        bias += 16;
      }
      v128.store(p, finish(v128.load(p), job, flags, kind, p + toC0, add));
    }
    if (cols & 3) finishTail(p, cols & 3, job, flags, kind, p + toC0, bias, biasKind, scratch);
  }
}

/** activation over `count` floats in place: what tests compare with float64, apart from any product. */
export function apply_activation(kind: i32, low: f32, high: f32, at: usize, count: i32): void {
  for (let i = 0; i < count; i += 4) {
    const p = at + (i << 2);
    v128.store(p, activate(v128.load(p), kind, splat(low), splat(high)));
  }
}
