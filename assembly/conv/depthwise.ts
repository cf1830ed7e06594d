/** Depthwise convolution: one filter a channel, taps in the order (kh, kw), sums from +0. */
import { fillStrip } from './strip';

/**
 * Output rows y0, rows of one channel of an NCHW image: the plane at `x` (inH x inW) under the kH x kW filter at `w` to the
 * plane at `y` (rows of outW floats), by a kernel that takes any filter. `kernel` is a place in the table of functions, `offsets` its
 * table of byte offsets (assembly/templates/depthwise.ts). Input rows of `stripRows` output rows at a time go through `strip`.
 */
export function depthwiseByStrip(
  kernel: i32, x: usize, y: usize, w: usize, inH: i32, inW: i32, outW: i32, kH: i32, kW: i32,
  strideH: i32, strideW: i32, dilationH: i32, padTop: i32, padLeft: i32, y0: i32, rows: i32,
  offsets: usize, phasePitch: i32, stripRows: i32, strip: usize,
): void {
  const span = (kH - 1) * dilationH + 1, end = y0 + rows;
  const rowPitch = strideW * phasePitch;
  const outputRow = (<usize>rowPitch << 2) * strideH, ldc = <usize>outW << 2;
  for (let top = y0; top < end; ) {
    const count = min(stripRows, end - top);
    fillStrip(x, inH, inW, top * strideH - padTop, (count - 1) * strideH + span, padLeft, strideW, phasePitch, rowPitch, 0, strip);
    let b = strip, c = y + top * ldc;
    for (let r = 0; r < count; r++) {
      call_indirect<void>(kernel, outW, w, <usize>(kH * kW), b, 0, offsets, 0, c, ldc, 1);
      b += outputRow;
      c += ldc;
    }
    top += count;
  }
}

/** Floats of the zeros that kernels read in place of rows above and below the image. */
// @ts-ignore: decorator
@inline
function zeroRowFloats(outW: i32, stride: i32, size: i32): i32 {
  return outW * stride + size + 8;
}

/**
 * What kernels that read rows in place need beside them, laid into a thread's own space: a row of zeros, then their masks (see
 * assembly/templates/depthwise.ts). Returns the address of the masks; a bias and two bounds that change nothing and room for the table of rows
 * follow.
 */
export function layInPlace(outW: i32, inW: i32, size: i32, stride: i32, padLeft: i32, to: usize): usize {
  const zeros = <usize>zeroRowFloats(outW, stride, size) << 2;
  memory.fill(to, 0, zeros);
  const masks = to + zeros;
  for (let side = 0; side < 2; side++) {
    for (let kw = 0; kw < size; kw++) {
      for (let lane = 0; lane < 4; lane++) {
        const column = (side * (outW - 4) + lane) * stride + kw - padLeft;
        store<i32>(masks + (<usize>((side * size + kw) * 4 + lane) << 2), <u32>column < <u32>inW ? -1 : 0);
      }
    }
  }
  memory.fill(boundsAfter(masks, size), 0, 16);
  return masks;
}

/** Bytes of what kernels that read in place need beside them. */
export function inPlaceBytes(outW: i32, outH: i32, size: i32, strideW: i32, strideH: i32): usize {
  return <usize>(zeroRowFloats(outW, strideW, size) + 8 * size + 4 + (outH - 1) * strideH + size) << 2;
}

/** Where the bias and the bounds of a channel are, from the masks on (layBiasAndBounds, assembly/elementwise/epilogue.ts). */
// @ts-ignore: decorator
@inline
export function boundsAfter(masks: usize, size: i32): usize {
  return masks + (<usize>size << 5);
}

/** Which of `all` rows from `at` on are in an image of `inH`, the first and, eight bits higher, the end; all where none is. */
// @ts-ignore: decorator
@inline
function rowsInside(at: i32, all: i32, inH: i32): i32 {
  const from = max(0, -at), until = min(all, inH - at);
  return from < until ? until << 8 | from : all << 8;
}

