/** Patches of an implicit product: nr neighbouring output pixels become the lanes of a panel, one step of k after the other. */
import { PROGRAM_OUT_W, PROGRAM_ROW_PITCH, PROGRAM_STRIDE_H } from '../gen/layout';

/** All lanes in one output row: nr neighbouring floats for every step. */
function packRun(from: usize, offsets: usize, k: i32, nr: i32, to: usize): void {
  const bytes = nr << 2;
  for (let p = 0; p < k; p++) {
    const row = from + load<usize>(offsets);
    for (let q = 0; q < bytes; q += 16) v128.store(to + q, v128.load(row + q));
    offsets += 4;
    to += bytes;
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

/** One panel: `count` pixels from `pixel` on (row-major in the output), k steps whose offsets are at `offsets`. */
export function packPatches(program: usize, image: usize, offsets: usize, k: i32, pixel: i32, count: i32, nr: i32, to: usize): void {
  const outW = load<i32>(program, PROGRAM_OUT_W);
  const step = (load<usize>(program, PROGRAM_ROW_PITCH) << 2) * load<i32>(program, PROGRAM_STRIDE_H);
  let y = pixel / outW, x = pixel - y * outW;
  if (count == nr && !(nr & 3) && x + nr <= outW) {
    packRun(image + y * step + (x << 2), offsets, k, nr, to);
    return;
  }
  let lane = 0;
  while (lane < count) {
    const run = min(count - lane, outW - x);
    packPart(image + y * step + (x << 2), offsets, k, nr, lane, run, to);
    lane += run;
    x = 0;
    y++;
  }
  if (count < nr) clearLanes(k, nr, count, to);
}
