/**
 * The innermost loops of every product: jr over panels of B (each stays in the first cache), ir over blocks of A, and the
 * edges. Whole products, convolutions and Winograd's many small products all end here.
 */
import { copyFloats } from '../conv/strip';
import { PROGRAM_KERNEL, PROGRAM_KERNEL_ONE_ROW, PROGRAM_MR, PROGRAM_NR, ZEROS_ADDRESS } from '../gen/layout';

/** A block at the edge: the full kernel into scratch, then the valid part out. The one place where edges are handled. */
function edgeBlock(
  kernel: i32, kc: i32, a: usize, lda: usize, b: usize, ldb: usize, cin: usize, ldcin: usize, c: usize, ldc: usize,
  rows: i32, cols: i32, nr: i32, scratch: usize,
): void {
  const ld: usize = nr << 2;
  if (cin) for (let i = 0; i < rows; i++) copyFloats(scratch + i * ld, cin + i * ldcin, cols);
  call_indirect<void>(kernel, kc, a, lda, b, ldb, cin ? scratch : <usize>ZEROS_ADDRESS, cin ? ld : 0, scratch, ld, 1);
  for (let i = 0; i < rows; i++) copyFloats(c + i * ldc, scratch + i * ld, cols);
}

/** Rows that are left below the last whole block of a kernel that reads A in place, by its one-row partner. */
function directRows(
  kernel: i32, kc: i32, a: usize, lda: usize, b: usize, ldb: usize, cin: usize, ldcin: usize, c: usize, ldc: usize,
  rows: i32, cols: i32, nr: i32, scratch: usize,
): void {
  if (cols == nr) call_indirect<void>(kernel, kc, a, lda, b, ldb, cin ? cin : <usize>ZEROS_ADDRESS, ldcin, c, ldc, rows);
  else for (let i = 0; i < rows; i++) edgeBlock(kernel, kc, a + i * lda, lda, b, ldb, cin + i * ldcin, ldcin, c + i * ldc, ldc, 1, cols, nr, scratch);
}

/** `blocksFrom` where the first pass of k begins at zero and every other at what is there. */
export function blocks(
  program: usize, kc: i32, directA: bool, a: usize, lda: usize, b: usize, ldb: usize, bStep: usize,
  c: usize, ldc: usize, rows: i32, cols: i32, first: bool, scratch: usize,
): void {
  blocksFrom(program, kc, directA, a, lda, b, ldb, bStep, first ? 0 : c, first ? 0 : ldc, c, ldc, rows, cols, scratch);
}

/**
 * rows x cols of C over one pass of k, beginning at `cin`, or at zero where it and its `ldcin` are 0. A: in place with `lda` bytes from row to row, or
 * panels of mr rows (`directA` false). B: `bStep` bytes from column to column between panels (4: in place, a block may begin anywhere), `ldb` as the
 * kernel reads it.
 *
 * From zero on and with B in place the last block of a row goes back over columns that are done and ends with the row, so that it is no edge
 * (8 x 14 x 14 to 16 channels, 5x5, 4x8: 1.05 times as fast on Node 24).
 */
export function blocksFrom(
  program: usize, kc: i32, directA: bool, a: usize, lda: usize, b: usize, ldb: usize, bStep: usize,
  cin: usize, ldcin: usize, c: usize, ldc: usize, rows: i32, cols: i32, scratch: usize,
): void {
  const mr = load<i32>(program, PROGRAM_MR), nr = load<i32>(program, PROGRAM_NR);
  const kernel = load<i32>(program, PROGRAM_KERNEL), oneRow = load<i32>(program, PROGRAM_KERNEL_ONE_ROW);
  const aRow: usize = directA ? lda : <usize>(kc << 2);
  const goesBack = !cin && bStep == 4 && cols >= nr;
  for (let from = 0; from < cols; from += nr) {
    const jr = goesBack ? min(from, cols - nr) : from;
    const colsCur = min(nr, cols - jr);
    const panel = b + jr * bStep;
    const block = c + (jr << 2), before = cin ? cin + (jr << 2) : 0;
    let ir = 0;
    if (colsCur == nr) {
      const whole = rows / mr;
      if (whole > 0) call_indirect<void>(kernel, kc, a, aRow, panel, ldb, cin ? before : <usize>ZEROS_ADDRESS, ldcin, block, ldc, whole);
      ir = whole * mr;
    } else {
      for (; ir + mr <= rows; ir += mr)
        edgeBlock(kernel, kc, a + ir * aRow, lda, panel, ldb, before + ir * ldcin, ldcin, block + ir * ldc, ldc, mr, colsCur, nr, scratch);
    }
    if (ir < rows) {
      const above = before + ir * ldcin, rest = block + ir * ldc;
      if (directA) directRows(oneRow, kc, a + ir * lda, lda, panel, ldb, above, ldcin, rest, ldc, rows - ir, colsCur, nr, scratch);
      else edgeBlock(kernel, kc, a + ir * aRow, lda, panel, ldb, above, ldcin, rest, ldc, rows - ir, colsCur, nr, scratch);
    }
  }
}
