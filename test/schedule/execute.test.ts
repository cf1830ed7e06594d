/** The executor on a backend that computes nothing: what it hands over, holds, gives back, and how abort travels. */
import test from 'tape';
import { NullBackend, type RecordedCall } from '../../src/backends/null/backend.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { Executor } from '../../src/schedule/execute.ts';
import { executionOf, OPERANDS, PLAN } from '../support/executions.ts';
import { seeded } from '../support/seed.ts';

/** Expected times on both sides of the border between the calling thread and the team. */
const SHORT_MS = 0.01;
const LONG_MS = 1000;

function setup(options: { holdJobs?: boolean; maximumMemory?: number } = {}) {
  const backend = new NullBackend(options);
  const clock = { ms: 0, yields: 0 };
  const executor = new Executor(backend, {
    yieldToEvents: async () => void clock.yields++,
    now: () => clock.ms,
  });
  return { backend, executor, clock };
}

/** `run` returns nothing for a call that was short enough to be done at once. */
async function reasonOf(running: void | Promise<void>): Promise<unknown> {
  try {
    await running;
    return 'resolved';
  } catch (reason) {
    return reason;
  }
}

const small = matmulProblem({ m: 5, n: 9, k: 6 });

test(seeded('executor: a call is handed over whole, and scratch comes back'), async (t) => {
  const { backend, executor } = setup();
  const p = matmulProblem({ m: 5, n: 9, k: 6 }, { accumulate: true, scaled: true });
  executor.runSync(executionOf(p, SHORT_MS), { ...OPERANDS, alpha: 2, beta: 3 });
  const [{ call, program, threads, sync }] = backend.calls as [(typeof backend.calls)[0]];
  t.deepEqual([call.a, call.b, call.c, call.alpha, call.beta, threads, sync], [64, 128, 192, 2, 3, 3, true]);
  t.deepEqual(
    program.steps.map((step) => step.op),
    ['packA', 'packB', 'tile'],
    'the steps of the plan',
  );
  t.ok(call.packedA && call.packedB && call.c0, 'with packing space and a place for the old result');
  t.equal(new Set([call.packedA, call.packedB, call.c0]).size, 3, 'each its own');
  t.equal(backend.memoryUse().byOwner.scratch, 0, 'all scratch is given back');
  executor.runSync(executionOf(small, SHORT_MS), { ...OPERANDS, packedB: 4242 });
  const second = backend.calls[1]!.call;
  t.equal(second.packedB, 4242, 'panels made in advance are used');
  t.equal(second.c0, 0, 'no old result, no place for it');
  t.equal(backend.memoryUse().byOwner.scratch, 0, 'and not freed');
  t.end();
});

test(seeded('executor: short calls run here, long ones on the team'), async (t) => {
  const { backend, executor } = setup();
  await executor.run(executionOf(small, SHORT_MS), OPERANDS, {});
  await executor.run(executionOf(small, LONG_MS), OPERANDS, {});
  t.deepEqual(
    backend.calls.map((call) => call.sync),
    [true, false],
  );
  t.equal(backend.prepared.size, 1, 'the same problem and plan is prepared once');
  await executor.run(executionOf(small, SHORT_MS, { ...PLAN, mc: 4 }), OPERANDS, {});
  t.equal(backend.prepared.size, 2, 'another plan is another program');
  executor.clear();
  t.equal(backend.prepared.size, 0, 'clear releases them');
  t.end();
});

test(seeded('executor: the event loop gets a turn between many short calls'), async (t) => {
  const { backend, executor, clock } = setup();
  const { runSync } = backend;
  backend.runSync = (...args) => {
    clock.ms += 1;
    runSync.apply(backend, args);
  };
  for (let call = 0; call < 100; call++) await executor.run(executionOf(small, SHORT_MS), OPERANDS, {});
  t.ok(clock.yields >= 5 && clock.yields <= 25, `${clock.yields} turns in 100 ms of work`);
  clock.yields = 0;
  for (let call = 0; call < 20; call++) {
    await executor.run(executionOf(small, SHORT_MS), OPERANDS, {});
    clock.ms += 100;
  }
  t.equal(clock.yields, 0, 'none where calls have gaps between them');
  t.end();
});

