/** Tables for people: no borders, columns by two spaces, numbers to the right. */
import Table from 'cli-table3';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

export type TableRow = readonly string[] | 'gap';

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
} as const;

export function renderTable(
  columns: readonly Column[],
  rows: readonly TableRow[],
  dim: (text: string) => string,
): string {
  const table = new Table({
    head: columns.map(({ title }) => dim(title)),
    chars: NO_BORDERS,
    colAligns: columns.map(({ align }) => align ?? 'left'),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  const empty = columns.map(() => '');
  table.push(...rows.map((row) => (row === 'gap' ? empty : [...row])));
  return `${table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
}
