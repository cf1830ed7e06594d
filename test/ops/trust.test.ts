/** Kernels made wrong on purpose: each is found before its answer counts, named, and routed around. */
import test from 'tape';
import { referenceMatmul } from '../../src/backends/reference/matmul.ts';
import { WasmBackend } from '../../src/backends/wasm/backend.ts';
import { checkKernel } from '../../src/backends/wasm/check.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import type { TesseraeError } from '../../src/core/errors.ts';
import { KERNELS } from '../../src/kernels/table.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions } from '../../src/ops/types.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { makeWasmBackend } from '../support/bench.ts';
import { codeOf, compiled, failure, faultyBytes, kernelNames, moduleBytes } from '../support/faulty.ts';
import { wholeProduct, wrong, wrongAsync, wrongSync } from '../support/products.ts';
import { madeUpMachine, makeRuntime } from '../support/runtime.ts';
import { prefixBodies, RETURN, returnWhenK, spoilSums, UNREACHABLE } from '../support/wasm-patch.ts';

const SALT = 5;
/** Families whose kernels get sums to add to by an address and a pitch, which is 0 for the zeros. */
const ADDING: ReadonlySet<string> = new Set(['packed', 'direct', 'offset']);
/** `if (ldcin) return` */
const RETURN_WHEN_ADDING = [0x20, 6, 0x04, 0x40, ...RETURN, 0x0b];

interface Watched {
  readonly rt: Runtime;
  readonly quarantined: { kernel: string; reason: string }[];
}

/** A runtime on the same machine as `chosenFor`, so that it would choose the same kernels. */
async function makeWith(
  bytes: readonly Uint8Array<ArrayBuffer>[],
  options: RuntimeOptions = {},
): Promise<Watched> {
  const quarantined: Watched['quarantined'] = [];
  const onEvent = (event: RuntimeEvent) => {
    if (event.type === 'quarantine') quarantined.push(event);
  };
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false, onEvent, ...options },
    { bytes, machine: madeUpMachine(SALT) },
  );
  return { rt, quarantined };
}

async function chosenFor(spec: string, options: RuntimeOptions = {}): Promise<string> {
  const rt = await makeRuntime(options, SALT);
  const { kernel } = rt.explain(spec).plan;
  await rt.close();
  return kernel;
}

const EXTENTS: readonly (readonly [number, number, number])[] = [
  [64, 64, 64],
  [130, 70, 90],
  [1, 80, 90],
  [90, 80, 1],
  [5, 6, 7],
];

test('a kernel that gives one wrong sum', async (t) => {
  for (const numerics of ['fast', 'exact'] as const) {
    for (const extents of EXTENTS) {
      const spec = extents.join('x');
      const name = await chosenFor(spec, { numerics });
      const { rt, quarantined } = await makeWith(spoilSums(moduleBytes(), [name]).bytes, { numerics });
      const product = wholeProduct(...extents);
      t.equal(
        wrongSync(rt, product),
        undefined,
        `${numerics} ${spec}, ${name} is wrong: the result is right`,
      );
      t.equal(await wrongAsync(rt, product), undefined, 'also async');
      t.deepEqual(
        quarantined.map(({ kernel }) => kernel),
        [name],
        'one event names it',
      );
      t.match(quarantined[0]?.reason ?? '', /k=\d+: element \[\d+, \d+\] is .*, not /, 'and what is wrong');
      const { plan, candidates, quarantined: listed } = rt.explain(spec);
      t.deepEqual(
        listed.map(({ kernel }) => kernel),
        [name],
        'explain lists it',
      );
      t.notEqual(plan.kernel, name, 'the plan has another kernel');
      t.notOk(
        candidates.some((candidate) => candidate.plan.kernel === name),
        'and so have all candidates',
      );
      await rt.close();
    }
  }
});

