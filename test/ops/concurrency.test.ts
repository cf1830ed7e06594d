/** Calls that overlap, runtimes side by side, a free event loop, aborts and progress. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import test from 'tape';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Progress, Runtime, RuntimeOptions } from '../../src/ops/types.ts';
import { moduleFile, runChild } from '../support/bundle.ts';
import { failure, SLOW_MACHINE, sleep } from '../support/faulty.ts';
import { wholeProduct, wrong, wrongAsync, wrongSync } from '../support/products.ts';
import { madeUpMachine } from '../support/runtime.ts';

/** A delay of the event loop that users notice; what was measured is in the assertion's text. */
const DELAY_MS = 50;
/** Bound for an abort on a busy test machine: the aim is 50 ms, and the median is printed. */
const ABORT_MS = 250;

const EXTENTS: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [3, 4, 5],
  [1, 500, 300],
  [64, 64, 64],
  [17, 300, 33],
  [130, 64, 70],
  [200, 200, 1],
  [250, 100, 260],
];
const products = EXTENTS.map(([m, k, n], salt) => wholeProduct(m, k, n, salt));

/** Every async call goes to the team. */
function onTeam(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: SLOW_MACHINE });
}

/** Short calls run on the calling thread, as on a real machine. */
function mixed(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: madeUpMachine(3) });
}

test('overlapping calls give what serial calls give', async (t) => {
  for (const [name, make] of Object.entries({ onTeam, mixed })) {
    const rt = await make();
    const many = Array.from({ length: 48 }, (_, i) => products[(i * 5) % products.length]!);
    const serial: Float32Array[] = [];
    for (const { a, b } of many) {
      using c = await rt.matmul(a, b);
      serial.push(c.data.slice());
    }
    const results = await Promise.all(many.map(({ a, b }) => rt.matmul(a, b)));
    const differing = results.filter((result, i) =>
      result.data.some((value, at) => value !== serial[i]![at]),
    );
    t.equal(differing.length, 0, `${name}: 48 calls at once`);
    t.equal(
      results.map((result, i) => wrong(result, many[i]!)).find(Boolean),
      undefined,
      `${name}: and right`,
    );
    await rt.close();
  }
});

test('sync calls while async ones are under way', async (t) => {
  const rt = await onTeam();
  const large = wholeProduct(700, 300, 700);
  for (let turn = 0; turn < 10; turn++) {
    const calls = [large, products[5]!].map((product) => wrongAsync(rt, product));
    const faults = products.map((product) => wrongSync(rt, product));
    faults.push(...(await Promise.all(calls)));
    const fault = faults.find(Boolean);
    if (fault) t.fail(fault);
  }
  t.pass('all are right');
  await rt.close();
});

test('two runtimes in one process', async (t) => {
  const [x, y] = [await onTeam(), await mixed({ numerics: 'exact' })];
  const faults = await Promise.all(
    products.flatMap((product) => [wrongAsync(x, product), wrongAsync(y, product)]),
  );
  t.equal(faults.find(Boolean), undefined, 'both at once are right');
  await x.close();
  t.equal(await wrongAsync(y, products[7]!), undefined, 'one works on when the other is closed');
  await y.close();
});

const IN_WORKER = `
import { parentPort } from 'node:worker_threads';
const rt = await lib.createRuntimeWith({ threads: 2, wisdom: false }, { machine: lib.SLOW_MACHINE });
const products = [[64, 64, 64], [130, 64, 70], [1, 300, 200], [300, 200, 250]].map((e, i) => lib.wholeProduct(...e, i));
`;

test('a runtime in each of several worker threads at once', async (t) => {
  const file = await moduleFile(
    'in-worker',
    `${IN_WORKER}
    const faults = [];
    for (let turn = 0; turn < 10; turn++) {
      faults.push(...(await Promise.all(products.map((p) => lib.wrongAsync(rt, p)))));
      faults.push(...products.map((p) => lib.wrongSync(rt, p)));
    }
    await rt.close();
    parentPort.postMessage(faults.filter(Boolean));`,
  );
  const outcomes = await Promise.all(
    Array.from({ length: 4 }, () => {
      return new Promise<{ faults: unknown; code: number }>((resolve, reject) => {
        const worker = new Worker(file);
        let faults: unknown;
        worker.on('message', (message: unknown) => {
          faults = message;
        });
        worker.on('error', reject);
        worker.on('exit', (code) => resolve({ faults, code }));
      });
    }),
  );
  t.deepEqual(
    outcomes,
    Array(4).fill({ faults: [], code: 0 }),
    'all are right, and each thread ends by itself',
  );
});

