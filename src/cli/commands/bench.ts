/** `tesserae bench`: measures shapes, alone or beside other libraries. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Effort, GpuReport, MachineReport, Runtime } from '../../index.ts';
import { measureCold, OURS_COLD } from '../bench/cold.ts';
import { makeControl } from '../bench/control.ts';
import { processHost } from '../bench/entry.ts';
import { HostedContestant } from '../bench/hosted.ts';
import { summarizeKinds } from '../bench/kinds.ts';
import { ours, problemOf } from '../bench/ours.ts';
import { PEERS } from '../bench/peers/index.ts';
import { RACE_DEFAULTS, race } from '../bench/race.ts';
import { startPeer } from '../bench/remote.ts';
import { renderBench } from '../bench/render.ts';
import { type BenchReport, type BenchRow, makeRow, ownFailures, REPORT_SCHEMA } from '../bench/report.ts';
import type { Contestant } from '../bench/types.ts';
import { describeEnvironment, type Environment } from '../environment.ts';
import { isAbort, UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { type ShapeSelection, selectShapes } from '../input.ts';
import { libraryModule, packageFacts } from '../package.ts';
import { addRuntimeOptions, addVerbose, type CommonOptions, parseCount, type Session } from '../session.ts';
import { printShape, SHAPE_LISTS, type Shape } from '../shapes/index.ts';
import { suggestion } from '../suggest.ts';
import { benchModels } from './bench-models.ts';
import { chooseEffort, type Define, EFFORTS } from './types.ts';

interface BenchOptions extends CommonOptions {
  readonly suite?: string;
  readonly shapes?: string;
  readonly models?: string;
  readonly peers?: boolean;
  readonly only?: string;
  readonly resident?: boolean;
  readonly time: number;
  readonly effort: string;
  readonly cold: boolean;
}

/** Cold starts beside the shapes; the suite of that name takes more of them. */
const COLD_ROUNDS = { beside: 3, suite: 9 } as const;

/** Tuning time for each shape that has no plan of the asked effort yet. */
const TUNE_MS_PER_SHAPE = 1500;

export const defineBench: Define = (program, run) => {
  const command = program
    .command('bench')
    .summary('measure shapes, alone or beside other libraries')
    .description(
      'Measures matrix products of floats and integers, and convolutions: every answer is verified, contestants take turns within one run.',
    );
  shapeOptions(command)
    .option(
      '--peers',
      "beside onnxruntime-web, tfjs (wasm), jax-js, plain JavaScript and onnxruntime-node, where installed; with --backend webgpu beside onnxruntime-node's WebGPU provider, tfjs (webgpu), jax-js (webgpu) and gpu.js",
    )
    .option(
      '--models <files>',
      'with --suite models: .onnx files separated by commas, model.onnx@input=1x3x224x224 where extents are open; packaged: those of installed packages',
    )
    .option('--only <ids>', 'of the peers only these, separated by commas')
    .option(
      '--time <ms>',
      'time for the samples of each contestant and shape',
      parseCount,
      RACE_DEFAULTS.timeMs,
    )
    .option(
      '--effort <effort>',
      'how plans are chosen before the race: estimate, measure or exhaustive',
      'measure',
    )
    .option('--resident', 'with --backend webgpu: operands and results stay on the GPU')
    .option('--no-cold', 'leave out the cold starts')
    .option('--json [file]', 'write the report as JSON into the file, or on stdout instead of the table');
  addVerbose(addRuntimeOptions(command));
  command.addHelpText('after', suiteHelp());
  command.action((options: BenchOptions) => run(options, (session) => bench(session, options)));
};

export function shapeOptions(command: Command): Command {
  return command
    .option('--suite <names>', 'named shape lists, separated by commas (default: quick)')
    .option('--shapes <file>', 'a file of shapes (one a line, or JSON), or shapes separated by commas');
}

function suiteHelp(): string {
  const lists = SHAPE_LISTS.map(({ name, about }) => `  ${name.padEnd(18)}${about}`);
  const others = [
    `  ${'models'.padEnd(18)}whole ONNX models: PP-OCRv4 and BlazeFace where their packages are installed, and --models`,
    `  ${'cold'.padEnd(18)}import to first result, in fresh processes`,
  ];
  return ['', 'Suites:', ...lists, ...others].join('\n');
}

