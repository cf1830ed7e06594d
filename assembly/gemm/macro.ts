/**
 * The macro-kernel: loops around the micro-kernel inside one tile of the result (loops pc, jr and ir of Goto & van de
 * Geijn, "Anatomy of high-performance matrix multiplication", 2008; names after BLIS). JavaScript crosses the border
 * once per tile, not once per block.
 */
import {
  JOB_A, JOB_B, JOB_C, JOB_C0, JOB_PACKED_A, JOB_PACKED_B,
  PROGRAM_DIRECT_A, PROGRAM_DIRECT_B, PROGRAM_FLAGS, PROGRAM_FLAG_EPILOGUE, PROGRAM_FLAG_KEEP_OLD,
  PROGRAM_K, PROGRAM_KC, PROGRAM_KERNEL, PROGRAM_LDA, PROGRAM_LDB, PROGRAM_LDC, PROGRAM_MATRIX_A, PROGRAM_MR,
  PROGRAM_M_PADDED, PROGRAM_NR, PROGRAM_N_PADDED, PROGRAM_TRANSPOSE_A, PROGRAM_TRANSPOSE_B,
  RECORD_A_OFFSET, RECORD_B_OFFSET, RECORD_CHANNEL, RECORD_COLS, RECORD_C_OFFSET, RECORD_FLAGS, RECORD_FLAG_FIRST, RECORD_FLAG_LAST,
  RECORD_K0, RECORD_KS, RECORD_M0, RECORD_N0, RECORD_PACKED_A_OFFSET, RECORD_PACKED_B_OFFSET, RECORD_ROWS,
} from '../gen/layout';
import { epilogue } from '../elementwise/epilogue';
import { blocks } from './blocks';
import { packContiguous, packStrided } from './pack';

/** A distance of the program in bytes. */
// @ts-ignore: decorator
@inline
export function bytesOf(program: usize, field: i32): usize {
  return load<usize>(program + field) << 2;
}

/** The last pass over a block of the result, where there is one; `m` and `n` are its place among this member's rows and columns. */
export function finishBlock(job: usize, program: usize, record: usize, c: usize, ldc: usize, m: i32, rows: i32, n: i32, cols: i32, scratch: usize): void {
  if (!(load<i32>(program, PROGRAM_FLAGS) & PROGRAM_FLAG_EPILOGUE)) return;
  const channel = load<i32>(record, RECORD_CHANNEL);
  epilogue(job, program, c, ldc, m + channel, rows, n + channel, cols, scratch);
}

/**
 * Panels of one operand for a slice of k: record M0/ROWS (A) or N0/COLS (B) says which lines, K0/KS which k steps. The
 * slice is cut into blocks of kc; a block holds all panels of the operand, one after the other.
 */
export function packLines(
  base: usize, ld: usize, contiguous: bool, to: usize, padded: i32, width: i32, line0: i32, lines: i32, k0: i32, ks: i32, kc: i32,
): void {
  for (let pc = 0; pc < ks; pc += kc) {
    const kcCur = min(kc, ks - pc);
    const block = to + (pc * padded << 2);
    for (let line = line0; line < line0 + lines; line += width) {
      const valid = min(width, line0 + lines - line);
      const panel = block + (line * kcCur << 2);
      if (contiguous) packContiguous(base + (k0 + pc) * ld + (line << 2), ld, valid, kcCur, width, panel);
      else packStrided(base + line * ld + ((k0 + pc) << 2), ld, valid, kcCur, width, panel);
    }
  }
}

export function packA(job: usize, program: usize, record: usize): void {
  packLines(
    load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET), bytesOf(program, PROGRAM_LDA),
    load<i32>(program, PROGRAM_TRANSPOSE_A) != 0,
    load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET), load<i32>(program, PROGRAM_M_PADDED),
    load<i32>(program, PROGRAM_MR), load<i32>(record, RECORD_M0), load<i32>(record, RECORD_ROWS),
    load<i32>(record, RECORD_K0), load<i32>(record, RECORD_KS), load<i32>(program, PROGRAM_KC),
  );
}

export function packB(job: usize, program: usize, record: usize): void {
  packLines(
    load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET), bytesOf(program, PROGRAM_LDB),
    load<i32>(program, PROGRAM_TRANSPOSE_B) == 0,
    load<usize>(job, JOB_PACKED_B) + load<usize>(record, RECORD_PACKED_B_OFFSET), load<i32>(program, PROGRAM_N_PADDED),
    load<i32>(program, PROGRAM_NR), load<i32>(record, RECORD_N0), load<i32>(record, RECORD_COLS),
    load<i32>(record, RECORD_K0), load<i32>(record, RECORD_KS), load<i32>(program, PROGRAM_KC),
  );
}

