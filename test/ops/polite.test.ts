/** Calls that overtake, stand aside and go on; what a runtime may take of the machine. */
import { readdirSync, readFileSync } from 'node:fs';
import test from 'tape';
import { WORKER, WORKER_BYTES, WORKERS_ADDRESS } from '../../src/backends/wasm/layout.ts';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeOptions } from '../../src/ops/types.ts';
import {
  codeOf,
  compiled,
  endAll,
  failure,
  faultyBytes,
  SLOW_MACHINE,
  sleep,
  until,
  watchedHost,
} from '../support/faulty.ts';
import { wholeProduct, wrong, wrongAsync, wrongSync } from '../support/products.ts';
import { trapWhenK } from '../support/wasm-patch.ts';

const large = wholeProduct(1200, 700, 900);
const small = wholeProduct(40, 30, 50);
const host = () => watchedHost();

async function make(options: RuntimeOptions = {}, from = host()): Promise<Runtime> {
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false, ...options },
    { host: from, machine: SLOW_MACHINE },
  );
  await rt.prepare(['1200x700x900', '40x30x50']);
  return rt;
}

/** A large product, and how far it is. */
function begin(rt: Runtime, options: { priority?: 'background' | 'normal'; signal?: AbortSignal } = {}) {
  const state = { settled: false, done: 0 };
  const result = rt.matmul(large.a, large.b, {
    ...options,
    onProgress: ({ done }) => {
      state.done = done;
    },
  });
  const end = () => {
    state.settled = true;
  };
  result.then(end, end);
  return { state, result };
}

/** Until the job has begun: workers have counted records. */
const beats = (rt: Runtime) => {
  const words = new Int32Array(coreOf(rt).backend.floats().buffer);
  return [0, 1].map((index) =>
    Atomics.load(words, (WORKERS_ADDRESS + index * WORKER_BYTES + WORKER.BEAT) >> 2),
  );
};
const isAtWork = async (rt: Runtime) => {
  const before = beats(rt).join();
  await until(() => beats(rt).join() !== before);
};

test('an urgent call overtakes one in the background, and both are right', async (t) => {
  const rt = await make();
  let used = 0;
  for (let turn = 0; turn < 5; turn++) {
    const { state, result } = begin(rt, { priority: 'background' });
    await isAtWork(rt);
    const urgent = await rt.matmul(small.a, small.b, { priority: 'interactive' });
    t.equal(state.settled, false, 'the urgent one is done first');
    t.equal(wrong(urgent, small), undefined, 'it is right');
    urgent.dispose();
    const late = await result;
    t.equal(wrong(late, large), undefined, 'so is the one that stood aside');
    late.dispose();
    // the words of two jobs at once are kept
    used ||= rt.memory().used;
  }
  t.equal(rt.memory().used, used, 'memory is back');
  await rt.close();
});

test('calls are done in the order of their urgency, then of their coming', async (t) => {
  const rt = await make();
  const order: string[] = [];
  const call = (name: string, priority: 'interactive' | 'normal' | 'background') =>
    rt.matmul(small.a, small.b, { priority }).then(() => order.push(name));
  const paused = rt.pause();
  const all = [
    call('b1', 'background'),
    call('n1', 'normal'),
    call('b2', 'background'),
    call('i1', 'interactive'),
    call('n2', 'normal'),
    call('i2', 'interactive'),
  ];
  await paused;
  await sleep(20);
  t.deepEqual(order, [], 'nothing while all stand aside');
  rt.resume();
  await Promise.all(all);
  t.deepEqual(order, ['i1', 'i2', 'n1', 'n2', 'b1', 'b2']);
  await rt.close();
});

test('a call that blocks borrows the team from the background', async (t) => {
  const rt = await make();
  const { state, result } = begin(rt, { priority: 'background' });
  await isAtWork(rt);
  t.equal(wrongSync(rt, small), undefined, 'right');
  t.equal(state.settled, false, 'at once');
  t.equal(wrong(await result, large), undefined, 'the other goes on');
  await rt.close();
});

