/**
 * The second half of a transposed convolution: the product of weights and pixels has a column for each input pixel, one value
 * for each output channel and tap, and folding adds each of them to the output pixel that its tap reaches (col2im of Caffe).
 * Here output rows gather instead, so that each is written by one step only; taps are added in the order (kh, kw).
 */
import { ownSpace } from './own';
import { bytesOf, finishBlock } from '../gemm/macro';
import {
  JOB_B, JOB_C, JOB_PACKED_B,
  PROGRAM_CHANNELS, PROGRAM_DILATION_H, PROGRAM_DILATION_W, PROGRAM_IN_H, PROGRAM_IN_W, PROGRAM_K_H, PROGRAM_K_W, PROGRAM_MULTIPLIER,
  PROGRAM_NHWC, PROGRAM_OUT_H, PROGRAM_OUT_W, PROGRAM_PAD_LEFT, PROGRAM_PAD_TOP, PROGRAM_PHASE_PITCH,
  PROGRAM_STRIDE_H, PROGRAM_STRIDE_W,
  RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_K0, RECORD_KS, RECORD_N0,
} from '../gen/layout';

/** A tap that reaches a row: its values, as if they began at the row's first column, and the columns that they are for. */
const TAP_FROM: usize = 0;
const TAP_LOW: usize = 4;
const TAP_HIGH: usize = 8;
const TAP_BYTES: usize = 12;

/** The sum of all taps that reach column i. */
// @ts-ignore: decorator
@inline
function sumAt(taps: usize, last: usize, i: i32): f32 {
  let sum: f32 = 0;
  for (let at = taps; at < last; at += TAP_BYTES) {
    if (i >= load<i32>(at, TAP_LOW) && i < load<i32>(at, TAP_HIGH)) sum += load<f32>(load<usize>(at, TAP_FROM) + (<usize>i << 2));
  }
  return sum;
}

/** Sums of the taps from `taps` up to `last` to the `count` floats at `to`. Columns that all of them reach go through vectors. */
function sumTaps(taps: usize, last: usize, to: usize, count: i32): void {
  let low = 0, high = count;
  for (let at = taps; at < last; at += TAP_BYTES) {
    low = max(low, load<i32>(at, TAP_LOW));
    high = min(high, load<i32>(at, TAP_HIGH));
  }
  if (high - low < 4) low = high = count;
  for (let i = 0; i < low; i++) store<f32>(to + (<usize>i << 2), sumAt(taps, last, i));
  let q = <usize>low << 2;
  const end = <usize>high << 2;
  for (; q + 32 <= end; q += 32) {
    let sum0 = f32x4.splat(0), sum1 = f32x4.splat(0);
    for (let at = taps; at < last; at += TAP_BYTES) {
      const from = load<usize>(at, TAP_FROM) + q;
      sum0 = f32x4.add(sum0, v128.load(from));
      sum1 = f32x4.add(sum1, v128.load(from, 16));
    }
    v128.store(to + q, sum0);
    v128.store(to + q, sum1, 16);
  }
  while (q < end) {
    // the last vector may lie over the one before it
    if (q + 16 > end) q = end - 16;
    let sum = f32x4.splat(0);
    for (let at = taps; at < last; at += TAP_BYTES) sum = f32x4.add(sum, v128.load(load<usize>(at, TAP_FROM) + q));
    v128.store(to + q, sum);
    q += 16;
  }
  for (let i = high; i < count; i++) store<f32>(to + (<usize>i << 2), sumAt(taps, last, i));
}

/** The input row from which tap row kh reaches output row `y`, or a row that is none. */
// @ts-ignore: decorator
@inline
function inputRow(y: i32, kh: i32, strideH: i32, dilationH: i32, padTop: i32): i32 {
  const from = y + padTop - kh * dilationH;
  return from < 0 || from % strideH ? -1 : from / strideH;
}

/** All taps of one output row, summed: `phases` has the row's columns that are alike modulo the stride side by side. `taps` is
 *  space for a row's taps. */
function gatherRow(
  columns: usize, y: i32, inH: i32, inW: i32, kH: i32, kW: i32, strideH: i32, strideW: i32, dilationH: i32, dilationW: i32,
  padTop: i32, padLeft: i32, phasePitch: i32, taps: usize, phases: usize,
): void {
  const plane = <usize>(inH * inW) << 2, first = padLeft / strideW;
  for (let phase = 0; phase < strideW; phase++) {
    let last = taps;
    for (let kh = 0; kh < kH; kh++) {
      const iy = inputRow(y, kh, strideH, dilationH, padTop);
      if (<u32>iy >= <u32>inH) continue;
      const row = columns + <usize>(kh * kW) * plane + (<usize>(iy * inW) << 2);
      for (let kw = 0; kw < kW; kw++) {
        const reach = kw * dilationW, q = reach / strideW, at = q - first;
        if (reach - q * strideW != phase || at >= phasePitch || at + inW <= 0) continue;
        store<usize>(last, row + kw * plane - (at << 2), TAP_FROM);
        store<i32>(last, max(0, at), TAP_LOW);
        store<i32>(last, min(phasePitch, at + inW), TAP_HIGH);
        last += TAP_BYTES;
      }
    }
    sumTaps(taps, last, phases + (<usize>(phase * phasePitch) << 2), phasePitch);
  }
}

