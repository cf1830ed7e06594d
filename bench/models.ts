/**
 * Whole networks beside onnxruntime-web: the same inputs in turn, warmed by time, answers compared. (onnxruntime-node cannot stand beside
 * it in one process: both share a registry, in which the first takes the other's place.)
 * A ratio is the median over the rounds of their time over ours: above 1x tesserae is faster.
 *
 *     npm run bench -- models [--threads 1] [--rounds 25] [--tune-ms 4000] [--only NAME,...]
 */
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { geometricMean } from '../src/cli/bench/kinds.ts';
import { median } from '../src/cli/bench/stats.ts';
import { formatMs } from '../src/cli/format.ts';
import { renderTable } from '../src/cli/table.ts';
import { InferenceSession } from '../src/onnx/index.ts';
import { departure, type OrtLike, randomFeeds, WHOLE_MODELS, type WholeModel } from '../test/support/onnx.ts';
import { Random } from '../test/support/seed.ts';

const SAMPLE_MS = 20;
/** onnxruntime-web's second thread keeps a core busy for some tens of milliseconds after each run (measured: 25 % to 40 % of the next 100).
 *  Whoever comes next must not pay for it, so everybody is waited for, and everybody's first run after the wait is not counted. */
const REST_MS = 100;
/** Engines compile hot functions while they run: two seconds are enough for all of a network. */
const WARM_MS = 2000;
const TOLERANCE = 1e-3;

/** Sizes of use, where tests take smaller ones. */
const INPUTS: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  'PP-OCRv4 detection': { x: [1, 3, 320, 320] },
  'PP-OCRv4 recognition': { x: [1, 3, 48, 320] },
};

interface Row {
  readonly name: string;
  readonly ours: number;
  readonly web: number;
  readonly ratio: number;
  readonly createMs: readonly [ours: number, web: number];
  readonly off: number;
}

type Once = () => Promise<unknown>;

async function sample(run: Once, ms: number): Promise<number> {
  const start = performance.now();
  let count = 0;
  do {
    await run();
    count++;
  } while (performance.now() - start < ms);
  return (performance.now() - start) / count;
}

async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const start = performance.now();
  return [await work(), performance.now() - start];
}

interface Settings {
  readonly threads: number;
  readonly rounds: number;
  readonly tuneMs: number;
}

async function compare(model: WholeModel, web: OrtLike, settings: Settings): Promise<Row> {
  const { threads, rounds, tuneMs } = settings;
  const file = model.file!;
  const inWasm = { logSeverityLevel: 3, executionProviders: ['wasm'] };
  const [theirs, webMs] = await timed(() => web.InferenceSession.create(file, inWasm));
  const [ours, oursMs] = await timed(() => InferenceSession.create(file, { threads }));
  const feeds = randomFeeds(new Random(1), INPUTS[model.name] ?? model.inputs);
  const webFeeds = Object.fromEntries(
    Object.entries(feeds).map(([name, { data, dims }]) => [name, new web.Tensor('float32', data, dims)]),
  );
  await ours.prepare(feeds, { tuneMs });
  const off = await departure(web, theirs, ours, feeds);
  if (off > TOLERANCE) throw new Error(`${model.name} is wrong: off by ${off}`);
  const runs: Once[] = [() => ours.run(feeds), () => theirs.run(webFeeds)];
  for (const run of runs) await sample(run, WARM_MS);
  const times: number[][] = [];
  for (let round = 0; round < rounds; round++) {
    const row: number[] = [];
    for (const run of runs) {
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      await run();
      row.push(await sample(run, SAMPLE_MS));
    }
    times.push(row);
  }
  const of = (at: number) => median(times.map((row) => row[at]!));
  const ratio = (at: number) => median(times.map((row) => row[at]! / row[0]!));
  await ours.release();
  await theirs.release();
  return {
    ...{ name: model.name, ours: of(0), web: of(1), ratio: ratio(1), off },
    createMs: [oursMs, webMs],
  };
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '25' },
    'tune-ms': { type: 'string', default: '4000' },
    only: { type: 'string' },
  } as const;
  const { values } = parseArgs({ args: [...args], options });
  const require = createRequire(import.meta.url);
  const web = require('onnxruntime-web') as OrtLike & {
    env: { wasm: { numThreads: number }; logLevel: string };
  };
  const threads = Number(values.threads);
  web.env.wasm.numThreads = threads;
  web.env.logLevel = 'error';
  const only = values.only?.split(',');
  const rows: Row[] = [];
  for (const model of WHOLE_MODELS) {
    if (only && !only.includes(model.name)) continue;
    if (model.file === undefined) {
      console.error(`${model.name} is not here: ${model.from}`);
      continue;
    }
    const settings = { threads, rounds: Number(values.rounds), tuneMs: Number(values['tune-ms']) };
    rows.push(await compare(model, web, settings));
    console.error(`${rows.length} of ${WHOLE_MODELS.length}: ${model.name}`);
  }
  console.log(`Node ${process.versions.node}, ${threads} thread(s): tesserae beside onnxruntime\n`);
  const titles = ['model', 'tesserae', 'onnxruntime-web', 'ratio', 'create', 'their create'];
  const cells = rows.map(({ name, ours, web: w, ratio, createMs }) => [
    ...[name, formatMs(ours), formatMs(w), `${ratio.toFixed(2)}x`],
    ...createMs.map(formatMs),
  ]);
  console.log(
    renderTable(
      titles.map((title) => ({ title })),
      cells,
      (text) => text,
    ),
  );
  const ratios = rows.map(({ ratio }) => ratio);
  console.log(
    `over onnxruntime-web: ${geometricMean(ratios).toFixed(2)}x in the geometric mean, worst ${Math.min(...ratios).toFixed(2)}x`,
  );
  // onnxruntime-web leaves its workers running
  process.exit();
}
