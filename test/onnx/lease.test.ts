/** Sessions that are given no runtime: which of them share one, and when it ends. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'tape';
import { initializer, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { KEPT_MS, leaseRuntime } from '../../src/onnx/lease.ts';
import { InferenceSession, type SessionOptions } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { runChild } from '../support/bundle.ts';
import { codeOf } from '../support/faulty.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';

const MiB = 2 ** 20;
/** The probe of a machine is made once, whatever these tests run on. */
const OPTIONS: SessionOptions = { threads: 1 };

/** A platform that has one in name only. */
const NO_GPU = { gpu: { requestAdapter: () => Promise.resolve(null) } as never };

const model = () =>
  modelOf([node('MatMul', ['x', 'w'], 'y')], [edge('x', [1, 2])], edge('y', [1, 2]), [
    initializer(edge('w', [2, 2]), Float32Array.of(1, 2, 3, 4)),
  ]);
const open = (options: SessionOptions = OPTIONS) => InferenceSession.create(model(), options);
const closed = ({ runtime }: InferenceSession) => runtime.info.closed;

async function isRight(t: test.Test, session: InferenceSession): Promise<void> {
  const { y } = await session.run({ x: new Tensor('float32', [1, 10], [1, 2]) });
  t.deepEqual([...y!.data], [31, 42], 'it computes');
}

test('sessions with equal options share a runtime, others do not', async (t) => {
  const sessions = await Promise.all([
    open(),
    open({ threads: 1 }),
    open({ threads: 1, numerics: undefined as never, gpu: false }),
    open({ threads: 1, filters: 'small' }),
    open({ numerics: 'fast', threads: 1 }),
    open({ threads: 1, numerics: 'fast' }),
    open({ threads: 1, onEvent: () => undefined }),
    open({ threads: 1, memory: {} }),
    open({ threads: 1, gpu: NO_GPU }),
    open({ threads: 1, runtime: await makeRuntime() }),
  ]);
  const runtimes = sessions.map(({ runtime }) => runtime);
  t.deepEqual(
    runtimes.map((runtime) => runtimes.indexOf(runtime)),
    [0, 0, 0, 0, 4, 4, 6, 7, 8, 9],
  );
  await Promise.all(sessions.map((session) => isRight(t, session)));
  const [first, second, ...others] = sessions;
  await first!.release();
  t.notOk(closed(second!), 'the end of one is not the end of another');
  await isRight(t, second!);
  await Promise.all([second!, ...others].map((session) => session.release()));
  t.deepEqual(
    runtimes.map(({ info }) => info.closed),
    [false, false, false, false, false, false, true, true, true, false],
    'what nobody else can use ends at once, what was given does not',
  );
  await runtimes[9]!.close();
});

test('a runtime waits a moment for the next session', async (t) => {
  const first = await open();
  await first.release();
  await first.release();
  const second = await open();
  t.equal(second.runtime, first.runtime, 'which joins it');
  await sleep(KEPT_MS + 200);
  t.notOk(closed(second), 'and keeps it');
  await isRight(t, second);
  await second.release();
  await sleep(KEPT_MS + 200);
  t.ok(closed(second), 'then it is closed');
  const third = await open();
  t.notEqual(third.runtime, second.runtime, 'and the next session has another');
  await isRight(t, third);
  await third.release();
});

test('a runtime that holds much does not wait', async (t) => {
  const session = await open();
  session.runtime.tensor(new Float32Array((160 * MiB) / 4), [(160 * MiB) / 4]).dispose();
  await session.release();
  t.ok(closed(session));
});

test('large models, and runtimes whose memory has grown, are not shared', async (t) => {
  const small = await leaseRuntime(OPTIONS, 1000);
  const large = await leaseRuntime(OPTIONS, 513 * MiB);
  t.notEqual(large.runtime, small.runtime, 'weights');
  await large.end();
  t.ok(large.runtime.info.closed);
  small.runtime.tensor(new Float32Array((520 * MiB) / 4), [(520 * MiB) / 4]).dispose();
  const next = await leaseRuntime(OPTIONS, 1000);
  t.notEqual(next.runtime, small.runtime, 'memory');
  await small.end();
  const last = await leaseRuntime(OPTIONS, 1000);
  t.equal(last.runtime, next.runtime, 'the end of the one before does not end the one that took its place');
  t.notOk(last.runtime.info.closed);
  await Promise.all([next.end(), last.end()]);
});

test("a runtime that cannot be made, or was closed by somebody, is nobody else's", async (t) => {
  for (let turn = 0; turn < 2; turn++)
    t.equal(await codeOf(open({ threads: 0 })), 'E_ARGUMENT', 'options are read');
  const { Memory } = WebAssembly;
  const others = { threads: 1, workerTimeoutMs: 12_345 };
  Object.assign(WebAssembly, {
    Memory: class {
      constructor() {
        throw new RangeError('could not allocate memory');
      }
    },
  });
  const code = await codeOf(open(others));
  Object.assign(WebAssembly, { Memory });
  t.equal(code, 'E_MEMORY', 'none is to be had');
  const later = await open(others);
  await isRight(t, later);
  await later.release();
  const bad = modelOf([node('Nothing', ['x'], 'y')], [edge('x', [1])], edge('y', [1]));
  t.equal(
    await codeOf(InferenceSession.create(bad, OPTIONS)),
    'E_MODEL',
    'a model that is refused takes no part',
  );
  const session = await open();
  t.equal(await codeOf(open({ threads: 1, gpu: null as never })), 'E_ARGUMENT', 'whoever else has a runtime');
  await session.runtime.close();
  t.equal(await codeOf(session.run({ x: new Tensor('float32', [1, 2], [1, 2]) })), 'E_CLOSED');
  const next = await open();
  await isRight(t, next);
  await session.release();
  t.notOk(closed(next), 'the end of what was closed leaves it alone');
  await next.release();
});

test('a process does not wait for a runtime that is kept', async (t) => {
  const bytes = JSON.stringify([...model()]);
  const { status, stdout, stderr, lingeredMs } = await runChild(`
    const bytes = Uint8Array.from(${bytes});
    const session = await lib.InferenceSession.create(bytes, { threads: 2 });
    const { y } = await session.run({ x: { type: 'float32', data: Float32Array.of(1, 10), dims: [1, 2] } });
    await session.release();
    console.log(...y.data, session.runtime.info.closed);
  `);
  t.equal(status, 0, stderr);
  t.equal(stdout.trim(), '31 42 false');
  t.ok(lingeredMs < KEPT_MS, `${lingeredMs.toFixed(0)} ms`);
});
