/** Depthwise convolution: one filter a channel, taps in the order (kh, kw), sums from +0. */
import { fillStrip } from './strip';

/** Rows from `y0` up to `end` through strips: see depthwisePlane. */
function rowsByStrip(
  kernel: i32, oneRow: i32, mr: i32, x: usize, y: usize, w: usize, inH: i32, inW: i32, outW: i32, taps: i32, span: i32,
  strideH: i32, strideW: i32, dilationH: i32, padTop: i32, padLeft: i32, y0: i32, end: i32,
  offsets: usize, phasePitch: i32, stripRows: i32, strip: usize,
): void {
  const rowPitch = strideW * phasePitch;
  const row = <usize>rowPitch << 2;
  const tapRow = row * dilationH, outputRow = row * strideH, ldc = <usize>outW << 2;
  for (let top = y0; top < end; ) {
    const count = min(stripRows, end - top);
    fillStrip(x, inH, inW, top * strideH - padTop, (count - 1) * strideH + span, padLeft, strideW, phasePitch, rowPitch, 0, strip);
    rowsInPlace(kernel, oneRow, mr, strip, y + top * ldc, w, outW, taps, tapRow, outputRow, offsets, ldc, count);
    top += count;
  }
}

/** `count` rows of `columns` outputs whose taps all lie in memory from `b` on. */
function rowsInPlace(
  kernel: i32, oneRow: i32, mr: i32, b: usize, c: usize, w: usize, columns: i32, taps: i32, tapRow: usize, outputRow: usize,
  offsets: usize, ldc: usize, count: i32,
): void {
  let r = 0;
  for (; r + mr <= count; r += mr) {
    call_indirect<void>(kernel, columns, w, <usize>taps, b, tapRow, offsets, outputRow, c, ldc);
    b += mr * outputRow;
    c += mr * ldc;
  }
  for (; r < count; r++) {
    call_indirect<void>(oneRow, columns, w, <usize>taps, b, tapRow, offsets, outputRow, c, ldc);
    b += outputRow;
    c += ldc;
  }
}

/** Columns from..to of one output row whose windows hang over the sides of the image; `x` is the first tap row. */
function edgeColumns(
  x: usize, inW: i32, w: usize, kH: i32, kW: i32, dilationH: i32, dilationW: i32, padLeft: i32, from: i32, to: i32, y: usize,
): void {
  for (let column = from; column < to; column++) {
    let sum: f32 = 0, tap = w;
    for (let kh = 0; kh < kH; kh++) {
      const row = x + (<usize>(kh * dilationH * inW) << 2);
      for (let kw = 0; kw < kW; kw++) {
        const at = column - padLeft + kw * dilationW;
        // taps in the padding are multiplied too: a weight that is not finite must show
        sum += load<f32>(tap) * (<u32>at < <u32>inW ? load<f32>(row + (<usize>at << 2)) : 0);
        tap += 4;
      }
    }
    store<f32>(y + (<usize>column << 2), sum);
  }
}

/**
 * Output rows y0, rows of one channel of an NCHW image: the plane at `x` (inH x inW) under the kH x kW filter at `w` to the
 * plane at `y` (rows of outW floats). `kernel` computes `mr` rows at once, `oneRow` those that are left; both are places in
 * the table of functions. `offsets` is their table of byte offsets (assembly/templates/depthwise.ts).
 *
 * Input rows of `stripRows` output rows at a time go through `strip`, in this thread's own space. On wide maps the copy costs
 * as much as the sums, so with `wide` (horizontal stride 1, and a kernel whose table does not know the pitch) the middle of
 * the rows that lie inside is read where it is, and the columns at the sides are summed one by one.
 */
export function depthwisePlane(
  kernel: i32, oneRow: i32, mr: i32, x: usize, y: usize, w: usize, inH: i32, inW: i32, outW: i32,
  kH: i32, kW: i32, strideH: i32, strideW: i32, dilationH: i32, dilationW: i32, padTop: i32, padLeft: i32, y0: i32, rows: i32,
  offsets: usize, phasePitch: i32, stripRows: i32, strip: usize, wide: bool,
): void {
  const span = (kH - 1) * dilationH + 1, taps = kH * kW, end = y0 + rows;
  // rows from..until see no padding above or below, columns x0..x1 none at the sides
  const from = wide ? min(end, max(y0, (padTop + strideH - 1) / strideH)) : end;
  const room = inH + padTop - span;
  const until = room < 0 ? from : min(end, max(from, room / strideH + 1));
  rowsByStrip(
    kernel, oneRow, mr, x, y, w, inH, inW, outW, taps, span, strideH, strideW, dilationH, padTop, padLeft, y0, from,
    offsets, phasePitch, stripRows, strip,
  );
  if (from < until) {
    const x0 = padLeft, x1 = min(outW, inW + padLeft - (kW - 1) * dilationW);
    const row = <usize>inW << 2, ldc = <usize>outW << 2, outputRow = row * strideH;
    const first = x + (from * strideH - padTop) * row, to = y + from * ldc;
    rowsInPlace(
      kernel, oneRow, mr, first, to + (<usize>x0 << 2), w, x1 - x0, taps, row * dilationH, outputRow, offsets, ldc, until - from,
    );
    for (let r = 0; r < until - from; r++) {
      edgeColumns(first + r * outputRow, inW, w, kH, kW, dilationH, dilationW, padLeft, 0, x0, to + r * ldc);
      edgeColumns(first + r * outputRow, inW, w, kH, kW, dilationH, dilationW, padLeft, x1, outW, to + r * ldc);
    }
  }
  rowsByStrip(
    kernel, oneRow, mr, x, y, w, inH, inW, outW, taps, span, strideH, strideW, dilationH, padTop, padLeft, until, end,
    offsets, phasePitch, stripRows, strip,
  );
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
