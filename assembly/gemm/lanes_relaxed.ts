/** acc + a * b as the relaxed kernels do it: through the vector instruction, so that a lone element rounds the same. */
// @ts-ignore: decorator
@inline
export function maddRelaxed(acc: f32, a: f32, b: f32): f32 {
  return f32x4.extract_lane(f32x4.relaxed_madd(f32x4.splat(a), f32x4.splat(b), f32x4.splat(acc)), 0);
}
