/** Steps of convolutions that end in micro-kernels of products: padding the image, and tiles that read taps of it. */
import { fillStrip } from './strip';
import { depthwisePanels } from './channelwise';
import { ownSpace } from './own';
import { packPatches } from './patches';
import { blocks } from '../gemm/blocks';
import { bytesOf, finishBlock } from '../gemm/macro';
import {
  JOB_A, JOB_B, JOB_BEFORE, JOB_C, JOB_PACKED_A, JOB_PACKED_B,
  PROGRAM_CHANNELS, PROGRAM_DIRECT_A, PROGRAM_DIRECT_B, PROGRAM_IN_H, PROGRAM_IN_W, PROGRAM_K, PROGRAM_KC, PROGRAM_K_H, PROGRAM_K_W,
  PROGRAM_LDA, PROGRAM_LDC, PROGRAM_M_PADDED, PROGRAM_NHWC, PROGRAM_NR, PROGRAM_OFFSETS, PROGRAM_OUT_W,
  PROGRAM_PAD_LEFT, PROGRAM_PAD_TOP, PROGRAM_PHASE_PITCH, PROGRAM_PLANE_PITCH, PROGRAM_ROW_PITCH, PROGRAM_SEGMENT,
  PROGRAM_STRIDE_H, PROGRAM_STRIDE_W,
  RECORD_A_OFFSET, RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_K0, RECORD_KS, RECORD_M0, RECORD_N0,
  RECORD_PACKED_A_OFFSET, RECORD_PACKED_B_OFFSET, RECORD_ROWS,
} from '../gen/layout';

/** Of the padded planes K0, KS of an NCHW image the rows M0, ROWS, with zeros around, each split by phase. */
function padPlanes(job: usize, program: usize, record: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const m0 = load<i32>(record, RECORD_M0), rows = load<i32>(record, RECORD_ROWS);
  const planeIn = <usize>(inH * inW) << 2, planeOut = bytesOf(program, PROGRAM_PLANE_PITCH), rowOut = bytesOf(program, PROGRAM_ROW_PITCH);
  const from = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const to = load<usize>(job, JOB_PACKED_B) + m0 * rowOut;
  for (let plane = k0; plane < k0 + ks; plane++) {
    fillStrip(
      from + plane * planeIn, inH, inW, m0 - load<i32>(program, PROGRAM_PAD_TOP), rows,
      load<i32>(program, PROGRAM_PAD_LEFT), load<i32>(program, PROGRAM_STRIDE_W), load<i32>(program, PROGRAM_PHASE_PITCH),
      load<i32>(program, PROGRAM_ROW_PITCH), 0, to + plane * planeOut,
    );
  }
}

/** Rows N0, COLS of an NHWC image with zeros around. */
function padRows(job: usize, program: usize, record: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W), nhwc = load<i32>(program, PROGRAM_NHWC);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  // a pixel's bytes: NHWC holds the number of channels of the whole image
  const pixel = <usize>nhwc << 2;
  const rowIn = <usize>inW * pixel, rowOut = bytesOf(program, PROGRAM_ROW_PITCH);
  const left = <usize>load<i32>(program, PROGRAM_PAD_LEFT) * pixel;
  const copied = min(rowIn, rowOut - left);
  const from = load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET);
  const to = load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET);
  for (let row = n0; row < n0 + cols; row++) {
    const source = row - load<i32>(program, PROGRAM_PAD_TOP);
    const out = to + row * rowOut;
    if (source < 0 || source >= inH) memory.fill(out, 0, rowOut);
    else {
      memory.fill(out, 0, left);
      memory.copy(out + left, from + source * rowIn, copied);
      memory.fill(out + left + copied, 0, rowOut - left - copied);
    }
  }
}

export function pad(job: usize, program: usize, record: usize): void {
  if (load<i32>(program, PROGRAM_NHWC)) padRows(job, program, record);
  else padPlanes(job, program, record);
}

/** The image that tiles of NCHW read: padded, or as it is. */
// @ts-ignore: decorator
@inline
function planesOf(job: usize, program: usize, record: usize): usize {
  return load<i32>(program, PROGRAM_DIRECT_B)
    ? load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET)
    : load<usize>(job, JOB_PACKED_B) + (load<usize>(record, RECORD_PACKED_B_OFFSET));
}

/**
 * Implicit product: patches of this tile's pixels go into panels in the thread's own space, kc steps of k at a time, and are
 * used for all of the tile's output channels while they are in cache.
 */
