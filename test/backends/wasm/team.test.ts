/** What can go wrong in a thread, made to go wrong: every caller hears of it, and the next call is right. */
import test from 'tape';
import { WasmBackend } from '../../../src/backends/wasm/backend.ts';
import type { Host } from '../../../src/backends/wasm/host.ts';
import { TesseraeError } from '../../../src/core/errors.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions } from '../../../src/ops/types.ts';
import {
  codeOf,
  compiled,
  failure,
  faultyBytes,
  SLOW_MACHINE,
  silentHandle,
  sleep,
  until,
  watchedHost,
} from '../../support/faulty.ts';
import { wholeProduct, wrongAsync, wrongSync } from '../../support/products.ts';
import { hangWhenK, trapWhenK } from '../../support/wasm-patch.ts';

/** k of a product that the faulty kernels fail at; the self-check does not use it. */
const BAD_K = 77;
const good = wholeProduct(130, 64, 70);
const small = wholeProduct(9, 12, 17);
const bad = wholeProduct(520, BAD_K, 520);

const trapping = compiled(faultyBytes(trapWhenK(BAD_K)));
const hanging = compiled(faultyBytes(hangWhenK(BAD_K)));

interface Team {
  readonly rt: Runtime;
  readonly lost: { worker: number; reason: string }[];
}

async function makeTeam(host: Host, options: RuntimeOptions = {}): Promise<Team> {
  const lost: Team['lost'] = [];
  const onEvent = (event: RuntimeEvent) => {
    if (event.type === 'worker-lost') lost.push(event);
  };
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false, onEvent, ...options },
    { host, machine: SLOW_MACHINE },
  );
  return { rt, lost };
}

/** Whether the runtime works as if nothing had been: the team, and the calling thread with help. */
async function faultAfterwards(rt: Runtime): Promise<string | undefined> {
  return (
    (await wrongAsync(rt, good)) ??
    wrongSync(rt, good) ??
    (await wrongAsync(rt, small)) ??
    wrongSync(rt, small)
  );
}

test('a kernel that traps in a worker', async (t) => {
  const { rt, lost } = await makeTeam(watchedHost((start) => ({ ...start, modules: trapping })));
  await rt.prepare(['130x64x70']);
  await rt.matmul(good.a, good.b);
  for (const turn of [1, 2, 3]) {
    const used = rt.memory().used;
    const error = await failure(rt.matmul(bad.a, bad.b));
    t.ok(error instanceof TesseraeError && error.code === 'E_KERNEL', `turn ${turn}: ${String(error)}`);
    t.match(String((error as TesseraeError).values.kernel), /^f32_/, 'the error names the kernel');
    if (turn > 1) t.equal(rt.memory().used, used, 'all memory is back');
    t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
  }
  t.equal(lost.length, 0, 'no worker was lost');
  await rt.close();
});

test('overlapping calls, every other one of which traps', async (t) => {
  const { rt } = await makeTeam(watchedHost((start) => ({ ...start, modules: trapping })));
  const calls = Array.from({ length: 40 }, (_, i) =>
    i % 2 ? codeOf(rt.matmul(bad.a, bad.b)) : wrongAsync(rt, i % 4 ? good : small),
  );
  const outcomes = await Promise.all(calls);
  t.deepEqual(
    outcomes.map((outcome) => outcome ?? 'right'),
    outcomes.map((_, i) => (i % 2 ? 'E_KERNEL' : 'right')),
    'each call has its own outcome',
  );
  await rt.close();
});

test('a kernel that traps on the calling thread', async (t) => {
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false },
    { bytes: faultyBytes(trapWhenK(BAD_K)), machine: SLOW_MACHINE },
  );
  t.equal(rt.explain('4x4x4').quarantined.length, 0, 'the self-check does not see this fault');
  for (let turn = 0; turn < 3; turn++) {
    t.equal(await codeOf(() => rt.matmulSync(bad.a, bad.b)), 'E_KERNEL', 'matmulSync throws E_KERNEL');
    t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
  }
  await rt.close();
});

