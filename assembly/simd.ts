/** The module that every engine takes: each kernel that needs no relaxed instruction, and all that is around them. */
export * from './gen/kernels_simd';
export * from './common';
