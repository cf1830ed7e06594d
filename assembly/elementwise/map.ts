/** Functions of single elements over arrays that broadcast: rows of the innermost extent, one after the other. */
import { epilogue } from './epilogue';
import { binary1, binary4, unary1, unary4 } from './functions';
import { layConstants, select, splat } from './math';
import { partOr, storePart } from './parts';
import {
  JOB_A, JOB_B, JOB_C, JOB_C0, JOB_P0, JOB_P1,
  MAP_KIND_ABS, MAP_KIND_ADD, MAP_KIND_AND, MAP_KIND_CEIL, MAP_KIND_DIV, MAP_KIND_EQUAL, MAP_KIND_EXP, MAP_KIND_FLOOR, MAP_KIND_GREATER,
  MAP_KIND_GREATER_OR_EQUAL, MAP_KIND_IS_INF, MAP_KIND_IS_NA_N, MAP_KIND_LESS, MAP_KIND_LESS_OR_EQUAL, MAP_KIND_MAX, MAP_KIND_MIN,
  MAP_KIND_MUL, MAP_KIND_NEG, MAP_KIND_NOT, MAP_KIND_OR, MAP_KIND_PRELU, MAP_KIND_RECIPROCAL, MAP_KIND_ROUND, MAP_KIND_SIGN, MAP_KIND_SQRT,
  MAP_KIND_SUB, MAP_KIND_WHERE, MAP_KIND_XOR,
  PROGRAM_INNER, PROGRAM_KIND, PROGRAM_OFFSETS, PROGRAM_RANK,
  RECORD_COLS, RECORD_K0, RECORD_KS, RECORD_N0,
} from '../gen/layout';

/** Elements that a function works on at a time where it first copies them: they stay in the first cache. */
const CHUNK = 2048;

/** Where a row of an array begins: `index` counts rows; extents are in the table, then distances in bytes. */
export function rowAt(index: i32, rank: i32, table: usize, strides: usize): usize {
  let at: usize = 0;
  for (let axis = rank - 1; axis >= 0; axis--) {
    const extent = load<i32>(table + (<usize>axis << 2)) >> 2;
    const whole = index / extent;
    at += <usize>((index - whole * extent) * load<i32>(strides + (<usize>axis << 2)));
    index = whole;
  }
  return at;
}

/** Up to three floats from `at`, or one in all lanes where it stays. */
// @ts-ignore: decorator
@inline
function part(at: usize, step: usize, count: i32): v128 {
  return step ? partOr(at, count, 0) : v128.load(at);
}

// @ts-ignore: decorator
@inline
function unaryLoop(kind: i32, x: usize, y: usize, count: i32, k: usize): void {
  for (; count >= 16; count -= 16) {
    const v0 = unary4(kind, v128.load(x), k), v1 = unary4(kind, v128.load(x, 16), k);
    const v2 = unary4(kind, v128.load(x, 32), k), v3 = unary4(kind, v128.load(x, 48), k);
    v128.store(y, v0); v128.store(y, v1, 16); v128.store(y, v2, 32); v128.store(y, v3, 48);
    x += 64; y += 64;
  }
  for (; count >= 4; count -= 4) {
    v128.store(y, unary4(kind, v128.load(x), k));
    x += 16; y += 16;
  }
  if (count) storePart(y, unary4(kind, part(x, 16, count), k), count);
}

