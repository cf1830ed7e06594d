/** `tesserae doctor`: what is here, how fast it is, and what could be better. */
import type { MachineReport, RuntimeInfo } from '../../index.ts';
import { type Advice, adviceFor } from '../advice.ts';
import { describeEnvironment, type Environment } from '../environment.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatBytes, formatRate } from '../format.ts';
import { addJson, addRuntimeOptions, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

export const defineDoctor: Define = (program, run) => {
  const command = program
    .command('doctor')
    .summary('show engine, features, threads, caches, measured ceilings, and what to do')
    .description(
      'Looks at the engine and the machine, measures its ceilings, and says what could be better.',
    );
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((options: CommonOptions) => run(options, doctor));
};

/** The fastest ones say what the machine likes; the table has some fifty. */
const KERNELS_SHOWN = 12;

/** A product that every kernel could serve: asking for its explanation lists what was quarantined. */
const PROBE = '256x256x256';

async function doctor(session: Session): Promise<ExitCode> {
  const environment = describeEnvironment();
  return session.withRuntime(async (runtime) => {
    const bar = session.progress('measuring');
    const machine = await runtime
      .measureMachine({ signal: session.signal, onProgress: ({ done, total }) => bar.update(done, total) })
      .finally(() => bar.stop());
    const { info } = runtime;
    const advice = adviceFor(info, machine, environment, runtime.explain(PROBE).quarantined);
    const document = { tool: 'tesserae', kind: 'doctor', schema: 1, info, machine, environment, advice };
    session.print(document, render(session, info, machine, environment, advice));
    return advice.some(({ level }) => level === 'problem') ? EXIT.failed : EXIT.ok;
  });
}

function render(
  session: Session,
  info: RuntimeInfo,
  machine: MachineReport,
  environment: Environment,
  advice: readonly Advice[],
): string {
  const { colors } = session;
  const facts = (rows: readonly (readonly [string, string])[]) =>
    rows.map(([name, value]) => `  ${name.padEnd(18)}${value}\n`).join('');
  const sections = [
    `${colors.bold(`tesserae ${info.version}`)}\n${facts(systemFacts(info, environment))}`,
    `${colors.bold('features')}\n${facts(info.features.map(({ name, on, reason }) => [name, `${on ? colors.green('on ') : colors.yellow('off')} ${reason}`]))}`,
    `${colors.bold('ceilings')}\n${facts(ceilingFacts(machine, info))}`,
    `${colors.bold('kernels')} ${colors.dim('(one block in cache, one thread)')}\n${renderKernels(session, machine)}`,
    `${colors.bold('advice')}\n${renderAdvice(session, advice)}`,
  ];
  return sections.join('\n');
}

function systemFacts(info: RuntimeInfo, environment: Environment): readonly (readonly [string, string])[] {
  const { engine, threads, backends, wisdom, engineFlags } = info;
  const caches = environment.caches.map(
    ({ name, bytes, sharedBy }) =>
      `${name} ${formatBytes(bytes)}${sharedBy > 1 ? ` (shared by ${sharedBy})` : ''}`,
  );
  return [
    ['engine', `${engine.name} ${engine.version}, V8 ${engine.v8}, ${engine.arch}`],
    ['CPU', `${environment.cpu}, ${environment.cores} cores`],
    ['caches', caches.length > 0 ? caches.join(', ') : 'this system does not tell'],
    ['memory', formatBytes(environment.memoryBytes)],
    ['threads', `${threads.actual} of ${threads.requested}: ${threads.reason}`],
    [
      'backends',
      backends
        .map(({ name, available, reason }) => (available ? name : `${name} off (${reason})`))
        .join(', '),
    ],
    ['GPU', gpuFact(info)],
    ['V8 flags set', engineFlags.length > 0 ? engineFlags.join(' ') : 'none'],
    ['wisdom', `${wisdom.entries} plans in ${wisdom.source}`],
  ];
}

function gpuFact({ gpu, backends }: RuntimeInfo): string {
  if (!gpu) return `none: ${backends.find(({ name }) => name === 'webgpu')?.reason ?? 'not asked for'}`;
  const best = Math.max(...Object.values(gpu.profile.kernelGflops));
  const { launchMs, uploadGBs, downloadGBs } = gpu.profile;
  const what = gpu.software ? ' (a processor that stands in for a GPU: its figures are no GPU speed)' : '';
  return `${gpu.name}${what}: ${formatRate(best)} GFLOP/s, ${formatRate(launchMs)} ms a call, ${formatRate(uploadGBs)} GB/s there, ${formatRate(downloadGBs)} back`;
}

function ceilingFacts(
  machine: MachineReport,
  { threads }: RuntimeInfo,
): readonly (readonly [string, string])[] {
  const { peakGflops, readGBs, readGBsAllThreads, wakeUs } = machine;
  return [
    ['multiply-add', `${formatRate(peakGflops)} GFLOP/s on one thread (128-bit)`],
    [
      'memory',
      `${formatRate(readGBs)} GB/s read by one thread, ${formatRate(readGBsAllThreads)} by ${threads.actual}`,
    ],
    ['wake-up', threads.actual > 1 ? `${formatRate(wakeUs)} µs until a sleeping worker runs` : 'no workers'],
  ];
}

function renderKernels({ colors }: Session, { kernelGflops, peakGflops }: MachineReport): string {
  const rows = Object.entries(kernelGflops)
    .sort(([, x], [, y]) => y - x)
    .map(([name, gflops]) => [
      `  ${name}`,
      formatRate(gflops),
      `${((100 * gflops) / peakGflops).toFixed(0)} %`,
    ]);
  const columns = [
    { title: '  kernel' },
    { title: 'GFLOP/s', align: 'right' as const },
    { title: 'of the ceiling', align: 'right' as const },
  ];
  if (rows.length === 0) return '  none measured\n';
  const hidden = rows.length - KERNELS_SHOWN;
  const more = hidden > 0 ? colors.dim(`  ... and ${hidden} slower ones (--json has all)\n`) : '';
  return `${renderTable(columns, rows.slice(0, KERNELS_SHOWN), colors.dim)}${more}`;
}

function renderAdvice({ colors }: Session, advice: readonly Advice[]): string {
  if (advice.length === 0) return '  nothing to do\n';
  return advice
    .map(({ level, what, todo }) => {
      const mark = level === 'problem' ? colors.red('problem') : colors.yellow('note   ');
      return `  ${mark} ${what}\n          ${colors.dim(todo)}\n`;
    })
    .join('');
}
