import test from 'tape';
import { randomFrom } from '../../src/core/random.ts';
import type { Candidate, Plan } from '../../src/plan/plan.ts';
import { printPlan } from '../../src/plan/plan.ts';
import { diverse, type TuneTask, tunePlan } from '../../src/tune/tune.ts';

/** Plans with invented times on a clock that only runs while one of them does. */
function fakeWorld(options: {
  times: (plan: Plan) => number;
  wrong?: string;
  noise?: number;
  seed?: number;
}) {
  const next = randomFrom(options.seed ?? 1);
  let now = 0;
  const runs = new Map<string, number>();
  return {
    clock: { now: () => now },
    runs,
    run: (plan: Plan) => {
      const id = printPlan(plan);
      runs.set(id, (runs.get(id) ?? 0) + 1);
      now += options.times(plan) * (1 + (options.noise ?? 0) * next());
    },
    verify: (plan: Plan) => {
      now += 0.01;
      return plan.kernel === options.wrong ? 'element [0, 0] is wrong' : undefined;
    },
  };
}

function candidate(
  kernel: string,
  mc: number,
  estimateMs: number,
  kc = 256,
  algorithm: Plan['algorithm'] = 'gemm',
): Candidate {
  return {
    plan: {
      backend: 'wasm',
      algorithm,
      kernel,
      packing: 'ab',
      mc,
      kc,
      nc: 64,
      order: 'mn',
      threads: 1,
    },
    estimateMs,
  };
}

const KERNELS = ['k0', 'k1', 'k2', 'k3', 'k4'];
const NARROW = KERNELS.flatMap((kernel, index) => [
  candidate(kernel, 48, 1 + index),
  candidate(kernel, 96, 1.1 + index),
]);

function taskOf(world: ReturnType<typeof fakeWorld>, exhaustive = false): TuneTask {
  return {
    candidates: NARROW,
    exhaustive,
    neighbours: (plan) => [128, 256, 512].map((kc) => candidate(plan.kernel, 48, 1, kc)),
    run: world.run,
    verify: world.verify,
  };
}

test('tunePlan finds a fast kernel that the estimate ranked last', async (t) => {
  const world = fakeWorld({ times: (plan) => (plan.kernel === 'k4' ? 0.5 : 1), noise: 0.05 });
  const tuned = await tunePlan(taskOf(world), { clock: world.clock, budgetMs: 2000 });
  t.equal(tuned?.plan.kernel, 'k4');
  t.ok(tuned && tuned.defaultMs > 1.8 * tuned.ms, `default ${tuned?.defaultMs} against ${tuned?.ms}`);
});

test('tunePlan finds an algorithm that the estimate puts behind all kernels of another', async (t) => {
  const many = Array.from({ length: 30 }, (_, i) => candidate(`w${i}`, 48, 1 + i / 100, 256, 'winograd4'));
  const own = ['d0', 'd1', 'd2'].map((kernel, i) => candidate(kernel, 1, 9 + i, 256, 'depthwise'));
  const world = fakeWorld({ times: (plan) => (plan.kernel === 'd1' ? 0.5 : 1), noise: 0.05 });
  const task = { ...taskOf(world), candidates: [...many, ...own] };
  const tuned = await tunePlan(task, { clock: world.clock, budgetMs: 2000 });
  t.equal(tuned?.plan.kernel, 'd1', 'the second guess of it');
  t.notOk(
    [...world.runs.keys()].some((id) => id.includes('d2')),
    'two of an algorithm are enough',
  );
});

test('tunePlan varies the blocking of the best kernels beyond what the estimate looked at', async (t) => {
  const world = fakeWorld({
    times: (plan) => (plan.kernel === 'k1' ? 0.6 : 1) * (plan.kc === 512 ? 0.7 : 1),
  });
  const tuned = await tunePlan(taskOf(world), { clock: world.clock, budgetMs: 2000 });
  t.equal(tuned?.plan.kernel, 'k1');
  t.equal(tuned?.plan.kc, 512, 'a blocking that only the neighbours have');
});

test('tunePlan never takes a plan whose answer is wrong, however fast', async (t) => {
  const world = fakeWorld({ times: (plan) => (plan.kernel === 'k2' ? 0.1 : 1), wrong: 'k2' });
  for (const exhaustive of [false, true]) {
    const tuned = await tunePlan(taskOf(world, exhaustive), { clock: world.clock, budgetMs: 2000 });
    t.ok(tuned, 'there is a winner');
    t.notEqual(tuned?.plan.kernel, 'k2');
  }
});

test('tunePlan keeps the default inside the noise, on many seeds', async (t) => {
  let worst = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const world = fakeWorld({ times: () => 1, noise: 0.2, seed });
    const tuned = await tunePlan(taskOf(world), { clock: world.clock, budgetMs: 1000 });
    worst = Math.max(worst, tuned ? tuned.ms / tuned.defaultMs : Number.POSITIVE_INFINITY);
  }
  t.ok(worst <= 1.0001, `the choice is never slower than the default as measured: worst ratio ${worst}`);
});

test('exhaustive does not try every blocking of a hopeless kernel', async (t) => {
  const world = fakeWorld({ times: (plan) => (plan.kernel === 'k0' ? 1 : 5) });
  const many = KERNELS.flatMap((kernel) =>
    Array.from({ length: 20 }, (_, i) => candidate(kernel, 24 + i, 1 + i / 100)),
  );
  const task = { ...taskOf(world, true), candidates: many };
  const tuned = await tunePlan(task, { clock: world.clock, budgetMs: 5000 });
  t.equal(tuned?.plan.kernel, 'k0');
  const tried = (kernel: string) => [...world.runs.keys()].filter((id) => id.startsWith(kernel)).length;
  t.equal(tried('k0'), 20, 'all of the hopeful one');
  t.ok(tried('k3') < 20, `${tried('k3')} of 20 of a hopeless one`);
});

test('diverse takes few of any one kernel, in order', (t) => {
  const picked = diverse(NARROW, 4, 1).map(({ plan }) => plan.kernel);
  t.same(picked, ['k0', 'k1', 'k2', 'k3']);
  t.equal(diverse(NARROW, 100, 2).length, NARROW.length);
  t.end();
});

test('an abort ends tuning with the caller’s reason', async (t) => {
  const controller = new AbortController();
  const world = fakeWorld({ times: () => 1 });
  const reason = new Error('enough');
  const run = (plan: Plan) => {
    world.run(plan);
    if (world.clock.now() > 30) controller.abort(reason);
  };
  try {
    await tunePlan(
      { ...taskOf(world), run },
      { clock: world.clock, budgetMs: 2000, signal: controller.signal },
    );
    t.fail('it went on');
  } catch (error) {
    t.equal(error, reason);
  }
});
