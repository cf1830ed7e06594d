/** Threads that each have a memory of their own: the same results, weights that go once, and whatever can happen to a thread. */
import test from 'tape';
import type { ApartMessage, Host, WorkerHandle } from '../../src/backends/wasm/host.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { InferenceSession } from '../../src/onnx/index.ts';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions } from '../../src/ops/types.ts';
import { runChild } from '../support/bundle.ts';
import { algorithmsOf, answersTo, convFault, randomConv, withEpilogue } from '../support/conv-problems.ts';
import { exactHashes, GOLDEN, hashOfAll } from '../support/exact-calls.ts';
import {
  codeOf,
  compiled,
  end,
  failure,
  faultyBytes,
  SLOW_MACHINE,
  silentHandle,
  sleep,
} from '../support/faulty.ts';
import { randomFeeds, slicedConstant, WHOLE_MODELS } from '../support/onnx.ts';
import { wholeProduct, wrong, wrongAsync } from '../support/products.ts';
import { madeUpMachine } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';
import { hangWhenK, trapWhenK } from '../support/wasm-patch.ts';

/** Moving costs nothing: everything that can be cut is. */
const FREE = { callMs: 0, moveGBs: 1e12 };
const product = wholeProduct(300, 60, 70);
const large = wholeProduct(900, 500, 700);

interface Watched extends Host {
  readonly sent: ApartMessage[];
  readonly handles: WorkerHandle[];
}

/** A host that tells what goes to its workers. */
function watching(
  replace?: (nth: number) => WorkerHandle | undefined,
  modules?: ReturnType<typeof compiled>,
): Watched {
  const sent: ApartMessage[] = [];
  const handles: WorkerHandle[] = [];
  return {
    ...nodeHost,
    sent,
    handles,
    startWorker: (start) => {
      const handle =
        replace?.(handles.length) ?? nodeHost.startWorker(modules ? { ...start, modules } : start);
      handles.push(handle);
      const post: WorkerHandle['post'] = (message, transfer) => {
        sent.push(message.type === 'write' ? { ...message, data: new ArrayBuffer(0) } : message);
        sizes.set(sent.at(-1)!, message.type === 'write' ? message.bytes : 0);
        handle.post(message, transfer);
      };
      return { ...handle, post };
    },
  };
}

const sizes = new WeakMap<ApartMessage, number>();
const bytesOf = ({ sent }: Watched) => sent.reduce((sum, message) => sum + (sizes.get(message) ?? 0), 0);
const runsOf = ({ sent }: Watched) => sent.filter(({ type }) => type === 'run').length;

async function make(
  options: RuntimeOptions = {},
  { host = watching(), machine = SLOW_MACHINE }: { host?: Watched; machine?: typeof SLOW_MACHINE } = {},
): Promise<{ rt: Runtime; host: Watched; events: RuntimeEvent[] }> {
  const events: RuntimeEvent[] = [];
  const onEvent = (event: RuntimeEvent) => events.push(event);
  const rt = await createRuntimeWith(
    { threads: 3, wisdom: false, memory: { shared: false }, onEvent, ...options },
    { host, machine, apartProfile: FREE },
  );
  return { rt, host, events };
}

test('apart: exact results have the bytes that one memory gives', async (t) => {
  const { rt, host, events } = await make({ numerics: 'exact' });
  t.deepEqual(rt.info.threads, {
    requested: 3,
    actual: 3,
    memory: 'private',
    reason: 'each has a memory of its own: memory.shared is false',
  });
  t.equal(hashOfAll(await exactHashes(rt, false)), GOLDEN, 'awaited');
  t.ok(runsOf(host) > 60, `${runsOf(host)} parts were computed there`);
  t.equal(hashOfAll(await exactHashes(rt, true)), GOLDEN, 'calls that block compute here');
  t.deepEqual(events, [], 'nothing to tell');
  const profile = await rt.profile(async () => (await rt.matmul(product.a, product.b)).dispose());
  t.deepEqual(
    profile.spans.map(({ backend }) => backend),
    ['apart'],
    'a profile tells where it was',
  );
  await rt.close();
});