test(seeded('executor: abort'), async (t) => {
  const { backend, executor } = setup({ holdJobs: true });
  const controller = new AbortController();
  const running = reasonOf(
    executor.run(executionOf(small, LONG_MS), OPERANDS, { signal: controller.signal }),
  );
  await Promise.resolve();
  t.ok(backend.memoryUse().byOwner.scratch > 0, 'scratch is held while the job runs');
  const reason = new Error('enough');
  controller.abort(reason);
  t.equal(await running, reason, 'the reason reaches the caller');
  t.equal(backend.jobs[0]!.stopped, reason, 'and the job was told to stop');
  t.equal(backend.memoryUse().byOwner.scratch, 0, 'scratch is given back');
  t.end();
});

test(seeded('executor: a program in use outlives clear'), async (t) => {
  const { backend, executor } = setup({ holdJobs: true });
  const running = executor.run(executionOf(small, LONG_MS), OPERANDS, {});
  executor.clear();
  t.equal(backend.prepared.size, 1, 'not released under a running job');
  backend.jobs[0]!.finish();
  await running;
  t.equal(backend.prepared.size, 0, 'released by its last user');
  t.end();
});

test(seeded('executor: the number of programs is bounded'), (t) => {
  const { backend, executor } = setup();
  for (let m = 1; m <= 700; m++)
    executor.runSync(executionOf(matmulProblem({ m, n: 3, k: 3 }), SHORT_MS), OPERANDS);
  t.equal(backend.prepared.size, 512);
  t.equal(backend.calls.length, 700, 'and every call was run');
  t.end();
});

test(seeded('executor: memory that runs out half-way is given back'), (t) => {
  const p = matmulProblem({ m: 64, n: 64, k: 64 }, { accumulate: true });
  const { backend, executor } = setup({ maximumMemory: 2 * 4 * 64 * 64 + 100 });
  t.throws(
    () => executor.runSync(executionOf(p, SHORT_MS), { ...OPERANDS, beta: 1 }),
    /no 16384 bytes left/,
    'the third block does not fit',
  );
  t.equal(backend.memoryUse().byOwner.scratch, 0, 'the first two are given back');
  t.equal(backend.calls.length, 0, 'nothing was run');
  t.end();
});

