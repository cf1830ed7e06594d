/** Threads that join a runtime: one memory, one team; tensors that change hands without a copy, and threads that end at any moment. */
import { setTimeout as later } from 'node:timers/promises';
import { type TransferListItem, Worker } from 'node:worker_threads';
import test from 'tape';
import { attachRuntime } from '../../src/index.ts';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeOptions, SharedRuntime, SharedTensor } from '../../src/ops/types.ts';
import { moduleFile } from '../support/bundle.ts';
import { codeOf, SLOW_MACHINE, until } from '../support/faulty.ts';
import { wholeProduct, wrongAsync } from '../support/products.ts';

const product = wholeProduct(130, 64, 70);
const large = wholeProduct(1200, 700, 900);

const make = (options: RuntimeOptions = {}): Promise<Runtime> =>
  createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: SLOW_MACHINE });

/** A thread that runs `code` for each message, with `rt` and what was posted as `given`, and answers with what it returns. */
class Guest {
  readonly worker: Worker;
  #answers: ((answer: { value?: never; error?: string }) => void)[] = [];
  readonly ended: Promise<void>;

  constructor(file: string) {
    this.worker = new Worker(file, { execArgv: [] });
    this.worker.on('message', (answer) => this.#answers.shift()?.(answer));
    this.worker.on('error', (error) => this.#answers.shift()?.({ error: String(error) }));
    this.ended = new Promise((resolve) => this.worker.once('exit', () => resolve()));
  }

  static async make(rt: Runtime, code: string): Promise<Guest> {
    const file = await moduleFile(
      `guest-${++guests}`,
      `import { parentPort } from 'node:worker_threads';
      let rt;
      const codeOf = async (work) => { try { await work(); return 'none'; } catch (error) { return error.code ?? String(error); } };
      const product = lib.wholeProduct(130, 64, 70);
      const work = async (given) => { ${code} };
      parentPort.on('message', async ({ handle, given }) => {
        try {
          rt ??= await lib.attachRuntime(handle);
          parentPort.postMessage({ value: await work(given) });
        } catch (error) {
          parentPort.postMessage({ error: error.stack });
        }
      });`,
    );
    const guest = new Guest(file);
    await guest.#post({ handle: rt.share() });
    return guest;
  }

  /** What the code returns. */
  ask<T>(given: unknown, ports: readonly TransferListItem[] = []): Promise<T> {
    return this.#post({ given }, ports);
  }

  async #post<T>(
    message: { handle?: SharedRuntime; given?: unknown },
    more: readonly TransferListItem[] = [],
  ): Promise<T> {
    const ports = message.handle ? [message.handle.port] : more;
    const answer = await new Promise<{ value?: never; error?: string }>((resolve) => {
      this.#answers.push(resolve);
      this.worker.postMessage(message, ports);
    });
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value as T;
  }
}
let guests = 0;

/** The first message only joins. */
const JOINS = 'if (given === undefined) return;';

const GiB = 2 ** 30;

for (const taken of [0, 3])
  test(`a guest computes on the memory and the threads of the runtime, ${taken} GiB of it taken`, async (t) => {
    const rt = await make({ memory: { maximum: 4 * GiB } });
    // not touched: addresses and no room
    try {
      for (let i = 0; i < 2 * taken; i++) coreOf(rt).backend.allocate(GiB / 2, 'scratch');
    } catch (error) {
      await rt.close();
      return t.skip(String(error));
    }
    const guest = await Guest.make(
      rt,
      `${JOINS}
    const [a, b] = [rt.tensor(product.a.data, [130, 64]), rt.tensor(product.b.data, [64, 70])];
    const faults = [];
    for (const right of [b, product.b, rt.prepack(b)])
      for (const c of [await rt.matmul(a, right), rt.matmulSync(a, right)]) {
        faults.push(lib.wrong(c, product) ?? 'right');
      }
    const out = rt.zeros([130, 70]);
    const same = (await rt.matmul(a, b, { out })) === out;
    const y = await rt.softmax(rt.matmulSync(a, b), {});
    const z = rt.transposeSync(y);
    const { y: tensor, scale } = rt.quantizeDynamic(a);
    const progress = [];
    await rt.matmul(rt.zeros([900, 900]), rt.zeros([900, 900]), { onProgress: ({ done, total }) => progress.push(done / total) });
    return { faults, same, y: y.shape, z: z.shape, dtype: tensor.dtype, scale, progress: progress.at(-1),
      threads: rt.info.threads.actual, key: rt.explain('64x64x64').key, list: rt.wisdom.list().length, used: rt.memory().used };`,
    );
    const got = await guest.ask<Record<string, unknown>>(1);
    t.deepEqual(got.faults, Array(6).fill('right'), 'awaited and blocking, tensors, arrays and panels');
    t.equal(got.same, true, 'into its own tensor');
    t.deepEqual([got.y, got.z, got.dtype], [[130, 70], [70, 130], 'u8']);
    t.ok((got.scale as number) > 0);
    t.equal(got.progress, 1, 'progress');
    t.equal(got.threads, 2);
    t.equal(got.key, rt.explain('64x64x64').key, 'the same plans');
    t.ok((got.used as number) > 4 * 130 * 64, 'the same memory');
    await guest.worker.terminate();
    await until(() => rt.memory().tensors === 0);
    t.pass('what it had is given back when it ends');
    await rt.close();
  });

test('tensors change hands without a copy', async (t) => {
  const rt = await make();
  const guest = await Guest.make(
    rt,
    `${JOINS}
    const x = rt.adopt(given);
    x.data[1] = 5;
    const y = await rt.matmul(x, x);
    const handle = y.share();
    x.dispose();
    y.dispose();
    return { handle, again: await codeOf(() => rt.adopt(given)), gone: await codeOf(() => x.data) };`,
  );
  const x = rt.tensor([1, 2, 3, 4], [2, 2]);
  const before = rt.memory();
  const { handle, again, gone } = await guest.ask<{ handle: SharedTensor; again: string; gone: string }>(
    x.share(),
  );
  t.deepEqual([...x.data], [1, 5, 3, 4], 'what it wrote is seen here');
  t.deepEqual([again, gone], ['E_DISPOSED', 'E_DISPOSED'], 'each handle is for one');
  const y = rt.adopt(handle);
  t.deepEqual([...y.data], [16, 25, 15, 31], 'its result is here');
  t.equal(y.dtype, 'f32');
  y.dispose();
  await until(() => rt.memory().tensors === before.tensors);
  t.equal(rt.memory().byOwner.tensors, before.byOwner.tensors, 'memory is back');
  t.equal(await codeOf(() => rt.adopt(handle)), 'E_DISPOSED');
  t.equal(await codeOf(() => rt.adopt({ ...handle, runtime: 'other' })), 'E_FOREIGN');
  t.equal(await codeOf(() => rt.adopt(undefined as never)), 'E_ARGUMENT');
  const here = rt.adopt(x.share());
  x.dispose();
  t.deepEqual([...here.data], [1, 5, 3, 4], 'also within a thread; the values live as long as one of them');
  here.dispose();
  await guest.worker.terminate();
  await rt.close();
});

test('what was shared and not adopted', async (t) => {
  const rt = await make();
  const guest = await Guest.make(rt, `${JOINS} return rt.tensor([1, 2], [2]).share();`);
  const lost = await guest.ask<SharedTensor>(1);
  await guest.worker.terminate();
  await until(() => rt.memory().tensors === 0);
  t.equal(await codeOf(() => rt.adopt(lost)), 'E_DISPOSED', 'goes with a thread that just ends');
  await rt.close();
});

test('what a guest is refused', async (t) => {
  const rt = await make();
  const guest = await Guest.make(
    rt,
    `${JOINS}
    const a = rt.zeros([4, 3]);
    const gone = rt.zeros([2]);
    gone.dispose();
    const control = new AbortController();
    const big = rt.zeros([1500, 1500]);
    const aborted = rt.matmul(big, big, { signal: control.signal }).catch((error) => error);
    setTimeout(() => control.abort(new Error('enough')), 5);
    return [
      await codeOf(() => rt.matmul(a, a)),
      await codeOf(() => rt.matmulSync(a, a)),
      await codeOf(() => rt.matmul(gone, a)),
      await codeOf(() => rt.tensor([1, 2], [3])),
      await codeOf(() => rt.tensor(new Int8Array(2), [3])),
      await codeOf(() => rt.zeros([-1])),
      await codeOf(() => rt.matmul(a, a, { signal: 5 })),
      await codeOf(() => rt.matmul(a, a, { activation: () => 1 })),
      await codeOf(() => rt.zeros([2 ** 15, 2 ** 15])),
      (await aborted).message,
      (await codeOf(() => rt.matmul(a, rt.zeros([3, 2]), { signal: AbortSignal.abort() }))),
      'kernel' in rt,
    ];`,
  );
  const got = await guest.ask<unknown[]>(1);
  t.deepEqual(got, [
    ...[
      'E_SHAPE',
      'E_SHAPE',
      'E_DISPOSED',
      'E_SHAPE',
      'E_SHAPE',
      'E_SHAPE',
      'E_ARGUMENT',
      'E_ARGUMENT',
      'E_MEMORY',
    ],
    'enough',
    20,
    false,
  ]);
  await guest.worker.terminate();
  t.equal(await codeOf(attachRuntime({} as never)), 'E_ARGUMENT');
  t.equal(await codeOf(attachRuntime({ ...rt.share(), tesserae: '0.0.0' })), 'E_ARGUMENT', 'another version');
  const apart = await make({ memory: { shared: false } });
  t.equal(await codeOf(() => apart.share()), 'E_FALLBACK', 'memory that cannot be shared');
  await apart.close();
  await rt.close();
  t.equal(await codeOf(() => rt.share()), 'E_CLOSED');
});

test('a thread joins once, and leaves as often as it joined', async (t) => {
  const rt = await make();
  t.equal(await codeOf(attachRuntime(rt.share())), 'E_ARGUMENT', 'the runtime’s own thread has it already');
  const guest = await Guest.make(
    rt,
    `${JOINS}
    const again = await lib.attachRuntime(given.handle);
    const outcomes = [again === rt];
    await rt.close();
    outcomes.push(await lib.wrongAsync(again, product) ?? 'right');
    await again.close();
    outcomes.push(await codeOf(() => again.matmul(product.a, product.b)), await codeOf(() => again.zeros([1])));
    rt = await lib.attachRuntime(given.third);
    outcomes.push(await lib.wrongAsync(rt, product) ?? 'right');
    const kept = rt.tensor([1, 2], [2]).share();
    await rt.close();
    return { outcomes, kept };`,
  );
  const [handle, third] = [rt.share(), rt.share()];
  const { outcomes, kept } = await guest.ask<{ outcomes: unknown[]; kept: SharedTensor }>({ handle, third }, [
    handle.port,
    third.port,
  ]);
  t.deepEqual(
    outcomes,
    [true, 'right', 'E_CLOSED', 'E_CLOSED', 'right'],
    'the same object, until all have left; it may come back',
  );
  await until(() => rt.memory().tensors === 1);
  const tensor = rt.adopt(kept);
  t.deepEqual([...tensor.data], [1, 2], 'what was shared stays when a thread has left in order');
  tensor.dispose();
  // the thread's own share goes with its word that it leaves, which may still be on its way
  await until(() => rt.memory().tensors === 0);
  await guest.worker.terminate();
  await rt.close();
});

test('a runtime that closes tells its guests', async (t) => {
  const rt = await make();
  const guest = await Guest.make(
    rt,
    `${JOINS} const a = rt.zeros([2000, 2000]); return [await codeOf(() => rt.matmul(a, a)), await codeOf(() => rt.matmul(a, a)), await codeOf(() => a.data)];`,
  );
  const outcome = guest.ask<string[]>(1);
  await until(() => rt.memory().tensors > 0);
  await later(5);
  await rt.close();
  t.deepEqual(await outcome, ['E_CLOSED', 'E_CLOSED', 'E_CLOSED']);
  await guest.worker.terminate();
});

test('a guest that sleeps hears of the end too', async (t) => {
  const rt = await make();
  const guest = await Guest.make(
    rt,
    `${JOINS} return codeOf(() => { for (;;) rt.matmulSync(product.a, product.b).dispose(); });`,
  );
  const outcome = guest.ask<string>(1);
  await later(50);
  await rt.close();
  t.equal(await outcome, 'E_CLOSED');
  await guest.worker.terminate();
});

test('one that asks for much keeps nobody waiting who asks for little', async (t) => {
  const rt = await make();
  const guest = await Guest.make(
    rt,
    `${JOINS}
    const a = rt.zeros([600, 600]);
    const all = Array.from({ length: 40 }, async () => { (await rt.matmul(a, a)).dispose(); return performance.timeOrigin + performance.now(); });
    return Promise.all(all);`,
  );
  await rt.pause();
  const many = guest.ask<number[]>(1);
  await later(50);
  const mine = [1, 2, 3].map(async () => {
    (await rt.matmul(large.a, large.b)).dispose();
    return performance.timeOrigin + performance.now();
  });
  rt.resume();
  const [ends, own] = [await many, await Promise.all(mine)];
  const before = ends.filter((end) => end < own.at(-1)!).length;
  t.ok(before <= 8, `${before} of its 40 calls were done before our third`);
  await guest.worker.terminate();
  await rt.close();
});

test('100 threads are ended at any moment', async (t) => {
  const rt = await make();
  const code = `${JOINS}
    for (;;) {
      const a = rt.tensor(product.a.data, [130, 64]);
      const kept = rt.prepack({ data: product.b.data, shape: [64, 70] });
      const [c] = await Promise.all([rt.matmul(a, kept), rt.matmul(rt.zeros([300, 300]), rt.zeros([300, 300]))]);
      rt.matmulSync(a, kept).share();
    }`;
  const first = await Guest.make(rt, code);
  await first.worker.terminate();
  await until(() => rt.memory().tensors === 0);
  const { byOwner } = rt.memory();
  const faults: (string | undefined)[] = [];
  for (let turn = 0; turn < 100; turn++) {
    const guest = await Guest.make(rt, code);
    guest.ask(1).catch(() => undefined);
    await later(turn % 7);
    const ours = turn % 5 === 0 ? wrongAsync(rt, large) : undefined;
    void guest.worker.terminate();
    faults.push(await ours, await wrongAsync(rt, product));
    await guest.ended;
  }
  t.deepEqual(faults.filter(Boolean), [], 'our own calls are right all the while');
  await until(() => rt.memory().tensors === 0);
  const after = rt.memory().byOwner;
  t.deepEqual([after.tensors, after.prepacked, after.scratch], [0, 0, 0], 'all of their memory is back');
  t.ok(after.runtime < byOwner.runtime + 50_000, `${after.runtime - byOwner.runtime} bytes more of programs`);
  await rt.close();
});
