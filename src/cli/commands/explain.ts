/** `tesserae explain`: which plan a problem gets, and what else was considered. */
import { Option } from 'commander';
import { type Explanation, printPlan } from '../../index.ts';
import { problemOf } from '../bench/ours.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs } from '../format.ts';
import {
  addJson,
  addRuntimeOptions,
  addVerbose,
  type CommonOptions,
  parseCount,
  type Session,
} from '../session.ts';
import { parseShape, type Shape } from '../shapes/index.ts';
import { parseActivation } from '../shapes/text.ts';
import { suggestion } from '../suggest.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

interface ExplainOptions extends CommonOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly prepacked?: boolean;
  readonly bias?: 'row' | 'column';
  readonly activation?: string;
  readonly top: number;
}

const OPS = ['matmul'] as const;

export const defineExplain: Define = (program, run) => {
  const command = program
    .command('explain')
    .summary('show which plan a problem gets, and why')
    .description('Shows the plan of a problem, and every candidate with its measured or estimated time.')
    .argument('<op>', `operation: ${OPS.join(', ')}`)
    .argument('<shape...>', '[batch x] m x k x n, for instance 1x4096x4096, and words such as prepacked')
    .option('--transpose-a', 'the left operand is stored [k, m]')
    .option('--transpose-b', 'the right operand is stored [n, k]')
    .option('--prepacked', 'the right operand was packed ahead of time')
    .addOption(new Option('--bias <kind>', 'a bias for every row or column').choices(['row', 'column']))
    .option('--activation <name>', 'relu, gelu, silu, tanh, sigmoid or clip=min:max')
    .option('--top <n>', 'show so many candidates', parseCount, 20);
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((op: string, words: readonly string[], options: ExplainOptions) =>
    run(options, (session) => explain(session, op, words.join(' '), options)),
  );
};

async function explain(
  session: Session,
  op: string,
  text: string,
  options: ExplainOptions,
): Promise<ExitCode> {
  if (!OPS.some((known) => known === op))
    throw new UsageError(`there is no operation "${op}"`, suggestion(op, OPS));
  const shape = withOptions(parseShape(text), options);
  return session.withRuntime(async (runtime) => {
    const problem = { ...problemOf(shape), ...(options.transposeA && { transposeA: true }) };
    const explanation = runtime.explain(problem);
    const document = { tool: 'tesserae', kind: 'explain', schema: 1, ...explanation };
    session.print(document, render(session, explanation, options.top));
    return EXIT.ok;
  });
}

function withOptions(shape: Shape, { transposeB, prepacked, bias, activation }: ExplainOptions): Shape {
  const parsed = activation === undefined ? undefined : parseActivation(activation);
  if (activation !== undefined && parsed === undefined) {
    const known = ['relu', 'gelu', 'silu', 'tanh', 'sigmoid', 'clip=min:max'];
    throw new UsageError(`there is no activation "${activation}"`, suggestion(activation, known));
  }
  return {
    ...shape,
    ...(transposeB && { transposeB }),
    ...(prepacked && { prepacked }),
    ...(bias && { bias }),
    ...(parsed !== undefined && { activation: parsed }),
  };
}

function render({ colors }: Session, explanation: Explanation, top: number): string {
  const { key, plan, source, effort, candidates, quarantined } = explanation;
  const why =
    source === 'wisdom' ? `from wisdom, chosen by ${effort}` : 'by estimate: `tesserae tune` measures';
  const rows = candidates
    .slice(0, top)
    .map((candidate) => [
      printPlan(candidate.plan),
      formatMs(candidate.estimateMs),
      candidate.measuredMs === undefined ? '' : formatMs(candidate.measuredMs),
      candidate.rejected ?? '',
    ]);
  const columns = [
    { title: 'candidate' },
    { title: 'estimate', align: 'right' as const },
    { title: 'measured', align: 'right' as const },
    { title: 'not chosen because' },
  ];
  const lines = [
    `problem  ${key}`,
    `plan     ${colors.bold(printPlan(plan))} (${plan.backend})`,
    `chosen   ${why}`,
    '',
    renderTable(columns, rows, colors.dim).trimEnd(),
  ];
  if (candidates.length > top) lines.push(colors.dim(`... and ${candidates.length - top} more (--top)`));
  for (const { kernel, reason } of quarantined) lines.push(`quarantined ${kernel}: ${reason}`);
  return `${lines.join('\n')}\n`;
}
