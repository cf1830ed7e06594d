/**
 * The multiply-add ceiling of plain SIMD. Every product takes a neighbour's sum from the turn before, so that none is
 * loop-invariant (the engine would take it out and flatter the figure). Ten sums: more would spill in V8 11, and hide part
 * of the ceiling that the six cycles of a multiply and an add leave. One turn: 10 multiply-adds of 4 lanes, 80 operations.
 */
import { sumLanes } from '../gemm/lanes';

export function probe_peak_simd(turns: i32, at: usize): f32 {
  let s0 = v128.load(at), s1 = v128.load(at, 16), s2 = v128.load(at, 32), s3 = v128.load(at, 48), s4 = v128.load(at, 64);
  let s5 = s0, s6 = s1, s7 = s2, s8 = s3, s9 = s4;
  const m = v128.load(at, 80);
  do {
    s0 = f32x4.add(s0, f32x4.mul(s1, m));
    s1 = f32x4.add(s1, f32x4.mul(s2, m));
    s2 = f32x4.add(s2, f32x4.mul(s3, m));
    s3 = f32x4.add(s3, f32x4.mul(s4, m));
    s4 = f32x4.add(s4, f32x4.mul(s5, m));
    s5 = f32x4.add(s5, f32x4.mul(s6, m));
    s6 = f32x4.add(s6, f32x4.mul(s7, m));
    s7 = f32x4.add(s7, f32x4.mul(s8, m));
    s8 = f32x4.add(s8, f32x4.mul(s9, m));
    s9 = f32x4.add(s9, f32x4.mul(s0, m));
  } while (--turns);
  const low = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
  const high = f32x4.add(f32x4.add(s6, s7), f32x4.add(s8, s9));
  return sumLanes(f32x4.add(f32x4.add(low, high), f32x4.add(s4, s5)));
}