test(seeded('apart: 200 random convolutions, their weights given or kept'), async (t) => {
  const { rt, host } = await make({}, { machine: madeUpMachine(77) });
  const random = new Random(4410);
  const faults: string[] = [];
  const before = rt.memory();
  for (let turn = 0; turn < 200; turn++) {
    const plain = withEpilogue(random, randomConv(random));
    const algorithm = random.chance(0.5) ? random.pick(algorithmsOf(plain)) : undefined;
    const asked = algorithm ? { ...plain, algorithm } : plain;
    const answer = answersTo(plain)(algorithm);
    const kept = random.chance(0.5)
      ? rt.prepack(rt.tensor(asked.w.data, asked.w.shape), {
          op: 'conv',
          ...(algorithm ? { algorithm } : {}),
        })
      : undefined;
    const manner = { sync: false, into: random.chance(0.5), answer, ...(kept ? { weights: kept } : {}) };
    const { algorithm: _algorithm, ...open } = asked;
    for (let again = 0; again < (kept ? 2 : 1); again++) {
      const fault = await convFault(rt, random, kept ? open : asked, manner);
      if (fault) faults.push(fault);
    }
    kept?.dispose();
  }
  t.deepEqual(faults.slice(0, 3), [], `all within their bounds, ${faults.length} are not`);
  t.ok(runsOf(host) > 100, `${runsOf(host)} parts were computed there`);
  t.equal(rt.memory().byOwner.scratch, before.byOwner.scratch, 'no scratch is left');
  await rt.close();
});

test('apart: weights go once, and are given back there', async (t) => {
  const { rt, host } = await make();
  const { apart } = coreOf(rt);
  const [x, w] = [rt.zeros([1, 64, 20, 20]), rt.zeros([96, 64, 3, 3])];
  const cases = [
    {
      kept: rt.prepack(large.b, { m: 900 }),
      call: (kept: never) => rt.matmul(large.a, kept),
      weights: 4 * 500 * 700,
    },
    {
      kept: rt.prepack(w, { op: 'conv' }),
      call: (kept: never) => rt.conv2d(x, kept, { padding: 1 }),
      weights: 4 * w.size,
    },
  ];
  for (const { kept, call, weights } of cases) {
    (await call(kept as never)).dispose();
    const before = apart!.used;
    const from = bytesOf(host);
    (await call(kept as never)).dispose();
    const again = bytesOf(host) - from;
    (await call(kept as never)).dispose();
    t.equal(bytesOf(host) - from, 2 * again, 'each further call sends as much');
    t.equal(apart!.used, before, 'and keeps no more there');
    (kept as Disposable)[Symbol.dispose]();
    const fresh = bytesOf(host);
    t.equal(await wrongAsync(rt, product), undefined);
    t.ok(bytesOf(host) > fresh, 'other work is sent');
    t.ok(
      apart!.used <= before - weights,
      `${before - apart!.used} bytes are given back, at least the ${weights} of the weights`,
    );
  }
  await rt.close();
});

test('apart: overlapping calls, urgent ones first', async (t) => {
  const { rt } = await make();
  const order: string[] = [];
  const calls = (['background', 'normal', 'interactive'] as const).flatMap((priority) =>
    Array.from({ length: 6 }, async () => {
      const fault = wrong(await rt.matmul(product.a, product.b, { priority }), product);
      order.push(priority);
      return fault;
    }),
  );
  t.ok(
    (await Promise.all(calls)).every((fault) => fault === undefined),
    'all are right',
  );
  t.ok(order.lastIndexOf('interactive') < order.lastIndexOf('background'), order.join(' '));
  const progress: number[] = [];
  const whole = await rt.matmul(large.a, large.b, {
    onProgress: ({ done, total }) => progress.push(done / total),
  });
  t.equal(wrong(whole, large), undefined);
  t.ok(progress.length >= 3 && progress.at(-1) === 1, `progress: ${progress.join(' ')}`);
  await rt.close();
});

