/** `tesserae compare`: what changed between two bench reports beyond the noise. */
import { COMPARE_DEFAULTS, type ComparedRow, type Comparison, compareReports } from '../bench/compare.ts';
import { REPORT_SCHEMA } from '../bench/report.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs, formatRatio } from '../format.ts';
import { readReport } from '../report-file.ts';
import { addJson, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

interface CompareOptions extends CommonOptions {
  readonly minEffect: number;
}

export const defineCompare: Define = (program, run) => {
  const command = program
    .command('compare')
    .summary('say what changed between two bench reports beyond the noise')
    .description(
      'Compares two files written by `tesserae bench --json FILE`. Exit status 1 only if something changed.',
    )
    .argument('<a>', 'report before')
    .argument('<b>', 'report after')
    .option(
      '--min-effect <percent>',
      'smallest change that counts',
      parsePercent,
      100 * COMPARE_DEFAULTS.minEffect,
    );
  addVerbose(addJson(command));
  command.action((a: string, b: string, options: CompareOptions) =>
    run(options, (session) => compare(session, a, b, options)),
  );
};

function parsePercent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (!(value >= 0 && value < 100)) throw new UsageError(`"${text}" is no percentage from 0 to 100`);
  return value;
}

async function compare(
  session: Session,
  a: string,
  b: string,
  { minEffect }: CompareOptions,
): Promise<ExitCode> {
  const { cwd } = session.host;
  const comparison = compareReports(readReport(a, cwd), readReport(b, cwd), { minEffect: minEffect / 100 });
  session.print(
    { tool: 'tesserae', kind: 'compare', schema: REPORT_SCHEMA, a, b, ...comparison },
    render(session, comparison),
  );
  return comparison.changed ? EXIT.failed : EXIT.ok;
}

function render({ colors }: Session, { rows, warnings, onlyInA, onlyInB, changed }: Comparison): string {
  const paint = (row: ComparedRow) => {
    if (row.verdict === 'slower' || row.verdict === 'broken') return colors.red(row.verdict);
    return row.verdict === 'faster' || row.verdict === 'mended'
      ? colors.green(row.verdict)
      : colors.dim(row.verdict);
  };
  const table = renderTable(
    [
      { title: 'shape' },
      { title: 'who' },
      { title: 'a', align: 'right' },
      { title: 'b', align: 'right' },
      { title: 'b / a', align: 'right' },
      { title: 'verdict' },
    ],
    rows.map((row) => [
      row.key,
      row.id,
      row.medianA === undefined ? '' : formatMs(row.medianA),
      row.medianB === undefined ? '' : formatMs(row.medianB),
      row.ratio === undefined ? '' : formatRatio(row.ratio),
      paint(row),
    ]),
    colors.dim,
  );
  const notes = [
    ...warnings.map((warning) => `Note: ${warning}.`),
    ...(onlyInA.length > 0 ? [`Only in a: ${onlyInA.join('; ')}.`] : []),
    ...(onlyInB.length > 0 ? [`Only in b: ${onlyInB.join('; ')}.`] : []),
    rows.length === 0
      ? 'The reports have no shape in common.'
      : changed
        ? 'Something changed.'
        : 'Nothing changed beyond the noise.',
  ];
  return `${rows.length > 0 ? `${table}\n` : ''}${notes.join('\n')}\n`;
}
