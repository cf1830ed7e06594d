/** What is dispatched: a shader's text, its numbers, and how many workgroups. */

import type { Params } from './wgsl/params.ts';
import type { Binding } from './wgsl/product.ts';

/** Scalars of a call, as the other backends take them. */
export interface Scalars {
  readonly alpha: number;
  readonly beta: number;
  readonly p0: number;
  readonly p1: number;
}

export interface Launch {
  /** Names the pipeline: equal keys have equal sources. */
  readonly key: string;
  source(): string;
  readonly bindings: readonly Binding[];
  /** Workgroups of one dispatch; `products` of them, along z. */
  readonly groups: readonly [x: number, y: number];
  readonly products: number;
  readonly params: Omit<Params, 'firstProduct' | keyof Scalars>;
  /** Element offsets of each product's operands, where they are no multiples of a stride. */
  readonly table: Uint32Array<ArrayBuffer> | undefined;
}

/** A shader whose window is in its text reads none of them. */
export const NO_EXTENTS: Launch['params'] = {
  ...{ m: 0, n: 0, k: 0, lda: 0, ldb: 0, ldc: 0, strideA: 0, strideB: 0, strideC: 0 },
  ...{ offsetA: 0, offsetB: 0, offsetC: 0, slopeByRow: 0, groups: 1 },
};
