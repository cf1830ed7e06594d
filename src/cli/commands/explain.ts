/** `tesserae explain`: which plan a problem gets, and what else was considered. */
import { Option } from 'commander';
import { type Candidate, type Explanation, type ProblemSpec, printPlan } from '../../index.ts';
import { matmulProblemOf, problemOf } from '../bench/ours.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatBytes, formatMs } from '../format.ts';
import {
  addJson,
  addRuntimeOptions,
  addVerbose,
  type CommonOptions,
  parseCount,
  type Session,
} from '../session.ts';
import { parseMatmul, parseShape, type ShapeActivation } from '../shapes/index.ts';
import { ACTIVATION_WORDS, parseActivation } from '../shapes/syntax.ts';
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

const OPS = ['matmul', 'conv', 'int8'] as const;

export const defineExplain: Define = (program, run) => {
  const command = program
    .command('explain')
    .summary('show which plan a problem gets, and why')
    .description('Shows the plan of a problem, and every candidate with its measured or estimated time.')
    .argument('<op>', `operation: ${OPS.join(', ')}`)
    .argument(
      '<shape...>',
      '[batch x] m x k x n, for instance 1x4096x4096, and words such as prepacked; after conv: 1x64x56x56 64 3x3 p1; after int8: 128x768x3072',
    )
    .option('--transpose-a', 'the left operand is stored [k, m]')
    .option('--transpose-b', 'the right operand is stored [n, k]')
    .option('--prepacked', 'the right operand was packed ahead of time')
    .addOption(new Option('--bias <kind>', 'a bias for every row or column').choices(['row', 'column']))
    .option('--activation <name>', ACTIVATION_WORDS.join(', '))
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
  const problem = problemFor(op, text, options);
  return session.withRuntime(async (runtime) => {
    const explanation = runtime.explain(problem);
    const document = { tool: 'tesserae', kind: 'explain', schema: 1, ...explanation };
    session.print(document, render(session, explanation, options.top));
    return EXIT.ok;
  });
}

function problemFor(op: string, text: string, options: ExplainOptions): ProblemSpec {
  switch (op) {
    case 'conv':
      return convProblem(text, options);
    case 'int8':
      return int8Problem(text, options);
    default:
      return matmulProblem(text, options);
  }
}

function matmulProblem(text: string, options: ExplainOptions): ProblemSpec {
  const { transposeA, transposeB, prepacked, bias } = options;
  const shape = {
    ...parseMatmul(text),
    ...(transposeB && { transposeB }),
    ...(prepacked && { prepacked }),
    ...(bias && { bias }),
    ...chosenActivation(options),
  };
  return { ...matmulProblemOf(shape), ...(transposeA && { transposeA }) };
}

/** Prepacked, as a layer's weights are, whether the option is there or not. */
function convProblem(text: string, options: ExplainOptions): ProblemSpec {
  const { transposeA, transposeB, bias } = options;
  if (transposeA || transposeB || bias) {
    throw new UsageError(
      'transposes and kinds of bias are for matmul',
      'Write the words bias, s2, p1, d2 and g32 behind the shape.',
    );
  }
  return problemOf({ ...parseShape(`conv ${text}`), ...chosenActivation(options) });
}

/** With weights as they are: the planner has no spec of packed ones. */
function int8Problem(text: string, options: ExplainOptions): ProblemSpec {
  const { transposeA, transposeB, prepacked, bias, activation } = options;
  if (transposeA || transposeB || prepacked || bias || activation !== undefined)
    throw new UsageError('transposes, prepacked, bias and activation are not for int8', 'Give extents only.');
  return problemOf(parseShape(`int8 ${text}`));
}

function chosenActivation({ activation }: ExplainOptions): { readonly activation?: ShapeActivation } {
  if (activation === undefined) return {};
  const parsed = parseActivation(activation);
  if (parsed === undefined) {
    throw new UsageError(`there is no activation "${activation}"`, suggestion(activation, ACTIVATION_WORDS));
  }
  return { activation: parsed };
}

function movedText({ transfer }: Candidate): string {
  return transfer ? `${formatMs(transfer.ms)}, ${formatBytes(transfer.bytes)}` : '';
}

function render({ colors }: Session, explanation: Explanation, top: number): string {
  const { key, plan, source, effort, candidates, quarantined } = explanation;
  const why =
    source === 'wisdom' ? `from wisdom, chosen by ${effort}` : 'by estimate: `tesserae tune` measures';
  const isMoved = candidates.some(({ transfer }) => transfer !== undefined);
  const rows = candidates
    .slice(0, top)
    .map((candidate) => [
      printPlan(candidate.plan),
      formatMs(candidate.estimateMs),
      candidate.measuredMs === undefined ? '' : formatMs(candidate.measuredMs),
      ...(isMoved ? [movedText(candidate)] : []),
      candidate.rejected ?? '',
    ]);
  const columns = [
    { title: 'candidate' },
    { title: 'estimate', align: 'right' as const },
    { title: 'measured', align: 'right' as const },
    ...(isMoved ? [{ title: 'of it moving', align: 'right' as const }] : []),
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
