/**
 * The multiply-add ceiling of plain SIMD: as many multiplications and as many additions as the registers' ports take. Six
 * products and six sums go on by themselves: enough to cover three cycles of latency each, nothing that is loop-invariant
 * (the engine would take it out and flatter the figure), and few enough not to spill (V8 11 orders products before sums
 * when one feeds the other, and spilled in every dependent form tried). One turn: 24 operations of 4 lanes, 96 in all.
 */
import { sumLanes } from '../gemm/lanes';

export function probe_peak_simd(turns: i32, at: usize): f32 {
  let s0 = v128.load(at), s1 = v128.load(at, 16), s2 = v128.load(at, 32), s3 = s0, s4 = s1, s5 = s2;
  let p0 = s0, p1 = s1, p2 = s2, p3 = s0, p4 = s1, p5 = s2;
  const x = v128.load(at, 48);
  do {
    p0 = f32x4.mul(p0, x); s0 = f32x4.add(s0, x);
    p1 = f32x4.mul(p1, x); s1 = f32x4.add(s1, x);
    p2 = f32x4.mul(p2, x); s2 = f32x4.add(s2, x);
    p3 = f32x4.mul(p3, x); s3 = f32x4.add(s3, x);
    p4 = f32x4.mul(p4, x); s4 = f32x4.add(s4, x);
    p5 = f32x4.mul(p5, x); s5 = f32x4.add(s5, x);
    p0 = f32x4.mul(p0, x); s0 = f32x4.add(s0, x);
    p1 = f32x4.mul(p1, x); s1 = f32x4.add(s1, x);
    p2 = f32x4.mul(p2, x); s2 = f32x4.add(s2, x);
    p3 = f32x4.mul(p3, x); s3 = f32x4.add(s3, x);
    p4 = f32x4.mul(p4, x); s4 = f32x4.add(s4, x);
    p5 = f32x4.mul(p5, x); s5 = f32x4.add(s5, x);
  } while (--turns);
  const sums = f32x4.add(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)), f32x4.add(s4, s5));
  const products = f32x4.add(f32x4.add(f32x4.add(p0, p1), f32x4.add(p2, p3)), f32x4.add(p4, p5));
  return sumLanes(f32x4.add(sums, products));
}
