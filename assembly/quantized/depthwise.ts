/**
 * Depthwise convolution of bytes: some rows at a time become floats in the thread's own space, are convolved by the kernels of floats
 * that read rows in place, and their sums become bytes there. A sum has at most 258 terms of at most 255^2, which floats hold
 * exactly. Widening the whole image first moved four times the bytes three times over (32 maps of 112 x 112: 2.5 times slower).
 */
import { depthwiseInPlace, inPlaceBytes, layInPlace } from '../conv/depthwise';
import { ownSpace } from '../conv/own';
import { finishBlock } from '../gemm/macro';
import {
  JOB_A, JOB_C, JOB_OUT, JOB_QUANTIZED, JOB_RAW_B, OUT_KIND_I8, OUT_KIND_U8,
  PROGRAM_IN_H, PROGRAM_IN_W, PROGRAM_KERNEL, PROGRAM_KERNEL_ONE_ROW, PROGRAM_K_H, PROGRAM_MR, PROGRAM_MULTIPLIER, PROGRAM_OUT_H, PROGRAM_OUT_KIND,
  PROGRAM_OUT_W, PROGRAM_PAD_LEFT, PROGRAM_PAD_TOP, PROGRAM_SIGNED_B, PROGRAM_STRIDE_H, PROGRAM_STRIDE_W, PROGRAM_STRIP_ROWS,
  QUANTIZED_ZERO_B, RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_K0, RECORD_KS, RECORD_N0,
} from '../gen/layout';
import { finishIntegersTo } from './finish';
import { rowFloats } from './lines';

/**
 * Output rows N0, COLS of channels K0, KS. The own space holds what layInPlace lays, then the input rows of STRIP_ROWS output rows as
 * floats, then sums of as many rows of a map, or of as many whole small maps as fit SUMS.
 */
export function integerDepthwise(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const outH = load<i32>(program, PROGRAM_OUT_H), outW = load<i32>(program, PROGRAM_OUT_W);
  const size = load<i32>(program, PROGRAM_K_H), strideH = load<i32>(program, PROGRAM_STRIDE_H), mr = load<i32>(program, PROGRAM_MR);
  const strideW = load<i32>(program, PROGRAM_STRIDE_W);
  const padTop = load<i32>(program, PROGRAM_PAD_TOP), padLeft = load<i32>(program, PROGRAM_PAD_LEFT);
  const k0 = load<i32>(record, RECORD_K0), end = k0 + load<i32>(record, RECORD_KS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const multiplier = load<i32>(program, PROGRAM_MULTIPLIER), stripRows = load<i32>(program, PROGRAM_STRIP_ROWS);
  const signed = load<i32>(program, PROGRAM_SIGNED_B) != 0;
  const zero = load<i32>(load<usize>(load<usize>(job, JOB_QUANTIZED), QUANTIZED_ZERO_B));
  const planeIn = inH * inW, planeOut = outH * outW;
  const x = load<usize>(job, JOB_RAW_B) + (load<usize>(record, RECORD_B_OFFSET) >> 2);
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET);
  const bytes = load<usize>(job, JOB_OUT) + (load<usize>(record, RECORD_C_OFFSET) >> 2);
  const kind = load<i32>(program, PROGRAM_OUT_KIND), narrow = kind == OUT_KIND_U8 || kind == OUT_KIND_I8;

  const own = ownSpace(job, program, scratch);
  const masks = layInPlace(outW, inW, size, strideW, padLeft, own);
  const image = own + inPlaceBytes(outW, outH, size, strideW, strideH);
  const room = stripRows * outW;
  const sums = image + (<usize>(((stripRows - 1) * strideH + size) * inW + 16) << 2);
  const rowsAtOnce = min(cols, stripRows), planesAtOnce = rowsAtOnce < cols ? 1 : max(1, room / (cols * outW));
  for (let channel = k0; channel < end; channel += planesAtOnce) {
    const planes = min(planesAtOnce, end - channel);
    for (let row = n0; row < n0 + cols; row += rowsAtOnce) {
      const rows = min(rowsAtOnce, n0 + cols - row);
      const first = max(0, row * strideH - padTop), last = min(inH, (row + rows - 1) * strideH - padTop + size);
      // sums that become bytes stay here, from map to map as close as they come
      const apart = narrow ? rows * outW : planeOut, at = row * outW;
      const to = narrow ? sums : y + (<usize>(channel * planeOut + at) << 2);
      for (let c = 0; c < planes; c++) {
        const from = x + (channel + c) / multiplier * planeIn;
        if (last > first) rowFloats(from + first * inW, (last - first) * inW, signed, zero, image);
        const filter = load<usize>(job, JOB_A) + (<usize>((channel + c) * size * size) << 2);
        // addresses of whole maps: rows that are not here are not looked at
        const plane = image - (<usize>(first * inW) << 2), map = to + (<usize>(c * apart) << 2) - (<usize>at << 2);
        depthwiseInPlace(
          load<i32>(program, PROGRAM_KERNEL), load<i32>(program, PROGRAM_KERNEL_ONE_ROW), mr, plane, map, filter, inH, inW, outW, size, strideH,
          padTop, padLeft, row, rows, own, masks, <usize>outW << 2, 0, 0,
        );
      }
      if (narrow) {
        finishIntegersTo(
          job, program, sums, <usize>apart << 2, bytes + channel * planeOut + at, planeOut, channel, planes, at, rows * outW, scratch,
        );
      } else finishBlock(job, program, record, to, <usize>planeOut << 2, channel, planes, at, rows * outW, scratch);
    }
  }
}
