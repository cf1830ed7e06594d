/**
 * What quantising gains: layers of networks as qlinearConv (bytes in, bytes out) beside their f32 form with prepacked weights, both with
 * measured plans, in turn. The ratio of a layer is the median over the rounds of f32's time over the integers': below 1x
 * quantising costs time.
 *
 *     npm run bench -- integers [--suite LIST,...] [--rounds 25] [--threads 1]
 */
import { parseArgs } from 'node:util';
import { geometricMean } from '../src/cli/bench/kinds.ts';
import { median } from '../src/cli/bench/stats.ts';
import { formatMs } from '../src/cli/format.ts';
import { CONV_KINDS, type ConvShape, convKind, printShape } from '../src/cli/shapes/index.ts';
import { renderTable } from '../src/cli/table.ts';
import { randomFrom } from '../src/core/random.ts';
import { createRuntime, type Runtime } from '../src/index.ts';
import { shapesNamed } from './support.ts';

const SAMPLE_MS = 10;
const WARM_MS = 60;

interface Pair {
  readonly shape: ConvShape;
  readonly floats: () => unknown;
  readonly integers: () => unknown;
  readonly plan: string;
  dispose(): void;
}

interface Row {
  readonly shape: ConvShape;
  readonly floatMs: number;
  readonly integerMs: number;
  readonly ratio: number;
  readonly plan: string;
}

function randomly<T extends Float32Array | Uint8Array | Int8Array>(values: T, low: number, high: number): T {
  const next = randomFrom(values.length);
  for (let i = 0; i < values.length; i++) values[i] = low + (high - low) * next();
  return values;
}

async function place(rt: Runtime, shape: ConvShape): Promise<Pair> {
  const { batch, inC, inH, inW, outC, kH, kW, stride, padding, dilation, groups } = shape;
  const [input, weights] = [
    [batch, inC, inH, inW],
    [outC, inC / groups, kH, kW],
  ];
  const size = (extents: readonly number[]) => extents.reduce((x, y) => x * y, 1);
  const geometry = { stride, padding, dilation, groups };
  const x = rt.tensor(randomly(new Float32Array(size(input)), -1, 1), input);
  const w = rt.prepack(rt.tensor(randomly(new Float32Array(size(weights)), -1, 1), weights), { op: 'conv' });
  const bytes = rt.tensor(randomly(new Uint8Array(size(input)), 0, 256), input);
  const filters = rt.prepackInteger(rt.tensor(randomly(new Int8Array(size(weights)), -128, 128), weights), {
    op: 'conv',
  });
  const quantised = {
    x: { scale: 1 / 128, zeroPoint: 128 },
    w: { scale: 1 / 128 },
    y: { scale: 0.1, zeroPoint: 128 },
    ...geometry,
  };
  const integerSpec = {
    op: 'convInteger',
    input,
    weights,
    output: 'u8',
    prepacked: true,
    xZeroPoint: 128,
    ...geometry,
  } as const;
  await rt.tune([{ op: 'conv', input, weights, prepacked: true, ...geometry }, integerSpec], {
    budgetMs: 1500,
  });
  const y = await rt.conv2d(x, w, geometry);
  const z = await rt.qlinearConv(bytes, filters, quantised);
  const { plan } = rt.explain(integerSpec);
  return {
    shape,
    floats: () => rt.conv2dSync(x, w, { ...geometry, out: y }),
    integers: () => rt.qlinearConvSync(bytes, filters, { ...quantised, out: z }),
    plan: `${plan.algorithm} ${plan.kernel}`,
    dispose: () => {
      for (const own of [x, w, bytes, filters, y, z]) own.dispose();
    },
  };
}

/** Milliseconds of one call. */
function sample(run: () => unknown, ms: number): number {
  const start = performance.now();
  let count = 0;
  do {
    run();
    count++;
  } while (performance.now() - start < ms);
  return (performance.now() - start) / count;
}

function compare({ shape, floats, integers, plan }: Pair, rounds: number): Row {
  for (const run of [floats, integers]) sample(run, WARM_MS);
  const times = Array.from({ length: rounds }, () => [
    sample(floats, SAMPLE_MS),
    sample(integers, SAMPLE_MS),
  ]);
  return {
    shape,
    floatMs: median(times.map(([ms]) => ms!)),
    integerMs: median(times.map(([, ms]) => ms!)),
    ratio: median(times.map(([f, i]) => f! / i!)),
    plan,
  };
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    suite: { type: 'string', default: 'conv-mobilenetv2,conv-resnet50' },
    rounds: { type: 'string', default: '25' },
    threads: { type: 'string', default: '1' },
  } as const;
  const { values } = parseArgs({ args: [...args], options });
  const shapes = values.suite
    .split(',')
    .flatMap(shapesNamed)
    .filter((shape) => shape.kind === 'conv');
  const rt = await createRuntime({ threads: Number(values.threads), wisdom: false });
  const rows: Row[] = [];
  for (const shape of shapes) {
    const pair = await place(rt, shape);
    rows.push(compare(pair, Number(values.rounds)));
    pair.dispose();
    console.error(`${rows.length} of ${shapes.length}: ${printShape(shape)}`);
  }
  await rt.close();
  console.log(`Node ${process.versions.node}, ${values.threads} thread(s): bytes over the f32 form\n`);
  const columns = ['layer', 'f32', 'bytes', 'f32 / bytes', 'plan of bytes'].map((title) => ({ title }));
  const cells = rows.map(({ shape, floatMs, integerMs, ratio, plan }) => [
    ...[printShape(shape), formatMs(floatMs), formatMs(integerMs), `${ratio.toFixed(2)}x`, plan],
  ]);
  console.log(renderTable(columns, cells, (text) => text));
  for (const kind of CONV_KINDS) {
    const ratios = rows.filter(({ shape }) => convKind(shape) === kind).map(({ ratio }) => ratio);
    if (ratios.length === 0) continue;
    const [mean, worst] = [geometricMean(ratios), Math.min(...ratios)].map((ratio) => `${ratio.toFixed(2)}x`);
    console.log(`${kind}: ${mean} in the geometric mean, worst ${worst} (${ratios.length} layers)`);
  }
}
