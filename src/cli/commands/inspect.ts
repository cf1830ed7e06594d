/** `tesserae inspect`: what an ONNX model is made of, what is joined before it runs, what is missing. */
import { resolve } from 'node:path';
import { inspectModel, type ModelReport, type ValueInfo } from '../../onnx/index.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { addJson, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

export const defineInspect: Define = (program, run) => {
  const command = program
    .command('inspect')
    .summary('show what an ONNX model is made of')
    .description(
      'Shows operators, shapes and parameters of an ONNX model, what is joined, and what is not run.',
    )
    .argument('<model>', 'an .onnx file');
  addVerbose(addJson(command));
  command.action((model: string, options: CommonOptions) =>
    run(options, (session) => inspect(session, model)),
  );
};

async function inspect(session: Session, path: string): Promise<ExitCode> {
  const report = await inspectModel(resolve(session.host.cwd, path));
  session.print(
    { tool: 'tesserae', kind: 'inspect', schema: 1, model: path, ...report },
    render(session, path, report),
  );
  return report.gaps.length > 0 ? EXIT.failed : EXIT.ok;
}

function valueText({ name, type, shape }: ValueInfo): string {
  return `${name}  ${type} [${shape?.join(', ') ?? '?'}]`;
}

function render({ colors }: Session, path: string, report: ModelReport): string {
  const { producer, opset, inputs, outputs, parameters, operators, optimised, gaps } = report;
  const joined = Object.entries(optimised);
  const plain = Object.entries(operators);
  const rows = Array.from({ length: Math.max(joined.length, plain.length) }, (_, i) => [
    ...(plain[i] ? [plain[i][0], String(plain[i][1])] : ['', '']),
    ...(joined[i] ? [joined[i][0], String(joined[i][1])] : ['', '']),
  ]);
  const columns = [
    { title: 'in the file' },
    { title: 'nodes', align: 'right' as const },
    { title: 'as it runs' },
    { title: 'nodes', align: 'right' as const },
  ];
  const lines = [
    `model       ${colors.bold(path)}, opset ${opset}${producer ? `, by ${producer}` : ''}`,
    ...inputs.map((value) => `input       ${valueText(value)}`),
    ...outputs.map((value) => `output      ${valueText(value)}`),
    `parameters  ${parameters.toLocaleString('en')}`,
    '',
    renderTable(columns, rows, colors.dim).trimEnd(),
    ...gaps.map(({ op, node, reason }) => `not run: ${op} "${node}": ${reason}`),
  ];
  return `${lines.join('\n')}\n`;
}
