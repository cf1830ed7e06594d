/** Sessions: what goes in and out, runs that overlap, end early, or do not fit; and memory that comes back. */
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'tape';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { initializer, intAttribute, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { codeOf, failure } from '../support/faulty.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { madeUpMachine, makeRuntime } from '../support/runtime.ts';
import { Random } from '../support/seed.ts';

const WEIGHTS = edge('w', [3, 2]);

/** relu(x w) over two columns. */
function small(): Uint8Array {
  return modelOf(
    [node('MatMul', ['x', 'w'], 'y'), node('Relu', ['y'], 'z')],
    [edge('x', [2, 3])],
    edge('z', [2, 2]),
    [initializer(WEIGHTS, Float32Array.of(1, -1, 2, -2, 3, -3))],
  );
}

const X = () => new Tensor('float32', [1, 2, 3, 4, 5, 6], [2, 3]);

test('a session: names, values, from bytes, a path and a URL', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-'));
  const path = join(folder, 'small.onnx');
  writeFileSync(path, small());
  for (const source of [small(), small().buffer as ArrayBuffer, path, pathToFileURL(path)]) {
    const session = await InferenceSession.create(source, { runtime: await makeRuntime() });
    t.deepEqual([session.inputNames, session.outputNames], [['x'], ['z']]);
    t.deepEqual(session.inputMetadata[0]!.shape, [2, 3]);
    const { z } = await session.run({ x: X() });
    t.deepEqual([z!.type, [...z!.dims], [...z!.data]], ['float32', [2, 2], [14, 0, 32, 0]]);
    const again = await session.run({ x: new Tensor('float32', [0, 0, 1, 0, 0, -1], [2, 3]) });
    t.deepEqual([...again.z!.data], [3, 0, 0, 3], 'a replay reads what it is given');
    t.deepEqual([...z!.data], [14, 0, 32, 0], 'and leaves earlier results alone');
    await session.release();
    await session.runtime.close();
  }
  rmSync(folder, { recursive: true });
});

test("a session: without a runtime of the caller's, explain, prepare, an end", async (t) => {
  const session = await InferenceSession.create(small(), { threads: 1, wisdom: false });
  await session.prepare();
  await session.prepare({ x: X() }, { tuneMs: 20 });
  const steps = await session.explain({ x: X() });
  t.deepEqual(
    steps.map(({ op, backend, bytes }) => [op, backend, bytes]),
    [['MatMul', 'wasm', 16]],
    'the activation went into the product',
  );
  t.ok(steps[0]!.ms >= 0 && steps[0]!.problem.includes('act=relu'), steps[0]!.problem);
  await session.release();
  await session.release();
  t.equal(await codeOf(session.run({ x: X() })), 'E_CLOSED', 'runs after its end are refused');
});

test('a session: a run that is over sooner without others is planned for one thread', async (t) => {
  const runtime = await makeRuntime();
  const { planner } = coreOf(runtime);
  for (const [rows, threads] of [
    [80, 1],
    [1024, 2],
  ] as const) {
    const model = modelOf([node('MatMul', ['x', 'w'], 'y')], [edge('x', [rows, 64])], edge('y', [rows, 64]), [
      initializer(edge('w', [64, 64]), new Float32Array(64 * 64).fill(1)),
    ]);
    const session = await InferenceSession.create(model, { runtime });
    const x = new Tensor('float32', new Float32Array(rows * 64).fill(1), [rows, 64]);
    const { y } = await session.run({ x });
    t.ok(
      (y!.data as Float32Array).every((value) => value === 64),
      'the first run',
    );
    const kernel = async () => (await session.explain({ x }))[0]!.kernel;
    t.equal((await kernel()).split(' x')[1], `${threads}`, await kernel());
    await session.prepare({ x }, { tuneMs: 10 });
    // which is best for more rows is this machine's to say
    if (threads === 1) t.ok((await kernel()).endsWith(' x1'), 'as measured too');
    await session.release();
  }
  const few = matmulProblem({ m: 80, n: 64, k: 64 });
  t.equal(planner.plan(few, 'chain').plan.threads, 2, 'a longer one would have it from two');
  await runtime.close();
});