/** Operands step by 16 bytes from vector to vector, or by 0 where 16 bytes hold one value four times. */
// @ts-ignore: decorator
@inline
function binaryLoop(kind: i32, a: usize, stepA: usize, b: usize, stepB: usize, y: usize, count: i32): void {
  for (; count >= 16; count -= 16) {
    const a1 = a + stepA, a2 = a1 + stepA, a3 = a2 + stepA, b1 = b + stepB, b2 = b1 + stepB, b3 = b2 + stepB;
    const v0 = binary4(kind, v128.load(a), v128.load(b)), v1 = binary4(kind, v128.load(a1), v128.load(b1));
    const v2 = binary4(kind, v128.load(a2), v128.load(b2)), v3 = binary4(kind, v128.load(a3), v128.load(b3));
    v128.store(y, v0); v128.store(y, v1, 16); v128.store(y, v2, 32); v128.store(y, v3, 48);
    a = a3 + stepA; b = b3 + stepB; y += 64;
  }
  for (; count >= 4; count -= 4) {
    v128.store(y, binary4(kind, v128.load(a), v128.load(b)));
    a += stepA; b += stepB; y += 16;
  }
  if (count) storePart(y, binary4(kind, part(a, stepA, count), part(b, stepB, count)), count);
}

function unaryRow(job: usize, program: usize, kind: i32, x: usize, y: usize, count: i32, scratch: usize): void {
  const k = scratch + 128;
  switch (kind) {
    case MAP_KIND_NEG: unaryLoop(MAP_KIND_NEG, x, y, count, k); return;
    case MAP_KIND_ABS: unaryLoop(MAP_KIND_ABS, x, y, count, k); return;
    case MAP_KIND_SQRT: unaryLoop(MAP_KIND_SQRT, x, y, count, k); return;
    case MAP_KIND_RECIPROCAL: unaryLoop(MAP_KIND_RECIPROCAL, x, y, count, k); return;
    case MAP_KIND_EXP: unaryLoop(MAP_KIND_EXP, x, y, count, k); return;
    case MAP_KIND_FLOOR: unaryLoop(MAP_KIND_FLOOR, x, y, count, k); return;
    case MAP_KIND_CEIL: unaryLoop(MAP_KIND_CEIL, x, y, count, k); return;
    case MAP_KIND_ROUND: unaryLoop(MAP_KIND_ROUND, x, y, count, k); return;
    case MAP_KIND_SIGN: unaryLoop(MAP_KIND_SIGN, x, y, count, k); return;
    case MAP_KIND_NOT: unaryLoop(MAP_KIND_NOT, x, y, count, k); return;
    case MAP_KIND_IS_NA_N: unaryLoop(MAP_KIND_IS_NA_N, x, y, count, k); return;
    case MAP_KIND_IS_INF: unaryLoop(MAP_KIND_IS_INF, x, y, count, k); return;
  }
  if (kind < MAP_KIND_NEG) {
    // an activation: in place, on what was copied before it
    for (; count > 0; count -= CHUNK) {
      const some = min(count, CHUNK);
      memory.copy(y, x, <usize>some << 2);
      epilogue(job, program, y, 0, 0, 1, 0, some, scratch);
      x += CHUNK << 2;
      y += CHUNK << 2;
    }
    return;
  }
  const p0 = load<f32>(job, JOB_P0), p1 = load<f32>(job, JOB_P1);
  for (let i: usize = 0, end = <usize>count << 2; i < end; i += 4) store<f32>(y + i, unary1(kind, load<f32>(x + i), p0, p1));
}