/** Keeps the old values of a tile before the first pass overwrites them; C0 has the layout of C. */
function keepOld(job: usize, c: usize, ldc: usize, rows: i32, cols: i32): void {
  const toC0 = load<usize>(job, JOB_C0) - load<usize>(job, JOB_C);
  for (let i = 0; i < rows; i++) memory.copy(c + i * ldc + toC0, c + i * ldc, cols << 2);
}

/** One tile over one slice of k: loop pc by kc. */
export function tile(job: usize, program: usize, record: usize, scratch: usize): void {
  const nr = load<i32>(program, PROGRAM_NR), kc = load<i32>(program, PROGRAM_KC);
  const m0 = load<i32>(record, RECORD_M0), rows = load<i32>(record, RECORD_ROWS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const ldc = bytesOf(program, PROGRAM_LDC);
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + m0 * ldc + (n0 << 2);
  const flags = load<i32>(record, RECORD_FLAGS);
  if ((flags & RECORD_FLAG_FIRST) && (load<i32>(program, PROGRAM_FLAGS) & PROGRAM_FLAG_KEEP_OLD)) keepOld(job, c, ldc, rows, cols);

  const directA = load<i32>(program, PROGRAM_DIRECT_A) != 0, directB = load<i32>(program, PROGRAM_DIRECT_B) != 0;
  const lda = bytesOf(program, PROGRAM_LDA);
  const ldb: usize = directB ? bytesOf(program, PROGRAM_LDB) : <usize>(nr << 2);
  const aBase = directA
    ? load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET)
    : load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET);
  const bBase = directB
    ? load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET)
    : load<usize>(job, JOB_PACKED_B) + load<usize>(record, RECORD_PACKED_B_OFFSET);
  const mPadded = load<i32>(program, PROGRAM_M_PADDED), nPadded = load<i32>(program, PROGRAM_N_PADDED);

  for (let pc = 0; pc < ks; pc += kc) {
    const kcCur = min(kc, ks - pc);
    const first = pc == 0 && (flags & RECORD_FLAG_FIRST) != 0;
    const aBlock = directA ? aBase + m0 * lda + ((k0 + pc) << 2) : aBase + ((pc * mPadded + m0 * kcCur) << 2);
    const bBlock = directB ? bBase + (k0 + pc) * ldb + (n0 << 2) : bBase + ((pc * nPadded + n0 * kcCur) << 2);
    const bStep: usize = directB ? 4 : <usize>kcCur << 2;
    blocks(program, kcCur, directA, aBlock, lda, bBlock, ldb, bStep, c, ldc, rows, cols, first, scratch);
  }
  if (flags & RECORD_FLAG_LAST) finishBlock(job, program, record, c, ldc, m0, rows, n0, cols, scratch);
}

/**
 * Part of a matrix-vector product: record N0/COLS says which elements of the result, which is one line of floats. The
 * matrix is B, or A where MATRIX_A is set; TRANSPOSE says that a line of it runs along k (dot form) or not (axpy form).
 */
export function vector(job: usize, program: usize, record: usize, scratch: usize): void {
  const matrixIsA = load<i32>(program, PROGRAM_MATRIX_A) != 0;
  const a = load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET);
  const b = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + (n0 << 2);
  const ld = matrixIsA ? bytesOf(program, PROGRAM_LDA) : bytesOf(program, PROGRAM_LDB);
  const alongK = matrixIsA ? load<i32>(program, PROGRAM_TRANSPOSE_A) == 0 : load<i32>(program, PROGRAM_TRANSPOSE_B) != 0;
  const matrix = (matrixIsA ? a : b) + (alongK ? n0 * ld : <usize>(n0 << 2));
  const flags = load<i32>(program, PROGRAM_FLAGS);
  if (flags & PROGRAM_FLAG_KEEP_OLD) keepOld(job, c, 0, 1, cols);
  // both forms start from zero: the result is cleared here because a run of elements has no bound that ZEROS could cover
  memory.fill(c, 0, cols << 2);
  call_indirect<void>(load<i32>(program, PROGRAM_KERNEL), load<i32>(program, PROGRAM_K), matrixIsA ? b : a, <usize>cols, matrix, ld, c, 4, c, 0, 1);
  // in the result's own terms the elements are a row, or a column of single rows
  if (matrixIsA) finishBlock(job, program, record, c, 4, n0, cols, 0, 1, scratch);
  else finishBlock(job, program, record, c, 0, 0, 1, n0, cols, scratch);
}
