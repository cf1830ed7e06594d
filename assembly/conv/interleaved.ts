/**
 * Depthwise convolution of small maps (NCHW): four channels at once, one in each lane. Their planes are interleaved into a padded
 * image in the thread's own space, which every tap reads as whole vectors, whatever the stride; results are taken apart again.
 * Rows of 7 or 14 columns would leave vectors along the row half empty, and strips of them cost more than their sums.
 */
import { high32, high64, low32, low64 } from './transpose4';
import { ownSpace } from './own';
import { finishBlock } from '../gemm/macro';
import {
  JOB_A, JOB_B, JOB_C,
  PROGRAM_IN_H, PROGRAM_IN_W, PROGRAM_K, PROGRAM_KERNEL, PROGRAM_OFFSETS, PROGRAM_OUT_H, PROGRAM_OUT_W, PROGRAM_PADDED_H,
  PROGRAM_PAD_LEFT, PROGRAM_PAD_TOP, PROGRAM_ROW_PITCH, PROGRAM_STRIDE_H, PROGRAM_STRIDE_W,
  RECORD_B_OFFSET, RECORD_C_OFFSET, RECORD_K0, RECORD_KS,
} from '../gen/layout';

/** Bytes of a pixel: four channels. */
const PIXEL: usize = 16;

/** `count` floats of four planes, `plane` bytes apart, to as many pixels. */
function interleave(from: usize, plane: usize, count: i32, to: usize): void {
  const p1 = from + plane, p2 = p1 + plane, p3 = p2 + plane;
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const q = <usize>i << 2;
    const v0 = v128.load(from + q), v1 = v128.load(p1 + q), v2 = v128.load(p2 + q), v3 = v128.load(p3 + q);
    const a = low32(v0, v1), b = low32(v2, v3), c = high32(v0, v1), d = high32(v2, v3);
    v128.store(to, low64(a, b));
    v128.store(to, high64(a, b), 16);
    v128.store(to, low64(c, d), 32);
    v128.store(to, high64(c, d), 48);
    to += 64;
  }
  for (; i < count; i++) {
    const q = <usize>i << 2;
    store<f32>(to, load<f32>(from + q));
    store<f32>(to, load<f32>(p1 + q), 4);
    store<f32>(to, load<f32>(p2 + q), 8);
    store<f32>(to, load<f32>(p3 + q), 12);
    to += PIXEL;
  }
}

/** `count` pixels to four planes, of which the first `lanes` are written. */
function takeApart(from: usize, count: i32, to: usize, plane: usize, lanes: i32): void {
  let i = 0;
  if (lanes == 4) {
    const p1 = to + plane, p2 = p1 + plane, p3 = p2 + plane;
    for (; i + 4 <= count; i += 4) {
      const q = <usize>i << 2;
      const v0 = v128.load(from), v1 = v128.load(from, 16), v2 = v128.load(from, 32), v3 = v128.load(from, 48);
      const a = low32(v0, v1), b = low32(v2, v3), c = high32(v0, v1), d = high32(v2, v3);
      v128.store(to + q, low64(a, b));
      v128.store(p1 + q, high64(a, b));
      v128.store(p2 + q, low64(c, d));
      v128.store(p3 + q, high64(c, d));
      from += 64;
    }
  }
  for (; i < count; i++) {
    for (let lane = 0; lane < lanes; lane++)
      store<f32>(to + lane * plane + (<usize>i << 2), load<f32>(from + (<usize>lane << 2)));
    from += PIXEL;
  }
}

/** Channels K0, KS, whole planes. */
export function depthwiseInterleaved(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const outH = load<i32>(program, PROGRAM_OUT_H), outW = load<i32>(program, PROGRAM_OUT_W);
  const padTop = load<i32>(program, PROGRAM_PAD_TOP), padLeft = load<i32>(program, PROGRAM_PAD_LEFT);
  const pitch = load<i32>(program, PROGRAM_ROW_PITCH), paddedH = load<i32>(program, PROGRAM_PADDED_H);
  const taps = load<i32>(program, PROGRAM_K), kernel = load<i32>(program, PROGRAM_KERNEL);
  const k0 = load<i32>(record, RECORD_K0), end = k0 + load<i32>(record, RECORD_KS);
  const planeIn = <usize>(inH * inW) << 2, planeOut = <usize>(outH * outW) << 2;
  const x = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET);
  const image = ownSpace(job, program, scratch);
  const rowBytes = <usize>pitch * PIXEL;
  const weights = image + paddedH * rowBytes, row = weights + taps * PIXEL;
  // the padding stays zero while planes come and go; rows and columns that no window reaches are not copied
  memory.fill(image, 0, paddedH * rowBytes);
  const rows = min(inH, paddedH - padTop), columns = min(inW, pitch - padLeft);
  const outRow = rowBytes * load<i32>(program, PROGRAM_STRIDE_H), step = PIXEL * load<i32>(program, PROGRAM_STRIDE_W);
  for (let channel = k0; channel < end; channel += 4) {
    const lanes = min(4, end - channel);
    // lanes beyond the last channel repeat it: they are computed and not stored
    const apart = lanes == 4 ? planeIn : 0;
    const from = x + channel * planeIn;
    for (let r = 0; r < rows; r++)
      interleave(from + (<usize>(r * inW) << 2), apart, columns, image + (padTop + r) * rowBytes + padLeft * PIXEL);
    if (lanes < 4 && lanes > 1) {
      for (let lane = 1; lane < lanes; lane++)
        for (let r = 0; r < rows; r++)
          for (let c = 0; c < columns; c++)
            store<f32>(image + (padTop + r) * rowBytes + (padLeft + c) * PIXEL + (<usize>lane << 2), load<f32>(from + lane * planeIn + (<usize>(r * inW + c) << 2)));
    }
    for (let tap = 0; tap < taps; tap++)
      for (let lane = 0; lane < 4; lane++)
        store<f32>(weights + tap * PIXEL + (<usize>lane << 2), load<f32>(load<usize>(job, JOB_A) + (<usize>((channel + min(lane, lanes - 1)) * taps + tap) << 2)));
    const to = y + channel * planeOut;
    for (let r = 0; r < outH; r++) {
      call_indirect<void>(kernel, outW, weights, <usize>taps, image + r * outRow, step, load<usize>(program, PROGRAM_OFFSETS), <usize>0, row, <usize>0, 1);
      takeApart(row, outW, to + (<usize>(r * outW) << 2), planeOut, lanes);
    }
    for (let lane = 0; lane < lanes; lane++)
      finishBlock(job, program, record, to + lane * planeOut, planeOut, channel + lane, 1, 0, outH * outW, scratch);
  }
}
