/** The module for engines with relaxed SIMD: all of the plain one, and the fused kernels. */
export * from './gen/kernels_simd';
export * from './gen/kernels_relaxed';
export { probe_dot, probe_peak_relaxed } from './probe/peak_relaxed';
export * from './common';