test('host threads that are terminated in the middle of a call', async (t) => {
  const file = await moduleFile(
    'to-be-ended',
    `${IN_WORKER}
    parentPort.postMessage('running');
    for (;;) {
      const calls = products.map((p) => lib.wrongAsync(rt, p));
      lib.wrongSync(rt, products[3]);
      await Promise.all(calls);
    }`,
  );
  const { status, stdout, stderr } = await runChild(
    `import { Worker } from 'node:worker_threads';
    for (let cycle = 0; cycle < 20; cycle++) {
      const worker = new Worker(${JSON.stringify(file)});
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await new Promise((resolve) => setTimeout(resolve, cycle % 7));
      await worker.terminate();
    }
    const rt = await lib.createRuntimeWith({ threads: 2, wisdom: false }, { machine: lib.SLOW_MACHINE });
    console.log((await lib.wrongAsync(rt, lib.wholeProduct(130, 64, 70))) ?? 'right');`,
  );
  t.equal(status, 0, `20 times, and the process lives ${stderr}`);
  t.equal(stdout.trim(), 'right', 'and a runtime of its own works');
});

/** A product that takes about `ms` here. */
async function longProduct(rt: Runtime, ms: number) {
  const [k, n] = [1024, 1024];
  const b = rt.zeros([k, n]);
  const run = async (m: number) => {
    using a = rt.zeros([m, k]);
    const start = performance.now();
    (await rt.matmul(a, b)).dispose();
    return performance.now() - start;
  };
  await run(512);
  const rate = 1024 / Math.min(await run(1024), await run(1024));
  return { a: rt.zeros([Math.max(512, Math.round(rate * ms)), k]), b };
}

/** The 99th percentile of the event loop's delay while something goes on, in milliseconds; the best of three. */
async function loopDelay(work: () => Promise<unknown>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 3 && best >= DELAY_MS; attempt++) {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await work();
    delay.disable();
    best = Math.min(best, delay.percentile(99) / 1e6);
  }
  return best;
}

test('a long call leaves the event loop free, and can be aborted', async (t) => {
  const rt = await createRuntimeWith({ threads: 2, wisdom: false }, {});
  const { a, b } = await longProduct(rt, 2000);
  const started = performance.now();
  const delay = await loopDelay(async () => (await rt.matmul(a, b)).dispose());
  const took = performance.now() - started;
  t.ok(delay < DELAY_MS, `p99 of the delay is ${delay.toFixed(1)} ms during ${took.toFixed(0)} ms`);

  const used = rt.memory().used;
  const settled: number[] = [];
  for (let turn = 0; turn < 5; turn++) {
    const abort = new AbortController();
    const call = failure(rt.matmul(a, b, { signal: abort.signal }));
    await sleep(100);
    const at = performance.now();
    abort.abort();
    const error = await call;
    settled.push(performance.now() - at);
    if (!(error instanceof DOMException && error.name === 'AbortError')) t.fail(`got ${String(error)}`);
    t.equal(rt.memory().used, used, 'memory is back');
  }
  settled.sort((x, y) => x - y);
  t.ok(settled[2]! < ABORT_MS, `aborts settle in ${settled.map((ms) => ms.toFixed(1)).join(', ')} ms`);
  t.equal(await wrongAsync(rt, products[5]!), undefined, 'the next call is right');

  const seen: Progress[] = [];
  (await rt.matmul(a, b, { onProgress: (progress) => seen.push(progress) })).dispose();
  const last = seen.at(-1)!;
  t.ok(seen.length > 2, `progress was told ${seen.length} times`);
  t.ok(
    seen.every(({ done }, i) => i === 0 || done >= seen[i - 1]!.done),
    'it never goes back',
  );
  t.ok(
    seen.every(({ phase, total }) => phase === 'run' && total === last.total),
    'the total stays',
  );
  t.equal(last.done, last.total, 'it ends at the total');

  const reason = new Error('no more');
  const error = await failure(
    rt.matmul(a, b, {
      onProgress: () => {
        throw reason;
      },
    }),
  );
  t.equal(error, reason, 'a progress listener that throws ends the call with its error');
  t.equal(rt.memory().byOwner.scratch, 0, 'scratch is back');
  a.dispose();
  b.dispose();
  t.equal(rt.memory().byOwner.tensors, 0, 'and the result');
  await rt.close();
});

