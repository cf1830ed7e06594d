/**
 * Winograd convolution F(2x2, 3x3), F(4x4, 3x3), F(2x2, 5x5) and F(4x4, 5x5) for stride 1 (Lavin & Gray, "Fast algorithms for convolutional neural
 * networks", 2016). A tile of m x m results comes from alpha x alpha inputs, alpha = m + taps - 1. With d a tile of the input and
 * g a filter, the result is A^T [ (G g G^T) . (B^T d B) ] A, summed over channels inside the brackets: that sum is one
 * matrix product for each of the alpha^2 places xi = i * alpha + j, of U = G g G^T by V = B^T d B. What is here are the
 * three transforms; U and V are written as panels, ready for the micro-kernels.
 *
 * Both tile transforms go over a few rows of tiles at a time, through scratch: constants of the lines, then
 * results along x, then one row of the image with the zeros around it. Of the results, place j of row r of tile t lies at
 *   (j * m + r % m) * phaseBytes + (t + tilesX * (r / m)) * 4   (r / m without its fraction).
 * Tiles of one row and the next follow one another, so the pass along y takes them four by four across the ends of rows,
 * and a row that two rows of tiles share is transformed along x once.
 *
 * T is f32, or for 8-bit integers i16 (weights and input: words of two channels, one plane) and i32 (output): see winograd_lines.ts.
 */
import { ZEROS_ADDRESS } from '../gen/layout';
import {
  filter5, inputColumns4of5, inputRow2of5, inputRow4of5, outputColumns2of5, outputColumns4of5, outputRow2of5,
  outputRow4of5, writePoints4of5, writePoints5,
} from './winograd_five';
import {
  filter2, filter4, inputColumns2, inputColumns4, inputRow2, inputRow4, outputColumns2, outputColumns4, outputRow2,
  outputRow4, POINTS_BYTES, stageRow, writePoints,
} from './winograd_lines';
import { high32, high64, low32, low64 } from './transpose4';

/**
 * Rows of tiles in one pass through scratch: a multiple of 4, so that every pass starts on a whole vector of tiles. A pass
 * transforms the two rows that it shares with the next one anew: 8 took 3 to 8 % less time than 4 from 14 to 224 columns.
 */
const CHUNK: i32 = 8;

/** Bytes of one phase of one place: the tiles of a chunk, the rows of tiles below it that share inputs with it, and lanes that vectors run
 *  past the end. */
// @ts-ignore: decorator
@inline
function phaseBytes(m: i32, alpha: i32, tilesX: i32): i32 {
  return (((CHUNK + (alpha - 1) / m) * tilesX + 7) & ~3) << 2;
}

// @ts-ignore: decorator
@inline
function writeConstants<T>(alpha: i32, to: usize): void {
  if (alpha == 8) writePoints4of5(to);
  else writePoints<T>(to);
}

/** Bytes of one row of the image with the zeros around it: what whole vectors of four tiles cover, and a vector more. */
// @ts-ignore: decorator
@inline
function stageBytes(m: i32, tilesX: i32): i32 {
  return (m * ((tilesX + 3) & ~3) + 4) << 2;
}

/**
 * What winogradInput and winogradOutput need at `scratch`. With up4(x) = x rounded up to a multiple of 4, and `below` = 1, but 2 for
 * F(2x2, 5x5), it is 4 * (m * alpha * up4((8 + below) * tilesX + 4) + m * up4(tilesX) + 28) bytes.
 */
export function winogradScratchBytes(m: i32, alpha: i32, tilesX: i32): i32 {
  return POINTS_BYTES + m * alpha * phaseBytes(m, alpha, tilesX) + stageBytes(m, tilesX);
}

/**
 * Filters oc0..oc0+rows of w [oc][ic][taps][taps] to packed A panels `mr` wide: place xi at u + xi * uStride, in it filter oc and
 * channel c at ((oc - oc % mr) * ic + c * mr + oc % mr) floats. oc0 is a multiple of mr; lanes of the last panel beyond
 * the last filter become zeros.
 */
