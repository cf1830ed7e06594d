/** What a profile says of a run: every step once, on its thread, within its operation. */
import { existsSync } from 'node:fs';
import test from 'tape';
import { InferenceSession } from '../../src/onnx/index.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Profile, Runtime, Span } from '../../src/ops/types.ts';
import { codeOf, faultyBytes, SLOW_MACHINE } from '../support/faulty.ts';
import { wholeProduct, wrong } from '../support/products.ts';
import { trapWhenK } from '../support/wasm-patch.ts';

const product = wholeProduct(500, 300, 400);
const MNIST = new URL('../../../shared/data/models/mnist.onnx', import.meta.url);

const make = (): Promise<Runtime> =>
  createRuntimeWith({ threads: 2, wisdom: false }, { machine: SLOW_MACHINE });

const opsOf = ({ spans }: Profile<unknown>) => spans.filter(({ kind }) => kind === 'op');
const stepsOf = ({ spans }: Profile<unknown>, op: Span) =>
  spans.filter((span) => span.kind === 'step' && span.op === op.op);

function double(x: number): number {
  return 2 * x;
}

/** What is wrong with the times of a profile. */
function timesFault(profile: Profile<unknown>): string | undefined {
  const slack = 1e-3;
  for (const span of profile.spans)
    if (!(span.ms >= 0) || span.startMs < -slack || span.startMs + span.ms > profile.ms + slack)
      return `${span.name} is not within the profile: ${span.startMs} + ${span.ms} of ${profile.ms}`;
  for (const op of opsOf(profile)) {
    const steps = stepsOf(profile, op);
    for (const step of steps)
      if (step.startMs < op.startMs - slack || step.startMs + step.ms > op.startMs + op.ms + slack)
        return `step ${step.name} is not within ${op.name}`;
  }
  const all = profile.spans.filter(({ kind }) => kind === 'step');
  for (const thread of new Set(all.map((step) => step.thread))) {
    const own = all.filter((step) => step.thread === thread);
    const overlap = own.find(
      (step, i) => i > 0 && own[i - 1]!.startMs + own[i - 1]!.ms > step.startMs + slack,
    );
    if (overlap) return `thread ${thread} did two steps at once`;
  }
  return undefined;
}

/** Elements of the result that the tiles of a product make, each counted once for the last slice of k. */
function coveredBy(steps: readonly Span[], k: number): number {
  return steps
    .filter(({ name, details }) => name === 'tile' && Number(details.k0) + Number(details.ks) === k)
    .reduce((sum, { details }) => sum + Number(details.rows) * Number(details.cols), 0);
}

test('profile: a product on the team and one that blocks', async (t) => {
  const rt = await make();
  await rt.prepare(['500x300x400']);
  (await rt.matmul(product.a, product.b)).dispose();
  const used = rt.memory();
  const profile = await rt.profile(async () => {
    const one = await rt.matmul(product.a, product.b);
    const fault = wrong(one, product);
    one.dispose();
    const two = rt.matmulSync(product.a, product.b);
    two.dispose();
    return fault;
  });
  t.equal(profile.result, undefined, 'the results are right');
  t.equal(timesFault(profile), undefined, 'times');
  const ops = opsOf(profile);
  t.deepEqual(
    ops.map(({ name, backend }) => `${name} ${backend}`),
    ['matmul wasm', 'matmul wasm'],
  );
  for (const [i, op] of ops.entries()) {
    const steps = stepsOf(profile, op);
    t.equal(coveredBy(steps, 300), 500 * 400, 'every element of the result is in one tile');
    t.equal(steps.length, op.details.steps, 'the number of steps is told');
    const threads = new Set(steps.map(({ thread }) => thread));
    t.equal(threads.has(0), i === 1, i ? 'the calling thread took part' : 'only workers took part');
  }
  t.match(String(ops[0]!.details.kernel), /f32_gemm/, 'the kernel is named');
  t.match(String(ops[0]!.details.problem), /matmul/, 'and the problem');
  const after = rt.memory();
  t.deepEqual([after.used - used.used, after.tensors], [0, used.tensors], 'no memory is kept');
  t.equal((await rt.profile(() => 1)).spans.length, 0, 'and nothing is remembered');
  await rt.close();
});