test('pause and resume, again and again: the same bytes', async (t) => {
  const rt = await make({ numerics: 'exact' });
  const whole = await rt.matmul(large.a, large.b);
  const { state, result } = begin(rt);
  let pauses = 0;
  while (!state.settled && pauses < 30) {
    await rt.pause();
    const before = beats(rt).join();
    await sleep(3);
    t.equal(beats(rt).join(), before, `no tile in pause ${++pauses}`);
    t.deepEqual(rt.info.budget.paused, ['asked']);
    rt.resume();
    await sleep(1);
  }
  t.ok(pauses >= 2, `${pauses} pauses in one call`);
  t.deepEqual((await result).data, whole.data, 'the bytes of a call that nobody disturbed');
  t.deepEqual(rt.info.budget.paused, []);
  await rt.close();
});

test('what can be done to a call that stands aside', async (t) => {
  const rt = await make();
  await Promise.all([1, 2].map(async () => (await rt.matmul(large.a, large.b)).dispose()));
  const used = rt.memory().used;
  const control = new AbortController();
  const aborted = begin(rt, { signal: control.signal });
  await isAtWork(rt);
  await rt.pause();
  t.equal(wrongSync(rt, small), undefined, 'calls that block compute meanwhile');
  const start = performance.now();
  control.abort(new Error('enough'));
  t.match(String(await failure(aborted.result)), /enough/, 'it is aborted');
  t.ok(performance.now() - start < 1000, 'without waiting for resume');
  t.equal(rt.memory().used, used, 'and its memory is back');
  const short = rt.matmul(small.a, small.b);
  rt.resume();
  (await short).dispose();
  t.equal(await wrongAsync(rt, large), undefined, 'the team is as before');

  const closed = begin(rt);
  await isAtWork(rt);
  await rt.pause();
  await rt.close();
  t.equal(await codeOf(closed.result), 'E_CLOSED', 'closing ends it');
  t.equal(await codeOf(() => rt.pause()), 'E_CLOSED');
  t.equal(await codeOf(() => rt.resume()), 'E_CLOSED');
  t.equal(await codeOf(() => rt.budget({ threads: 1 })), 'E_CLOSED');
});

test('workers that die while a call stands aside', async (t) => {
  const from = host();
  const rt = await make({}, from);
  for (let turn = 0; turn < 6; turn++) {
    const { result } = begin(rt, { priority: 'background' });
    await isAtWork(rt);
    const urgent = rt.matmul(small.a, small.b, { priority: 'interactive' }).catch(() => undefined);
    const before = turn % 2 ? endAll(from) : undefined;
    const paused = rt.pause();
    const after = turn % 2 ? undefined : endAll(from);
    await paused;
    rt.resume();
    const outcome = await result.then((tensor) => wrong(tensor, large) ?? 'right', codeOfReason);
    t.ok(['right', 'E_WORKER_DIED'].includes(outcome), `turn ${turn}: ${outcome}`);
    await urgent;
    await Promise.all([before, after]);
    t.equal(await wrongAsync(rt, large), undefined, 'the next call is right');
  }
  await rt.close();
});

function codeOfReason(reason: unknown): string {
  return String((reason as { code?: string }).code ?? reason);
}

test('a trap in a tile that is under way when its call stands aside', async (t) => {
  const bad = wholeProduct(1200, 77, 900);
  const modules = compiled(faultyBytes(trapWhenK(77)));
  const from = watchedHost((start) => ({ ...start, modules }));
  const rt = await make({}, from);
  for (let turn = 0; turn < 10; turn++) {
    const trapped = rt.matmul(bad.a, bad.b, { priority: 'background' });
    const urgent = rt.matmul(small.a, small.b, { priority: 'interactive' });
    t.equal(await codeOf(trapped), 'E_KERNEL', 'the caller hears of it');
    t.equal(wrong(await urgent, small), undefined, 'the other call is right');
  }
  await rt.close();
});