async function bench(session: Session, options: BenchOptions): Promise<ExitCode> {
  const effort = chooseEffort(options.effort, EFFORTS);
  if (options.suite === 'models') return benchModels(session, options);
  if (options.models !== undefined)
    throw new UsageError('--models is for whole models', 'Add --suite models.');
  const coldOnly = options.suite === 'cold';
  const selection: ShapeSelection = coldOnly
    ? { name: 'cold', shapes: [] }
    : selectShapes(options, session.host.cwd, 'quick', ['cold', 'models']);
  if (options.resident && options.backend !== 'webgpu')
    throw new UsageError('--resident is for a GPU', 'Add --backend webgpu.');
  const peerIds = choosePeers(options);
  const environment = describeEnvironment();
  return session.withRuntime(async (runtime) => {
    const entrants = await gather(session, runtime, peerIds, options.resident ?? false);
    try {
      const report = await measure({
        session,
        options,
        runtime,
        selection,
        effort,
        environment,
        ...entrants,
      });
      publish(session, options, report);
      if (report.interrupted) return EXIT.interrupted;
      return ownFailures(report).length > 0 ? EXIT.failed : EXIT.ok;
    } finally {
      await Promise.all(entrants.contestants.map((contestant) => contestant.close()));
    }
  });
}

function choosePeers({ peers, only, backend }: BenchOptions): readonly string[] {
  const known = PEERS.map(({ id }) => id);
  const alike = PEERS.filter(({ onGpu = false }) => onGpu === (backend === 'webgpu'));
  if (only === undefined) return peers ? alike.map(({ id }) => id) : [];
  return only.split(',').map((name) => {
    const id = name.trim();
    if (!known.includes(id)) throw new UsageError(`there is no peer "${id}"`, suggestion(id, known));
    return id;
  });
}

function gpuFacts(
  { name, software, profile }: GpuReport,
  isResident: boolean,
): NonNullable<BenchReport['gpu']> {
  return { name, software, peakGflops: profile.peakGflops, resident: isResident };
}

interface Entrants {
  readonly contestants: readonly Contestant[];
  readonly absent: readonly { readonly id: string; readonly reason: string }[];
}

async function gather(
  session: Session,
  runtime: Runtime,
  peerIds: readonly string[],
  isResident: boolean,
): Promise<Entrants> {
  const contestants: Contestant[] = [new HostedContestant(ours(runtime, isResident), processHost())];
  const absent: { id: string; reason: string }[] = [];
  const options = {
    threads: runtime.info.threads.actual,
    searchFrom: searchFolders(session),
    resident: isResident,
  };
  for (const id of peerIds) {
    const peer = await startPeer(id, options, { signal: session.signal });
    if ('absent' in peer) {
      absent.push({ id, reason: peer.absent });
      session.note(`skipped ${id}: ${peer.absent}`);
    } else contestants.push(peer);
  }
  return { contestants, absent };
}

/** The user's project first, then the checkout of this package. */
function searchFolders({ host }: Session): readonly string[] {
  return [host.cwd, packageFacts().root];
}

interface Task extends Entrants {
  readonly session: Session;
  readonly options: BenchOptions;
  readonly runtime: Runtime;
  readonly selection: ShapeSelection;
  readonly effort: Effort;
  readonly environment: Environment;
}

/** Ctrl-C ends the measuring and keeps what is finished. */
async function measure(task: Task): Promise<BenchReport> {
  const rows: BenchRow[] = [];
  let cold: BenchReport['cold'] = null;
  let interrupted = false;
  let { machine } = task.runtime.info;
  try {
    if (task.selection.shapes.length > 0) {
      // The probe at start is short; percentages deserve ceilings that were measured at length.
      machine = withGpu(await task.runtime.measureMachine({ signal: task.session.signal }), task);
      await tune(task);
      await raceAll(task, machine, rows);
    }
    if (task.options.cold || task.selection.name === 'cold') cold = await startCold(task);
  } catch (error) {
    if (!isAbort(error)) throw error;
    interrupted = true;
  }
  const { session, options, runtime, selection, effort, environment, contestants, absent } = task;
  const { info } = runtime;
  const kinds = summarizeKinds(rows);
  return {
    tool: 'tesserae',
    kind: 'bench',
    schema: REPORT_SCHEMA,
    version: info.version,
    date: new Date().toISOString(),
    interrupted: interrupted || session.signal.aborted,
    environment,
    settings: {
      suite: selection.name,
      threads: info.threads.actual,
      numerics: info.numerics,
      effort,
      timeMs: options.time,
    },
    machine,
    engineFlags: info.engineFlags,
    ...(options.backend === 'webgpu' && info.gpu && { gpu: gpuFacts(info.gpu, options.resident ?? false) }),
    contestants: contestants.map((contestant) => contestant.info),
    absent,
    cold,
    rows,
    ...(kinds.length > 0 && { kinds }),
  };
}

