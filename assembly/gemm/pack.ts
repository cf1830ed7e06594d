/**
 * Packing: operands become panels, strips `width` wide in which the k steps follow one another, so that a micro-kernel
 * reads them straight through. Lanes beyond the matrix's edge are filled with zeros.
 *
 * A matrix is packed by lines: `contiguous` when the panel's lanes are neighbours in memory (B as stored, A transposed),
 * `strided` when the k steps are (A as stored, B transposed).
 */

/** Panel from lanes that are neighbours: for each k step copy `valid` floats. `step` is bytes from one k step to the next. */
export function packContiguous(from: usize, step: usize, valid: i32, k: i32, width: i32, to: usize): void {
  const bytes = width << 2;
  if (valid == width && !(width & 3)) {
    for (let p = 0; p < k; p++) {
      for (let q = 0; q < bytes; q += 16) v128.store(to + q, v128.load(from + q));
      from += step;
      to += bytes;
    }
    return;
  }
  for (let p = 0; p < k; p++) {
    for (let lane = 0; lane < width; lane++) {
      store<f32>(to + (lane << 2), lane < valid ? load<f32>(from + (lane << 2)) : 0);
    }
    from += step;
    to += bytes;
  }
}

/** Panel from lanes that are `stride` bytes apart and k steps that are neighbours: four by four transposes. */
export function packStrided(from: usize, stride: usize, valid: i32, k: i32, width: i32, to: usize): void {
  const bytes = width << 2;
  let lane = 0;
  for (; lane + 4 <= valid; lane += 4) packFourLanes(from + lane * stride, stride, k, bytes, to + (lane << 2));
  for (; lane < width; lane++) {
    const line = from + lane * stride;
    const out = to + (lane << 2);
    for (let p = 0; p < k; p++) store<f32>(out + p * bytes, lane < valid ? load<f32>(line + (p << 2)) : 0);
  }
}

/** Four lines to four lanes of the panel: 4 x 4 transposes by two rounds of shuffles. */
function packFourLanes(from: usize, stride: usize, k: i32, bytes: usize, to: usize): void {
  let r0 = from, r1 = from + stride, r2 = from + 2 * stride, r3 = from + 3 * stride;
  let p = 0;
  for (; p + 4 <= k; p += 4) {
    const v0 = v128.load(r0), v1 = v128.load(r1), v2 = v128.load(r2), v3 = v128.load(r3);
    const low01 = i8x16.shuffle(v0, v1, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const low23 = i8x16.shuffle(v2, v3, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const high01 = i8x16.shuffle(v0, v1, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const high23 = i8x16.shuffle(v2, v3, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    v128.store(to, i8x16.shuffle(low01, low23, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    v128.store(to + bytes, i8x16.shuffle(low01, low23, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    v128.store(to + 2 * bytes, i8x16.shuffle(high01, high23, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    v128.store(to + 3 * bytes, i8x16.shuffle(high01, high23, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    r0 += 16;
    r1 += 16;
    r2 += 16;
    r3 += 16;
    to += 4 * bytes;
  }
  for (; p < k; p++) {
    store<f32>(to, load<f32>(r0));
    store<f32>(to, load<f32>(r1), 4);
    store<f32>(to, load<f32>(r2), 8);
    store<f32>(to, load<f32>(r3), 12);
    r0 += 4;
    r1 += 4;
    r2 += 4;
    r3 += 4;
    to += bytes;
  }
}
