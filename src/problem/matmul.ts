/** The matmul problem: what was asked, as plain data, with a canonical key. */
import { TesseraeError } from '../core/errors.ts';
import { broadcast, type Shape, showShape, sizeOf } from '../core/shape.ts';
import type { ActivationKind, BiasKind } from './epilogue.ts';
import type { Halves } from './halves.ts';

export interface MatmulProblem {
  readonly op: 'matmul';
  readonly dtype: 'f32';
  /** Number of independent products after broadcasting; 1 for plain matrices. */
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** `shared` operands are the same matrix in every product of the batch. */
  readonly sharedA: boolean;
  readonly sharedB: boolean;
  /** Leading extents, only where an operand is broadcast along some of them but not all. */
  readonly leading: { readonly a: Shape; readonly b: Shape; readonly out: Shape } | undefined;
  readonly prepackedB: boolean;
  /** The panels of a prepacked B: their width and the k extent of their blocks. Kernel and kc must match them. */
  readonly panel: { readonly nr: number; readonly kc: number } | undefined;
  readonly bias: BiasKind;
  readonly activation: ActivationKind;
  /** Whether alpha differs from 1 and beta from 0; their values do not change the plan. */
  readonly scaled: boolean;
  readonly accumulate: boolean;
  readonly exact: boolean;
  /** Operands that a GPU keeps as halves. */
  readonly halves: Halves;
}

/** What of a problem does not follow from the shapes. */
export interface MatmulTraits {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly panel?: { readonly nr: number; readonly kc: number } | undefined;
  readonly bias?: BiasKind;
  readonly activation?: ActivationKind;
  readonly scaled?: boolean;
  readonly accumulate?: boolean;
  readonly exact?: boolean;
  readonly halves?: Halves;
}

const NO_LEADING: Shape = [];

/** The problem of a product of plain extents. */
export function matmulProblem(
  extents: { batch?: number; m: number; n: number; k: number },
  traits: MatmulTraits = {},
): MatmulProblem {
  const { batch = 1, m, n, k } = extents;
  return {
    op: 'matmul',
    dtype: 'f32',
    batch,
    m,
    n,
    k,
    leading: undefined,
    transposeA: traits.transposeA ?? false,
    transposeB: traits.transposeB ?? false,
    sharedA: false,
    sharedB: traits.panel !== undefined,
    prepackedB: traits.panel !== undefined,
    panel: traits.panel,
    bias: traits.bias ?? 'none',
    activation: traits.activation ?? 'none',
    scaled: traits.scaled ?? false,
    accumulate: traits.accumulate ?? false,
    exact: traits.exact ?? false,
    halves: traits.halves ?? 'none',
  };
}

/**
 * The problem of a x b and the shape of its result. Leading dimensions broadcast as NumPy's matmul does; a batch whose
 * right operand is shared and whose left one is stored row by row is one taller product, and becomes that here.
 */
export function matmulFromShapes(
  a: Shape,
  b: Shape,
  traits: MatmulTraits,
): { problem: MatmulProblem; shape: Shape } {
  const [m, ka] = lastTwo(a, traits.transposeA ?? false, 'a');
  const [kb, n] = lastTwo(b, traits.transposeB ?? false, 'b');
  if (ka !== kb) {
    throw new TesseraeError(
      'E_SHAPE',
      `the inner extents differ: a ${showShape(a)}${traits.transposeA ? ' transposed' : ''} has ${ka}, b ${showShape(b)}${traits.transposeB ? ' transposed' : ''} has ${kb}`,
      { a, b, innerA: ka, innerB: kb },
      'Columns of a must equal rows of b; transposeA and transposeB swap the last two extents.',
    );
  }
  if (a.length === 2 && b.length === 2)
    return { problem: matmulProblem({ m, n, k: ka }, traits), shape: [m, n] };
  const leadingA = a.slice(0, -2);
  const leadingB = b.slice(0, -2);
  const out = broadcast(leadingA, leadingB);
  if (out === undefined) {
    throw new TesseraeError(
      'E_SHAPE',
      `the leading extents of ${showShape(a)} and ${showShape(b)} do not broadcast`,
      { a, b },
      'Aligned at the right, each pair must be equal or hold a 1.',
    );
  }
  return { problem: batched(leadingA, leadingB, out, { m, n, k: ka }, traits), shape: [...out, m, n] };
}

function batched(
  leadingA: Shape,
  leadingB: Shape,
  out: Shape,
  { m, n, k }: { m: number; n: number; k: number },
  traits: MatmulTraits,
): MatmulProblem {
  const batch = sizeOf(out);
  const base = matmulProblem({ m, n, k }, traits);
  if (batch === 1) return base;
  const sharedA = sizeOf(leadingA) === 1;
  const sharedB = sizeOf(leadingB) === 1;
  const fullA = sizeOf(leadingA) === batch;
  // a column bias has one value per row of each product, so rows of different products cannot be merged
  if (sharedB && fullA && !base.transposeA && base.bias !== 'column') return { ...base, m: m * batch };
  const fullB = sizeOf(leadingB) === batch;
  const whole = (sharedA || fullA) && (sharedB || fullB);
  const leading = whole ? undefined : { a: leadingA.length ? leadingA : NO_LEADING, b: leadingB, out };
  return { ...base, batch, sharedA, sharedB, leading };
}

function lastTwo(shape: Shape, transpose: boolean, name: string): [number, number] {
  if (shape.length < 2) {
    throw new TesseraeError(
      'E_SHAPE',
      `${name} has rank ${shape.length}, matmul needs at least 2`,
      { shape },
      'Give a vector its second extent: [1, k] for a row, [k, 1] for a column.',
    );
  }
  const rows = shape[shape.length - 2]!;
  const cols = shape[shape.length - 1]!;
  return transpose ? [cols, rows] : [rows, cols];
}

/** Canonical key: equal problems have equal keys. `matmul f32 64x32x16 nt bias=row act=relu exact`, extents m x k x n. */
export function matmulKey(p: MatmulProblem): string {
  let key = `matmul ${p.dtype} ${p.batch === 1 ? '' : `${p.batch}x`}${p.m}x${p.k}x${p.n} ${p.transposeA ? 't' : 'n'}${p.transposeB ? 't' : 'n'}`;
  if (p.leading) key += ` lead=${p.leading.a.join('.')}/${p.leading.b.join('.')}`;
  else if (p.batch > 1 && (p.sharedA || p.sharedB))
    key += ` shared=${p.sharedA ? 'a' : ''}${p.sharedB ? 'b' : ''}`;
  if (p.panel) key += ` prepacked=${p.panel.nr}.${p.panel.kc}`;
  if (p.bias !== 'none') key += ` bias=${p.bias}`;
  if (p.activation !== 'none') key += ` act=${p.activation}`;
  if (p.scaled) key += ' alpha';
  if (p.accumulate) key += ' beta';
  if (p.exact) key += ' exact';
  if (p.halves !== 'none') key += ` f16=${p.halves}`;
  return key;
}

/** Floating-point operations of a problem: one multiply and one add per term. */
export function flopsOf(p: MatmulProblem): number {
  return 2 * p.batch * p.m * p.n * p.k;
}
