/**
 * One level of Strassen's method for filters of one pixel, in Winograd's form: seven products of halves instead of eight (Strassen, "Gaussian
 * elimination is not optimal", 1969; the form with 15 sums is in Higham, "Accuracy and stability of numerical algorithms", 2002, 23.1).
 *
 * With A the filters, B the pixels of a tile and C its results, each in four quarters, and S1 = A21 + A22, S2 = S1 - A11, T1 = B12 - B11, T2 = B22 - T1:
 *   P1 = A11 B11        P2 = A12 B21        P6 = S2 T2        P7 = (A11 - A21) (B22 - B12)
 *   P5 = S1 T1          P4 = A22 (B21 - T2)                   P3 = (A12 - S2) B22
 *   C11 = P1 + P2,  C21 = P1 + P6 + P7 + P4,  C22 = P1 + P6 + P7 + P5,  C12 = P1 + P6 + P5 + P3
 * The sums of filters are made once, as seven matrices in this order. The sums of pixels are made when they are packed.
 * The sums of products are mostly made by the micro-kernels, which begin at what is there: only P1 needs a place of its own.
 */
import { ownSpace } from './own';
import { blocksFrom } from '../gemm/blocks';
import { bytesOf, finishBlock } from '../gemm/macro';
import {
  JOB_A, JOB_B, JOB_C, JOB_PACKED_A, PROGRAM_K, PROGRAM_KC, PROGRAM_LDB, PROGRAM_LDC, PROGRAM_NR, PROGRAM_STEP_A,
  RECORD_A_OFFSET, RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_M0, RECORD_N0, RECORD_PACKED_A_OFFSET, RECORD_ROWS,
} from '../gen/layout';

/** The products in the order in which they are made, which is also that of the filters' forms. */
const P1 = 0, P2 = 1, P6 = 2, P7 = 3, P5 = 4, P4 = 5, P3 = 6;
/** Right sides for columns that are no half of a tile: the upper and the lower half of k, and their difference. */
const UPPER = 0, LOWER = 1, DOWN = 2;

/** Rows M0, ROWS of each quarter of the filters [rows of the group][k], to the seven matrices, `half` bytes each. */
export function strassenFilters(job: usize, program: usize, record: usize): void {
  const row = <usize>load<i32>(program, PROGRAM_K) << 2, across = row >> 1;
  const half = bytesOf(program, PROGRAM_STEP_A), down = half << 1;
  const first = <usize>load<i32>(record, RECORD_M0);
  let a = load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET) + first * row;
  let to = load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET) + first * across;
  for (let rows = load<i32>(record, RECORD_ROWS); rows > 0; rows--) {
    for (let q: usize = 0; q < across; q += 4) {
      const a11 = load<f32>(a + q), a12 = load<f32>(a + across + q), a21 = load<f32>(a + down + q), a22 = load<f32>(a + down + across + q);
      const s1 = a21 + a22, s2 = s1 - a11;
      store<f32>(to + P1 * half + q, a11);
      store<f32>(to + P2 * half + q, a12);
      store<f32>(to + P6 * half + q, s2);
      store<f32>(to + P7 * half + q, a11 - a21);
      store<f32>(to + P5 * half + q, s1);
      store<f32>(to + P4 * half + q, a22);
      store<f32>(to + P3 * half + q, a12 - s2);
    }
    a += row;
    to += across;
  }
}

/**
 * A panel of `line` bytes in k rows of each right side, `size` bytes after one another, in the order of the products; `from` is in B11. All in one pass:
 * rows of an image are far apart, and reading them again for every side cost 6 % of a layer of 480 channels (Node 20).
 */
function packSides(from: usize, ldb: usize, line: usize, k: i32, to: usize, size: usize): void {
  const down = k * ldb;
  for (let p = 0; p < k; p++) {
    for (let x = from; x < from + line; x += 16) {
      const b11 = v128.load(x), b12 = v128.load(x + line), b21 = v128.load(x + down), b22 = v128.load(x + down + line);
      const t1 = f32x4.sub(b12, b11), t2 = f32x4.sub(b22, t1);
      v128.store(to + P1 * size, b11);
      v128.store(to + P2 * size, b21);
      v128.store(to + P6 * size, t2);
      v128.store(to + P7 * size, f32x4.sub(b22, b12));
      v128.store(to + P5 * size, t1);
      v128.store(to + P4 * size, f32x4.sub(b21, t2));
      v128.store(to + P3 * size, b22);
      to += 16;
    }
    from += ldb;
  }
}

/** The same of the sides for columns that are no pair of panels: `count` lanes, the others zero, for reading them could go beyond the image. */
function packRest(from: usize, ldb: usize, k: i32, count: i32, line: usize, to: usize, size: usize): void {
  const bytes = <usize>count << 2, down = k * ldb;
  for (let p = 0; p < k; p++) {
    for (let q: usize = 0; q < line; q += 4) {
      const upper: f32 = q < bytes ? load<f32>(from + q) : 0, lower: f32 = q < bytes ? load<f32>(from + down + q) : 0;
      store<f32>(to + UPPER * size, upper);
      store<f32>(to + LOWER * size, lower);
      store<f32>(to + DOWN * size, lower - upper);
      to += 4;
    }
    from += ldb;
  }
}