test('apart: abort, pause, close', async (t) => {
  const { rt } = await make();
  t.equal(await wrongAsync(rt, large), undefined);
  const { used } = rt.memory();
  for (let turn = 0; turn < 20; turn++) {
    const control = new AbortController();
    const call = rt.matmul(large.a, large.b, { signal: control.signal });
    if (turn % 2) await sleep(turn / 2);
    control.abort(new Error('enough'));
    const outcome = await call.then((tensor) => wrong(tensor, large) ?? 'right', String);
    t.ok(/enough|right/.test(outcome), outcome);
    // all of the memory that the call had, and more
    const guard = rt.tensor(new Float32Array(4 * 900 * 700).fill(7), [4, 900, 700]);
    // every thread does it after what was sent before
    t.equal(await wrongAsync(rt, product), undefined, 'the next call is right');
    t.ok(
      guard.data.every((value) => value === 7),
      'nobody writes where the result would have been',
    );
    guard.dispose();
    t.equal(rt.memory().used, used, 'memory is back');
  }
  await rt.pause();
  let done = false;
  const call = wrongAsync(rt, product).finally(() => {
    done = true;
  });
  await sleep(30);
  t.equal(done, false, 'calls wait while all stand aside');
  rt.resume();
  t.equal(await call, undefined);
  rt.budget({ threads: 1 });
  t.equal(await wrongAsync(rt, product), undefined, 'fewer threads');
  rt.budget({ threads: 3 });
  const pending = [codeOf(rt.matmul(large.a, large.b)), codeOf(rt.matmul(large.a, large.b))];
  await sleep(1);
  await rt.close();
  t.deepEqual(await Promise.all(pending), ['E_CLOSED', 'E_CLOSED']);
});

test('apart: a thread that dies, traps or hangs', async (t) => {
  const { rt, host, events } = await make();
  t.equal(await wrongAsync(rt, product), undefined);
  for (let turn = 0; turn < 5; turn++) {
    const call = codeOf(rt.matmul(large.a, large.b));
    await sleep(2 * turn);
    const ended = end([host.handles.at(-1)!]);
    t.ok(['E_WORKER_DIED', 'none'].includes(await call), 'the caller hears of it');
    await ended;
    t.equal(await wrongAsync(rt, product), undefined, 'the next call is right');
  }
  t.ok(
    events.some(({ type }) => type === 'worker-lost'),
    `${events.length} events`,
  );
  await rt.close();

  const bad = wholeProduct(300, 77, 70);
  const trapping = await make({}, { host: watching(undefined, compiled(faultyBytes(trapWhenK(77)))) });
  t.equal(await codeOf(trapping.rt.matmul(bad.a, bad.b)), 'E_KERNEL', 'a trap');
  t.equal(await wrongAsync(trapping.rt, product), undefined, 'the thread lives on');
  t.deepEqual(trapping.events, []);
  await trapping.rt.close();

  const hanging = await make(
    { workerTimeoutMs: 400 },
    { host: watching(undefined, compiled(faultyBytes(hangWhenK(77)))) },
  );
  t.equal(await wrongAsync(hanging.rt, product), undefined);
  t.equal(await codeOf(hanging.rt.matmul(bad.a, bad.b)), 'E_WORKER_TIMEOUT', 'silence');
  t.equal(await wrongAsync(hanging.rt, product), undefined, 'others take their place');
  await hanging.rt.close();
});

test('apart: threads that do not come up', async (t) => {
  const { rt, events } = await make({ workerTimeoutMs: 100 }, { host: watching(() => silentHandle()) });
  t.equal(await wrongAsync(rt, product), undefined, 'the call is computed here');
  t.equal(rt.info.threads.actual, 1);
  t.match(rt.info.threads.reason, /none came up/, rt.info.threads.reason);
  const lost = events.filter(({ type }) => type === 'worker-lost').length;
  t.ok(lost > 0, 'an event tells it');
  t.equal(await wrongAsync(rt, product), undefined);
  t.equal(events.filter(({ type }) => type === 'worker-lost').length, lost, 'and is not tried again at once');
  await rt.close();
  const refusing = watching(() => {
    throw new Error('planted: no worker');
  });
  const other = await make({}, { host: refusing });
  t.equal(await wrongAsync(other.rt, product), undefined, 'a host that starts none');
  t.match(other.rt.info.threads.reason, /planted/);
  await other.rt.close();
});

