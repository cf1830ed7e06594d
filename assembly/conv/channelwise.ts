/** Steps that treat each channel by itself: depthwise convolution and pooling. */
import { boundsAfter, depthwiseByStrip, depthwiseInPlace, depthwiseNhwc, layInPlace, repackByTap } from './depthwise';
import { depthwiseInterleaved } from './interleaved';
import { ownSpace } from './own';
import { globalNhwc, globalPlanes, poolNhwc, poolPlane } from './pool';
import { isBiasAndBounds, layBiasAndBounds } from '../elementwise/epilogue';
import { finishBlock } from '../gemm/macro';
import {
  JOB_A, JOB_B, JOB_C, JOB_PACKED_B, JOB_PROGRAM,
  PROGRAM_CHANNELS, PROGRAM_COUNT_PADDING, PROGRAM_DILATION_H, PROGRAM_DILATION_W, PROGRAM_FLAGS, PROGRAM_FLAG_EPILOGUE, PROGRAM_INTERLEAVED, PROGRAM_IN_H, PROGRAM_IN_PLACE, PROGRAM_IN_W, PROGRAM_KERNEL,
  PROGRAM_KERNEL_ONE_ROW, PROGRAM_K_H, PROGRAM_K_W, PROGRAM_MAXIMUM, PROGRAM_MR, PROGRAM_MULTIPLIER, PROGRAM_NHWC, PROGRAM_OFFSETS,
  PROGRAM_OUT_CHANNELS, PROGRAM_OUT_H, PROGRAM_OUT_W, PROGRAM_PAD_BOTTOM, PROGRAM_PAD_LEFT, PROGRAM_PAD_RIGHT, PROGRAM_PAD_TOP,
  PROGRAM_PHASE_PITCH, PROGRAM_STRIDE_H, PROGRAM_STRIDE_W, PROGRAM_STRIP_ROWS,
  RECORD_A_OFFSET, RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_K0, RECORD_KS, RECORD_N0,
} from '../gen/layout';

/** Output elements, about, after which the last pass follows, so that it finds them in the first cache. */
const FINISH_ELEMENTS: i32 = 2048;

/** Output rows N0, COLS of channels K0, KS. */
function depthwisePlanes(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const outH = load<i32>(program, PROGRAM_OUT_H), outW = load<i32>(program, PROGRAM_OUT_W);
  const kH = load<i32>(program, PROGRAM_K_H), kW = load<i32>(program, PROGRAM_K_W);
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const multiplier = load<i32>(program, PROGRAM_MULTIPLIER), mr = load<i32>(program, PROGRAM_MR);
  const kernel = load<i32>(program, PROGRAM_KERNEL), oneRow = load<i32>(program, PROGRAM_KERNEL_ONE_ROW);
  const padTop = load<i32>(program, PROGRAM_PAD_TOP), padLeft = load<i32>(program, PROGRAM_PAD_LEFT);
  const strideH = load<i32>(program, PROGRAM_STRIDE_H), strideW = load<i32>(program, PROGRAM_STRIDE_W);
  const planeIn = <usize>(inH * inW) << 2, planeOut = <usize>(outH * outW) << 2;
  const x = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET);
  const w = load<usize>(job, JOB_A);
  const own = ownSpace(job, program, scratch);
  const inPlace = load<i32>(program, PROGRAM_IN_PLACE) != 0;
  const masks = inPlace ? layInPlace(outW, inW, kW, strideW, padLeft, own) : 0;
  const bounded = inPlace && isBiasAndBounds(program), finishes = bounded && (load<i32>(program, PROGRAM_FLAGS) & PROGRAM_FLAG_EPILOGUE) != 0;
  // kernels that read in place apply a bias and bounds themselves; any other last pass takes some rows of a large map, or some small maps at once
  const rowsAtOnce = bounded ? cols : min(cols, max(1, FINISH_ELEMENTS / outW / mr) * mr);
  const planesAtOnce = rowsAtOnce < cols ? 1 : max(1, FINISH_ELEMENTS / (cols * outW));
  for (let channel = k0; channel < k0 + ks; channel += planesAtOnce) {
    const planes = min(planesAtOnce, k0 + ks - channel);
    for (let row = n0; row < n0 + cols; row += rowsAtOnce) {
      const rows = min(rowsAtOnce, n0 + cols - row);
      for (let c = channel; c < channel + planes; c++) {
        const from = x + (c / multiplier) * planeIn, to = y + c * planeOut, filter = w + (c * kH * kW << 2);
        if (inPlace) {
          if (finishes) layBiasAndBounds(job, program, c, boundsAfter(masks, kW));
          depthwiseInPlace(
            kernel, oneRow, mr, from, to, filter, inH, inW, outW, kW, strideH, padTop, padLeft, row, rows, own, masks,
            <usize>outW << 2, 0, 0,
          );
        } else {
          depthwiseByStrip(
            kernel, from, to, filter, inH, inW, outW, kH, kW, strideH, strideW, load<i32>(program, PROGRAM_DILATION_H), padTop, padLeft, row, rows,
            load<usize>(program, PROGRAM_OFFSETS), load<i32>(program, PROGRAM_PHASE_PITCH), load<i32>(program, PROGRAM_STRIP_ROWS), own,
          );
        }
      }
      const at = row * outW;
      if (!bounded) finishBlock(job, program, record, y + channel * planeOut + (at << 2), planeOut, channel, planes, at, rows * outW, scratch);
    }
  }
}

