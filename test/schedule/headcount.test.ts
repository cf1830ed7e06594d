/** How many threads take part: on a machine that is said, run by run, and through an executor. */
import test from 'tape';
import { NullBackend } from '../../src/backends/null/backend.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { Executor } from '../../src/schedule/execute.ts';
import { Headcount } from '../../src/schedule/headcount.ts';
import { executionOf, OPERANDS } from '../support/executions.ts';
import { Random, seeded } from '../support/seed.ts';

/** Milliseconds of a run by threads. */
type Machine = (threads: number) => number;

const calm: Machine = (threads) => 8 / threads;
/** Where whoever waits for the others waits for a thread that is not there. */
const crowded: Machine = (threads) => (threads > 1 ? 12 : 8);

/** Lets runs happen, and says how many there were with each number of threads. */
function runs(headcount: Headcount, machine: Machine, count: number): Record<number, number> {
  const seen: Record<number, number> = {};
  for (let run = 0; run < count; run++) {
    const { threads } = headcount;
    seen[threads] = (seen[threads] ?? 0) + 1;
    headcount.note(machine(threads));
  }
  return seen;
}

test('headcount: all, where that is fastest; others are tried once', (t) => {
  const headcount = new Headcount(2);
  t.equal(headcount.threads, 2, 'from the first run on');
  t.deepEqual(runs(headcount, calm, 1000), { 1: 4, 2: 996 }, 'one alone cannot be faster than it was');
  t.end();
});

test('headcount: one alone while the other is kept waiting, and both again after that', (t) => {
  const headcount = new Headcount(2);
  runs(headcount, calm, 200);
  const during = runs(headcount, crowded, 1000);
  t.ok(during[1]! > 850, `${during[1]} of 1000 runs alone`);
  t.equal(headcount.isTrial || headcount.threads === 1, true);
  const after = runs(headcount, calm, 1000);
  t.ok(after[2]! > 850, `${after[2]} of 1000 runs with both`);
  t.end();
});

test('headcount: a machine that is crowded from the first run on', (t) => {
  const headcount = new Headcount(2);
  const seen = runs(headcount, crowded, 1000);
  t.ok(seen[1]! > 900, `${seen[1]} of 1000 runs alone`);
  const after = runs(headcount, calm, 1000);
  t.ok(after[2]! > 850, `${after[2]} of 1000 runs with both, once it is calm`);
  t.end();
});

test('headcount: single runs that take long change nothing', (t) => {
  const headcount = new Headcount(2);
  runs(headcount, calm, 100);
  let count = 0;
  const seen = runs(headcount, (threads) => (++count % 20 === 0 ? 500 : calm(threads)), 1000);
  t.deepEqual(seen, { 2: 1000 }, 'nothing is tried');
  t.end();
});

test('headcount: few of many, and many again', (t) => {
  const headcount = new Headcount(12);
  // three are there
  const few = runs(headcount, (threads) => (threads > 3 ? 20 : 12 / threads), 2000);
  t.deepEqual(
    Object.keys(few).map(Number),
    [1, 2, 3, 6, 12].filter((threads) => few[threads]),
    'numbers',
  );
  t.ok(few[3]! > 1600, `${few[3]} of 2000 runs with three`);
  const more = runs(headcount, (threads) => (threads > 6 ? 20 : 12 / threads), 2000);
  t.ok(more[6]! > 1600, `${more[6]} of 2000 runs with six`);
  const many = runs(headcount, (threads) => 12 / threads, 2000);
  t.ok(many[12]! > 1600, `${many[12]} of 2000 runs with twelve`);
  t.end();
});

test('headcount: what is hopeless is run once', (t) => {
  t.deepEqual(
    runs(new Headcount(8), (threads) => 8 / threads, 1000),
    { 1: 1, 2: 1, 4: 4, 8: 994 },
    'an eighth and a quarter of the threads',
  );
  t.end();
});

test('headcount: one thread is all there is', (t) => {
  t.deepEqual(runs(new Headcount(1), calm, 100), { 1: 100 });
  t.end();
});

test(seeded('headcount: noise costs little'), (t) => {
  const random = new Random(641);
  const headcount = new Headcount(2);
  const seen = runs(headcount, (threads) => calm(threads) * (1 + random.floats(1, 0.3)[0]!), 2000);
  t.ok(seen[2]! > 1900, `${seen[2]} of 2000 runs with both`);
  t.end();
});

/** An executor for two threads whose clock says what a run with each number takes. */
function setup(machine: Machine) {
  const backend = new NullBackend();
  let passed = 0;
  let counted = 0;
  const now = () => {
    for (; counted < backend.calls.length; counted++) passed += machine(backend.calls[counted]!.threads);
    return passed;
  };
  const executor = new Executor(backend, { yieldToEvents: async () => undefined, now, mostThreads: 2 });
  const execution = executionOf(matmulProblem({ m: 5, n: 9, k: 6 }), 0.01);
  const linked = executor.link([{ execution, operands: OPERANDS }]);
  linked.ms = 0.01;
  return { backend, executor, linked };
}

test('headcount: an executor runs what is linked with that many, here and on the team', async (t) => {
  for (const isHere of [true, false]) {
    const { backend, executor, linked } = setup((threads) => (isHere ? 1 : 100) * (threads > 1 ? 3 : 2));
    if (!isHere) linked.ms = 1000;
    for (let run = 0; run < 200; run++) await executor.runLinked(linked, {});
    t.ok(
      backend.calls.every(({ sync }) => sync === isHere),
      isHere ? 'all here' : 'all on the team',
    );
    const alone = backend.calls.filter(({ threads }) => threads === 1).length;
    t.ok(alone > 150, `${alone} of 200 runs alone`);
    linked.headcount.note = () => t.fail('what is held back says nothing');
    await executor.runLinked(linked, { priority: 'background' });
    t.equal(backend.calls.at(-1)!.threads, 2, 'and gets all');
    linked.release();
    executor.clear();
  }
  t.end();
});

test('headcount: what is only tried does not send the next run to the team', async (t) => {
  const { backend, executor, linked } = setup((threads) => (threads > 1 ? 2 : 6));
  for (let run = 0; run < 100; run++) await executor.runLinked(linked, {});
  t.ok(
    backend.calls.every(({ sync }) => sync),
    'all here',
  );
  t.ok(
    backend.calls.some(({ threads }) => threads === 1),
    'one thread was tried',
  );
  linked.release();
  executor.clear();
  t.end();
});
