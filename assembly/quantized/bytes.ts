/**
 * Words of four bytes for the 8-bit dot product of relaxed SIMD, which multiplies a signed byte by a byte that is at most 127, or whatever
 * more the engine can do. So bytes of A lose 128 where they are unsigned, and bytes of B gain `byteShift`; zero points stay in. With
 * a = x - oa and b = w + ob the sum over (x - zx)(w - zw), p = oa - zx and q = ob + zw, is
 *   sum of a b  +  p (sum of b - k q)  -  q sum of a.
 * Sums of rows of A stand behind A, `sum of b - k q` and q of each column behind the panels of B.
 */
import {
  JOB_A, JOB_PACKED_B, JOB_QUANTIZED, JOB_RAW_A, JOB_RAW_B,
  PROGRAM_BYTE_SHIFT, PROGRAM_COLUMN_SUMS, PROGRAM_DEPTH, PROGRAM_K, PROGRAM_KC, PROGRAM_NR, PROGRAM_N_PADDED, PROGRAM_RAW_ROWS, PROGRAM_ROW_SUMS,
  PROGRAM_SIGNED_A, PROGRAM_SIGNED_B, PROGRAM_TRANSPOSE_B, QUANTIZED_ZERO_A, QUANTIZED_ZERO_A_STEP, QUANTIZED_ZERO_B, QUANTIZED_ZERO_B_STEP,
  RECORD_COLS, RECORD_M0, RECORD_N0, RECORD_ROWS,
} from '../gen/layout';
import { byteAt } from './lines';

/** Rows M0, ROWS of A: bytes as signed ones, up to whole words, and their sums. */
export function signedRows(job: usize, program: usize, record: usize): void {
  const depth = load<i32>(program, PROGRAM_DEPTH), words = (depth + 3) >> 2;
  const flip = load<i32>(program, PROGRAM_SIGNED_A) ? 0 : 0x80;
  const from = load<usize>(job, JOB_RAW_A), to = load<usize>(job, JOB_A);
  const sums = to + (<usize>load<i32>(program, PROGRAM_ROW_SUMS) << 2);
  const m0 = load<i32>(record, RECORD_M0), end = m0 + load<i32>(record, RECORD_ROWS);
  for (let row = m0; row < end; row++)
    store<i32>(sums + (<usize>row << 2), signedRow(from + row * depth, depth, flip, to + (<usize>(row * words) << 2)));
}

function signedRow(from: usize, depth: i32, flip: i32, to: usize): i32 {
  const flips = i8x16.splat(<i8>flip);
  let sums = i32x4.splat(0), i = 0;
  for (; i + 16 <= depth; i += 16) {
    const v = v128.xor(v128.load(from + i), flips);
    v128.store(to + i, v);
    sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v)));
  }
  let sum = i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3);
  for (; i < depth; i++) {
    const value = <i8>(load<u8>(from + i) ^ flip);
    store<i8>(to + i, value);
    sum += value;
  }
  for (; i & 3; i++) store<i8>(to + i, 0);
  return sum;
}

/** Columns N0, COLS of B to panels of bytes: blocks of kc words of k, in them panels of nr columns. */
export function packBytes(job: usize, program: usize, record: usize): void {
  const depth = load<i32>(program, PROGRAM_DEPTH), n = load<i32>(program, PROGRAM_RAW_ROWS), k = load<i32>(program, PROGRAM_K);
  const nr = load<i32>(program, PROGRAM_NR), kc = load<i32>(program, PROGRAM_KC), nPadded = load<i32>(program, PROGRAM_N_PADDED);
  const along = load<i32>(program, PROGRAM_TRANSPOSE_B) != 0, signed = load<i32>(program, PROGRAM_SIGNED_B) != 0;
  const shift = load<i32>(program, PROGRAM_BYTE_SHIFT);
  const raw = load<usize>(job, JOB_RAW_B), packed = load<usize>(job, JOB_PACKED_B);
  const quantized = load<usize>(job, JOB_QUANTIZED);
  const zeros = load<usize>(quantized, QUANTIZED_ZERO_B), zeroStep = load<i32>(quantized, QUANTIZED_ZERO_B_STEP);
  const corrections = packed + (<usize>load<i32>(program, PROGRAM_COLUMN_SUMS) << 2), shifts = corrections + (<usize>nPadded << 2);
  const n0 = load<i32>(record, RECORD_N0), end = min(nPadded, (n0 + load<i32>(record, RECORD_COLS) + nr - 1) / nr * nr);
  for (let j = n0; j < end; j++) {
    const panel = j / nr * nr, step = along ? 1 : n, column = raw + (along ? j * depth : j);
    let sum = 0;
    for (let word = 0; word < k; word++) {
      const block = word / kc * kc, length = min(kc, k - block);
      const to = packed + (<usize>(block * nPadded + panel * length + (word - block) * nr + j - panel) << 2);
      for (let t = 0; t < 4; t++) {
        const at = 4 * word + t;
        // beyond the last column and the last step of k there is nothing to add
        const value = j < n && at < depth ? byteAt(column + at * step, signed) + shift : 0;
        store<u8>(to + t, <u8>value);
        sum += value;
      }
    }
    const q = j < n ? shift + load<i32>(zeros + j * zeroStep) : 0;
    store<i32>(corrections + (<usize>j << 2), sum - depth * q);
    store<i32>(shifts + (<usize>j << 2), q);
  }
}

/** Adds to rows x cols sums at c what the shifts of bytes and their zero points make of them. */
export function correct(job: usize, program: usize, c: usize, ldc: usize, row0: i32, rows: i32, col0: i32, cols: i32): void {
  const quantized = load<usize>(job, JOB_QUANTIZED);
  const zeros = load<usize>(quantized, QUANTIZED_ZERO_A), zeroStep = load<i32>(quantized, QUANTIZED_ZERO_A_STEP);
  const sums = load<usize>(job, JOB_A) + (<usize>(load<i32>(program, PROGRAM_ROW_SUMS) + row0) << 2);
  const corrections = load<usize>(job, JOB_PACKED_B) + (<usize>(load<i32>(program, PROGRAM_COLUMN_SUMS) + col0) << 2);
  const shifts = corrections + (<usize>load<i32>(program, PROGRAM_N_PADDED) << 2);
  const middle = load<i32>(program, PROGRAM_SIGNED_A) ? 0 : 128;
  for (let i = 0; i < rows; i++) {
    const p = middle - load<i32>(zeros + (row0 + i) * zeroStep), sum = load<i32>(sums + (<usize>i << 2));
    const row = c + i * ldc;
    let j = 0;
    for (; j + 4 <= cols; j += 4) {
      const at = <usize>j << 2;
      const more = i32x4.sub(i32x4.mul(i32x4.splat(p), v128.load(corrections + at)), i32x4.mul(i32x4.splat(sum), v128.load(shifts + at)));
      v128.store(row + at, i32x4.add(v128.load(row + at), more));
    }
    for (; j < cols; j++) {
      const at = <usize>j << 2;
      store<i32>(row + at, load<i32>(row + at) + p * load<i32>(corrections + at) - sum * load<i32>(shifts + at));
    }
  }
}
