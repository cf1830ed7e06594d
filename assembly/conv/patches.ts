/** Patches of an implicit product: nr neighbouring output pixels become the lanes of a panel, one step of k after the other. */
import { PROGRAM_OUT_W, PROGRAM_ROW_PITCH, PROGRAM_STRIDE_H } from '../gen/layout';

/** All lanes of a panel in one output row: `vectors` neighbouring vectors for every step, which is a constant here. */
// @ts-ignore: decorator
@inline
function packVectors(vectors: usize, from: usize, offsets: usize, k: i32, to: usize): void {
  for (let p = 0; p < k; p++) {
    const row = from + load<usize>(offsets);
    v128.store(to, v128.load(row));
    if (vectors > 1) v128.store(to, v128.load(row, 16), 16);
    if (vectors > 2) v128.store(to, v128.load(row, 32), 32);
    if (vectors > 3) v128.store(to, v128.load(row, 48), 48);
    offsets += 4;
    to += vectors << 4;
  }
}

/** The same for any width. */
function packWide(from: usize, offsets: usize, k: i32, bytes: usize, to: usize): void {
  for (let p = 0; p < k; p++) {
    const row = from + load<usize>(offsets);
    for (let q: usize = 0; q < bytes; q += 16) v128.store(to + q, v128.load(row + q));
    offsets += 4;
    to += bytes;
  }
}

function packRun(from: usize, offsets: usize, k: i32, nr: i32, to: usize): void {
  switch (nr) {
    case 4: packVectors(1, from, offsets, k, to); break;
    case 8: packVectors(2, from, offsets, k, to); break;
    case 12: packVectors(3, from, offsets, k, to); break;
    case 16: packVectors(4, from, offsets, k, to); break;
    default: packWide(from, offsets, k, nr << 2, to);
  }
}

/** Two panels of 8 lanes at once, a cache line of the image for every step: planes of a multiple of 4 KiB evict one another's lines before
 *  the second half would be read. */
function packTwo(from: usize, offsets: usize, k: i32, to: usize): void {
  const panel = <usize>k << 5;
  for (let p = 0; p < k; p++) {
    const row = from + load<usize>(offsets), next = to + panel;
    const v0 = v128.load(row), v1 = v128.load(row, 16), v2 = v128.load(row, 32), v3 = v128.load(row, 48);
    v128.store(to, v0); v128.store(to, v1, 16);
    v128.store(next, v2); v128.store(next, v3, 16);
    offsets += 4;
    to += 32;
  }
}

/** Lanes lane0, lane0 + count of a panel from one stretch of an output row. */
function packPart(from: usize, offsets: usize, k: i32, nr: i32, lane0: i32, count: i32, to: usize): void {
  const bytes = nr << 2;
  to += lane0 << 2;
  for (let p = 0; p < k; p++) {
    const row = from + load<usize>(offsets);
    let lane = 0;
    for (; lane + 4 <= count; lane += 4) v128.store(to + (lane << 2), v128.load(row + (lane << 2)));
    for (; lane < count; lane++) store<f32>(to + (lane << 2), load<f32>(row + (lane << 2)));
    offsets += 4;
    to += bytes;
  }
}

/** Lanes that no pixel fills. */
function clearLanes(k: i32, nr: i32, lane0: i32, to: usize): void {
  const bytes = nr << 2;
  for (let p = 0; p < k; p++) {
    for (let lane = lane0; lane < nr; lane++) store<f32>(to + (lane << 2), 0);
    to += bytes;
  }
}

/** One panel: `count` pixels from column x of output row y on (row-major in the output). */
function packPanel(from: usize, step: usize, outW: i32, offsets: usize, k: i32, y: i32, x: i32, count: i32, nr: i32, to: usize): void {
  let lane = 0;
  while (lane < count) {
    const run = min(count - lane, outW - x);
    packPart(from + y * step + (x << 2), offsets, k, nr, lane, run, to);
    lane += run;
    x = 0;
    y++;
  }
  if (count < nr) clearLanes(k, nr, count, to);
}

/** Panels of `count` pixels from `pixel` on (row-major in the output), k steps whose offsets are at `offsets`. */
export function packPatches(program: usize, image: usize, offsets: usize, k: i32, pixel: i32, count: i32, nr: i32, to: usize): void {
  const outW = load<i32>(program, PROGRAM_OUT_W);
  const step = (load<usize>(program, PROGRAM_ROW_PITCH) << 2) * load<i32>(program, PROGRAM_STRIDE_H);
  const panel = <usize>(nr * k) << 2;
  let y = pixel / outW, x = pixel - y * outW;
  for (let done = 0; done < count; ) {
    const from = image + y * step + (x << 2), room = min(count - done, outW - x);
    let lanes = nr;
    if (nr == 8 && room >= 16) {
      packTwo(from, offsets, k, to);
      to += panel;
      lanes = 16;
    } else if (room >= nr && !(nr & 3)) packRun(from, offsets, k, nr, to);
    else packPanel(image, step, outW, offsets, k, y, x, min(nr, count - done), nr, to);
    to += panel;
    done += lanes;
    for (x += lanes; x >= outW; x -= outW) y++;
  }
}