/** Elements of `even` and `odd` in turn, `count` floats in all. */
// @ts-ignore: decorator
@inline
function interleave(even: usize, odd: usize, to: usize, count: i32): void {
  const end = to + (<usize>count << 2);
  for (; to + 32 <= end; to += 32) {
    const a = v128.load(even), b = v128.load(odd);
    v128.store(to, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
    v128.store(to, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
    even += 16;
    odd += 16;
  }
  for (; to < end; to += 8) {
    store<f32>(to, load<f32>(even));
    if (to + 4 < end) store<f32>(to, load<f32>(odd), 4);
    even += 4;
    odd += 4;
  }
}

/** The phases of a row back to its columns. */
function mergePhases(phases: usize, phasePitch: i32, strideW: i32, padLeft: i32, outW: i32, to: usize): void {
  const pitch = <usize>phasePitch << 2, skipped = padLeft % strideW;
  if (strideW == 2) {
    if (skipped) interleave(phases + pitch, phases + 4, to, outW);
    else interleave(phases, phases + pitch, to, outW);
    return;
  }
  const step = <usize>strideW << 2, end = to + (<usize>outW << 2);
  for (let phase = 0; phase < strideW; phase++) {
    const before = phase < skipped;
    let from = phases + phase * pitch + (before ? 4 : 0);
    let at = to + (<usize>(phase - skipped + (before ? strideW : 0)) << 2);
    for (; at < end; at += step) {
      store<f32>(at, load<f32>(from));
      from += 4;
    }
  }
}

/** Output rows N0, COLS of channels K0, KS. */
function foldPlanes(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const outH = load<i32>(program, PROGRAM_OUT_H), outW = load<i32>(program, PROGRAM_OUT_W);
  const kH = load<i32>(program, PROGRAM_K_H), kW = load<i32>(program, PROGRAM_K_W);
  const strideH = load<i32>(program, PROGRAM_STRIDE_H), strideW = load<i32>(program, PROGRAM_STRIDE_W);
  const dilationH = load<i32>(program, PROGRAM_DILATION_H), dilationW = load<i32>(program, PROGRAM_DILATION_W);
  const padTop = load<i32>(program, PROGRAM_PAD_TOP), padLeft = load<i32>(program, PROGRAM_PAD_LEFT);
  const phasePitch = load<i32>(program, PROGRAM_PHASE_PITCH);
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const n0 = load<i32>(record, RECORD_N0), rows = load<i32>(record, RECORD_COLS);
  const planeIn = <usize>(kH * kW * inH * inW) << 2, planeOut = <usize>(outH * outW) << 2;
  const columns = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const y = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET);
  const taps = ownSpace(job, program, scratch), own = taps + kH * kW * TAP_BYTES;
  for (let channel = k0; channel < k0 + ks; channel++) {
    const first = y + channel * planeOut + (<usize>(n0 * outW) << 2);
    let to = first;
    for (let row = n0; row < n0 + rows; row++) {
      // with stride 1 the row is its one phase
      const phases = strideW == 1 ? to : own;
      gatherRow(
        columns + channel * planeIn, row, inH, inW, kH, kW, strideH, strideW, dilationH, dilationW, padTop, padLeft, phasePitch, taps, phases,
      );
      if (strideW > 1) mergePhases(phases, phasePitch, strideW, padLeft, outW, to);
      to += <usize>outW << 2;
    }
    finishBlock(job, program, record, first, planeOut, channel, 1, n0 * outW, rows * outW, scratch);
  }
}

/** The taps that reach one output pixel, as addresses of columns; returns the end of the list. Columns hold
 *  [group][tap][channel]. */
// @ts-ignore: decorator
@inline
function pixelTaps(
  columns: usize, y: i32, x: i32, inH: i32, inW: i32, kH: i32, kW: i32, strideH: i32, strideW: i32, dilationH: i32, dilationW: i32,
  padTop: i32, padLeft: i32, column: usize, tap: usize, list: usize,
): usize {
  for (let kh = 0; kh < kH; kh++) {
    const iy = inputRow(y, kh, strideH, dilationH, padTop);
    if (<u32>iy >= <u32>inH) continue;
    for (let kw = 0; kw < kW; kw++) {
      const ix = inputRow(x, kw, strideW, dilationW, padLeft);
      if (<u32>ix >= <u32>inW) continue;
      store<usize>(list, columns + <usize>(iy * inW + ix) * column + <usize>(kh * kW + kw) * tap);
      list += 4;
    }
  }
  return list;
}

/** The sums of the taps in a list for the channels of one group, `bytes` from the first on. */
// @ts-ignore: decorator
@inline
function sumPixel(taps: usize, last: usize, ahead: usize, to: usize, bytes: usize): void {
  let q: usize = 0;
  for (; q + 32 <= bytes; q += 32) {
    let sum0 = f32x4.splat(0), sum1 = f32x4.splat(0);
    for (let at = taps; at < last; at += 4) {
      const from = load<usize>(at) + ahead + q;
      sum0 = f32x4.add(sum0, v128.load(from));
      sum1 = f32x4.add(sum1, v128.load(from, 16));
    }
    v128.store(to + q, sum0);
    v128.store(to + q, sum1, 16);
  }
  for (; q + 16 <= bytes; q += 16) {
    let sum = f32x4.splat(0);
    for (let at = taps; at < last; at += 4) sum = f32x4.add(sum, v128.load(load<usize>(at) + ahead + q));
    v128.store(to + q, sum);
  }
  for (; q < bytes; q += 4) {
    let sum: f32 = 0;
    for (let at = taps; at < last; at += 4) sum += load<f32>(load<usize>(at) + ahead + q);
    store<f32>(to + q, sum);
  }
}

/** Output rows N0, COLS of an NHWC image. */
function foldPixels(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W), outW = load<i32>(program, PROGRAM_OUT_W);
  const kH = load<i32>(program, PROGRAM_K_H), kW = load<i32>(program, PROGRAM_K_W);
  const strideH = load<i32>(program, PROGRAM_STRIDE_H), strideW = load<i32>(program, PROGRAM_STRIDE_W);
  const dilationH = load<i32>(program, PROGRAM_DILATION_H), dilationW = load<i32>(program, PROGRAM_DILATION_W);
  const padTop = load<i32>(program, PROGRAM_PAD_TOP), padLeft = load<i32>(program, PROGRAM_PAD_LEFT);
  const channels = load<i32>(program, PROGRAM_NHWC), perGroup = bytesOf(program, PROGRAM_MULTIPLIER);
  const n0 = load<i32>(record, RECORD_N0), rows = load<i32>(record, RECORD_COLS);
  const taps = <usize>(kH * kW), pixel = <usize>channels << 2;
  const columns = load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET);
  const first = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + <usize>(n0 * outW) * pixel;
  const list = ownSpace(job, program, scratch);
  let to = first;
  for (let y = n0; y < n0 + rows; y++) {
    for (let x = 0; x < outW; x++) {
      const last = pixelTaps(
        columns, y, x, inH, inW, kH, kW, strideH, strideW, dilationH, dilationW, padTop, padLeft, pixel * taps, perGroup, list,
      );
      for (let own: usize = 0; own < pixel; own += perGroup) sumPixel(list, last, own * taps, to + own, perGroup);
      to += pixel;
    }
  }
  finishBlock(job, program, record, first, pixel, n0 * outW, rows * outW, 0, channels, scratch);
}