test('a session: what does not fit', async (t) => {
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(small(), { runtime });
  const run = (feeds: unknown, options = {}) => codeOf(session.run(feeds as never, options));
  t.equal(await run(null), 'E_ARGUMENT', 'no feeds');
  t.equal(await run({}), 'E_ARGUMENT', 'an input is missing');
  t.equal(await run({ x: X(), y: X() }), 'E_ARGUMENT', 'an input too many');
  t.equal(await run({ x: [1, 2] }), 'E_ARGUMENT', 'no tensor');
  t.equal(await run({ x: new Tensor('int32', [1, 2, 3, 4, 5, 6], [2, 3]) }), 'E_DTYPE', 'another type');
  t.equal(await run({ x: new Tensor('float32', [1, 2, 3], [1, 3]) }), 'E_SHAPE', 'another extent');
  t.equal(await run({ x: X() }, { silent: true }), 'E_ARGUMENT', 'an unknown option');
  t.equal(await codeOf(() => new Tensor('float32', [1, 2], [3])), 'E_SHAPE', 'data that are no shape');
  t.equal(await codeOf(() => new Tensor('float3' as 'float32', [1])), 'E_DTYPE', 'a type that is none');
  const { z } = await session.run({ x: X() });
  t.deepEqual([...z!.data], [14, 0, 32, 0], 'and it still runs');
  await session.release();
  t.equal(runtime.info.closed, false, "a caller's runtime stays");
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
  t.equal(
    await codeOf(InferenceSession.create(join(tmpdir(), 'there-is-none.onnx'))),
    'E_MODEL',
    'a path to nothing',
  );
  t.equal(await codeOf(InferenceSession.create(5 as never)), 'E_ARGUMENT', 'no model at all');
});

test('a session: eight runs at once, each with its own values; two sessions on one runtime', async (t) => {
  const runtime = await makeRuntime();
  const sessions = [
    await InferenceSession.create(small(), { runtime }),
    await InferenceSession.create(small(), { runtime }),
  ];
  const runs = Array.from({ length: 16 }, async (_, i) => {
    const { z } = await sessions[i % 2]!.run({ x: new Tensor('float32', [i, 0, 0, 0, 0, 0], [2, 3]) });
    return z!.data[0];
  });
  t.deepEqual(
    await Promise.all(runs),
    Array.from({ length: 16 }, (_, i) => i),
    'nobody reads what is another run’s',
  );
  for (const session of sessions) await session.release();
  await runtime.close();
});

test('a session: aborted before and during a run', async (t) => {
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(small(), { runtime });
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  t.equal(
    ((await failure(session.run({ x: X() }, { signal: controller.signal }))) as Error).message,
    'enough',
  );
  const { z } = await session.run({ x: X() });
  t.deepEqual([...z!.data], [14, 0, 32, 0], 'later runs are right');
  const later = new AbortController();
  const pending = session.run({ x: X() }, { signal: later.signal });
  later.abort(new Error('stop'));
  t.equal(((await failure(pending)) as Error).message, 'stop', 'a run that waits ends too');
  await session.release();
  await runtime.close();
});

const STEPS = 200;
const FIRST = 10;

/** Each step widens x by a zero, so that no two of them are the same problem: planning takes a while. */
function widening(): Uint8Array {
  const widths = Array.from({ length: STEPS + 1 }, (_, i) => FIRST + i);
  const nodes = widths.slice(1).map((_, i) => node('MatMul', [`x${i}`, `w${i}`], `x${i + 1}`));
  const weights = widths.slice(1).map((wide, i) => {
    const values = new Float32Array(widths[i]! * wide);
    for (let at = 0; at < widths[i]!; at++) values[at * wide + at] = 1;
    return initializer(edge(`w${i}`, [widths[i]!, wide]), values);
  });
  return modelOf(nodes, [edge('x0', [1, FIRST])], edge(`x${STEPS}`, [1, FIRST + STEPS]), weights);
}