test('a kernel that traps in a helper of a sync call', async (t) => {
  const { rt } = await makeTeam(watchedHost((start) => ({ ...start, modules: trapping })));
  await rt.prepare(['520x77x520']);
  const outcomes = new Set<string>();
  // a helper that wakes late may find nothing left to do
  for (let turn = 0; turn < 200 && !outcomes.has('E_KERNEL'); turn++) {
    outcomes.add(await codeOf(() => rt.matmulSync(bad.a, bad.b).dispose()));
  }
  t.ok(outcomes.has('E_KERNEL'), 'the caller gets E_KERNEL');
  outcomes.delete('none');
  t.deepEqual([...outcomes], ['E_KERNEL'], 'and nothing else');
  t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
  await rt.close();
});

test('a worker that is terminated in the middle of a call', async (t) => {
  const host = watchedHost((start, nth) => (nth === 0 ? { ...start, modules: hanging } : start));
  const { rt, lost } = await makeTeam(host);
  await rt.prepare(['520x77x520']);
  const used = rt.memory().used;
  let call: Promise<unknown> = Promise.resolve();
  // on a busy machine worker 1 may have done everything before worker 0 woke: then nothing hangs, and once more
  for (let hangs = false; !hangs; ) {
    call = failure(rt.matmul(bad.a, bad.b).then((c) => c.dispose()));
    // worker 0 hangs in a kernel meanwhile, worker 1 has done the rest
    hangs = await Promise.race([call.then(() => false), sleep(100).then(() => true)]);
  }
  await host.started[0]!.handle.terminate();
  const error = await call;
  t.ok(error instanceof TesseraeError && error.code === 'E_WORKER_DIED', String(error));
  t.equal(lost.length, 1, 'one event');
  t.equal(lost[0]?.worker, 0, 'that names the worker');
  t.equal(host.started.length, 3, 'it was replaced');
  t.equal(rt.memory().byOwner.scratch, 0, 'scratch is back');
  t.ok(rt.memory().used <= used + 1024, 'memory is back');
  t.equal(await wrongAsync(rt, bad), undefined, 'the same call is right now');
  t.equal(await faultAfterwards(rt), undefined, 'and others');
  await rt.close();
});

test('a worker that is terminated while it has nothing to do', async (t) => {
  const host = watchedHost();
  const { rt, lost } = await makeTeam(host);
  await rt.prepare(['520x77x520']);
  for (const { handle } of [...host.started]) await handle.terminate();
  t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
  t.equal(lost.length, 2, 'two events');
  t.ok(host.started.length >= 4, 'both were replaced');
  await rt.close();
});

test('workers that get stuck in the middle of a call', async (t) => {
  const host = watchedHost((start, nth) => (nth < 2 ? { ...start, modules: hanging } : start));
  const { rt, lost } = await makeTeam(host, { workerTimeoutMs: 400 });
  await rt.prepare(['520x77x520']);
  const queued = [bad, good].map((product) => wrongAsync(rt, product));
  const error = await failure(queued[0]!);
  t.ok(error instanceof TesseraeError && error.code === 'E_WORKER_TIMEOUT', String(error));
  t.equal(await queued[1], undefined, 'the call behind it is right');
  t.deepEqual(lost.map(({ worker }) => worker).sort(), [0, 1], 'an event for each');
  t.equal(host.started.length, 4, 'both were replaced');
  t.equal(await wrongAsync(rt, bad), undefined, 'the same call is right now');
  t.equal(await faultAfterwards(rt), undefined, 'and others');
  t.equal(rt.memory().byOwner.scratch, 0, 'scratch is back');
  await rt.close();
});

test('a call that is aborted while its workers are stuck', async (t) => {
  const host = watchedHost((start, nth) => (nth < 2 ? { ...start, modules: hanging } : start));
  const { rt } = await makeTeam(host, { workerTimeoutMs: 300 });
  await rt.prepare(['520x77x520']);
  const abort = new AbortController();
  const call = failure(rt.matmul(bad.a, bad.b, { signal: abort.signal }));
  await sleep(50);
  const reason = new Error('enough');
  abort.abort(reason);
  t.equal(await call, reason, 'it rejects with the reason of the abort');
  t.equal(await wrongAsync(rt, bad), undefined, 'the next call is right');
  await rt.close();
});

