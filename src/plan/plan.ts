/** A plan: the whole recipe for a problem, as plain data that prints, compares and replays. */

export type Effort = 'estimate' | 'measure' | 'exhaustive';

/** How operands reach the kernel: both packed, B packed and A read in place, nothing packed. */
export type Packing = 'ab' | 'b' | 'none';

/** The order in which the tiles of the result are handed out: along m first or along n first. */
export type TileOrder = 'mn' | 'nm';

export interface Plan {
  readonly backend: 'wasm' | 'reference' | 'null';
  /** Name of a row in the kernel table. */
  readonly kernel: string;
  readonly packing: Packing;
  /** Cache blocks: rows and columns of a tile, and the k extent of one pass over it. */
  readonly mc: number;
  readonly kc: number;
  readonly nc: number;
  readonly order: TileOrder;
  readonly threads: number;
}

/** A plan that was considered: with its measured time, or an estimate, or the reason why it was not tried. */
export interface Candidate {
  readonly plan: Plan;
  readonly estimateMs: number;
  readonly measuredMs?: number;
  readonly rejected?: string;
}

/** One line: `f32_gemm_4x8__simd ab mc=96 kc=256 nc=512 mn x2`. */
export function printPlan(plan: Plan): string {
  const { kernel, packing, mc, kc, nc, order, threads } = plan;
  return `${kernel} ${packing} mc=${mc} kc=${kc} nc=${nc} ${order} x${threads}`;
}

export function samePlan(a: Plan, b: Plan): boolean {
  return a.backend === b.backend && printPlan(a) === printPlan(b);
}