/** On a GPU the ceiling of products is the GPU's own, which is stated per thread. */
function withGpu(machine: MachineReport, { runtime, options }: Task): MachineReport {
  const { gpu, threads } = runtime.info;
  return gpu && options.backend === 'webgpu'
    ? { ...machine, peakGflops: gpu.profile.peakGflops / threads.actual }
    : machine;
}

/** Plans are chosen before the race, by the effort asked for; what wisdom already knows is not measured again. */
async function tune({ session, options, runtime, selection, effort }: Task): Promise<void> {
  if (effort === 'estimate') return;
  const enough: readonly Effort[] = effort === 'measure' ? ['measure', 'exhaustive'] : ['exhaustive'];
  const problems = selection.shapes.map((shape) => problemOf(shape, options.resident));
  const unknown = problems.filter((problem) => {
    const { source, effort: known } = runtime.explain(problem);
    return source !== 'wisdom' || !enough.includes(known);
  });
  if (unknown.length === 0) return;
  const bar = session.progress('tuning');
  try {
    await runtime.tune(unknown, {
      effort,
      budgetMs: unknown.length * TUNE_MS_PER_SHAPE * (effort === 'exhaustive' ? 20 : 1),
      signal: session.signal,
      onProgress: ({ done, total }) => bar.update(done, total),
    });
  } finally {
    bar.stop();
  }
}

async function raceAll(
  { session, options, runtime, selection, contestants }: Task,
  machine: MachineReport,
  rows: BenchRow[],
): Promise<void> {
  const { threads } = runtime.info;
  const bar = session.progress('measuring');
  const total = selection.shapes.length;
  const raceOne = (shape: Shape, index: number) =>
    race(contestants, shape, {
      ...RACE_DEFAULTS,
      timeMs: options.time,
      control: makeControl(shape, () => performance.now()),
      signal: session.signal,
      onProgress: (share) => bar.update(index + share, total, printShape(shape)),
    });
  try {
    for (const [index, shape] of selection.shapes.entries()) {
      bar.update(index, total, printShape(shape));
      rows.push(makeRow(shape, await raceOne(shape, index), machine, threads.actual));
    }
  } finally {
    bar.stop();
  }
}

async function startCold({
  session,
  options,
  runtime,
  contestants,
  selection,
}: Task): Promise<BenchReport['cold']> {
  const bar = session.progress('cold starts');
  const peers = contestants.slice(1).map(({ info }) => info.id);
  try {
    const outcomes = await measureCold([...OURS_COLD, ...peers], {
      threads: runtime.info.threads.actual,
      engineFlags: options.engineFlags ? 'allow' : 'off',
      searchFrom: searchFolders(session),
      wisdom: typeof options.wisdom === 'string' ? resolve(session.host.cwd, options.wisdom) : undefined,
      rounds: selection.name === 'cold' ? COLD_ROUNDS.suite : COLD_ROUNDS.beside,
      signal: session.signal,
      onProgress: (done, total) => bar.update(done, total),
    });
    return { library: libraryModule().what, outcomes };
  } finally {
    bar.stop();
  }
}

/** With a file, the table is printed as well; with --json alone, stdout is the document. */
function publish(session: Session, { json }: BenchOptions, report: BenchReport): void {
  const text = renderBench(report, session.colors);
  if (typeof json !== 'string') {
    session.print(report, text);
    return;
  }
  const file = resolve(session.host.cwd, json);
  try {
    writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  } catch (error) {
    session.host.out(text);
    throw new UsageError(`cannot write ${json}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  session.host.out(text);
}
