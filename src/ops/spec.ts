/** Problems as users write them: `1x4096x4096` (m x k x n), `12x64x128x64` (batch first), or an object. */
import { TesseraeError } from '../core/errors.ts';
import { readActivation } from '../problem/epilogue.ts';
import { type MatmulProblem, matmulProblem } from '../problem/matmul.ts';
import type { ProblemSpec } from './types.ts';

const HINT = "Write 'MxKxN' or 'BATCHxMxKxN', or { m, k, n }.";
/** What prepack chooses for a few rows; a spec that says `prepacked` means these panels. */
const SPEC_PANEL_NR = 16;

function badSpec(spec: unknown): TesseraeError {
  return new TesseraeError('E_ARGUMENT', `${JSON.stringify(spec)} is no problem`, { problem: spec }, HINT);
}

function fromText(text: string): { batch: number; m: number; k: number; n: number } {
  const numbers = text.trim().toLowerCase().split('x').map(Number);
  if (numbers.length < 3 || numbers.length > 4) throw badSpec(text);
  const [n, k, m, batch = 1] = numbers.reverse() as [number, number, number, number?];
  return { batch, m, k, n };
}

export function readSpec(spec: ProblemSpec, exact: boolean): MatmulProblem {
  if (typeof spec !== 'string' && (typeof spec !== 'object' || spec === null)) throw badSpec(spec);
  const extents = typeof spec === 'string' ? fromText(spec) : { batch: 1, ...spec };
  const { batch, m, k, n } = extents;
  for (const extent of [batch, m, k, n]) if (!Number.isSafeInteger(extent) || extent < 1) throw badSpec(spec);
  if (typeof spec === 'string') return matmulProblem({ batch, m, n, k }, { exact });
  const kc = Math.ceil(Math.ceil(k / Math.ceil(k / 256)) / 4) * 4;
  return matmulProblem(
    { batch, m, n, k },
    {
      transposeA: spec.transposeA ?? false,
      transposeB: spec.transposeB ?? false,
      bias: spec.bias ?? 'none',
      activation: readActivation(spec.activation).kind,
      exact,
      panel: spec.prepacked ? { nr: SPEC_PANEL_NR, kc } : undefined,
    },
  );
}