test('many short calls in a row leave the event loop its turns', async (t) => {
  const rt = await mixed();
  const { a, b } = products[3]!;
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  const delay = await loopDelay(async () => {
    const end = performance.now() + 700;
    while (performance.now() < end) (await rt.matmul(a, b)).dispose();
  });
  clearInterval(timer);
  t.ok(delay < DELAY_MS, `p99 of the delay is ${delay.toFixed(1)} ms`);
  t.ok(ticks > 10, `a timer of 10 ms fired ${ticks} times`);
  await rt.close();
});

test('abort before the start', async (t) => {
  for (const make of [onTeam, mixed]) {
    const rt = await make();
    await wrongAsync(rt, products[5]!);
    const before = rt.memory();
    const { a, b } = products[5]!;
    const error = await failure(rt.matmul(a, b, { signal: AbortSignal.abort() }));
    t.equal((error as Error).name, 'AbortError', 'AbortError');
    t.equal(
      await failure(rt.matmul(a, b, { signal: AbortSignal.abort('mine') })),
      'mine',
      "the caller's reason",
    );
    t.deepEqual(rt.memory(), before, 'nothing was taken');
    t.equal(await wrongAsync(rt, products[5]!), undefined, 'the next call is right');
    await rt.close();
  }
});

test('abort one of four queued calls', async (t) => {
  const rt = await onTeam();
  const large = wholeProduct(500, 200, 500);
  for (let victim = 0; victim < 4; victim++) {
    const aborts = Array.from({ length: 4 }, () => new AbortController());
    const calls = aborts.map(({ signal }) => rt.matmul(large.a, large.b, { signal }));
    aborts[victim]!.abort();
    const outcomes = await Promise.all(calls.map((call) => failure(call)));
    t.deepEqual(
      outcomes.map((error) => (error === undefined ? 'done' : (error as Error).name)),
      outcomes.map((_, i) => (i === victim ? 'AbortError' : 'done')),
      `number ${victim} alone`,
    );
    const results = await Promise.allSettled(calls);
    const faults = results.map((result) => result.status === 'fulfilled' && wrong(result.value, large));
    t.equal(faults.find(Boolean), undefined, 'the others are right');
  }
  t.equal(rt.memory().byOwner.scratch + rt.memory().byOwner.tensors, 0, 'memory is back');
  await rt.close();
});

test('abort a call that tunes, while another waits for the same plan', async (t) => {
  const rt = await mixed({ effort: 'measure' });
  const abort = new AbortController();
  const { a, b } = products[5]!;
  const first = failure(rt.matmul(a, b, { signal: abort.signal }));
  const second = wrongAsync(rt, products[5]!);
  setTimeout(() => abort.abort(), 20);
  t.equal(((await first) as Error).name, 'AbortError', 'the first is aborted');
  t.equal(await second, undefined, 'the second is right');
  t.equal(rt.explain('130x64x70').source, 'wisdom', 'and has a measured plan');
  t.equal(rt.memory().byOwner.scratch, 0, 'memory is back');
  await rt.close();
});

test('an abort after the end changes nothing', async (t) => {
  const rt = await onTeam();
  const abort = new AbortController();
  const { a, b } = products[5]!;
  const result = await rt.matmul(a, b, { signal: abort.signal });
  abort.abort();
  t.equal(wrong(result, products[5]!), undefined, 'the result stays');
  await rt.close();
});
