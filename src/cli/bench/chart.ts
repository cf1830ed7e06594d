/** What a picture of a bench report shows, as plain data: by kind of shape, how fast each contestant is over one of them. */
import { CONV_KINDS } from '../shapes/index.ts';
import { ALL_KINDS, geometricMean, INT8_PRODUCT, kindOf, MATRIX_PRODUCT } from './kinds.ts';
import type { BenchReport, BenchRow } from './report.ts';
import { pairedRatio } from './stats.ts';

export interface Chart {
  readonly title: string;
  /** Circumstances: threads, engine, machine, day. */
  readonly subtitle: string;
  /** Whose speed is 1. */
  readonly baseline: string;
  /** Contestants with figures, ourselves first. */
  readonly series: readonly string[];
  readonly groups: readonly ChartGroup[];
}

export interface ChartGroup {
  readonly name: string;
  /** Shapes of the kind on which the baseline was timed. */
  readonly count: number;
  /** In the order of `series`; who was timed on none of them is missing. */
  readonly bars: readonly ChartBar[];
}

export interface ChartBar {
  readonly id: string;
  /** Geometric mean of the points: above 1 it is faster than the baseline. */
  readonly speed: number;
  readonly points: readonly { readonly key: string; readonly speed: number }[];
}

export interface ChartOptions {
  readonly baseline: string;
  readonly title?: string | undefined;
}

/** Groups without a pair to compare are left out; none at all is an empty chart. */
export function chartOf(report: BenchReport, { baseline, title }: ChartOptions): Chart {
  const rows = report.rows.filter(({ cells }) =>
    cells.some(({ id, status }) => id === baseline && status === 'timed'),
  );
  const ids = report.contestants.map(({ id }) => id).filter((id) => id !== baseline);
  const kinds = [...CONV_KINDS, MATRIX_PRODUCT, INT8_PRODUCT];
  const groups = kinds
    .map((kind) =>
      groupOf(
        kind,
        rows.filter(({ shape }) => kindOf(shape) === kind),
        ids,
        baseline,
      ),
    )
    .filter(({ bars }) => bars.length > 0);
  const all = groups.length > 1 ? [groupOf(ALL_KINDS, rows, ids, baseline)] : [];
  const shown = [...groups, ...all];
  return {
    title: title ?? titleOf(rows, baseline),
    subtitle: circumstances(report),
    baseline,
    series: ids.filter((id) => shown.some(({ bars }) => bars.some((bar) => bar.id === id))),
    groups: shown,
  };
}

function groupOf(
  name: string,
  rows: readonly BenchRow[],
  ids: readonly string[],
  baseline: string,
): ChartGroup {
  const bars = ids.flatMap((id): ChartBar[] => {
    const points = rows.flatMap((row) => {
      const speed = speedOver(row, id, baseline);
      return speed === undefined ? [] : [{ key: row.key, speed }];
    });
    if (points.length === 0) return [];
    return [{ id, speed: geometricMean(points.map(({ speed }) => speed)), points }];
  });
  return { name, count: rows.length, bars };
}

/** Median over the rounds of the baseline's time / its time, as in the table's last column. */
function speedOver({ cells }: BenchRow, id: string, baseline: string): number | undefined {
  const [own, other] = [id, baseline].map((name) => cells.find((cell) => cell.id === name));
  if (own?.status !== 'timed' || other?.status !== 'timed') return undefined;
  const ratio = pairedRatio(own.samples, other.samples);
  return Number.isFinite(ratio) && ratio > 0 ? ratio : undefined;
}

function titleOf(rows: readonly BenchRow[], baseline: string): string {
  const convolutions = rows.filter(({ shape }) => shape.kind === 'conv').length;
  const what =
    convolutions === rows.length
      ? 'Convolution layers'
      : convolutions === 0
        ? 'Matrix products'
        : 'Products and convolutions';
  return `${what}: how many times as fast as ${baseline}`;
}

function circumstances({ settings, environment, engineFlags, date }: BenchReport): string {
  const { threads } = settings;
  const parts = [
    threads === 1 ? 'one thread' : `${threads} threads`,
    `Node ${environment.node.replace(/^v/, '')}`,
    environment.cpu,
    ...(engineFlags.length > 0 ? ['engine flags for tesserae'] : []),
    date.slice(0, 10),
  ];
  return parts.filter((part) => part !== '').join(', ');
}
