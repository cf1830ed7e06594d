/** `tesserae run`: an ONNX model on pictures and arrays from files. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Option } from 'commander';
import type { Runtime } from '../../index.ts';
import { InferenceSession, type Results, Tensor, type ValueInfo } from '../../onnx/index.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs } from '../format.ts';
import { type PixelOptions, pixelsOf, readArray, readPicture, resizePicture, writeArray } from '../images.ts';
import {
  addJson,
  addRuntimeOptions,
  addVerbose,
  type CommonOptions,
  parseCount,
  parseSize,
  type Session,
} from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

interface RunOptions extends CommonOptions {
  readonly input?: readonly string[];
  readonly size?: readonly [number, number];
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly scale: number;
  readonly layout?: 'nchw' | 'nhwc';
  readonly bgr?: boolean;
  readonly out?: string;
  readonly top: number;
  readonly repeat: number;
  readonly explain?: boolean;
  readonly trace?: string;
}

function numbers(text: string): number[] {
  const list = text.split(',').map(Number);
  if (list.some((value) => !Number.isFinite(value))) throw new UsageError(`"${text}" is no list of numbers`);
  return list;
}

export const defineRun: Define = (program, run) => {
  const command = program
    .command('run')
    .summary('run an ONNX model on pictures and arrays')
    .description('Runs an ONNX model on PNG, JPEG and .npy files; inputs that are not named are zeros.')
    .argument('<model>', 'an .onnx file')
    .option(
      '--input <name=file...>',
      'a picture or an array for an input; the name may be left out where there is one',
    )
    .addOption(new Option('--size <WxH>', 'size that pictures are brought to').argParser(parseSize))
    .addOption(new Option('--scale <n>', 'what bytes are divided by').argParser(Number).default(255))
    .addOption(new Option('--mean <r,g,b>', 'then taken away').argParser(numbers).default([0]))
    .addOption(new Option('--std <r,g,b>', 'then divided by').argParser(numbers).default([1]))
    .addOption(new Option('--layout <name>', 'order of a picture’s numbers').choices(['nchw', 'nhwc']))
    .option('--bgr', 'blue before red')
    .option('--out <folder>', 'write every output there as .npy')
    .option('--top <n>', 'show so many of the largest values', parseCount, 5)
    .option('--repeat <n>', 'run so often, and show the median time', parseCount, 1)
    .option('--explain', 'show what each step is and takes')
    .option('--trace <file>', 'write a trace of one more run, for ui.perfetto.dev');
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((model: string, options: RunOptions) =>
    run(options, (session) => runModel(session, model, options)),
  );
};

async function runModel(session: Session, path: string, options: RunOptions): Promise<ExitCode> {
  return session.withRuntime(async (runtime) => {
    const model = await InferenceSession.create(resolve(session.host.cwd, path), { runtime });
    try {
      const feeds = feedsFor(session, model, options);
      const times: number[] = [];
      let results: Results = {};
      for (let i = 0; i < options.repeat; i++) {
        const start = performance.now();
        results = await model.run(feeds, { signal: session.signal });
        times.push(performance.now() - start);
      }
      const ms = [...times].sort((a, b) => a - b)[times.length >> 1]!;
      const steps = options.explain ? await model.explain(feeds) : undefined;
      if (options.trace) await writeTrace(session, runtime, options.trace, () => model.run(feeds));
      if (options.out) writeAll(resolve(session.host.cwd, options.out), results);
      const document = {
        tool: 'tesserae',
        kind: 'run',
        schema: 1,
        model: path,
        ms,
        outputs: plain(results),
        steps,
      };
      session.print(
        document,
        render(session, results, ms, options) + (steps ? stepsText(session, steps) : ''),
      );
      return EXIT.ok;
    } finally {
      await model.release();
    }
  });
}

async function writeTrace(
  { host }: Session,
  runtime: Runtime,
  file: string,
  work: () => Promise<unknown>,
): Promise<void> {
  const { chromeTrace } = await runtime.profile(work);
  writeFileSync(resolve(host.cwd, file), JSON.stringify(chromeTrace()));
}

function plain(results: Results): object {
  return Object.fromEntries(
    Object.entries(results).map(([name, { type, dims, data }]) => [
      name,
      { type, dims, data: Array.from(data, Number) },
    ]),
  );
}

function feedsFor(session: Session, model: InferenceSession, options: RunOptions): Record<string, Tensor> {
  const given = new Map<string, string>();
  for (const word of options.input ?? []) {
    const at = word.indexOf('=');
    const known = at > 0 && model.inputNames.includes(word.slice(0, at));
    const name = known ? word.slice(0, at) : model.inputNames[0]!;
    if (!known && model.inputNames.length > 1)
      throw new UsageError(`"${word}" names no input`, `The inputs are ${model.inputNames.join(', ')}.`);
    given.set(name, known ? word.slice(at + 1) : word);
  }
  return Object.fromEntries(
    model.inputMetadata.map((info) => {
      const file = given.get(info.name);
      return [
        info.name,
        file === undefined ? zeros(info) : fromFile(resolve(session.host.cwd, file), info, options),
      ];
    }),
  );
}

function zeros({ type, shape = [] }: ValueInfo): Tensor {
  const dims = shape.map((extent) => (typeof extent === 'number' && extent > 0 ? extent : 1));
  return new Tensor(type, new Array<number>(dims.reduce((x, y) => x * y, 1)).fill(0), dims);
}

function fromFile(path: string, info: ValueInfo, options: RunOptions): Tensor {
  if (path.endsWith('.npy')) {
    const { type, data, dims } = readArray(path);
    return new Tensor(type, data as never, dims);
  }
  const { shape = [] } = info;
  const layout = options.layout ?? (shape[3] === 3 || shape[3] === 1 ? 'nhwc' : 'nchw');
  const at = layout === 'nchw' ? [3, 2] : [2, 1];
  const picture = readPicture(path);
  const fixed = at.map((axis) => shape[axis]);
  const [width, height] = options.size ?? [
    typeof fixed[0] === 'number' && fixed[0] > 0 ? fixed[0] : picture.width,
    typeof fixed[1] === 'number' && fixed[1] > 0 ? fixed[1] : picture.height,
  ];
  const pixels: PixelOptions = {
    ...{ scale: options.scale, mean: options.mean, deviation: options.std },
    ...{ isBgr: options.bgr === true, layout },
  };
  const data = pixelsOf(resizePicture(picture, width, height), pixels);
  const isGrey = shape[layout === 'nchw' ? 1 : 3] === 1;
  const values = isGrey ? greyOf(data, width * height, layout) : data;
  const channels = isGrey ? 1 : 3;
  return new Tensor(
    'float32',
    values,
    layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels],
  );
}

/** Luminance (ITU-R BT.601). */
function greyOf(data: Float32Array, pixels: number, layout: 'nchw' | 'nhwc'): Float32Array {
  const at = (i: number, c: number) => data[layout === 'nchw' ? c * pixels + i : 3 * i + c]!;
  return Float32Array.from(
    { length: pixels },
    (_, i) => 0.299 * at(i, 0) + 0.587 * at(i, 1) + 0.114 * at(i, 2),
  );
}