test('a session: a long first run lets others have the thread, and can be stopped', async (t) => {
  let onRest: () => void = () => undefined;
  let rests = 0;
  const yieldToEvents = () => {
    rests++;
    onRest();
    return nodeHost.yieldToEvents();
  };
  const make = () =>
    createRuntimeWith(
      { threads: 2, wisdom: false },
      { machine: madeUpMachine(1), host: { ...nodeHost, yieldToEvents } },
    );
  const runtime = await make();
  const session = await InferenceSession.create(widening(), { runtime });
  const values = Array.from({ length: FIRST }, (_, i) => i + 1);
  const run = async (signal?: AbortSignal) => {
    const x0 = new Tensor('float32', values, [1, FIRST]);
    const results = await session.run({ x0 }, signal ? { signal } : {});
    return [...results[`x${STEPS}`]!.data].slice(0, FIRST + 1);
  };
  for (const nth of [1, 2]) {
    const controller = new AbortController();
    rests = 0;
    onRest = () => rests === nth && controller.abort(new Error('enough'));
    t.equal(((await failure(run(controller.signal))) as Error).message, 'enough', `at rest ${nth}`);
    t.equal(runtime.memory().tensors, 0, 'its tensors are gone');
  }
  onRest = () => undefined;
  t.deepEqual(await run(), [...values, 0], 'the next run is right');
  t.deepEqual(await run(), [...values, 0], 'and the one after it');
  await session.release();
  t.equal(runtime.memory().used - runtime.memory().byOwner.runtime, 0, 'memory comes back');
  await runtime.close();

  const other = await make();
  const late = await InferenceSession.create(widening(), { runtime: other });
  rests = 0;
  onRest = () => void other.close();
  const x0 = new Tensor('float32', values, [1, FIRST]);
  t.match(
    String(await failure(late.run({ x0 }))),
    /cannot run a model.*E_CLOSED/,
    'a runtime that is closed',
  );
  t.ok(rests > 0, `${rests} rests`);
  await late.release();
});

test('a session: what nodes compute is there when another goes by its values', async (t) => {
  const bytes = modelOf(
    [
      node('Add', ['s', 'one'], 't'),
      node('Mul', ['x', 'two'], 'y'),
      node('Cast', ['t'], 'shape', [intAttribute('to', 7)]),
      node('Reshape', ['y', 'shape'], 'r'),
      node('Transpose', ['r'], 'z', [intsAttribute('perm', [1, 0])]),
    ],
    [edge('x', [6]), edge('s', [2])],
    edge('z', [1, 1]),
    [initializer(edge('one', [1]), Float32Array.of(1)), initializer(edge('two', [1]), Float32Array.of(2))],
  );
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(bytes, { runtime });
  for (const [rows, expected] of [
    [2, [2, 8, 4, 10, 6, 12]],
    [3, [2, 6, 10, 4, 8, 12]],
  ] as const) {
    const x = new Tensor('float32', [1, 2, 3, 4, 5, 6], [6]);
    const s = new Tensor('float32', [rows - 1, 6 / rows - 1], [2]);
    const { z } = await session.run({ x, s });
    t.deepEqual([...z!.data], expected, `${rows} rows`);
  }
  await session.release();
  await runtime.close();
});

test('a session: memory is flat over a thousand runs', async (t) => {
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(small(), { runtime });
  await session.run({ x: X() });
  const before = runtime.memory();
  for (let i = 0; i < 1000; i++) await session.run({ x: X() });
  t.deepEqual(runtime.memory(), before);
  await session.release();
  await runtime.close();
});

