/**
 * THE list of kernels. Generation, wasm exports, selection, the per-kernel tests and the per-kernel benches all read it;
 * a new variant is one more row (or one more entry in one of the lists that make rows).
 *
 * A name is a data sheet: `f32_gemm_6x8__relaxed_loadsplat_k2` is what it computes and its register block, then after
 * the double underscore the feature it needs and the trick it uses.
 */

/** `packed` and `direct` fill an mr x nr block; `axpy` and `dot` are the memory-bound vector forms. */
export type KernelFamily = 'packed' | 'direct' | 'axpy' | 'dot';

/** What the engine must offer: plain SIMD (mul, then add) or relaxed SIMD (one fused multiply-add). */
export type KernelFeature = 'simd' | 'relaxed';

/**
 * How the k loop and the accumulators are written.
 * - `plain`: load C into the accumulators, one k step per turn.
 * - `k2`: two k steps per turn with a branch between them. The branch keeps V8 11 from hoisting the loads of both steps
 *   to the top, which would spill accumulators (a plain unroll fell from 32 to 23 GFLOP/s at 2x16 on Node 20).
 * - `sum`: sum from zero and add C at the end, all loads of a row before its stores: what V8's revectorizer packs best
 *   (8x8 on Node 24: 73 against 62 GFLOP/s). It rounds differently, so it is not deterministic over blockings.
 */
export type KernelForm = 'plain' | 'k2' | 'sum';

export interface Kernel {
  readonly name: string;
  readonly family: KernelFamily;
  readonly feature: KernelFeature;
  readonly form: KernelForm;
  readonly mr: number;
  readonly nr: number;
  /** Each element accumulates in k order, multiply then add, starting from C: the same bits in every blocking. */
  readonly deterministic: boolean;
}

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
    vectorRow('axpy', feature, 4),
    vectorRow('axpy', feature, 8),
    vectorRow('dot', feature, 1),
    vectorRow('dot', feature, 2),
    vectorRow('dot', feature, 4),
  ];
}

export const KERNELS: readonly Kernel[] = FEATURES.flatMap(rowsOf);

const byName = new Map(KERNELS.map((kernel) => [kernel.name, kernel]));

/** The row of a name, or undefined for a name that this version does not have. */
export function findKernel(name: string): Kernel | undefined {
  return byName.get(name);
}

/** Names of all rows: the part of a wisdom signature that changes when kernels do. */
export function kernelTableText(): string {
  return KERNELS.map((kernel) => `${kernel.name}:${kernel.deterministic ? 'd' : ''}`).join('\n');
}

/** The kernel that finishes rows below the last whole block: a direct kernel's one-row partner of the same width, else the
 *  kernel itself. */
export function oneRowPartner(kernel: Kernel): Kernel {
  if (kernel.family !== 'direct' || kernel.mr === 1) return kernel;
  const partner = KERNELS.find(
    (k) => k.family === 'direct' && k.mr === 1 && k.nr === kernel.nr && k.feature === kernel.feature,
  );
  if (!partner) throw new Error(`${kernel.name} has no one-row partner`);
  return partner;
}

/** Names of all kernels that a plan with this kernel may run. */
export function kernelsUsed(name: string): string[] {
  const kernel = findKernel(name);
  return kernel ? [...new Set([name, oneRowPartner(kernel).name])] : [name];
}