test('apart: memory that runs out there', async (t) => {
  const { rt } = await make({ memory: { shared: false, maximum: 16 * 2 ** 20 }, threads: 2 });
  const tall = rt.zeros([1400, 1400]);
  t.equal(await codeOf(rt.matmul(tall, { data: new Float32Array(1400), shape: [1400, 1] })), 'none');
  const error = await failure(rt.matmul(tall, tall));
  t.match(String(error), /E_MEMORY/, 'is an error');
  t.equal(await wrongAsync(rt, product), undefined, 'after which all goes on');
  await rt.close();
});

const SLICED = {
  name: 'a network that reads a constant from the middle on',
  file: slicedConstant(new Random(4412)),
  from: 'here',
  inputs: { x: [1, 8, 9, 10] },
};

for (const { name, file, from, inputs } of [...WHOLE_MODELS, SLICED])
  test(seeded(`apart: ${name} is run on another thread`), { skip: !file && `no ${from}` }, async (t) => {
    const here = await createRuntimeWith({ threads: 1, wisdom: false }, { machine: SLOW_MACHINE });
    const { rt, host, events } = await make();
    const [one, two] = await Promise.all(
      [here, rt].map((runtime) => InferenceSession.create(file!, { runtime })),
    );
    const random = new Random(4411);
    for (let turn = 0; turn < 4; turn++) {
      const feeds = randomFeeds(random, inputs);
      const [wanted, got] = [await one!.run(feeds), await two!.run(feeds)];
      const odd = Object.entries(wanted).filter(([output, { data }]) => {
        const other = got[output]!.data as Float32Array;
        return (
          data.length !== other.length ||
          (data as Float32Array).some((value, i) => !Object.is(value, other[i]))
        );
      });
      t.deepEqual(
        odd.map(([output]) => output),
        [],
        `run ${turn}: the same bytes`,
      );
      // the one that has the model is among them
      if (turn === 1) await end(host.handles);
    }
    t.ok(runsOf(host) >= 3, `${runsOf(host)} runs were another thread's`);
    t.ok(
      events.every(({ type }) => type === 'worker-lost'),
      'no event but of the thread that was ended',
    );
    const feeds = randomFeeds(random, inputs);
    const control = new AbortController();
    const sent = runsOf(host);
    const aborted = failure(two!.run(feeds, { signal: control.signal }));
    // as soon as it was sent: no answer can come before this turn of the event loop ends
    for (let i = 0; i < 10_000 && runsOf(host) === sent; i++) await undefined;
    control.abort(new Error('enough'));
    t.equal(runsOf(host), sent + 1, 'a run was sent');
    t.match(String(await aborted), /enough/, 'and is aborted');
    const before = coreOf(rt).apart!.used;
    await two!.run(feeds);
    t.equal(coreOf(rt).apart!.used, before, 'further runs take no more memory there');
    await Promise.all([one!.release(), two!.release()]);
    t.ok(coreOf(rt).apart!.used < before / 2, 'what is released is given back there');
    await Promise.all([here.close(), rt.close()]);
  });

test('apart: what is refused', async (t) => {
  t.equal(await codeOf(make({ memory: { shared: 1 } as never })), 'E_ARGUMENT');
  t.equal(await codeOf(make({ policy: 'strict' })), 'E_FALLBACK', 'a strict caller wants one memory');
});

test('apart: the process ends by itself', async (t) => {
  const { status, stdout, stderr } = await runChild(`
    const rt = await lib.createRuntimeWith(
      { threads: 2, wisdom: false, memory: { shared: false } },
      { machine: lib.SLOW_MACHINE, apartProfile: { callMs: 0, moveGBs: 1e12 } });
    const product = lib.wholeProduct(300, 60, 70);
    console.log(await lib.wrongAsync(rt, product) ?? 'right');`);
  t.equal(status, 0, stderr);
  t.match(stdout, /right/);
});
