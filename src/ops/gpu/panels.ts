/** Packed weights as the GPU takes them: unpacked. */

import { unpackedPanels } from '../../backends/reference/panels.ts';
import type { Address } from '../../backends/types.ts';
import type { Problem } from '../../problem/problem.ts';
import type { Core } from '../core.ts';

/** The matrix [k, n] that the panels at an address were made of. */
export function unpackedB(core: Core, problem: Problem, address: Address): Float32Array {
  if (problem.op !== 'matmul' || !problem.panel) throw new Error('only products have panels');
  const { k, n, panel } = problem;
  const panels = core.backend.view(address, Math.ceil(core.backend.bytesAt(address)! / 4));
  return unpackedPanels(k, n, panel, panels);
}