function binaryRow(kind: i32, a: usize, stepA: usize, b: usize, stepB: usize, y: usize, count: i32): void {
  switch (kind) {
    case MAP_KIND_ADD: binaryLoop(MAP_KIND_ADD, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_SUB: binaryLoop(MAP_KIND_SUB, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_MUL: binaryLoop(MAP_KIND_MUL, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_DIV: binaryLoop(MAP_KIND_DIV, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_MIN: binaryLoop(MAP_KIND_MIN, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_MAX: binaryLoop(MAP_KIND_MAX, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_PRELU: binaryLoop(MAP_KIND_PRELU, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_EQUAL: binaryLoop(MAP_KIND_EQUAL, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_LESS: binaryLoop(MAP_KIND_LESS, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_LESS_OR_EQUAL: binaryLoop(MAP_KIND_LESS_OR_EQUAL, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_GREATER: binaryLoop(MAP_KIND_GREATER, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_GREATER_OR_EQUAL: binaryLoop(MAP_KIND_GREATER_OR_EQUAL, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_AND: binaryLoop(MAP_KIND_AND, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_OR: binaryLoop(MAP_KIND_OR, a, stepA, b, stepB, y, count); return;
    case MAP_KIND_XOR: binaryLoop(MAP_KIND_XOR, a, stepA, b, stepB, y, count); return;
  }
  const oneA = stepA >> 2, oneB = stepB >> 2;
  for (let i = 0; i < count; i++) {
    store<f32>(y, binary1(kind, load<f32>(a), load<f32>(b)));
    a += oneA; b += oneB; y += 4;
  }
}

function whereRow(a: usize, stepA: usize, b: usize, stepB: usize, c: usize, stepC: usize, y: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(y, select(v128.load(b), v128.load(c), f32x4.ne(v128.load(a), splat(0))));
    a += stepA; b += stepB; c += stepC; y += 16;
  }
  if (count) storePart(y, select(part(b, stepB, count), part(c, stepC, count), f32x4.ne(part(a, stepA, count), splat(0))), count);
}

/** An operand's row: where it is, or where 16 bytes hold its one value. */
// @ts-ignore: decorator
@inline
function operand(row: usize, step: usize, spare: usize): usize {
  if (step) return row;
  v128.store(spare, v128.load32_splat(row));
  return spare;
}

/** Bytes from one vector of an operand to the next, 0 where it stays: the last of its distances says so. */
// @ts-ignore: decorator
@inline
function stepOf(strides: usize, rank: i32): usize {
  return load<i32>(strides + (<usize>rank << 2)) ? 16 : 0;
}

/** Rows N0, COLS; of each the elements K0, KS. The table: extents of the outer axes, then for each operand its distances along them
 *  and along the innermost. */
export function map(job: usize, program: usize, record: usize, scratch: usize): void {
  const kind = load<i32>(program, PROGRAM_KIND), rank = load<i32>(program, PROGRAM_RANK), inner = load<i32>(program, PROGRAM_INNER);
  const table = load<usize>(program, PROGRAM_OFFSETS), list = <usize>(rank + 1) << 2;
  const stridesA = table + (<usize>rank << 2), stridesB = stridesA + list, stridesC = stridesB + list;
  const isUnary = kind < MAP_KIND_ADD;
  const stepA = stepOf(stridesA, rank), stepB: usize = isUnary ? 0 : stepOf(stridesB, rank);
  const stepC: usize = kind == MAP_KIND_WHERE ? stepOf(stridesC, rank) : 0;
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS), n0 = load<i32>(record, RECORD_N0);
  const from = <usize>k0 << 2, spare = scratch;
  const skipA: usize = stepA ? from : 0, skipB: usize = stepB ? from : 0, skipC: usize = stepC ? from : 0;
  if (isUnary) layConstants(scratch + 128);
  for (let row = n0; row < n0 + load<i32>(record, RECORD_COLS); row++) {
    const y = load<usize>(job, JOB_C) + <usize>(row * inner << 2) + from;
    const a = load<usize>(job, JOB_A) + rowAt(row, rank, table, stridesA) + skipA;
    if (isUnary) {
      unaryRow(job, program, kind, a, y, ks, scratch);
      continue;
    }
    const b = load<usize>(job, JOB_B) + rowAt(row, rank, table, stridesB) + skipB;
    const left = operand(a, stepA, spare), right = operand(b, stepB, spare + 16);
    if (kind != MAP_KIND_WHERE) binaryRow(kind, left, stepA, right, stepB, y, ks);
    else {
      const c = load<usize>(job, JOB_C0) + rowAt(row, rank, table, stridesC) + skipC;
      whereRow(left, stepA, right, stepB, operand(c, stepC, spare + 32), stepC, y, ks);
    }
  }
}