test('a model whose shapes follow from the values of its inputs: asked anew at each run', async (t) => {
  const bytes = modelOf(
    [node('Reshape', ['x', 'shape'], 'y'), node('Transpose', ['y'], 'z', [intsAttribute('perm', [1, 0])])],
    [edge('x', [6]), edge('shape', [2], 'int32')],
    edge('z', [1, 1]),
  );
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(bytes, { runtime });
  const run = async (shape: number[]) => {
    const { z } = await session.run({
      x: new Tensor('float32', [1, 2, 3, 4, 5, 6]),
      shape: new Tensor('int32', shape),
    });
    return [[...z!.dims], [...z!.data]];
  };
  t.deepEqual(await run([2, 3]), [
    [3, 2],
    [1, 4, 2, 5, 3, 6],
  ]);
  t.deepEqual(
    await run([3, 2]),
    [
      [2, 3],
      [1, 3, 5, 2, 4, 6],
    ],
    'and not as the time before',
  );
  await session.release();
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
});

test('constants that are let go come back: as they are, transposed, by places, and for other shapes', async (t) => {
  const side = 144;
  const random = new Random(941);
  const w = random.floats(side * side);
  const nodes = [
    node('MatMul', ['x', 'w'], 'p'),
    node('Gemm', ['p', 'w'], 'q', [intAttribute('transB', 1)]),
    node('Gather', ['w', 'place'], 'g'),
    node('Add', ['q', 'g'], 'z'),
  ];
  const constants = [
    initializer(edge('w', [side, side]), w),
    initializer(edge('place', [1], 'int64'), BigInt64Array.of(3n)),
  ];
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-session-'));
  const file = join(folder, 'model.onnx');
  writeFileSync(file, modelOf(nodes, [edge('x', [0, side])], edge('z', [0, side]), constants));
  const session = await InferenceSession.create(file, { threads: 1, wisdom: false });
  rmSync(folder, { recursive: true });
  const product = (a: ArrayLike<number>, rows: number, at: (k: number, n: number) => number) =>
    Array.from({ length: rows * side }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < side; k++) sum += a[Math.floor(i / side) * side + k]! * at(k, i % side);
      return sum;
    });
  for (const rows of [1, 5, 30]) {
    const x = random.floats(rows * side);
    const p = product(x, rows, (k, n) => w[k * side + n]!);
    const wanted = product(p, rows, (k, n) => w[n * side + k]!).map((v, i) => v + w[3 * side + (i % side)]!);
    for (const turn of ['recorded', 'replayed']) {
      const { z } = await session.run({ x: new Tensor('float32', x, [rows, side]) });
      const worst = wanted.reduce((most, v, i) => Math.max(most, Math.abs(v - Number(z!.data[i]))), 0);
      t.ok(worst < 1e-3, `${rows} rows, ${turn}: off by ${worst.toExponential(1)}`);
    }
  }
  await session.release();
});

test('a file that changes under a session before its weights were read', async (t) => {
  const side = 144;
  const w = new Random(942).floats(side * side);
  const bytes = modelOf([node('MatMul', ['x', 'w'], 'z')], [edge('x', [1, side])], edge('z', [1, side]), [
    initializer(edge('w', [side, side]), w),
  ]);
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-session-'));
  const file = join(folder, 'model.onnx');
  writeFileSync(file, bytes);
  const runtime = await makeRuntime();
  const x = new Tensor('float32', new Float32Array(side).fill(1), [1, side]);
  const make = () => InferenceSession.create(file, { runtime });
  const [early, late, last] = [await make(), await make(), await make()];
  const before = await early.run({ x });
  writeFileSync(
    file,
    bytes.map((byte, at) => (at % 4 === 0 ? byte ^ 1 : byte)),
  );
  utimesSync(file, 1, 1);
  t.equal(await codeOf(last.run({ x })), 'E_MODEL', 'of the same size, too');
  writeFileSync(file, bytes.subarray(0, 100));
  t.equal(await codeOf(late.run({ x })), 'E_MODEL', 'says so');
  t.deepEqual((await early.run({ x })).z!.data, before.z!.data, 'one that has run does not mind');
  t.equal(
    await codeOf(InferenceSession.create(file, { runtime })),
    'E_MODEL',
    'and what is left is no model',
  );
  for (const session of [early, late, last]) await session.release();
  t.equal(runtime.memory().tensors, 0);
  await runtime.close();
  rmSync(folder, { recursive: true });
});