test('a helper that gets stuck in a sync call', async (t) => {
  const host = watchedHost((start, nth) => (nth === 0 ? { ...start, modules: hanging } : start));
  const { rt } = await makeTeam(host, { workerTimeoutMs: 200 });
  await rt.prepare(['520x77x520']);
  let code = 'none';
  for (let turn = 0; turn < 200 && code === 'none'; turn++) {
    code = await codeOf(() => rt.matmulSync(bad.a, bad.b).dispose());
  }
  t.equal(code, 'E_WORKER_TIMEOUT', 'the caller gets E_WORKER_TIMEOUT');
  t.ok(rt.memory().byOwner.scratch > 0, 'what the stuck thread might still write to is not given out');
  t.equal(wrongSync(rt, good), undefined, 'the next call is right, before the stuck thread has ended');
  t.ok(await until(() => host.started[0]!.gone), 'the stuck thread is ended');
  t.equal(rt.memory().byOwner.scratch, 0, 'it is given back then');
  t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
  await rt.close();
});

test('one worker never answers', async (t) => {
  for (const silent of [0, 1]) {
    const host = watchedHost((start) => (start.index === silent ? silentHandle() : start));
    const { rt, lost } = await makeTeam(host, { workerTimeoutMs: 1000 });
    t.equal(await wrongAsync(rt, good), undefined, `worker ${silent}: the other one does the work`);
    t.equal(lost.length, 0, 'without waiting for the silent one');
    t.equal(await wrongAsync(rt, small), undefined, 'small calls find a thread too');
    t.ok(await until(() => lost.length > 0), 'the silent one is reported');
    t.deepEqual(
      lost.map(({ worker }) => worker),
      [silent],
      'once',
    );
    t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
    t.equal(host.started.length, 2, 'it is not tried again at once');
    await rt.close();
  }
});

test('no worker ever answers', async (t) => {
  for (const isDeaf of [false, true]) {
    const { rt, lost } = await makeTeam(
      watchedHost(() => silentHandle(isDeaf)),
      { workerTimeoutMs: 200 },
    );
    const [first, second] = await Promise.all([wrongAsync(rt, good), wrongAsync(rt, bad)]);
    t.equal(first ?? second, undefined, 'the calling thread does the work');
    t.equal(lost.length, 2, 'both are reported');
    t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
    await rt.close();
  }
});

test('workers cannot be started', async (t) => {
  for (const failing of [[0], [0, 1]]) {
    const host = watchedHost((start) => {
      if (failing.includes(start.index)) throw new Error('no more threads');
      return start;
    });
    const { rt, lost } = await makeTeam(host);
    t.equal(await faultAfterwards(rt), undefined, `without ${failing}: the calls are right`);
    t.deepEqual(
      lost.map(({ worker }) => worker),
      failing,
      'each is reported once',
    );
    t.match(lost[0]!.reason, /no more threads/, 'with the reason');
    await rt.prepare(['130x64x70']);
    t.pass('prepare does not wait for them');
    await rt.close();
  }
});

test('threads that come up for a run to come leave the calling thread a core', async (t) => {
  for (const { cores, wanted, started } of [
    { cores: 1, wanted: 2, started: 1 },
    { cores: 2, wanted: 2, started: 1 },
    { cores: 4, wanted: 2, started: 2 },
    { cores: 4, wanted: 8, started: 3 },
  ]) {
    const watched = watchedHost(() => silentHandle());
    const backend = new WasmBackend({
      host: { ...watched, engine: { ...watched.engine, cores } },
      modules: compiled(),
      initialMemory: 0,
      maximumMemory: 2 ** 24,
      workerTimeoutMs: 1000,
      onEvent: () => undefined,
    });
    backend.rouse(wanted);
    backend.rouse(wanted);
    t.equal(watched.started.length, started, `${wanted} threads on ${cores} cores`);
    await backend.close();
  }
});

test('an event listener that throws spoils nothing', async (t) => {
  const host = watchedHost();
  const thrown: unknown[] = [];
  const listen = (error: unknown) => thrown.push(error);
  process.on('uncaughtException', listen);
  const rt = await createRuntimeWith(
    {
      threads: 2,
      wisdom: false,
      onEvent: () => {
        throw new Error('the listener');
      },
    },
    { host, machine: SLOW_MACHINE },
  );
  await rt.prepare(['130x64x70']);
  await host.started[0]!.handle.terminate();
  t.equal(await faultAfterwards(rt), undefined, 'the next calls are right');
  process.off('uncaughtException', listen);
  t.deepEqual(thrown.map(String), ['Error: the listener'], 'the error is not swallowed');
  await rt.close();
});