export function winogradWeights<T>(
  m: i32, taps: i32, w: usize, ic: i32, oc0: i32, rows: i32, mr: i32, u: usize, uStride: usize, scratch: usize,
): void {
  const filter = taps * taps << 2;
  if (taps == 5) writePoints5(m + 4, scratch);
  for (let r = 0; r < rows; r += mr) {
    const oc = oc0 + r;
    weightPanel<T>(m, filter, w + oc * ic * filter, ic, min(mr, rows - r), mr, u + (oc * ic << 2), uStride, scratch);
  }
}

/** One panel of filters of `bytes` each: its floats, channel by channel and filter by filter, in fours whatever mr is. */
function weightPanel<T>(
  m: i32, bytes: usize, w: usize, ic: i32, valid: i32, mr: i32, u: usize, uStride: usize, scratch: usize,
): void {
  const down: usize = ic * bytes;
  const back: usize = bytes - mr * down;
  let r = 0, c = 0, next = w;
  for (let left = ic * mr; left > 0; left -= 4) {
    let p0: usize = ZEROS_ADDRESS, p1 = p0, p2 = p0, p3 = p0;
    for (let lane = 0; lane < 4; lane++) {
      const p = r < valid && c < ic ? next : ZEROS_ADDRESS;
      p0 = p1;
      p1 = p2;
      p2 = p3;
      p3 = p;
      next += down;
      if (++r == mr) {
        r = 0;
        c++;
        next += back;
      }
    }
    if (bytes == 100) filter5(m + 4, p0, p1, p2, p3, u, uStride, left, scratch);
    else fourFilters<T>(m, p0, p1, p2, p3, u, uStride, left);
    u += 16;
  }
}

/** Four filters of nine taps, one to a lane; `lanes` of them are stored. */
function fourFilters<T>(m: i32, p0: usize, p1: usize, p2: usize, p3: usize, u: usize, uStride: usize, lanes: i32): void {
  const a0 = v128.load(p0), a1 = v128.load(p1), a2 = v128.load(p2), a3 = v128.load(p3);
  const lowA01 = low32(a0, a1), lowA23 = low32(a2, a3), highA01 = high32(a0, a1), highA23 = high32(a2, a3);
  const b0 = v128.load(p0, 16), b1 = v128.load(p1, 16), b2 = v128.load(p2, 16), b3 = v128.load(p3, 16);
  const lowB01 = low32(b0, b1), lowB23 = low32(b2, b3), highB01 = high32(b0, b1), highB23 = high32(b2, b3);
  let k8 = v128.load32_zero(p0, 32);
  k8 = v128.load32_lane(p1, k8, 1, 32);
  k8 = v128.load32_lane(p2, k8, 2, 32);
  k8 = v128.load32_lane(p3, k8, 3, 32);
  const k0 = low64(lowA01, lowA23), k1 = high64(lowA01, lowA23), k2 = low64(highA01, highA23), k3 = high64(highA01, highA23);
  const k4 = low64(lowB01, lowB23), k5 = high64(lowB01, lowB23), k6 = low64(highB01, highB23), k7 = high64(highB01, highB23);
  if (m == 4) filter4<T>(k0, k1, k2, k3, k4, k5, k6, k7, k8, u, uStride, lanes);
  else filter2<T>(k0, k1, k2, k3, k4, k5, k6, k7, k8, u, uStride, lanes);
}

/**
 * Channels c0..c0+channels of rows ty0..ty0+tileRows of tiles to packed B panels `nr` wide (a multiple of 4): place xi at
 * v + xi * vStride, in it channel c and tile t = (ty - ty0) * tilesX + tx at ((t - t % nr) * ic + c * nr + t % nr) floats.
 * x is the plane of channel c0. Tile (ty, tx) covers alpha rows from ty * m - padTop and alpha columns from
 * tx * m - padLeft on, zeros where there is no image. Lanes of the last panel beyond the last tile become zeros.
 * vStride should not be a multiple of 1024 bytes: alpha lines are written at a time, and where they share sets of
 * the cache this took 1.7 times as long (64 channels of 56 x 56). A cache line more than the panels need is enough.
 */
