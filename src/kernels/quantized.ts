/**
 * Kernels on 8-bit integers. Their operands are words of 32 bits that hold two neighbouring steps of k as 16-bit integers: 8-bit
 * values less their zero points always fit. With words for floats and k counted in words they are kernels of products like all
 * others; sums are 32-bit integers and exact, so every one is deterministic. The multiply-add is i32x4.dot_i16x8_s.
 *
 * The `i8` rows multiply words of four bytes by relaxed SIMD's i32x4.relaxed_dot_i8x16_i7x16_add_s, against panels of bytes that
 * `prepackInteger` makes where it may: the second operand is only sure to be right up to 127 (see backends/wasm/dot.ts). They
 * are for processors whose 8-bit dot product is one instruction that the engine uses (AVX-VNNI on x86, dot product on ARM).
 * Elsewhere on x86 it is two multiplications of 16 bytes on the same ports as one of i32x4.dot_i16x8_s of 8, so there is
 * nothing to gain.
 */
import type { Kernel, KernelForm } from './kernel.ts';

type Block = readonly [mr: number, nr: number];

const PACKED: readonly Block[] = [
  [1, 16],
  [1, 32],
  [2, 16],
  [3, 8],
  [4, 8],
  [5, 8],
  [6, 8],
];
/** Blocks in which a second step pays on at least one engine. */
const UNROLLED: readonly Block[] = [
  [1, 32],
  [2, 16],
  [3, 8],
  [4, 8],
  [5, 8],
  [6, 8],
];
/** Blocks with pairs of vectors, which 256-bit revectorisation can fuse (4x16: 146 against 82 GOP/s on Node 24). */
const REVECTORIZED: readonly Block[] = [
  [3, 16],
  [4, 16],
  [5, 8],
  [6, 16],
];
/** Blocks of the 8-bit rows; widths that prepacked panels have. */
const BYTES: readonly Block[] = [
  [1, 16],
  [2, 16],
  [4, 16],
  [4, 8],
  [6, 8],
];
/** Every nr here has its one-row partner. */
const DIRECT: readonly Block[] = [
  [1, 8],
  [1, 16],
  [4, 8],
];

function row(family: 'packed' | 'direct', form: KernelForm, [mr, nr]: Block): Kernel {
  const trick = family === 'direct' ? '_direct' : form === 'plain' ? '' : `_${form}`;
  return {
    name: `i16_gemm_${mr}x${nr}__simd_dot${trick}`,
    family,
    feature: 'simd',
    dtype: 'i16',
    form,
    mr,
    nr,
    deterministic: true,
  };
}

/** A vector of words times a matrix of bytes in place: lines of columns (axpy) or rows of k (dot). */
function vectorRow(family: 'axpy' | 'dot'): Kernel {
  const fixed = { feature: 'simd', dtype: 'i16', form: 'plain', mr: 1, deterministic: true } as const;
  return { name: `i16_gemv_${family}__simd_dot`, family, nr: family === 'axpy' ? 8 : 1, ...fixed };
}

function byteRow([mr, nr]: Block): Kernel {
  const fixed = {
    family: 'packed',
    feature: 'relaxed',
    dtype: 'i8',
    form: 'plain',
    deterministic: true,
  } as const;
  return { name: `i8_gemm_${mr}x${nr}__relaxed_dot`, mr, nr, ...fixed };
}

export const QUANTIZED_KERNELS: readonly Kernel[] = [
  ...PACKED.map((block) => row('packed', 'plain', block)),
  ...UNROLLED.map((block) => row('packed', 'k2', block)),
  ...REVECTORIZED.map((block) => row('packed', 'sum', block)),
  ...DIRECT.map((block) => row('direct', 'plain', block)),
  vectorRow('axpy'),
  vectorRow('dot'),
  ...BYTES.map(byteRow),
];

/** Whether a kernel reads a matrix of bytes as it is stored. */
export function readsBytes({ dtype, family }: Kernel): boolean {
  return dtype === 'i16' && (family === 'axpy' || family === 'dot');
}

/** Steps of k in one 32-bit element of an operand. */
export function stepsPerWord({ dtype }: Kernel): 1 | 2 | 4 {
  return dtype === 'i8' ? 4 : dtype === 'i16' ? 2 : 1;
}
