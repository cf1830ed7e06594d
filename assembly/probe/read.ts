/** How fast one thread reads memory: the ceiling of GEMV; and how fast it copies: that of what makes an image of an image. */
import { sumLanes } from '../gemm/lanes';

/** Adds up `bytes` (a multiple of 128) from `from`, in eight independent sums so that only the loads are waited for. */
export function probe_read(from: usize, bytes: usize): f32 {
  let s0 = f32x4.splat(0);
  let s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  const end = from + bytes;
  for (let p = from; p < end; p += 128) {
    s0 = f32x4.add(s0, v128.load(p));
    s1 = f32x4.add(s1, v128.load(p, 16));
    s2 = f32x4.add(s2, v128.load(p, 32));
    s3 = f32x4.add(s3, v128.load(p, 48));
    s4 = f32x4.add(s4, v128.load(p, 64));
    s5 = f32x4.add(s5, v128.load(p, 80));
    s6 = f32x4.add(s6, v128.load(p, 96));
    s7 = f32x4.add(s7, v128.load(p, 112));
  }
  return sumLanes(f32x4.add(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)), f32x4.add(f32x4.add(s4, s5), f32x4.add(s6, s7))));
}

/**
 * Copies `bytes` (a multiple of 64) by vectors. A cache line that is written is read first, for WebAssembly has no stores that go past the
 * caches: memory moves three bytes for each that is copied, where memory.copy (native code) may move two.
 */
export function probe_copy(from: usize, to: usize, bytes: usize): void {
  for (const end = from + bytes; from < end; from += 64) {
    const a = v128.load(from), b = v128.load(from, 16), c = v128.load(from, 32), d = v128.load(from, 48);
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    to += 64;
  }
}