export function winogradInput<T>(
  m: i32, alpha: i32, x: usize, planeBytes: usize, inH: i32, inW: i32, padTop: i32, padLeft: i32, tilesX: i32, ty0: i32, tileRows: i32,
  c0: i32, channels: i32, ic: i32, nr: i32, v: usize, vStride: usize, scratch: usize,
): void {
  // the zeros at both ends of a staged row are the same for all rows, so they are written once
  memory.fill(scratch + POINTS_BYTES + m * alpha * phaseBytes(m, alpha, tilesX), 0, stageBytes(m, tilesX));
  writeConstants<T>(alpha, scratch);
  const tiles = tileRows * tilesX;
  // chunks outside: the cache lines of V that two channels share are still near when the second one comes
  for (let r = 0; r < tileRows; r += CHUNK) {
    const t = r * tilesX, lane = t % nr;
    const part = min(CHUNK, tileRows - r);
    let plane = x, to = v + (((t - lane) * ic + c0 * nr + lane) << 2);
    for (let c = 0; c < channels; c++) {
      inputAlongX<T>(m, alpha, plane, inH, inW, (ty0 + r) * m - padTop, padLeft, tilesX, part, scratch);
      inputAlongY<T>(m, alpha, tilesX, part, to, vStride, lane, nr, (ic - 1) * nr << 2, scratch);
      plane += planeBytes;
      to += nr << 2;
    }
  }
  const last = tiles % nr;
  if (last == 0) return;
  let to = v + (((tiles - last) * ic + c0 * nr) << 2);
  for (let c = 0; c < channels; c++) {
    clearLanes(to, vStride, alpha * alpha, last, nr);
    to += nr << 2;
  }
}

/** The rows of the image that `tileRows` rows of tiles cover, from `row` on, into scratch. */
function inputAlongX<T>(
  m: i32, alpha: i32, plane: usize, inH: i32, inW: i32, row: i32, padLeft: i32, tilesX: i32, tileRows: i32, scratch: usize,
): void {
  const phase: usize = phaseBytes(m, alpha, tilesX), step = m * phase, shared = alpha - m;
  const stage = scratch + POINTS_BYTES + alpha * step;
  const width = min(inW, tilesX * m + shared - padLeft);
  let group = scratch + POINTS_BYTES;
  for (let k = 0; k < tileRows * m + shared; k++) {
    const to = group + (k & (m - 1)) * phase;
    if (<u32>row < <u32>inH) {
      stageRow(plane + row * inW * 4, width, padLeft, stage);
      rowOfInputs<T>(m, alpha, stage, tilesX, to, step, scratch);
    } else clearRow(alpha, tilesX, to, step);
    if ((k & (m - 1)) == m - 1) group += tilesX << 2;
    row++;
  }
}

// @ts-ignore: decorator
@inline
function rowOfInputs<T>(m: i32, alpha: i32, stage: usize, tilesX: i32, to: usize, step: usize, points: usize): void {
  if (alpha == 8) inputRow4of5(stage, tilesX, to, step, points);
  else if (m == 4) inputRow4<T>(stage, tilesX, to, step, points);
  else if (alpha == 6) inputRow2of5(stage, tilesX, to, step, points);
  else inputRow2<T>(stage, tilesX, to, step);
}

/** A row of zeros above or below the image, transformed along x: zeros. */
function clearRow(alpha: i32, tilesX: i32, to: usize, step: usize): void {
  for (let j = 0; j < alpha; j++) {
    for (let tx = 0; tx < tilesX; tx += 4) v128.store(to + (tx << 2), f32x4.splat(0));
    to += step;
  }
}

