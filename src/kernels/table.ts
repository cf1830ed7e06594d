/**
 * THE list of kernels. Generation, wasm exports, selection, the per-kernel tests and the per-kernel benches all read it;
 * a new variant is one more row (or one more entry in one of the lists that make rows).
 *
 * A name is a data sheet: `f32_gemm_6x8__relaxed_loadsplat_k2` is what it computes and its register block, then after
 * the double underscore the feature it needs and the trick it uses.
 */
import { depthwiseRows, finishesRowsOf } from './depthwise.ts';
import type { Kernel, KernelFeature, KernelForm } from './kernel.ts';
import { QUANTIZED_KERNELS } from './quantized.ts';

export type { Kernel, KernelFamily, KernelFeature, KernelForm } from './kernel.ts';

type Block = readonly [mr: number, nr: number];

const PACKED_BLOCKS: readonly Block[] = [
  [1, 4],
  [1, 8],
  [1, 16],
  [1, 24],
  [1, 32],
  [2, 8],
  [2, 12],
  [2, 16],
  [3, 8],
  [3, 12],
  [3, 16],
  [4, 8],
  [4, 16],
  [5, 8],
  [5, 16],
  [6, 8],
  [6, 16],
  [8, 8],
];

/** Blocks in which a second k step pays on at least one engine; wider ones spill in every form. */
const UNROLLED_BLOCKS: readonly Block[] = [
  [1, 16],
  [1, 24],
  [1, 32],
  [2, 12],
  [2, 16],
  [3, 8],
  [3, 12],
  [3, 16],
  [4, 8],
  [5, 8],
  [6, 8],
];

/** Blocks with pairs of vectors, which 256-bit revectorisation can fuse. */
const REVECTORIZED_BLOCKS: readonly Block[] = [
  [3, 16],
  [4, 8],
  [4, 16],
  [5, 8],
  [5, 16],
  [6, 8],
  [6, 16],
  [8, 8],
];

/** Every nr here has its one-row partner, which finishes the rows that are left over. */
const DIRECT_BLOCKS: readonly Block[] = [
  [1, 8],
  [1, 16],
  [1, 32],
  [2, 16],
  [3, 8],
  [4, 8],
  [5, 8],
  [6, 8],
];

/** Blocks of the offset kernels; each nr has its one-row partner here too. */
const OFFSET_BLOCKS: readonly Block[] = DIRECT_BLOCKS;

const FEATURES: readonly KernelFeature[] = ['simd', 'relaxed'];
const TRICK = { plain: 'loadsplat', k2: 'loadsplat_k2', sum: 'loadsplat_sum' } as const;

function gemmRow(
  [mr, nr]: Block,
  feature: KernelFeature,
  family: 'packed' | 'direct',
  form: KernelForm,
): Kernel {
  const trick = family === 'direct' ? 'direct' : TRICK[form];
  return {
    name: `f32_gemm_${mr}x${nr}__${feature}_${trick}`,
    family,
    feature,
    form,
    mr,
    nr,
    deterministic: feature === 'simd' && form !== 'sum',
  };
}

function offsetRow([mr, nr]: Block, feature: KernelFeature): Kernel {
  return {
    name: `f32_conv_${mr}x${nr}__${feature}_offset`,
    family: 'offset',
    feature,
    form: 'plain',
    mr,
    nr,
    deterministic: feature === 'simd',
  };
}

function vectorRow(family: 'axpy' | 'dot', feature: KernelFeature, rows: number): Kernel {
  const shape = family === 'axpy' ? `k${rows}` : `r${rows}`;
  return {
    name: `f32_gemv_${family}_${shape}__${feature}`,
    family,
    feature,
    form: 'plain',
    mr: 1,
    nr: family === 'axpy' ? 4 : 1,
    // The dot form keeps partial sums per lane, so it is not in k order.
    deterministic: family === 'axpy' && feature === 'simd',
  };
}

function rowsOf(feature: KernelFeature): Kernel[] {
  return [
    ...PACKED_BLOCKS.map((block) => gemmRow(block, feature, 'packed', 'plain')),
    ...UNROLLED_BLOCKS.map((block) => gemmRow(block, feature, 'packed', 'k2')),
    ...REVECTORIZED_BLOCKS.map((block) => gemmRow(block, feature, 'packed', 'sum')),
    ...DIRECT_BLOCKS.map((block) => gemmRow(block, feature, 'direct', 'plain')),
    ...OFFSET_BLOCKS.map((block) => offsetRow(block, feature)),
    ...depthwiseRows(feature),
    vectorRow('axpy', feature, 4),
    vectorRow('axpy', feature, 8),
    vectorRow('dot', feature, 1),
    vectorRow('dot', feature, 2),
    vectorRow('dot', feature, 4),
  ];
}

export const KERNELS: readonly Kernel[] = [...FEATURES.flatMap(rowsOf), ...QUANTIZED_KERNELS];

/** The rows that compute whole products of floats by themselves. */
export const PRODUCT_KERNELS: readonly Kernel[] = KERNELS.filter(
  ({ family, dtype }) =>
    dtype === undefined &&
    (family === 'packed' || family === 'direct' || family === 'axpy' || family === 'dot'),
);

const byName = new Map(KERNELS.map((kernel) => [kernel.name, kernel]));

/** The row of a name, or undefined for a name that this version does not have. */
export function findKernel(name: string): Kernel | undefined {
  return byName.get(name);
}

/** Names of all rows: the part of a wisdom signature that changes when kernels do. */
export function kernelTableText(): string {
  return KERNELS.map((kernel) => `${kernel.name}:${kernel.deterministic ? 'd' : ''}`).join('\n');
}

/** The kernel that finishes rows below the last whole block: the one-row partner of the same width for kernels that read A
 *  in place, one of a single row for depthwise ones, else the kernel itself. */
export function oneRowPartner(kernel: Kernel): Kernel {
  const { family, feature, nr } = kernel;
  if (family === 'depthwise') return KERNELS.find((k) => finishesRowsOf(k, kernel)) ?? kernel;
  if ((family !== 'direct' && family !== 'offset') || kernel.mr === 1) return kernel;
  const partner = KERNELS.find(
    (k) =>
      k.family === family && k.mr === 1 && k.nr === nr && k.feature === feature && k.dtype === kernel.dtype,
  );
  if (!partner) throw new Error(`${kernel.name} has no one-row partner`);
  return partner;
}

/** Names of all kernels that a plan with this kernel may run. */
export function kernelsUsed(name: string): string[] {
  const kernel = findKernel(name);
  return kernel ? [...new Set([name, oneRowPartner(kernel).name])] : [name];
}
