/** A plan: the whole recipe for a problem, as plain data that prints, compares and replays. */
import type { ConvAlgorithm } from '../problem/conv.ts';

export type Effort = 'estimate' | 'measure' | 'exhaustive';

/** How operands reach the kernel: both packed, B packed and A read in place, nothing packed. */
export type Packing = 'ab' | 'b' | 'none';

/** The order in which the tiles of the result are handed out: along m first or along n first. */
export type TileOrder = 'mn' | 'nm';

/** How the problem is turned into kernel calls. Matrix products know one way, `gemm`; pooling, and what is done to
 *  elements and lines, know one that nobody chooses, `fixed`. */
export type Algorithm = ConvAlgorithm | 'fixed';

export interface Plan {
  readonly backend: 'wasm' | 'webgpu' | 'gpujs' | 'reference' | 'null';
  /** Name of a row in the kernel table. */
  readonly kernel: string;
  readonly algorithm: Algorithm;
  readonly packing: Packing;
  /** Cache blocks: rows and columns of a tile, and the k extent of one pass over it. Where a tile is a stretch of an image, nc
   *  counts its pixels (Winograd: its tiles of the transform) and mc its output channels. */
  readonly mc: number;
  readonly kc: number;
  readonly nc: number;
  readonly order: TileOrder;
  readonly threads: number;
  /** Where both a GPU and the threads compute: the part of the rows that the GPU takes. */
  readonly share?: number;
}

/** A plan that was considered: with its measured time, or an estimate, or the reason why it was not tried. */
export interface Candidate {
  readonly plan: Plan;
  readonly estimateMs: number;
  readonly measuredMs?: number;
  /** What of the time is moving values to a GPU and back, all of them lying in memory and the result wanted there. */
  readonly transfer?: { readonly bytes: number; readonly ms: number };
  readonly rejected?: string;
}

/** One line: `f32_gemm_4x8__simd ab mc=96 kc=256 nc=512 mn x2`, the algorithm first where there is a choice of one. */
export function printPlan(plan: Plan): string {
  const { kernel, algorithm, packing, mc, kc, nc, order, threads, share } = plan;
  const part = share === undefined ? '' : `, ${(100 * share).toFixed(0)} % of the rows`;
  return `${algorithm === 'gemm' ? '' : `${algorithm} `}${kernel} ${packing} mc=${mc} kc=${kc} nc=${nc} ${order} x${threads}${part}`;
}

export function samePlan(a: Plan, b: Plan): boolean {
  return a.backend === b.backend && printPlan(a) === printPlan(b);
}
