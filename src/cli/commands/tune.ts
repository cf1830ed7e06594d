/** `tesserae tune`: measures plans for shapes and keeps the best in wisdom. */
import { printPlan, type TuneReport } from '../../index.ts';
import { problemOf } from '../bench/ours.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs, formatRatio, parseDuration } from '../format.ts';
import { selectShapes } from '../input.ts';
import { addJson, addRuntimeOptions, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { printShape } from '../shapes/index.ts';
import { renderTable } from '../table.ts';
import { shapeOptions } from './bench.ts';
import { chooseEffort, type Define } from './types.ts';

interface TuneOptions extends CommonOptions {
  readonly suite?: string;
  readonly shapes?: string;
  readonly budget: number;
  readonly effort: string;
}

export const defineTune: Define = (program, run) => {
  const command = program
    .command('tune')
    .summary('measure plans for shapes and remember the best')
    .description('Measures plans for shapes and keeps the best in wisdom, where every later run finds it.');
  shapeOptions(command)
    .option('--budget <time>', 'for all shapes together: 30s, 500ms, 2m', parseBudget, 30_000)
    .option('--effort <effort>', 'measure the best candidates, or exhaustive: all of them', 'measure');
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((options: TuneOptions) => run(options, (session) => tune(session, options)));
};

function parseBudget(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms <= 0)
    throw new UsageError(`"${text}" is no duration`, 'Write 30s, 500ms or 2m.');
  return ms;
}

async function tune(session: Session, options: TuneOptions): Promise<ExitCode> {
  const { name, shapes } = selectShapes(options, session.host.cwd, 'quick');
  const effort = chooseEffort(options.effort, ['measure', 'exhaustive'] as const);
  return session.withRuntime(async (runtime) => {
    const bar = session.progress('tuning');
    const reports = await runtime
      .tune(
        shapes.map((shape) => problemOf(shape)),
        {
          effort,
          budgetMs: options.budget,
          signal: session.signal,
          onProgress: ({ done, total }) => bar.update(done, total),
        },
      )
      .finally(() => bar.stop());
    const { wisdom } = runtime.info;
    const document = { tool: 'tesserae', kind: 'tune', schema: 1, suite: name, effort, wisdom, reports };
    session.print(document, render(session, reports, shapes.map(printShape), wisdom.source));
    return EXIT.ok;
  });
}

function render(
  { colors }: Session,
  reports: readonly TuneReport[],
  names: readonly string[],
  source: string,
): string {
  const table = renderTable(
    [
      { title: 'shape' },
      { title: 'best', align: 'right' },
      { title: 'gain', align: 'right' },
      { title: 'measured', align: 'right' },
      { title: 'plan' },
    ],
    reports.map(({ key, plan, ms, estimateMs, measured, candidates }, index) => [
      names[index] ?? key,
      formatMs(ms),
      formatRatio(estimateMs / ms),
      `${measured} of ${candidates}`,
      printPlan(plan),
    ]),
    colors.dim,
  );
  return `${table}\n${colors.dim(`gain: time of the plan that the estimate alone would use / time of the best. Kept in ${source}.`)}\n`;
}