function writeAll(folder: string, results: Results): void {
  for (const [name, { type, data, dims }] of Object.entries(results))
    writeArray(`${folder}/${name.replace(/[^\w.-]+/g, '_')}.npy`, type, data as NodeJS.TypedArray, dims);
}

function render({ colors }: Session, results: Results, ms: number, { top }: RunOptions): string {
  const parts = Object.entries(results).map(([name, { type, dims, data }]) => {
    const order = Array.from(data, Number)
      .map((value, index) => ({ value, index }))
      .sort((a, b) => b.value - a.value)
      .slice(0, top);
    const lines = order.map(({ value, index }) => `  ${String(index).padStart(8)}  ${value.toPrecision(6)}`);
    return `${colors.bold(name)}  ${type} [${dims.join(', ')}]\n${lines.join('\n')}\n`;
  });
  return `${parts.join('')}${formatMs(ms)}\n`;
}

function stepsText({ colors }: Session, steps: Awaited<ReturnType<InferenceSession['explain']>>): string {
  const columns = [
    ...[{ title: 'operator' }, { title: 'problem' }, { title: 'kernel' }],
    { title: 'time', align: 'right' as const },
  ];
  const rows = steps.map(({ op, problem, kernel, ms }) => [op, problem, kernel, formatMs(ms)]);
  return `\n${renderTable(columns, rows, colors.dim)}`;
}
