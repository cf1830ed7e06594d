/** Does quantising pay? Integer products beside their float forms, where a report has both. */
import { floatForm, printShape } from '../shapes/index.ts';
import type { BenchCell, BenchReport } from './report.ts';

export interface QuantizedGain {
  /** Text of the integer product. */
  readonly key: string;
  /** One entry for each contestant that was timed on both: median time of the float form over that of the integers. */
  readonly over: readonly { readonly id: string; readonly ratio: number }[];
}

/** In the order of the rows; empty where no float form was measured. */
export function quantizedGains({ rows }: Pick<BenchReport, 'rows'>): readonly QuantizedGain[] {
  return rows.flatMap(({ key, shape, cells }): QuantizedGain[] => {
    if (shape.kind !== 'qmatmul') return [];
    const form = printShape(floatForm(shape));
    const floats = rows.find((row) => row.key === form)?.cells ?? [];
    const over = cells.flatMap((cell) => {
      const [own, other] = [medianOf(cell), medianOf(floats.find(({ id }) => id === cell.id))];
      return own === undefined || other === undefined ? [] : [{ id: cell.id, ratio: other / own }];
    });
    return over.length === 0 ? [] : [{ key, over }];
  });
}

function medianOf(cell: BenchCell | undefined): number | undefined {
  return cell?.status === 'timed' ? cell.summary.median : undefined;
}