/** From scratch to panels: one place j after the other, so that alpha lines are written at a time. */
function inputAlongY<T>(
  m: i32, alpha: i32, tilesX: i32, tileRows: i32, to: usize, vStride: usize, lane: i32, nr: i32, gap: usize, scratch: usize,
): void {
  const phase: usize = phaseBytes(m, alpha, tilesX), nextRow: usize = tilesX << 2, down = alpha * vStride;
  const row2 = m == 4 ? 2 * phase : nextRow, row4 = m == 4 ? nextRow : 2 * nextRow;
  const tiles = tileRows * tilesX;
  let from = scratch + POINTS_BYTES;
  for (let j = 0; j < alpha; j++) {
    if (alpha == 8) inputColumns4of5(from, phase, nextRow, tiles, to, down, lane, nr, gap, scratch);
    else if (alpha == 6) inputColumns4<T>(from, phase, row2, row4, tiles, to, down, lane, nr, gap, scratch);
    else inputColumns2<T>(from, phase, nextRow, tiles, to, down, lane, nr, gap);
    from += m * phase;
    to += vStride;
  }
}

/** Zeros in lanes from..to of `places` vectors `step` bytes apart. */
function clearLanes(at: usize, step: usize, places: i32, from: i32, to: i32): void {
  for (let xi = 0; xi < places; xi++) {
    let lane = from;
    for (; lane & 3; lane++) store<f32>(at + (lane << 2), 0);
    for (; lane < to; lane += 4) v128.store(at + (lane << 2), f32x4.splat(0));
    at += step;
  }
}

/**
 * Products of one output channel to its plane y: the row at mBuf + xi * mStride holds tiles of rows ty0..ty0+tileRows in
 * order, and is read up to a multiple of four floats. Rows ty * m.. of the plane are written, clipped to outH x outW.
 */
export function winogradOutput<T>(
  m: i32, alpha: i32, mBuf: usize, mStride: usize, y: usize, outH: i32, outW: i32, tilesX: i32, ty0: i32, tileRows: i32, scratch: usize,
): void {
  const phase: usize = phaseBytes(m, alpha, tilesX), step = m * phase, down = alpha * mStride;
  const width = min(outW, tilesX * m), whole = (width + 4 * m - 1) & -(4 * m);
  writeConstants<T>(alpha, scratch);
  for (let r = 0; r < tileRows; r += CHUNK) {
    const part = min(CHUNK, tileRows - r);
    let from = mBuf + (r * tilesX << 2), to = scratch + POINTS_BYTES;
    for (let j = 0; j < alpha; j++) {
      if (alpha == 8) outputColumns4of5(from, down, part * tilesX, to, phase, scratch);
      else if (m == 4) outputColumns4<T>(from, down, part * tilesX, to, phase, scratch);
      else if (alpha == 6) outputColumns2of5(from, down, part * tilesX, to, phase, scratch);
      else outputColumns2<T>(from, down, part * tilesX, to, phase);
      from += mStride;
      to += step;
    }
    const row0 = (ty0 + r) * m, rows = min(part * m, outH - row0);
    let group = scratch + POINTS_BYTES, row = y + row0 * outW * 4;
    for (let k = 0; k < rows; k++) {
      const line = group + (k & (m - 1)) * phase;
      // whole vectors where the next rows, which are written after it, have room for what runs past the end
      const floats = (rows - 1 - k) * outW >= whole - width ? whole : width;
      if (alpha == 8) outputRow4of5(line, step, row, floats, scratch);
      else if (m == 4) outputRow4<T>(line, step, row, floats, scratch);
      else if (alpha == 6) outputRow2of5(line, step, row, floats, scratch);
      else outputRow2<T>(line, step, row, floats);
      if ((k & (m - 1)) == m - 1) group += tilesX << 2;
      row += outW << 2;
    }
  }
}
