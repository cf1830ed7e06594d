/** What a list of layers says together: by kind of layer, since each kind wants another algorithm. */
import { CONV_KINDS, convKind, type Shape } from '../shapes/index.ts';
import { OURS } from './ours.ts';
import type { BenchRow, KindSummary, PeerRatio } from './report.ts';

/** The last line, over every kind. */
export const ALL_KINDS = 'all layers';

/** The kinds of what is no convolution. */
export const MATRIX_PRODUCT = 'matrix product';
export const INT8_PRODUCT = 'int8 product';

export function kindOf(shape: Shape): string {
  if (shape.kind === 'conv') return convKind(shape);
  return shape.kind === 'qmatmul' ? INT8_PRODUCT : MATRIX_PRODUCT;
}

/** Empty where there are no convolutions beside peers. */
export function summarizeKinds(rows: readonly BenchRow[]): readonly KindSummary[] {
  const layers = rows.filter(({ shape }) => shape.kind === 'conv');
  const kinds = CONV_KINDS.map((kind) =>
    summarize(
      kind,
      layers.filter(({ shape }) => kindOf(shape) === kind),
    ),
  ).filter(({ over }) => over.length > 0);
  return kinds.length > 1 ? [...kinds, summarize(ALL_KINDS, layers)] : kinds;
}

function summarize(kind: string, rows: readonly BenchRow[]): KindSummary {
  const ids = [...new Set(rows.flatMap(({ cells }) => cells.map(({ id }) => id)))];
  const over = ids.flatMap((id): PeerRatio[] => {
    const ratios = rows.flatMap(({ key, cells }) => {
      const ratio = id === OURS ? undefined : cells.find((cell) => cell.id === id)?.oursFasterBy;
      return ratio === undefined ? [] : [{ key, ratio }];
    });
    const [first] = ratios;
    if (first === undefined) return [];
    const worst = ratios.reduce((a, b) => (b.ratio < a.ratio ? b : a), first);
    const geomean = geometricMean(ratios.map(({ ratio }) => ratio));
    return [{ id, layers: ratios.length, geomean, min: worst.ratio, minKey: worst.key }];
  });
  return { kind, layers: rows.length, over };
}

/** The mean for ratios: that of a and of 1 / a is 1. NaN of none. */
export function geometricMean(ratios: readonly number[]): number {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
}
