/** The second module, for engines with relaxed SIMD: the fused kernels alone, which join the others in their function table. */
export * from './gen/kernels_relaxed';
export { probe_dot, probe_peak_relaxed } from './probe/peak_relaxed';