test('budget: what is taken, refused and told', async (t) => {
  const rt = await make();
  const before = rt.info.budget;
  t.deepEqual(before, {
    threads: 2,
    dutyCycle: 1,
    pauseOnBattery: false,
    nice: 0,
    paused: [],
    missing: [],
  });
  const wrongs = [
    { threads: 0 },
    { threads: 3 },
    { threads: 1.5 },
    { dutyCycle: 0 },
    { dutyCycle: 1.1 },
    { dutyCycle: Number.NaN },
    { nice: -1 },
    { nice: 20 },
    { pauseOnBattery: 1 },
    { duty: 0.5 },
  ];
  for (const options of wrongs)
    t.equal(
      await codeOf(() => rt.budget({ ...options, threads: 1, ...options } as never)),
      'E_ARGUMENT',
      JSON.stringify(options),
    );
  t.equal(await codeOf(rt.matmul(small.a, small.b, { priority: 'high' as never })), 'E_ARGUMENT', 'priority');
  t.deepEqual(rt.info.budget, before, 'nothing of it was changed');
  t.deepEqual(rt.budget({ threads: 1, dutyCycle: 0.5 }), { ...before, threads: 1, dutyCycle: 0.5 });
  t.deepEqual(rt.budget({ dutyCycle: 1 }), { ...before, threads: 1 }, 'the rest stays');
  await isIdle(rt);
  const [one, two] = beats(rt);
  t.equal(await wrongAsync(rt, large), undefined, 'right with fewer threads');
  t.ok(beats(rt)[0]! > one!, 'the first worker worked');
  t.equal(beats(rt)[1], two, 'the second did not');
  rt.budget({ threads: 2 });
  t.equal(await wrongAsync(rt, large), undefined);
  t.ok(beats(rt)[1]! > two!, 'then it did again');
  await rt.close();
});

async function isIdle(rt: Runtime): Promise<void> {
  await rt.pause();
  rt.resume();
}

test('budget: nice threads', {
  skip: process.platform !== 'linux' && 'a priority of threads is Linux',
}, async (t) => {
  /** Of all threads of this process; field 19 of proc(5) stat. */
  const nices = () =>
    readdirSync('/proc/self/task').map((task) => {
      const stat = readFileSync(`/proc/self/task/${task}/stat`, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
    });
  const count = (nice: number) => nices().filter((one) => one === nice).length;
  const lost: string[] = [];
  const rt = await make({ onEvent: ({ type }) => lost.push(type) });
  const { result } = begin(rt);
  await isAtWork(rt);
  rt.budget({ nice: 7 });
  t.equal(wrong(await result, large), undefined, 'the call under way goes on');
  t.equal(await wrongAsync(rt, large), undefined);
  t.equal(count(7), 2, 'two threads give way');
  rt.budget({ nice: 3 });
  rt.budget({ nice: 0 });
  t.equal(await wrongAsync(rt, large), undefined);
  t.equal(count(7) + count(3), 0, 'and no more');
  t.deepEqual(lost, [], 'nobody was lost');
  await rt.close();
});

test('budget: on battery', async (t) => {
  let listen: (onBattery: boolean) => void = () => undefined;
  let stopped = 0;
  const from = {
    ...host(),
    watchPower: (listener: (onBattery: boolean) => void) => {
      listen = listener;
      return () => void stopped++;
    },
  };
  const rt = await make({}, from);
  t.deepEqual(rt.budget({ pauseOnBattery: true }).missing, []);
  listen(true);
  t.deepEqual(rt.info.budget.paused, ['battery']);
  let done = false;
  const call = rt.matmul(small.a, small.b, { priority: 'interactive' }).then(() => {
    done = true;
  });
  await sleep(30);
  t.equal(done, false, 'calls stand aside');
  rt.resume();
  await sleep(10);
  t.equal(done, false, 'whoever asked for no pause cannot end it');
  listen(false);
  await call;
  listen(true);
  rt.budget({ pauseOnBattery: false });
  t.equal(stopped, 1);
  t.equal(await wrongAsync(rt, small), undefined, 'and no more');
  await rt.close();
  const blind = await make({}, { ...host(), watchPower: () => undefined });
  t.match(blind.budget({ pauseOnBattery: true }).missing.join(), /power supply is not known/);
  await blind.close();
});

test('a duty cycle: all calls end, right', async (t) => {
  const rt = await make();
  rt.budget({ dutyCycle: 0.2 });
  const start = performance.now();
  const outcomes = await Promise.all([large, small, large].map((product) => wrongAsync(rt, product)));
  t.deepEqual(outcomes, [undefined, undefined, undefined], `in ${(performance.now() - start).toFixed(0)} ms`);
  const slow = begin(rt);
  await isAtWork(rt);
  rt.budget({ dutyCycle: 1 });
  t.equal(wrong(await slow.result, large), undefined, 'a budget that ends meanwhile');
  await rt.close();
});
