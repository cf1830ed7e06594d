/** Functions of elements, lines and orders on a GPU: every shader is one that a device takes, and its numbers are right. */
import test from 'tape';
import { lower } from '../../../src/backends/webgpu/lower.ts';
import type { Tensor, TensorLike } from '../../../src/index.ts';
import { GPU_KERNELS, isOffered } from '../../../src/kernels/gpu.ts';
import { readUnary } from '../../../src/ops/array/map.ts';
import { arrayTrial } from '../../../src/ops/gpu/array-trial.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent } from '../../../src/ops/types.ts';
import { LINE_KINDS, type LinesProblem, REDUCE_KINDS } from '../../../src/problem/lines.ts';
import { BINARY_KINDS, MAP_KINDS, mapProblem, UNARY_KINDS } from '../../../src/problem/map.ts';
import { moveProblem } from '../../../src/problem/move.ts';
import type { ArrayProblem } from '../../../src/problem/problem.ts';
import { mapped, shapesThatFit, valuesFault } from '../../support/arrays.ts';
import { nullGpu, openBackend, trialFault, workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { array } from '../../support/oracle.ts';
import { madeUpMachine, makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const COUNTS: Partial<Record<string, number>> = { where: 3 };

function* problems(): Generator<ArrayProblem> {
  for (const kind of MAP_KINDS) {
    const operands = COUNTS[kind] ?? ((UNARY_KINDS as readonly string[]).includes(kind) ? 1 : 2);
    const shapes = [[7, 5], [5], [7, 1]].slice(0, operands);
    yield mapProblem(kind, shapes, [7, 5], false);
    if (operands > 1) yield mapProblem(kind, [[7, 5], [1], [7, 5]].slice(0, operands), [7, 5], false);
  }
  const plain = { op: 'lines', dtype: 'f32', outer: 3, size: 9, channels: 3, exact: false } as const;
  for (const kind of LINE_KINDS)
    for (const inner of [1, 4])
      for (const affine of ['none', 'place', 'line'] as const) {
        const isNorm = kind === 'norm' || kind === 'rmsNorm';
        if (!isNorm && affine !== 'none') continue;
        yield { ...plain, kind, inner, scale: affine, bias: affine } satisfies LinesProblem;
      }
  yield moveProblem([5, 7], [1, 5], [7, 1]);
  yield moveProblem([4, 5, 7], [35, 1, 5], [35, 7, 1]);
}

test('gpu arrays: the null device takes every shader', async (t) => {
  const gpu = await nullGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const refused: string[] = [];
  let taken = 0;
  for (const problem of problems()) {
    for (const kernel of GPU_KERNELS) {
      const launch = lower(problem, kernel);
      if (!launch) continue;
      taken++;
      try {
        await backend.pipeline(launch);
      } catch (error) {
        refused.push(`${launch.key}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
  t.deepEqual(refused.slice(0, 3), [], `${taken} shaders`);
  t.ok(taken > 80, 'one for nearly every function');
  await backend.close();
  t.end();
});

test('gpu arrays: lines gathered by halves and by subgroups', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const rows = GPU_KERNELS.filter(({ family }) => family === 'gpu-lines');
  t.equal(rows.length, 2);
  for (const row of rows) {
    if (!isOffered(row, backend.report.features)) {
      t.comment(`no ${row.name} on this device`);
      continue;
    }
    const faults: string[] = [];
    let count = 0;
    for (const problem of problems()) {
      if (problem.op !== 'lines' || problem.inner > 1) continue;
      // more than a workgroup has threads, and no multiple
      const trial = arrayTrial({ ...problem, size: 1300 });
      const fault = await trialFault(backend, trial, row);
      if (fault !== undefined) faults.push(fault);
      count++;
    }
    t.deepEqual(faults, [], `${row.name}: ${count} kinds`);
    t.ok(count > 12, 'all of them');
  }
  await backend.close();
});

async function makeOnGpu(): Promise<{ rt: Runtime; events: RuntimeEvent[] } | string> {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const events: RuntimeEvent[] = [];
  const options = { threads: 1, wisdom: false, gpu: { gpu }, backend: 'webgpu' } as const;
  const rt = await createRuntimeWith(
    { ...options, onEvent: (event) => events.push(event) },
    { machine: madeUpMachine(3), gpuProfile: ONE_ROW },
  );
  return { rt, events };
}

/** Functions whose values at random arguments are numbers. */
const TOTAL = UNARY_KINDS.filter(
  (kind) => !['log', 'sqrt', 'acosh', 'atanh', 'asin', 'acos', 'clip'].includes(kind),
);

test(seeded('gpu arrays: functions of elements, through the runtime and its self-check'), async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt, events } = on;
  const random = new Random(531);
  const faults: string[] = [];
  const places = new Set<string>();
  for (const kind of TOTAL) {
    const x = array(random, [random.pick([1, 5, 300, 1025])], 3);
    const { p0, p1 } = readUnary(kind as 'neg');
    const y = await rt.unary(kind as 'neg', x, { result: 'gpu' });
    places.add(y.location);
    const wrong = valuesFault(await y.read(), mapped(kind, [x], p0, p1).values, 64, 1e-5);
    if (wrong) faults.push(`${kind}: ${wrong}`);
    y.dispose();
  }
  for (const kind of BINARY_KINDS) {
    if (kind === 'pow') continue;
    const [a, b] = shapesThatFit(random, 2).map((shape) => array(random, shape, 3));
    const y = await rt.binary(kind, a!, b!);
    const wrong = valuesFault(y.data, mapped(kind, [a!, b!]).values, 64, 1e-5);
    if (wrong) faults.push(`${kind} [${a!.shape}] [${b!.shape}]: ${wrong}`);
    y.dispose();
  }
  t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
  t.notOk(places.has('wasm'), 'results are where they are wanted, those of the other backend too');
  t.deepEqual(
    events.filter(({ type }) => type === 'quarantine'),
    [],
    'no shader fails its check',
  );
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  await rt.close();
});

test(seeded('gpu arrays: lines and orders as in memory'), async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt, events } = on;
  const here = await makeRuntime();
  const random = new Random(532);
  const faults: string[] = [];
  const compare = async (
    what: string,
    of: (rt: Runtime, x: TensorLike) => Promise<Tensor>,
    x: TensorLike,
  ) => {
    const [there, wanted] = [await of(rt, x), await of(here, x)];
    const wrong = valuesFault(there.data, wanted.data, 64, 1e-5);
    if (wrong) faults.push(`${what} of [${x.shape}]: ${wrong}`);
  };
  for (const kind of REDUCE_KINDS)
    for (const axes of [[2], [1], [0, 1, 2], [0, 2]]) {
      const x = array(random, [3, 5, kind === 'prod' ? 7 : 300], 1);
      const positive = kind === 'logSum' ? { ...x, data: x.data.map((v) => Math.abs(v) + 0.1) } : x;
      await compare(`${kind} over ${axes}`, (on, v) => on.reduce(kind, v, { axes }), positive);
    }
  for (const shape of [
    [4, 700],
    [2, 9, 33],
  ]) {
    for (const axis of [-1, 0]) {
      await compare('softmax', (on, v) => on.softmax(v, { axis }), array(random, shape, 5));
      await compare('log softmax', (on, v) => on.softmax(v, { axis, log: true }), array(random, shape, 5));
    }
    const lines = { scale: array(random, shape.slice(-1)), bias: array(random, shape.slice(-1)) };
    await compare('norm', (on, v) => on.layerNorm(v, lines), array(random, shape, 5));
    await compare('rms norm', (on, v) => on.layerNorm(v, { rms: true }), array(random, shape, 5));
    await compare('transpose', (on, v) => on.transpose(v), array(random, shape, 5));
  }
  t.deepEqual(faults.slice(0, 4), [], `${faults.length} faults`);
  t.deepEqual(
    events.filter(({ type }) => type === 'quarantine'),
    [],
    'no shader fails its check',
  );
  await rt.close();
  await here.close();
});

test('gpu arrays: a chain stays there: product, bias by broadcast, softmax', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const random = new Random(533);
  const [a, b, row] = [array(random, [33, 20]), array(random, [20, 18]), array(random, [18])];
  const product = await rt.matmul(a, b, { result: 'gpu' });
  const sum = await rt.binary('add', product, row);
  const y = await rt.softmax(sum);
  t.deepEqual(
    [product, sum, y].map(({ location }) => location),
    ['gpu', 'gpu', 'gpu'],
    'nothing is read back',
  );
  const here = await makeRuntime();
  const wanted = here.softmaxSync(here.binarySync('add', here.matmulSync(a, b), row));
  t.equal(valuesFault(await y.read(), wanted.data, 64, 1e-6), undefined, 'and right');
  await rt.close();
  await here.close();
});