test('every kernel passes its self-check', (t) => {
  const backend = makeWasmBackend({ initial: 0 });
  const names = [...backend.kernels.keys()];
  const faults = names.flatMap((name) => {
    const reason = checkKernel(backend, name);
    return reason === undefined ? [] : [`${name}: ${reason}`];
  });
  t.deepEqual(faults, [], `${names.length} kernels`);
  t.end();
});

test('the self-check finds a wrong sum in any place of any kernel', async (t) => {
  const names = kernelNames();
  const missed: string[] = [];
  let places = 0;
  for (let nth = 0; ; nth++) {
    const { bytes, spoiled } = spoilSums(moduleBytes(), names, nth);
    if (spoiled.length === 0) break;
    const backend = new WasmBackend({
      host: nodeHost,
      modules: compiled(bytes),
      initialMemory: 0,
      maximumMemory: 2 ** 24,
      workerTimeoutMs: 1000,
      onEvent: () => undefined,
    });
    for (const name of spoiled)
      if (checkKernel(backend, name) === undefined) missed.push(`${name}, sum ${nth}`);
    places += spoiled.length;
  }
  t.deepEqual(missed, [], `${places} places in ${names.length} kernels`);
});

test('the self-check finds kernels that are wrong only where they add to what is there', (t) => {
  const products = KERNELS.filter(({ family, dtype }) => ADDING.has(family) && dtype === undefined);
  const names = products.map(({ name }) => name).filter((name) => kernelNames().includes(name));
  const backend = new WasmBackend({
    host: nodeHost,
    modules: compiled(prefixBodies(moduleBytes(), names, RETURN_WHEN_ADDING)),
    initialMemory: 0,
    maximumMemory: 2 ** 24,
    workerTimeoutMs: 1000,
    onEvent: () => undefined,
  });
  const missed = names.filter((name) => checkKernel(backend, name) === undefined);
  t.deepEqual(missed, [], `${names.length} kernels`);
  t.end();
});

test('a kernel that traps in the self-check', async (t) => {
  const name = await chosenFor('64x64x64');
  const { rt, quarantined } = await makeWith(prefixBodies(moduleBytes(), [name], UNREACHABLE));
  t.equal(wrongSync(rt, wholeProduct(64, 64, 64)), undefined, 'the result is right');
  t.deepEqual(
    quarantined.map(({ kernel }) => kernel),
    [name],
    'it is quarantined',
  );
  t.match(quarantined[0]?.reason ?? '', /trapped: .*unreachable/, 'with the reason');
  t.equal(rt.memory().byOwner.scratch, 0, "the check's memory is back");
  await rt.close();
});

test('a wrong kernel behind a prepacked operand', async (t) => {
  const good = await makeRuntime({}, SALT);
  const name = good.explain({ m: 40, k: 64, n: 64, prepacked: true }).plan.kernel;
  await good.close();
  const { rt, quarantined } = await makeWith(spoilSums(moduleBytes(), [name]).bytes);
  const product = wholeProduct(40, 64, 64);
  using packed = rt.prepack(product.b, { m: 40 });
  t.equal(wrong(rt.matmulSync(product.a, packed), product), undefined, 'the result is right');
  t.ok(
    quarantined.some(({ kernel }) => kernel === name),
    'it is quarantined',
  );
  await rt.close();
});