export function patchTile(job: usize, program: usize, record: usize, scratch: usize): void {
  const nr = load<i32>(program, PROGRAM_NR), kc = load<i32>(program, PROGRAM_KC), k = load<i32>(program, PROGRAM_K);
  const m0 = load<i32>(record, RECORD_M0), rows = load<i32>(record, RECORD_ROWS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const ldc = bytesOf(program, PROGRAM_LDC), lda = bytesOf(program, PROGRAM_LDA);
  const directA = load<i32>(program, PROGRAM_DIRECT_A) != 0;
  const mPadded = load<i32>(program, PROGRAM_M_PADDED);
  const a = directA
    ? load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET)
    : load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET);
  const before = load<usize>(job, JOB_BEFORE);
  const image = before ? 0 : planesOf(job, program, record);
  const offsets = load<usize>(program, PROGRAM_OFFSETS);
  const panels = ownSpace(job, program, scratch);
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + m0 * ldc + (n0 << 2);
  for (let pc = 0; pc < k; pc += kc) {
    const kcCur = min(kc, k - pc);
    // a block holds all of k where a depthwise convolution comes before
    if (before) depthwisePanels(before, record, load<i32>(record, RECORD_K0), n0, cols, <usize>ctz(nr << 2), panels, scratch);
    else packPatches(program, image, offsets + (pc << 2), kcCur, n0, cols, nr, panels);
    const aBlock = directA ? a + m0 * lda + (pc << 2) : a + ((pc * mPadded + m0 * kcCur) << 2);
    blocks(program, kcCur, directA, aBlock, lda, panels, <usize>(nr << 2), <usize>kcCur << 2, c, ldc, rows, cols, pc == 0, scratch);
  }
  finishBlock(job, program, record, c, ldc, m0, rows, n0, cols, scratch);
}

/** Direct convolution, NCHW: output rows N0, COLS; each k step finds its row of pixels through the table of offsets. */
export function offsetTile(job: usize, program: usize, record: usize, scratch: usize): void {
  const kc = load<i32>(program, PROGRAM_KC), k = load<i32>(program, PROGRAM_K), outW = load<i32>(program, PROGRAM_OUT_W);
  const m0 = load<i32>(record, RECORD_M0), rows = load<i32>(record, RECORD_ROWS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const ldc = bytesOf(program, PROGRAM_LDC), lda = bytesOf(program, PROGRAM_LDA);
  const a = load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET) + m0 * lda;
  const image = planesOf(job, program, record);
  const step = bytesOf(program, PROGRAM_ROW_PITCH) * load<i32>(program, PROGRAM_STRIDE_H);
  const offsets = load<usize>(program, PROGRAM_OFFSETS);
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + m0 * ldc + (n0 * outW << 2);
  for (let pc = 0; pc < k; pc += kc) {
    const kcCur = min(kc, k - pc);
    for (let y = 0; y < cols; y++) {
      blocks(
        program, kcCur, true, a + (pc << 2), lda, image + (n0 + y) * step, offsets + (pc << 2), 4,
        c + (y * outW << 2), ldc, rows, outW, pc == 0, scratch,
      );
    }
  }
  finishBlock(job, program, record, c, ldc, m0, rows, n0 * outW, cols * outW, scratch);
}

/** Direct convolution, NHWC: output rows M0, ROWS and output channels N0, COLS; k in segments that are contiguous in the image. */
export function segmentTile(job: usize, program: usize, record: usize, scratch: usize): void {
  const nr = load<i32>(program, PROGRAM_NR), k = load<i32>(program, PROGRAM_K), outW = load<i32>(program, PROGRAM_OUT_W);
  const segment = load<i32>(program, PROGRAM_SEGMENT);
  const m0 = load<i32>(record, RECORD_M0), rows = load<i32>(record, RECORD_ROWS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const ldc = bytesOf(program, PROGRAM_LDC), lda = bytesOf(program, PROGRAM_LDA);
  const image = load<i32>(program, PROGRAM_DIRECT_A)
    ? load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET)
    : load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET);
  const step = bytesOf(program, PROGRAM_ROW_PITCH) * load<i32>(program, PROGRAM_STRIDE_H);
  // all of k in one block: panel after panel
  const filters = load<usize>(job, JOB_PACKED_B) + load<usize>(record, RECORD_PACKED_B_OFFSET) + (n0 * k << 2);
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + m0 * outW * ldc + (n0 << 2);
  for (let y = 0; y < rows; y++) {
    let offset = load<usize>(program, PROGRAM_OFFSETS);
    for (let s = 0; s < k; s += segment) {
      blocks(
        program, segment, true, image + (m0 + y) * step + load<usize>(offset), lda, filters + (s * nr << 2), <usize>(nr << 2),
        <usize>k << 2, c + y * outW * ldc, ldc, outW, cols, s == 0, scratch,
      );
      offset += 4;
    }
  }
  finishBlock(job, program, record, c, ldc, m0 * outW, rows * outW, n0, cols, scratch);
}

/** Filters N0, COLS into panels of B: lanes are output channels, steps of k in the order (kh, kw, ic). */
export function packFilters(job: usize, program: usize, record: usize): void {
  const nr = load<i32>(program, PROGRAM_NR), k = load<i32>(program, PROGRAM_K), channels = load<i32>(program, PROGRAM_CHANNELS);
  const taps = load<i32>(program, PROGRAM_K_H) * load<i32>(program, PROGRAM_K_W);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const from = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const panels = load<usize>(job, JOB_PACKED_B) + load<usize>(record, RECORD_PACKED_B_OFFSET);
  for (let first = n0; first < n0 + cols; first += nr) {
    let to = panels + (first * k << 2);
    for (let tap = 0; tap < taps; tap++) {
      for (let c = 0; c < channels; c++) {
        for (let lane = 0; lane < nr; lane++) {
          const filter = first + lane;
          store<f32>(to, filter < n0 + cols ? load<f32>(from + ((filter * k + c * taps + tap) << 2)) : 0);
          to += 4;
        }
      }
    }
  }
}