/** c = cin + (form `left` of the filters) times (right side `side` of `size` bytes), `cols` columns, in passes of kc. */
function product(
  program: usize, left: i32, side: i32, filters: usize, panels: usize, size: usize,
  cin: usize, ldcin: usize, c: usize, ldc: usize, rows: i32, cols: i32, scratch: usize,
): void {
  const kc = load<i32>(program, PROGRAM_KC), k = load<i32>(program, PROGRAM_K) >> 1, line = <usize>load<i32>(program, PROGRAM_NR) << 2;
  const a = filters + left * bytesOf(program, PROGRAM_STEP_A), b = panels + side * size;
  for (let pc = 0; pc < k; pc += kc) {
    blocksFrom(
      program, min(kc, k - pc), true, a + (pc << 2), <usize>k << 2, b + pc * line, line, <usize>k << 2, pc ? c : cin, pc ? ldc : ldcin, c, ldc,
      rows, cols, scratch,
    );
  }
}

/** C22 = C21 + P5 and C12 = P1 + P6 + P5 where C21 is P1 + P6 + P7, C12 is P5 and `z` is P1 + P6: as many columns as fill a row of `z`. */
function addFifth(c12: usize, c21: usize, ldz: usize, ldc: usize, z: usize, rows: i32): void {
  for (; rows > 0; rows--) {
    for (let q: usize = 0; q < ldz; q += 16) {
      const p5 = v128.load(c12 + q);
      v128.store(c21 + ldz + q, f32x4.add(v128.load(c21 + q), p5));
      v128.store(c12 + q, f32x4.add(v128.load(z + q), p5));
    }
    c12 += ldc;
    c21 += ldc;
    z += ldz;
  }
}

/** The columns of two panels by seven products. */
function bySeven(program: usize, filters: usize, b: usize, panels: usize, c: usize, ldc: usize, rows: i32, scratch: usize): void {
  const nr = load<i32>(program, PROGRAM_NR), k = load<i32>(program, PROGRAM_K) >> 1;
  const line = <usize>nr << 2, size = k * line, z = panels + 7 * size, below = c + rows * ldc, beside = c + line;
  packSides(b, bytesOf(program, PROGRAM_LDB), line, k, panels, size);
  product(program, P1, P1, filters, panels, size, 0, 0, z, line, rows, nr, scratch);
  product(program, P2, P2, filters, panels, size, z, line, c, ldc, rows, nr, scratch);
  product(program, P6, P6, filters, panels, size, z, line, z, line, rows, nr, scratch);
  product(program, P7, P7, filters, panels, size, z, line, below, ldc, rows, nr, scratch);
  product(program, P5, P5, filters, panels, size, 0, 0, beside, ldc, rows, nr, scratch);
  addFifth(beside, below, line, ldc, z, rows);
  product(program, P4, P4, filters, panels, size, below, ldc, below, ldc, rows, nr, scratch);
  product(program, P3, P3, filters, panels, size, beside, ldc, beside, ldc, rows, nr, scratch);
}

/** Fewer columns than two panels, by four products of half the rows and half of k; A21 = S1 - A22 has no form of its own. */
function byFour(program: usize, filters: usize, b: usize, panels: usize, c: usize, ldc: usize, rows: i32, cols: i32, scratch: usize): void {
  const nr = load<i32>(program, PROGRAM_NR), k = load<i32>(program, PROGRAM_K) >> 1, ldb = bytesOf(program, PROGRAM_LDB);
  const line = <usize>nr << 2, size = 2 * k * line, bottom = c + rows * ldc, more = cols - nr;
  packRest(b, ldb, k, min(nr, cols), line, panels, size);
  if (more > 0) packRest(b + line, ldb, k, more, line, panels + k * line, size);
  product(program, P1, UPPER, filters, panels, size, 0, 0, c, ldc, rows, cols, scratch);
  product(program, P2, LOWER, filters, panels, size, c, ldc, c, ldc, rows, cols, scratch);
  product(program, P5, UPPER, filters, panels, size, 0, 0, bottom, ldc, rows, cols, scratch);
  product(program, P4, DOWN, filters, panels, size, bottom, ldc, bottom, ldc, rows, cols, scratch);
}

/** All output channels of a group and the pixels N0, COLS: pairs of panels by seven products, what is left by four of halves. */
export function strassenTile(job: usize, program: usize, record: usize, scratch: usize): void {
  const pair = 2 * load<i32>(program, PROGRAM_NR), rows = load<i32>(record, RECORD_ROWS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const filters = load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET), ldc = bytesOf(program, PROGRAM_LDC);
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + (n0 << 2), panels = ownSpace(job, program, scratch);
  let b = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET) + (n0 << 2), to = c, left = cols;
  for (; left >= pair; left -= pair) {
    bySeven(program, filters, b, panels, to, ldc, rows >> 1, scratch);
    b += pair << 2;
    to += pair << 2;
  }
  if (left) byFour(program, filters, b, panels, to, ldc, rows >> 1, left, scratch);
  finishBlock(job, program, record, c, ldc, 0, rows, n0, cols, scratch);
}
