/** Which kernels may serve a problem at all: a pure function of the table, the engine, and what is quarantined. */
import type { MatmulProblem } from '../problem/matmul.ts';
import { KERNELS, type Kernel, oneRowPartner } from './table.ts';

export interface KernelFilter {
  /** Names that the loaded module has. */
  readonly present: ReadonlySet<string>;
  /** Names that failed their check on this device, with the reason. */
  readonly quarantined: ReadonlyMap<string, string>;
}

/** A vector kernel takes a product with one row or one column; which of the two forms follows from the storage. */
function vectorFamily(p: MatmulProblem): 'axpy' | 'dot' | undefined {
  if (p.prepackedB) return undefined;
  if (p.m === 1) return p.transposeB ? 'dot' : 'axpy';
  if (p.n === 1) return p.transposeA ? 'axpy' : 'dot';
  return undefined;
}

function serves(kernel: Kernel, p: MatmulProblem): boolean {
  if (p.exact && !kernel.deterministic) return false;
  if (p.panel && kernel.nr !== p.panel.nr) return false;
  switch (kernel.family) {
    case 'packed':
      return true;
    case 'direct':
      // rows of A are read in place, so they must run along k
      return !p.transposeA;
    case 'axpy':
    case 'dot':
      return vectorFamily(p) === kernel.family;
    default:
      throw new Error(`unknown family ${kernel.family satisfies never}`);
  }
}

/** Rows of the table that can run this problem here, in table order. */
export function applicableKernels(p: MatmulProblem, filter: KernelFilter): Kernel[] {
  return KERNELS.filter(
    (kernel) =>
      filter.present.has(kernel.name) &&
      serves(kernel, p) &&
      !filter.quarantined.has(kernel.name) &&
      !filter.quarantined.has(oneRowPartner(kernel).name),
  );
}
