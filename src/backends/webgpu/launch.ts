/** What is dispatched: a shader's text, its numbers, and how many workgroups. */

import type { Params } from './wgsl/params.ts';
import type { Binding } from './wgsl/product.ts';

export interface Launch {
  /** Names the pipeline: equal keys have equal sources. */
  readonly key: string;
  source(): string;
  readonly bindings: readonly Binding[];
  /** Workgroups of one dispatch; `products` of them, along z. */
  readonly groups: readonly [x: number, y: number];
  readonly products: number;
  /** All but the first product, which is of a dispatch. */
  readonly params: Omit<Params, 'firstProduct'>;
  /** Element offsets of each product's operands, where they are no multiples of a stride. */
  readonly table: Uint32Array<ArrayBuffer> | undefined;
  /** Where several workgroups each sum a part of k: what makes the result of their sums, which lie in memory of so many bytes. */
  readonly after?: { readonly launch: Launch; readonly bytes: number };
}

/** What is bound to any of its shaders. */
export function boundTo({ bindings, after }: Launch): readonly Binding[] {
  return after ? [...bindings, ...after.launch.bindings] : bindings;
}

/** A shader whose window is in its text reads none of them. */
export const NO_EXTENTS: Launch['params'] = {
  ...{ m: 0, n: 0, k: 0, lda: 0, ldb: 0, ldc: 0, strideA: 0, strideB: 0, strideC: 0 },
  ...{ offsetA: 0, offsetB: 0, offsetC: 0, slopeByRow: 0, groups: 1, parts: 1, kPart: 0 },
};