/**
 * The call at `job` as the first part of another one, which multiplies what this one would write (NCHW, kernels that read in place): all
 * channels of `count` output pixels from `pixel` on, both of whole rows, into panels of 1 << (panelBits - 2) pixels, each in a row of its own.
 * `image` is one of the batch.
 */
export function depthwisePanels(job: usize, record: usize, image: i32, pixel: i32, count: i32, panelBits: usize, to: usize, scratch: usize): void {
  const program = load<usize>(job, JOB_PROGRAM);
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W), outW = load<i32>(program, PROGRAM_OUT_W);
  const size = load<i32>(program, PROGRAM_K_W), strideH = load<i32>(program, PROGRAM_STRIDE_H), strideW = load<i32>(program, PROGRAM_STRIDE_W);
  const channels = load<i32>(program, PROGRAM_OUT_CHANNELS), multiplier = load<i32>(program, PROGRAM_MULTIPLIER);
  const padTop = load<i32>(program, PROGRAM_PAD_TOP), padLeft = load<i32>(program, PROGRAM_PAD_LEFT), mr = load<i32>(program, PROGRAM_MR);
  const kernel = load<i32>(program, PROGRAM_KERNEL), oneRow = load<i32>(program, PROGRAM_KERNEL_ONE_ROW);
  const plane = <usize>(inH * inW) << 2, filter = <usize>(size * size) << 2, line = <usize>1 << panelBits;
  const panel = line * channels, ldc = (<usize>outW << 2 >> panelBits) * panel;
  const x = load<usize>(job, JOB_B) + image * load<i32>(program, PROGRAM_CHANNELS) * plane;
  const own = ownSpace(job, program, scratch), masks = layInPlace(outW, inW, size, strideW, padLeft, own);
  const bounded = isBiasAndBounds(program), finishes = bounded && (load<i32>(program, PROGRAM_FLAGS) & PROGRAM_FLAG_EPILOGUE) != 0;
  const y0 = pixel / outW, first = to - y0 * ldc;
  for (let c = 0; c < channels; c++) {
    if (finishes) layBiasAndBounds(job, program, c, boundsAfter(masks, size));
    depthwiseInPlace(
      kernel, oneRow, mr, x + (c / multiplier) * plane, first + c * line, load<usize>(job, JOB_A) + c * filter, inH, inW, outW, size, strideH,
      padTop, padLeft, y0, count / outW, own, masks, ldc, panelBits, panel - line,
    );
  }
  if (bounded) return;
  const lanes = <i32>(line >> 2);
  for (let done = 0; done < count; done += lanes, to += panel) finishBlock(job, program, record, to, line, 0, channels, pixel + done, lanes, scratch);
}

/** Output rows N0, COLS of an NHWC image. Its own space holds a pixel of zeros, then the addresses of taps. */
function depthwisePixels(job: usize, program: usize, record: usize, scratch: usize): void {
  const channels = load<i32>(program, PROGRAM_NHWC), outW = load<i32>(program, PROGRAM_OUT_W);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET);
  const zeros = ownSpace(job, program, scratch);
  const pixel = <usize>channels << 2;
  memory.fill(zeros, 0, pixel);
  depthwiseNhwc(
    load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET), y, load<usize>(job, JOB_PACKED_B), channels,
    load<i32>(program, PROGRAM_IN_H), load<i32>(program, PROGRAM_IN_W), outW, load<i32>(program, PROGRAM_K_H), load<i32>(program, PROGRAM_K_W),
    load<i32>(program, PROGRAM_STRIDE_H), load<i32>(program, PROGRAM_STRIDE_W), load<i32>(program, PROGRAM_DILATION_H),
    load<i32>(program, PROGRAM_DILATION_W), load<i32>(program, PROGRAM_PAD_TOP), load<i32>(program, PROGRAM_PAD_LEFT), n0, cols,
    zeros, zeros + pixel,
  );
  finishBlock(job, program, record, y + n0 * outW * pixel, pixel, n0 * outW, cols * outW, 0, channels, scratch);
}

