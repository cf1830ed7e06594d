/** Panels of a right operand, read back. */
import { roundUp } from '../../core/math.ts';

/** The stored layout of panels: blocks of `kc` steps of k; in a block panel after panel, in a panel step after step. */
export function panelIndex(
  k: number,
  n: number,
  nr: number,
  kc: number,
): (step: number, column: number) => number {
  const padded = roundUp(n, nr);
  return (step, column) => {
    const k0 = step - (step % kc);
    const lane = column % nr;
    return k0 * padded + (column - lane) * Math.min(kc, k - k0) + (step - k0) * nr + lane;
  };
}

/** The matrix [k, n] that panels were made of. */
export function unpackedPanels(
  k: number,
  n: number,
  panel: { readonly nr: number; readonly kc: number },
  panels: ArrayLike<number>,
): Float32Array {
  const index = panelIndex(k, n, panel.nr, panel.kc);
  return Float32Array.from({ length: k * n }, (_, at) => panels[index(Math.floor(at / n), at % n)]!);
}
