/** The program: its commands, and how a failure becomes text or JSON and an exit code. */
import { Command, CommanderError } from 'commander';
import { defineBench } from './commands/bench.ts';
import { defineChart } from './commands/chart.ts';
import { defineCompare } from './commands/compare.ts';
import { defineDetect } from './commands/detect.ts';
import { defineDoctor } from './commands/doctor.ts';
import { defineExplain } from './commands/explain.ts';
import { defineInspect } from './commands/inspect.ts';
import { defineOcr } from './commands/ocr.ts';
import { defineRun } from './commands/run.ts';
import { defineTune } from './commands/tune.ts';
import type { Run } from './commands/types.ts';
import { defineWisdom } from './commands/wisdom.ts';
import { exitCodeOf, reportOf } from './errors.ts';
import { EXIT, type ExitCode } from './exit.ts';
import type { Host } from './host.ts';
import { packageFacts } from './package.ts';
import { Session } from './session.ts';

const HELP = `
Exit status:
  0    done
  1    something failed; for compare: something changed
  2    the command line, or a file named on it, makes no sense
  130  interrupted by Ctrl-C

Results go to stdout, everything else to stderr. --json makes stdout one JSON document.`;

/** Runs a command line and returns its exit code; throws nothing. */
export async function runProgram(argv: readonly string[], host: Host): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const run: Run = async (options, work) => {
    code = await work(new Session(host, options));
  };
  const program = makeProgram(host, run);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    return fail(error, argv, host);
  }
}

function makeProgram(host: Host, run: Run): Command {
  const program = new Command('tesserae')
    .description(
      'Products, convolutions and ONNX models, chosen by measurement: look at the machine, measure, tune, explain, run.',
    )
    .version(packageFacts().version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => host.out(text), writeErr: (text) => host.err(text) })
    .addHelpText('after', HELP);
  const commands = [
    ...[defineDoctor, defineBench, defineCompare, defineChart],
    ...[defineTune, defineExplain, defineWisdom, defineInspect, defineRun, defineOcr, defineDetect],
  ];
  for (const define of commands) define(program, run);
  return program;
}

function fail(error: unknown, argv: readonly string[], host: Host): ExitCode {
  const json = argv.includes('--json');
  if (error instanceof CommanderError) {
    // --help and --version end this way too, with exit code 0; the text is printed already.
    if (error.exitCode === 0) return EXIT.ok;
    const message = error.message.replace(/^error: /, '');
    if (json) host.out(`${JSON.stringify({ error: { code: 'USAGE', message } })}\n`);
    return EXIT.usage;
  }
  const report = reportOf(error, argv.includes('--verbose'));
  if (json) host.out(`${JSON.stringify({ error: report }, null, 2)}\n`);
  const label = ['USAGE', 'ERROR', 'INTERRUPTED'].includes(report.code) ? '' : `${report.code}: `;
  host.err(`${report.code === 'INTERRUPTED' ? '' : 'error: '}${label}${report.message}\n`);
  if (report.hint) host.err(`  ${report.hint}\n`);
  if (report.stack) host.err(`${report.stack}\n`);
  return exitCodeOf(error);
}