/** The addresses of rows top to bottom, `pitch` bytes apart, those that are not in an image of `inH` of `zeros`. */
// @ts-ignore: decorator
@inline
function layRows(top: i32, bottom: i32, inH: i32, pitch: usize, image: usize, zeros: usize, table: usize): void {
  let row = image + top * pitch;
  for (let i = top; i < bottom; i++) {
    store<usize>(table, <u32>i < <u32>inH ? row : zeros);
    row += pitch;
    table += 4;
  }
}

/**
 * The same as depthwiseByStrip, by kernels that read rows where they lie: `kernel` computes `mr` rows at once, `oneRow` those that are
 * left; columns have the kernel's stride, rows `strideH`, which is the same where it computes several. `zeros` and `masks` are what
 * layInPlace made, with the bias and the bounds behind them. `ldc` bytes from row to row of the result; where
 * `panelBits` is not 0, columns lie in panels of 1 << panelBits bytes with `panelGap` bytes between them.
 */
export function depthwiseInPlace(
  kernel: i32, oneRow: i32, mr: i32, x: usize, y: usize, w: usize, inH: i32, inW: i32, outW: i32,
  size: i32, strideH: i32, padTop: i32, padLeft: i32, y0: i32, rows: i32, zeros: usize, masks: usize, ldc: usize, panelBits: usize, panelGap: usize,
): void {
  const end = y0 + rows, top = y0 * strideH - padTop, bottom = top + (rows - 1) * strideH + size;
  const bounds = boundsAfter(masks, size), table = bounds + 16;
  layRows(top, bottom, inH, <usize>inW << 2, x - (<usize>padLeft << 2), zeros, table);
  for (let row = y0; row < end; ) {
    let use = kernel, count = mr;
    if (end - row < mr) {
      // most of a block is left: it goes back over rows that are done; less is done one by one
      if (rows >= mr && 2 * (end - row) > mr) row = end - mr;
      else {
        use = oneRow;
        count = 1;
      }
    }
    const at = row * strideH - padTop, inside = rowsInside(at, (count - 1) * strideH + size, inH);
    call_indirect<void>(use, outW, w, bounds, table + (<usize>(at - top) << 2), panelBits << 1, masks, panelGap, y + row * ldc, ldc, inside);
    row += count;
  }
}

/** Weights [channel][tap] to [tap][channel]: lanes are channels in NHWC. */
export function repackByTap(from: usize, channels: i32, taps: i32, to: usize): void {
  for (let tap = 0; tap < taps; tap++) {
    let source = from + (<usize>tap << 2);
    for (let c = 0; c < channels; c++) {
      store<f32>(to, load<f32>(source));
      source += <usize>taps << 2;
      to += 4;
    }
  }
}

/** Neighbouring output pixels that share the loads of weights. */
const PIXELS: i32 = 4;

/** Where each tap of the output pixels ox, ox + 1, ... reads: the image, or the zeros where the tap lies in the padding.
 *  Pointers of one tap are neighbours. */
