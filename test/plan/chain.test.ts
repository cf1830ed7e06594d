/** Calls that run with others as one job get more threads than the same calls alone, and plans of their own. */
import test from 'tape';
import { KERNELS } from '../../src/kernels/table.ts';
import { WIDE } from '../../src/plan/ladders.ts';
import { Planner } from '../../src/plan/planner.ts';
import { Wisdom } from '../../src/plan/wisdom.ts';
import { convProblem } from '../../src/problem/conv.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { windowOf } from '../../src/problem/window.ts';
import { lowerConv } from '../../src/schedule/lower/conv.ts';
import { madeUpMachine } from '../support/runtime.ts';
import { SIGNATURE } from './wisdom-support.ts';

const SMALL = matmulProblem({ m: 128, n: 128, k: 128 });

function makePlanner(threads: number): Planner {
  return new Planner({
    filter: { present: new Set(KERNELS.map(({ name }) => name)), quarantined: new Map() },
    wisdom: new Wisdom(undefined, SIGNATURE),
    threads,
    machine: () => ({ ...madeUpMachine(1), wakeUs: 200 }),
  });
}

test('planner: a product too small to wake anybody for is shared by threads that are awake', (t) => {
  const planner = makePlanner(2);
  t.equal(planner.plan(SMALL).plan.threads, 1, 'alone');
  t.equal(planner.plan(SMALL, 'chain').plan.threads, 2, 'in a chain');
  t.equal(planner.plan(SMALL).plan.threads, 1, 'and neither is taken for the other');
  t.end();
});

test('planner: a small layer is shared in a chain, where all wait for its end anyway', (t) => {
  const planner = makePlanner(2);
  const window = windowOf({ height: 8, width: 8 }, { kH: 3, kW: 3 }, { stride: 1, padding: 1 });
  const p = convProblem({ batch: 1, inC: 96, outC: 96 }, window, { groups: 96, prepacked: true });
  t.equal(planner.plan(p).plan.threads, 1, 'alone');
  const { plan } = planner.plan(p, 'chain');
  t.equal(plan.threads, 2, 'in a chain');
  t.ok(lowerConv(p, plan).steps.length >= 4, 'which has something for each of them');
  t.end();
});

test('planner: of a short chain one thread does all, by plans of their own', (t) => {
  const planner = makePlanner(2);
  const { plan } = planner.plan(SMALL, 'short chain');
  t.equal(plan.threads, 1);
  t.ok(planner.candidates(SMALL, WIDE, { setting: 'short chain' }).every((one) => one.plan.threads === 1));
  planner.learn(SMALL, plan, 'measure', 1, [], 'short chain');
  const efforts = (['short chain', 'chain', 'call'] as const).map(
    (setting) => planner.plan(SMALL, setting).effort,
  );
  t.deepEqual(efforts, ['measure', 'estimate', 'estimate']);
  t.end();
});

test('planner: what is measured for a chain is not used outside of one, unless there is one thread only', (t) => {
  const planner = makePlanner(2);
  const { plan } = planner.plan(SMALL, 'chain');
  planner.learn(SMALL, plan, 'measure', 1, [], 'chain');
  t.deepEqual([planner.plan(SMALL, 'chain').effort, planner.plan(SMALL).effort], ['measure', 'estimate']);
  const alone = makePlanner(1);
  alone.learn(SMALL, alone.plan(SMALL).plan, 'measure', 1, []);
  t.equal(alone.plan(SMALL, 'chain').effort, 'measure', 'one thread does not mind');
  t.end();
});

test('planner: wisdom that names a kernel which does not serve the problem is not followed', (t) => {
  const turned = matmulProblem({ m: 128, n: 128, k: 128 }, { transposeA: true });
  // rows of A are read in place by these
  for (const kernel of KERNELS.filter(({ family, dtype }) => family === 'direct' && dtype === undefined)) {
    const planner = makePlanner(1);
    const { plan } = planner.plan(turned);
    const [other] = planner.candidates(SMALL, WIDE, { only: kernel.name });
    planner.learn(turned, other!.plan, 'measure', 1, []);
    const { plan: chosen, source } = planner.plan(turned);
    t.deepEqual([chosen, source], [plan, 'estimate'], kernel.name);
  }
  t.end();
});
