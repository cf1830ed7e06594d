/** Pools that people use, on one runtime: each of their threads joins once, tasks take and give tensors without copies. */
import { Worker } from 'node:worker_threads';
import { transfer, wrap } from 'comlink';
import { Piscina } from 'piscina';
import test, { type Test } from 'tape';
import { Tinypool } from 'tinypool';
import { pool as workerpool } from 'workerpool';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, SharedRuntime, SharedTensor } from '../../src/ops/types.ts';
import { moduleFile } from '../support/bundle.ts';
import { SLOW_MACHINE, until } from '../support/faulty.ts';
import { wholeProduct, wrong } from '../support/products.ts';

const product = wholeProduct(130, 64, 70);
const TASKS = 12;

interface Task {
  readonly handle: SharedRuntime;
  readonly a: SharedTensor;
  readonly b: SharedTensor;
}

/** What every thread does, awaited or blocking by turns. */
const TASK = `
let turn = 0;
const task = async ({ handle, a, b }) => {
  const rt = await lib.attachRuntime(handle);
  const [x, y] = [rt.adopt(a), rt.adopt(b)];
  const z = turn++ % 2 ? rt.matmulSync(x, y) : await rt.matmul(x, y);
  for (const one of [x, y]) one.dispose();
  const result = z.share();
  z.dispose();
  return result;
};
`;

async function serves(
  t: Test,
  run: (task: Task) => Promise<SharedTensor>,
  close: () => Promise<unknown>,
): Promise<void> {
  const rt: Runtime = await createRuntimeWith({ threads: 2, wisdom: false }, { machine: SLOW_MACHINE });
  const [a, b] = [rt.tensor(product.a.data, [130, 64]), rt.tensor(product.b.data, [64, 70])];
  const outcomes = await Promise.all(
    Array.from({ length: TASKS }, async () => {
      const result = await run({ handle: rt.share(), a: a.share(), b: b.share() });
      return wrong(rt.adopt(result), product) ?? 'right';
    }),
  );
  t.deepEqual(outcomes, Array(TASKS).fill('right'), `${TASKS} tasks`);
  await close();
  await until(() => rt.memory().tensors === 2);
  t.pass('nothing is left of the pool');
  await rt.close();
}

test('piscina', async (t) => {
  const filename = await moduleFile('piscina-task', `${TASK} export default task;`);
  const pool = new Piscina<Task, SharedTensor>({ filename, maxThreads: 2, execArgv: [] });
  await serves(
    t,
    (task) => pool.run(task, { transferList: [task.handle.port] }),
    () => pool.destroy(),
  );
});

test('tinypool', async (t) => {
  const filename = await moduleFile('tinypool-task', `${TASK} export default task;`);
  const pool = new Tinypool({ filename, maxThreads: 2, execArgv: [] });
  await serves(
    t,
    (task) => pool.run(task, { transferList: [task.handle.port] }),
    () => pool.destroy(),
  );
});

test('workerpool', async (t) => {
  const url = import.meta.resolve('workerpool');
  const file = await moduleFile(
    'workerpool-task',
    `import workerpool from ${JSON.stringify(url)}; ${TASK} workerpool.worker({ task });`,
  );
  const pool = workerpool(file, { maxWorkers: 2, workerType: 'thread', workerThreadOpts: { execArgv: [] } });
  const run = (task: Task) =>
    pool.exec('task', [task], { transfer: [task.handle.port] }) as unknown as Promise<SharedTensor>;
  await serves(t, run, async () => pool.terminate(true));
});

test('comlink', async (t) => {
  const [comlink, adapter] = ['comlink', 'comlink/dist/esm/node-adapter.mjs'].map((name) =>
    import.meta.resolve(name),
  );
  const file = await moduleFile(
    'comlink-task',
    `import { parentPort } from 'node:worker_threads';
    import { expose } from ${JSON.stringify(comlink)};
    import endpoint from ${JSON.stringify(adapter)};
    ${TASK} expose({ task }, endpoint(parentPort));`,
  );
  const worker = new Worker(file, { execArgv: [] });
  const { default: endpoint } = (await import(adapter!)) as { default: (worker: Worker) => never };
  const api = wrap<{ task(task: Task): Promise<SharedTensor> }>(endpoint(worker));
  await serves(
    t,
    (task) => api.task(transfer(task, [task.handle.port])),
    () => worker.terminate(),
  );
});