test('all kernels wrong', async (t) => {
  const { rt, quarantined } = await makeWith(faultyBytes(RETURN));
  for (const extents of EXTENTS) {
    const product = wholeProduct(...extents);
    t.equal(wrongSync(rt, product), undefined, `${extents.join('x')} is right by the reference`);
    t.equal(await wrongAsync(rt, product), undefined, 'also async');
  }
  t.ok(quarantined.length > 20, `${quarantined.length} kernels are quarantined`);
  t.equal(new Set(quarantined.map(({ kernel }) => kernel)).size, quarantined.length, 'each is named once');

  const random = (count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(i * seed));
  const [a, b, bias, old] = [random(6, 3), random(12, 5), random(4, 7), random(8, 11)];
  using out = rt.tensor(old, [2, 4]);
  await rt.matmul(
    { data: a, shape: [2, 3] },
    { data: b, shape: [3, 4] },
    {
      out,
      alpha: 0.5,
      beta: 2,
      activation: 'tanh',
      bias: { data: bias, shape: [4] },
    },
  );
  const expected = new Float64Array(8);
  const problem = matmulProblem({ m: 2, n: 4, k: 3 });
  referenceMatmul(
    { ...problem, bias: 'row', activation: 'tanh', scaled: true, accumulate: true },
    { a, b, bias, c0: old, alpha: 0.5, beta: 2, p0: 0, p1: 0 },
    expected,
  );
  t.ok(
    out.data.every((value, i) => Math.abs(value - expected[i]!) < 1e-6),
    'alpha, beta, bias and activation too',
  );

  t.equal(await codeOf(() => rt.explain('4x4x4')), 'E_KERNEL', 'explain says that there is none');
  t.equal(await codeOf(() => rt.prepack({ data: b, shape: [3, 4] })), 'E_KERNEL', 'prepack too');
  t.equal(rt.memory().tensors, 1, 'nothing is left over');
  t.equal(rt.memory().byOwner.scratch, 0, 'no scratch either');
  await rt.close();
});

test("all kernels wrong, policy 'strict'", async (t) => {
  const { rt } = await makeWith(faultyBytes(RETURN), { policy: 'strict' });
  const product = wholeProduct(8, 8, 8);
  const error = (await failure(rt.matmul(product.a, product.b))) as TesseraeError;
  t.equal(error.code, 'E_FALLBACK', 'E_FALLBACK');
  t.ok((error.values.quarantined as unknown[]).length > 5, 'with what was quarantined');
  t.equal(await codeOf(() => rt.matmulSync(product.a, product.b)), 'E_FALLBACK', 'also sync');
  t.equal(rt.memory().tensors, 0, 'nothing is left over');
  await rt.close();
});

test("one kernel wrong, policy 'strict'", async (t) => {
  const name = await chosenFor('64x64x64');
  const { rt } = await makeWith(spoilSums(moduleBytes(), [name]).bytes, { policy: 'strict' });
  t.equal(wrongSync(rt, wholeProduct(64, 64, 64)), undefined, 'another kernel is no fallback');
  await rt.close();
});

test('the tuner neither measures nor keeps what is wrong', async (t) => {
  const names = kernelNames();
  const bad = names.filter((_, i) => i % 2 === 0);
  const { rt, quarantined } = await makeWith(spoilSums(moduleBytes(), bad).bytes, { threads: 1 });
  const [report] = await rt.tune(['60x70x60'], { budgetMs: 300 });
  t.ok(report && !bad.includes(report.plan.kernel), `${report?.plan.kernel} is none of the wrong ones`);
  t.ok(
    quarantined.length > 0 && quarantined.every(({ kernel }) => bad.includes(kernel)),
    'only wrong ones are quarantined',
  );
  t.equal(wrongSync(rt, wholeProduct(60, 70, 60)), undefined, 'the result is right');
  await rt.close();
});

test('a kernel that the self-check cannot find out is found by the tuner', async (t) => {
  const name = await chosenFor('60x77x60', { threads: 1 });
  const { rt, quarantined } = await makeWith(prefixBodies(moduleBytes(), [name], returnWhenK(77)), {
    threads: 1,
  });
  const [report] = await rt.tune(['60x77x60'], { budgetMs: 300 });
  t.equal(quarantined.length, 0, 'the self-check has passed it');
  t.ok(report && report.plan.kernel !== name, `${report?.plan.kernel} was chosen, not ${name}`);
  const rejected = rt.explain('60x77x60').candidates.filter((candidate) => candidate.rejected);
  t.ok(
    rejected.length > 0 && rejected.every(({ plan }) => plan.kernel === name),
    'explain lists it as rejected',
  );
  t.equal(wrongSync(rt, wholeProduct(60, 77, 60)), undefined, 'the result is right');
  await rt.close();
});
