/** What a row of the kernel table says. */

/**
 * - `packed`, `direct`: fill an mr x nr block from panels, or with A read in place.
 * - `offset`: as `direct`, but each k step finds its row of B through a table of offsets: convolution without patches.
 * - `axpy`, `dot`: the memory-bound vector forms.
 * - `depthwise`: rows of one channel, mr at once, vector lanes along the row (NCHW); or four channels in the lanes.
 */
export type KernelFamily = 'packed' | 'direct' | 'offset' | 'axpy' | 'dot' | 'depthwise';

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
  /** What the 32-bit elements of the operands hold: a float, or two 16-bit or four 8-bit integers (sums are then i32). Default
   *  `f32`. */
  readonly dtype?: 'f32' | 'i16' | 'i8';
  readonly form: KernelForm;
  readonly mr: number;
  readonly nr: number;
  /** What a depthwise kernel has unrolled: size x size taps at this stride in both directions, one of a single row at any
   *  vertical one; undefined for one that loops over
   *  any number of taps. */
  readonly taps?: { readonly size: number; readonly stride: number };
  /** What the lanes of a depthwise kernel are, if not neighbouring columns. */
  readonly lanes?: 'channels';
  /** Each element accumulates in k order, multiply then add, starting from C: the same bits in every blocking. */
  readonly deterministic: boolean;
}
