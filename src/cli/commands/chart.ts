/** `tesserae chart`: draws a bench report as a picture. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { chartOf } from '../bench/chart.ts';
import { renderChart } from '../bench/chart-svg.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { readReport } from '../report-file.ts';
import { addJson, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { suggestion } from '../suggest.ts';
import type { Define } from './types.ts';

interface ChartOptions extends CommonOptions {
  readonly out?: string;
  readonly over: string;
  readonly title?: string;
}

export const defineChart: Define = (program, run) => {
  const command = program
    .command('chart')
    .summary('draw a bench report as a picture (SVG)')
    .description(
      'Draws a file written by `tesserae bench --json FILE`: how many times as fast as one of the peers, by kind of shape.',
    )
    .argument('<report>', 'the report')
    .option('--out <file>', 'write the picture into the file instead of on stdout')
    .option('--over <peer>', 'the peer whose speed is 1', 'onnxruntime-web')
    .option('--title <text>', 'a title of your own');
  addVerbose(addJson(command));
  command.action((file: string, options: ChartOptions) =>
    run(options, (session) => draw(session, file, options)),
  );
};

async function draw(session: Session, file: string, { out, over, title }: ChartOptions): Promise<ExitCode> {
  const { cwd } = session.host;
  const report = readReport(file, cwd);
  const ids = report.contestants.map(({ id }) => id);
  if (!ids.includes(over)) throw new UsageError(`"${over}" did not take part`, suggestion(over, ids));
  const chart = chartOf(report, { baseline: over, title });
  if (chart.groups.length === 0) {
    throw new UsageError(
      `nothing was timed beside ${over}`,
      'Measure with `tesserae bench --peers --json FILE`.',
    );
  }
  const picture = renderChart(chart);
  const document = { tool: 'tesserae', kind: 'chart', schema: 1, ...chart };
  if (out === undefined) {
    session.print(document, picture);
    return EXIT.ok;
  }
  write(resolve(cwd, out), picture);
  session.print(document, `${out}: ${chart.groups.map(({ name }) => name).join(', ')}\n`);
  return EXIT.ok;
}

function write(path: string, content: string): void {
  try {
    writeFileSync(path, content);
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}