function pointTaps(
  x: usize, channels: i32, inH: i32, inW: i32, kH: i32, kW: i32, strideW: i32, dilationH: i32, dilationW: i32,
  row0: i32, column0: i32, zeros: usize, to: usize,
): void {
  for (let kh = 0; kh < kH; kh++) {
    const row = row0 + kh * dilationH;
    const inside = <u32>row < <u32>inH;
    for (let kw = 0; kw < kW; kw++) {
      let column = column0 + kw * dilationW;
      for (let p = 0; p < PIXELS; p++) {
        const at = inside && <u32>column < <u32>inW ? x + (<usize>((row * inW + column) * channels) << 2) : zeros;
        store<usize>(to, at);
        to += 4;
        column += strideW;
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function madd(acc: v128, w: v128, x: v128): v128 {
  return f32x4.add(acc, f32x4.mul(w, x));
}

/** Four pixels of one row, all channels; taps through `pointers`. */
function fourPixels(pointers: usize, taps: i32, w: usize, channels: i32, y: usize): void {
  const pixel = <usize>channels << 2, last = pointers + (<usize>taps << 4);
  let q: usize = 0;
  for (; q + 32 <= pixel; q += 32) {
    let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
    let weight = w + q;
    for (let at = pointers; at < last; at += 16) {
      const w0 = v128.load(weight), w1 = v128.load(weight, 16);
      const p0 = load<usize>(at) + q, p1 = load<usize>(at, 4) + q, p2 = load<usize>(at, 8) + q, p3 = load<usize>(at, 12) + q;
      c00 = madd(c00, w0, v128.load(p0)); c01 = madd(c01, w1, v128.load(p0, 16));
      c10 = madd(c10, w0, v128.load(p1)); c11 = madd(c11, w1, v128.load(p1, 16));
      c20 = madd(c20, w0, v128.load(p2)); c21 = madd(c21, w1, v128.load(p2, 16));
      c30 = madd(c30, w0, v128.load(p3)); c31 = madd(c31, w1, v128.load(p3, 16));
      weight += pixel;
    }
    const y0 = y + q, y1 = y0 + pixel, y2 = y1 + pixel, y3 = y2 + pixel;
    v128.store(y0, c00); v128.store(y0, c01, 16);
    v128.store(y1, c10); v128.store(y1, c11, 16);
    v128.store(y2, c20); v128.store(y2, c21, 16);
    v128.store(y3, c30); v128.store(y3, c31, 16);
  }
  for (let p = 0; p < PIXELS; p++) onePixel(pointers + (<usize>p << 2), taps, w, channels, q, y + p * pixel);
}

/** Channels from byte q on of one pixel. */
function onePixel(pointers: usize, taps: i32, w: usize, channels: i32, q: usize, y: usize): void {
  const pixel = <usize>channels << 2, last = pointers + (<usize>taps << 4);
  for (; q + 16 <= pixel; q += 16) {
    let sum = f32x4.splat(0), weight = w + q;
    for (let at = pointers; at < last; at += 16) {
      sum = madd(sum, v128.load(weight), v128.load(load<usize>(at) + q));
      weight += pixel;
    }
    v128.store(y + q, sum);
  }
  for (; q < pixel; q += 4) {
    let sum: f32 = 0, weight = w + q;
    for (let at = pointers; at < last; at += 16) {
      sum += load<f32>(weight) * load<f32>(load<usize>(at) + q);
      weight += pixel;
    }
    store<f32>(y + q, sum);
  }
}

/**
 * Output rows y0, rows of an NHWC image (inH x inW x channels at `x`) to `y` (outW x channels a row), weights as [tap][channel]
 * at `w`. Taps in the padding read `zeros`: `channels` floats of zero. `pointers` is space for 4 addresses a tap.
 */
export function depthwiseNhwc(
  x: usize, y: usize, w: usize, channels: i32, inH: i32, inW: i32, outW: i32, kH: i32, kW: i32, strideH: i32, strideW: i32,
  dilationH: i32, dilationW: i32, padTop: i32, padLeft: i32, y0: i32, rows: i32, zeros: usize, pointers: usize,
): void {
  const taps = kH * kW, pixel = <usize>channels << 2;
  for (let row = y0; row < y0 + rows; row++) {
    const row0 = row * strideH - padTop;
    let to = y + row * outW * pixel;
    for (let ox = 0; ox < outW; ox += PIXELS) {
      pointTaps(x, channels, inH, inW, kH, kW, strideW, dilationH, dilationW, row0, ox * strideW - padLeft, zeros, pointers);
      const left = outW - ox;
      if (left >= PIXELS) fourPixels(pointers, taps, w, channels, to);
      else for (let p = 0; p < left; p++) onePixel(pointers + (<usize>p << 2), taps, w, channels, 0, to + p * pixel);
      to += PIXELS * pixel;
    }
  }
}