test('profile: two at once, errors, misuse', async (t) => {
  const rt = await make();
  const multiply = async () => (await rt.matmul(product.a, product.b)).dispose();
  const inner: Profile<void>[] = [];
  const outer = await rt.profile(async () => {
    await multiply();
    inner.push(await rt.profile(multiply));
  });
  t.deepEqual([opsOf(outer).length, opsOf(inner[0]!).length], [2, 1], 'each sees what happened in its time');
  const thrown = new Error('mine');
  t.equal(await rt.profile(() => Promise.reject(thrown)).catch((error: unknown) => error), thrown);
  t.equal(await codeOf(rt.profile(() => rt.matmul(product.a, product.a))), 'E_SHAPE');
  t.equal(await codeOf(rt.profile(undefined as never)), 'E_ARGUMENT');
  await rt.close();
  t.equal(await codeOf(rt.profile(multiply)), 'E_CLOSED');
});

test('profile: a call that traps keeps no memory', async (t) => {
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false },
    { machine: SLOW_MACHINE, bytes: faultyBytes(trapWhenK(77)) },
  );
  const bad = wholeProduct(500, 77, 400);
  await codeOf(rt.matmul(bad.a, bad.b));
  const { used } = rt.memory();
  t.equal(await codeOf(rt.profile(() => rt.matmul(bad.a, bad.b))), 'E_KERNEL');
  t.equal(rt.memory().used, used);
  await rt.close();
});

test('profile: functions of the caller, and what no kernel may be trusted with', async (t) => {
  const rt = await make();
  const twice = rt.kernel(double);
  const x = rt.tensor([1, 2, 3], [3]);
  const profile = await rt.profile(async () => {
    (await twice.run([x])).dispose();
    twice.runSync([x]).dispose();
  });
  t.deepEqual(
    opsOf(profile).map(({ name, backend }) => `${name} ${backend}`),
    ['kernel host', 'kernel host'],
  );
  await rt.close();
  const faulty = await createRuntimeWith(
    { threads: 1, wisdom: false },
    { machine: SLOW_MACHINE, bytes: faultyBytes([0]) },
  );
  const reference = await faulty.profile(() => faulty.matmulSync(product.a, product.b).dispose());
  t.deepEqual(
    opsOf(reference).map(({ name, backend }) => `${name} ${backend}`),
    ['matmul reference'],
  );
  await faulty.close();
});

test('profile: a model, its nodes, and the trace', {
  skip: !existsSync(MNIST) && 'no shared models',
}, async (t) => {
  const session = await InferenceSession.create(MNIST);
  await session.prepare();
  const [input] = session.inputNames;
  const dims = [1, 1, 28, 28];
  const feeds = { [input!]: { type: 'float32', data: new Float32Array(784), dims } } as never;
  const profile = await session.runtime.profile(() => session.run(feeds));
  t.equal(timesFault(profile), undefined, 'times');
  const ops = opsOf(profile);
  t.equal(ops.length, (await session.explain(feeds)).length, 'an operation for each step of the plan');
  t.ok(
    ops.every(({ details }) => String(details.label).length > 0),
    'each names its node',
  );
  const { traceEvents } = profile.chromeTrace();
  const parsed = JSON.parse(JSON.stringify(traceEvents)) as typeof traceEvents;
  t.deepEqual(parsed, traceEvents, 'plain JSON');
  const count = (ph: string) => traceEvents.filter((event) => event.ph === ph).length;
  t.deepEqual([count('b'), count('e')], [ops.length, ops.length], 'operations begin and end');
  t.equal(count('X'), profile.spans.length - ops.length, 'steps are complete events');
  const named = new Set(traceEvents.filter(({ name }) => name === 'thread_name').map(({ tid }) => tid));
  t.ok(
    traceEvents.every(({ ph, tid }) => ph !== 'X' || named.has(tid)),
    'every thread has a name',
  );
  await session.release();
});