export function fold(job: usize, program: usize, record: usize, scratch: usize): void {
  if (load<i32>(program, PROGRAM_NHWC)) foldPixels(job, program, record, scratch);
  else foldPlanes(job, program, record, scratch);
}

/**
 * Weights [inC][output channel][tap] as the rows of a 1x1 convolution's filters, so that its results lie as `foldPixels` reads
 * them: [group][tap][output channel][input channel of the group]. Record K0, KS: output channels, counted over all groups.
 */
export function tapFilters(job: usize, program: usize, record: usize): void {
  const taps = load<i32>(program, PROGRAM_K_H) * load<i32>(program, PROGRAM_K_W);
  const inputs = load<i32>(program, PROGRAM_CHANNELS), perGroup = load<i32>(program, PROGRAM_MULTIPLIER);
  const k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const w = load<usize>(job, JOB_B), to = load<usize>(job, JOB_PACKED_B);
  const step = <usize>(perGroup * taps) << 2, row = <usize>inputs << 2;
  for (let channel = k0; channel < k0 + ks; channel++) {
    const group = channel / perGroup, c = channel - group * perGroup;
    for (let tap = 0; tap < taps; tap++) {
      let from = w + <usize>(group * inputs) * step + (<usize>(c * taps + tap) << 2);
      let at = to + <usize>((group * taps + tap) * perGroup + c) * row;
      for (const end = at + row; at < end; at += 4) {
        store<f32>(at, load<f32>(from));
        from += step;
      }
    }
  }
}
