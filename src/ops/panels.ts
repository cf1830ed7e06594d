/** Packed weights as they were before. */

import { unpackedPanels } from '../backends/reference/panels.ts';
import type { Address } from '../backends/types.ts';
import type { Problem } from '../problem/problem.ts';
import type { Core } from './core.ts';
import type { Panels } from './tensor.ts';

/** The matrix [k, n] that the panels at an address were made of. */
export function unpackedB(core: Core, problem: Problem, address: Address): Float32Array {
  if (problem.op !== 'matmul' || !problem.panel) throw new Error('only products have panels');
  const { k, n, panel } = problem;
  const panels = core.backend.view(address, Math.ceil(core.backend.blockAt(address)!.bytes / 4));
  return unpackedPanels(k, n, panel, panels);
}

/** The matrix as it was given: [k, n], or [n, k] where it was transposed. */
export function matrixOf({ shape: [k, n], panel, block }: Panels, isTransposed: boolean): Float32Array {
  const first = block.address >>> 2;
  const matrix = unpackedPanels(k, n, panel, block.heap.floats().subarray(first, first + block.bytes / 4));
  if (!isTransposed) return matrix;
  const turned = new Float32Array(matrix.length);
  for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) turned[j * k + i] = matrix[i * n + j]!;
  return turned;
}