test(seeded('executor: progress rises to the total'), async (t) => {
  const { backend, executor } = setup({ holdJobs: true });
  const p = matmulProblem({ m: 64, n: 64, k: 16 });
  const seen: [number, number][] = [];
  const running = executor.run(executionOf(p, LONG_MS), OPERANDS, {
    onProgress: (done, total) => seen.push([done, total]),
  });
  const job = backend.jobs[0]!;
  const total = job.recorded.program.steps.length;
  job.done = 3;
  const until = Date.now() + 5000;
  while (seen.length === 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
  job.finish();
  await running;
  t.deepEqual(seen, [
    [3, total],
    [total, total],
  ]);
  t.end();
});

test(seeded('executor: many calls as one job'), async (t) => {
  const { backend, executor } = setup();
  const packed = matmulProblem({ m: 5, n: 9, k: 6 }, { accumulate: true, scaled: true });
  const calls = [packed, small].map((p) => ({ execution: executionOf(p, SHORT_MS), operands: OPERANDS }));
  const linked = executor.link(calls);
  executor.clear();
  t.equal(backend.prepared.size, 2, 'programs live as long as what is linked of them');
  const { scratch } = backend.memoryUse().byOwner;
  executor.runLinked(linked, {});
  const [first, second] = backend.calls as [RecordedCall, RecordedCall];
  t.deepEqual([first.sync, second.sync], [true, true], 'short ones run here');
  t.equal(
    new Set([first.call.c0, first.call.packedA, first.call.packedB]).size,
    3,
    'in which nothing overlaps',
  );
  t.equal(backend.memoryUse().byOwner.scratch, scratch, 'a run takes none');
  linked.ms = LONG_MS;
  await executor.runLinked(linked, {});
  t.equal(backend.calls.at(-1)?.sync, false, 'long ones run on the team');
  t.equal(linked.ms, 0, 'what a run took decides where the next one goes');
  const twice = executor.link([...calls, ...calls]);
  t.equal(backend.memoryUse().byOwner.scratch, 2 * scratch, 'all calls share one space');
  for (const one of [linked, twice]) one.release();
  executor.clear();
  t.deepEqual(
    [backend.prepared.size, backend.chains.size, backend.memoryUse().used],
    [0, 0, 0],
    'and all is given back',
  );
  t.end();
});

test(seeded('executor: a job that is linked for one thread has no other'), async (t) => {
  const backend = new NullBackend();
  const options = { yieldToEvents: async () => undefined, now: () => 0, mostThreads: 3 };
  const executor = new Executor(backend, options);
  const calls = [small, small].map((p) => ({ execution: executionOf(p, SHORT_MS), operands: OPERANDS }));
  for (const threads of [undefined, 1]) {
    const linked = executor.link(calls, undefined, threads);
    await executor.runLinked(linked, {});
    t.deepEqual([backend.calls.at(-1)!.sync, backend.calls.at(-1)!.threads], [true, threads ?? 3], 'here');
    linked.ms = LONG_MS;
    await executor.runLinked(linked, {});
    t.deepEqual(
      [backend.calls.at(-1)!.sync, backend.calls.at(-1)!.threads],
      [false, threads ?? 3],
      'on the team',
    );
    linked.release();
  }
  executor.clear();
  t.end();
});

test(
  seeded(
    'executor: what is linked keeps its caller for a picture at most, or for less where that has something else to do',
  ),
  async (t) => {
    const backend = new NullBackend();
    const base = { yieldToEvents: async () => undefined, now: () => 0 };
    const calls = [{ execution: executionOf(small, SHORT_MS), operands: OPERANDS }];
    const cases = [
      { ms: 10, sync: true, name: 'ten milliseconds' },
      { ms: 20, sync: false, name: 'twenty' },
      {
        ms: 10,
        sync: false,
        name: 'ten that may be stopped',
        control: { signal: new AbortController().signal },
      },
      { ms: 10, sync: false, name: 'ten that somebody watches', control: { onProgress: () => undefined } },
      { ms: 10, sync: false, name: 'ten on a thread that may not wait', mayWait: false },
      { ms: 4, sync: true, name: 'four of those', mayWait: false },
      { ms: 10, sync: false, name: 'ten in the background', control: { priority: 'background' as const } },
    ];
    for (const { ms, sync, name, control = {}, mayWait } of cases) {
      const executor = new Executor(backend, { ...base, ...(mayWait === undefined ? {} : { mayWait }) });
      const linked = executor.link(calls);
      linked.ms = ms;
      await executor.runLinked(linked, control);
      t.equal(backend.calls.at(-1)!.sync, sync, `${name}: ${sync ? 'here' : 'on the team'}`);
      linked.release();
      executor.clear();
    }
    const executor = new Executor(backend, base);
    await executor.run(executionOf(small, 10), OPERANDS, {});
    t.equal(backend.calls.at(-1)!.sync, false, 'a single call of ten: on the team');
    executor.clear();
    t.end();
  },
);

test('executor: threads come up for a run that the team will be given', (t) => {
  const roused: number[] = [];
  const backend = Object.assign(new NullBackend(), { rouse: (threads: number) => void roused.push(threads) });
  const executor = new Executor(backend, {
    yieldToEvents: async () => undefined,
    now: () => 0,
    mostThreads: 3,
  });
  executor.expect(SHORT_MS);
  t.deepEqual(roused, [], 'not for one that is done on the calling thread');
  executor.expect(LONG_MS);
  executor.expect(LONG_MS, 1);
  t.deepEqual(roused, [3, 1]);
  new Executor(new NullBackend(), { yieldToEvents: async () => undefined, now: () => 0 }).expect(LONG_MS);
  t.pass('a backend without threads of its own is not asked');
  t.end();
});

test(seeded('executor: more programs are linked than are kept'), (t) => {
  const { backend, executor } = setup();
  const calls = Array.from({ length: 700 }, (_, i) => {
    const p = matmulProblem({ m: 1 + (i % 30), n: 1 + Math.floor(i / 30), k: 3 });
    return { execution: executionOf(p, 0), operands: OPERANDS };
  });
  const linked = executor.link(calls);
  t.equal(backend.prepared.size, 700, 'all of them live');
  executor.runLinked(linked, {});
  t.equal(backend.calls.length, 700);
  linked.release();
  executor.clear();
  t.equal(backend.prepared.size, 0, 'and end');
  t.end();
});

test(seeded('executor: memory that runs out while linking is given back'), (t) => {
  const { backend, executor } = setup({ maximumMemory: 64 });
  const calls = [{ execution: executionOf(small, SHORT_MS), operands: OPERANDS }];
  t.throws(() => executor.link(calls), /bytes left/);
  executor.clear();
  t.deepEqual([backend.prepared.size, backend.memoryUse().used], [0, 0]);
  t.end();
});