export function depthwise(job: usize, program: usize, record: usize, scratch: usize): void {
  if (load<i32>(program, PROGRAM_NHWC)) depthwisePixels(job, program, record, scratch);
  else if (load<i32>(program, PROGRAM_INTERLEAVED)) depthwiseInterleaved(job, program, record, scratch);
  else depthwisePlanes(job, program, record, scratch);
}

/** Depthwise weights with lanes as channels (NHWC). */
export function filtersByTap(job: usize, program: usize): void {
  const taps = load<i32>(program, PROGRAM_K_H) * load<i32>(program, PROGRAM_K_W);
  repackByTap(load<usize>(job, JOB_B), load<i32>(program, PROGRAM_OUT_CHANNELS), taps, load<usize>(job, JOB_PACKED_B));
}

/** Whether one window is the whole image. */
// @ts-ignore: decorator
@inline
function isGlobal(program: usize): bool {
  return load<i32>(program, PROGRAM_K_H) == load<i32>(program, PROGRAM_IN_H) && load<i32>(program, PROGRAM_K_W) == load<i32>(program, PROGRAM_IN_W)
    && load<i32>(program, PROGRAM_OUT_H) * load<i32>(program, PROGRAM_OUT_W) == 1
    && (load<i32>(program, PROGRAM_PAD_TOP) | load<i32>(program, PROGRAM_PAD_LEFT)) == 0;
}

function poolPlanes(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const outH = load<i32>(program, PROGRAM_OUT_H), outW = load<i32>(program, PROGRAM_OUT_W);
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const planeIn = <usize>(inH * inW) << 2, planeOut = <usize>(outH * outW) << 2;
  const x = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET) + k0 * planeIn;
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + k0 * planeOut;
  const maximum = load<i32>(program, PROGRAM_MAXIMUM) != 0;
  if (isGlobal(program)) globalPlanes(maximum, x, y, ks, inH * inW);
  else {
    const strip = ownSpace(job, program, scratch);
    for (let plane = 0; plane < ks; plane++) {
      poolPlane(
        maximum, load<i32>(program, PROGRAM_COUNT_PADDING) != 0, x + plane * planeIn, y + plane * planeOut, inH, inW, outW,
        load<i32>(program, PROGRAM_K_H), load<i32>(program, PROGRAM_K_W), load<i32>(program, PROGRAM_STRIDE_H),
        load<i32>(program, PROGRAM_STRIDE_W), load<i32>(program, PROGRAM_DILATION_H), load<i32>(program, PROGRAM_DILATION_W),
        load<i32>(program, PROGRAM_PAD_TOP), load<i32>(program, PROGRAM_PAD_LEFT), load<i32>(program, PROGRAM_PAD_BOTTOM),
        load<i32>(program, PROGRAM_PAD_RIGHT), n0, cols, load<usize>(program, PROGRAM_OFFSETS),
        load<i32>(program, PROGRAM_PHASE_PITCH), load<i32>(program, PROGRAM_STRIP_ROWS), strip,
      );
    }
  }
  for (let plane = 0; plane < ks; plane++) {
    const to = y + plane * planeOut + (n0 * outW << 2);
    finishBlock(job, program, record, to, planeOut, k0 + plane, 1, n0 * outW, cols * outW, scratch);
  }
}

function poolPixels(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W), outW = load<i32>(program, PROGRAM_OUT_W);
  const channels = load<i32>(program, PROGRAM_CHANNELS);
  const n0 = load<i32>(record, RECORD_N0), cols = load<i32>(record, RECORD_COLS);
  const x = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET);
  const maximum = load<i32>(program, PROGRAM_MAXIMUM) != 0;
  if (isGlobal(program)) globalNhwc(maximum, x, y, channels, 0, channels, inH * inW);
  else {
    poolNhwc(
      maximum, load<i32>(program, PROGRAM_COUNT_PADDING) != 0, x, y, channels, inH, inW, outW,
      load<i32>(program, PROGRAM_K_H), load<i32>(program, PROGRAM_K_W), load<i32>(program, PROGRAM_STRIDE_H),
      load<i32>(program, PROGRAM_STRIDE_W), load<i32>(program, PROGRAM_DILATION_H), load<i32>(program, PROGRAM_DILATION_W),
      load<i32>(program, PROGRAM_PAD_TOP), load<i32>(program, PROGRAM_PAD_LEFT), load<i32>(program, PROGRAM_PAD_BOTTOM),
      load<i32>(program, PROGRAM_PAD_RIGHT), n0, cols,
    );
  }
  const pixel = <usize>channels << 2;
  finishBlock(job, program, record, y + n0 * outW * pixel, pixel, n0 * outW, cols * outW, 0, channels, scratch);
}

export function pool(job: usize, program: usize, record: usize, scratch: usize): void {
  if (load<i32>(program, PROGRAM_NHWC)) poolPixels(job, program, record, scratch);
  else poolPlanes(job, program, record, scratch);
}
