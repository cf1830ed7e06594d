/**
 * What is computed of whole lines: an array seen as [outer, size, inner], whose lines run along the middle extent. Reductions make one
 * value of each, softmax and norms another line.
 */

/** As ONNX's Reduce operators: `sumSquare`, `l1`, `l2` (the root of that), `logSum`, `logSumExp`. */
export const REDUCE_KINDS = [
  ...(['sum', 'mean', 'max', 'min', 'prod', 'sumSquare', 'l1', 'l2', 'logSum', 'logSumExp'] as const),
] as const;

export type ReduceKind = (typeof REDUCE_KINDS)[number];
/** `norm`: (x - mean) / sqrt(variance + epsilon). `rmsNorm`: x / sqrt(mean of squares + epsilon). */
export type LineKind = ReduceKind | 'softmax' | 'logSoftmax' | 'norm' | 'rmsNorm';

export const LINE_KINDS: readonly LineKind[] = [...REDUCE_KINDS, 'softmax', 'logSoftmax', 'norm', 'rmsNorm'];

/** What a norm is multiplied by and added to: a value for each place of a line, for each line (there are `channels`, again and again), or none. */
export type Affine = 'none' | 'place' | 'line';

/** Kinds that need an exponential of each element, and how many of the other kinds' elements take as long as one. */
const EXPONENTIAL: ReadonlySet<LineKind> = new Set<LineKind>(['softmax', 'logSoftmax', 'logSumExp']);
const EXPONENTIAL_WORK = 4;

export interface LinesProblem {
  readonly op: 'lines';
  readonly dtype: 'f32';
  readonly kind: LineKind;
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  readonly scale: Affine;
  readonly bias: Affine;
  /** Lines until scale and bias repeat, where there is one for each line. */
  readonly channels: number;
  readonly exact: boolean;
}

export function isReduction(kind: LineKind): kind is ReduceKind {
  return (REDUCE_KINDS as readonly LineKind[]).includes(kind);
}

/** Canonical key: `lines softmax f32 8x1000x1`, `lines norm f32 196x768x1 scale=place bias=place`. */
export function linesKey(p: LinesProblem): string {
  const scale = p.scale === 'none' ? '' : ` scale=${p.scale}`;
  const bias = p.bias === 'none' ? '' : ` bias=${p.bias}`;
  const channels = p.scale === 'line' || p.bias === 'line' ? ` of ${p.channels}` : '';
  return `lines ${p.kind} ${p.dtype} ${p.outer}x${p.size}x${p.inner}${scale}${bias}${channels}${p.exact ? ' exact' : ''}`;
}

export function linesFlops({ outer, size, inner }: LinesProblem): number {
  return outer * size * inner;
}

export function lineResults({ kind, outer, size, inner }: LinesProblem): number {
  return outer * inner * (isReduction(kind) ? 1 : size);
}

/** Elements of all lines, those whose exponentials are needed counted as many. */
export function lineWork({ kind, outer, size, inner }: LinesProblem): number {
  return outer * size * inner * (EXPONENTIAL.has(kind) ? EXPONENTIAL_WORK : 1);
}
