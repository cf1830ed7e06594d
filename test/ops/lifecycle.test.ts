/** From createRuntime to the end of the process: memory comes back, nothing lingers, nothing is lost on the way. */
import test from 'tape';
import { TesseraeError } from '../../src/core/errors.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeOptions } from '../../src/ops/types.ts';
import { runChild } from '../support/bundle.ts';
import { codeOf, failure, SLOW_MACHINE } from '../support/faulty.ts';
import { wholeProduct, wrong, wrongAsync, wrongSync } from '../support/products.ts';

const MiB = 1024 * 1024;
const product = wholeProduct(130, 64, 70);
const large = wholeProduct(700, 300, 700);

function make(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: SLOW_MACHINE });
}

/** What every child begins with. */
const MAKE = `const make = (options = {}) =>
  lib.createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: lib.SLOW_MACHINE });
const product = lib.wholeProduct(130, 64, 70);
`;

test('80 cycles of create, run, close: the process does not grow', async (t) => {
  const { status, stdout, stderr } = await runChild(`${MAKE}
    const rss = [];
    for (let i = 0; i < 80; i++) {
      const rt = await make();
      rt.zeros([2 ** 20]).data.fill(1);
      if ((await lib.wrongAsync(rt, product)) ?? lib.wrongSync(rt, product)) throw new Error('wrong');
      await rt.close();
      rss.push(process.memoryUsage().rss / 2 ** 20);
    }
    console.log(JSON.stringify(rss));`);
  t.equal(status, 0, `the child ends well ${stderr}`);
  const rss = JSON.parse(stdout) as number[];
  // garbage comes and goes in waves: the troughs at the end against the middle of the waves. The engine itself grows by a fifth in
  // the first 20 cycles, with its compiled code; a runtime's memory that is kept is 4 MiB each.
  const early = rss.slice(25, 35).sort((x, y) => x - y)[5]!;
  const late = Math.min(...rss.slice(-10));
  t.ok(late <= 1.2 * early, `${early.toFixed(0)} MiB around the thirtieth, ${late.toFixed(0)} at the end`);
});

test('10 000 calls of all kinds leave memory as it was', async (t) => {
  const rt = await make();
  const [a, b] = [rt.tensor(product.a.data, [130, 64]), rt.tensor(product.b.data, [64, 70])];
  const [x, y] = [rt.tensor(new Float32Array(12), [3, 4]), rt.tensor(new Float32Array(20), [4, 5])];
  const out = rt.zeros([130, 70]);
  const packed = rt.prepack(b);
  const round = async () => {
    rt.matmulSync(x, y).dispose();
    rt.matmulSync(x, { data: new Float32Array(8), shape: [4, 2] }, { activation: 'relu' }).dispose();
    rt.matmulSync(a, b, { out, alpha: 2, beta: 0.5 });
    rt.matmulSync(a, packed, { out });
    (await rt.matmul(x, y)).dispose();
    (await rt.matmul(a, b, { bias: { data: new Float32Array(70), shape: [70] } })).dispose();
    await Promise.all([rt.matmul(a, b), rt.matmul(x, y)].map(async (call) => (await call).dispose()));
    rt.prepack(y).dispose();
    await codeOf(rt.matmul(x, x));
  };
  for (let i = 0; i < 20; i++) await round();
  const before = rt.memory();
  for (let i = 0; i < 1000; i++) await round();
  t.deepEqual(rt.memory(), before, 'the same bytes, owners, tensors and capacity');
  for (const one of [a, b, x, y, out, packed]) one.dispose();
  const { tensors, byOwner } = rt.memory();
  t.equal(tensors, 0, 'no tensor is counted');
  t.deepEqual([byOwner.tensors, byOwner.prepacked, byOwner.scratch], [0, 0, 0], 'and no byte of one');
  await rt.close();
});

test('the process ends by itself', async (t) => {
  const cases: Readonly<Record<string, string>> = {
    'an idle runtime': 'await make();',
    'after a sync call': 'lib.wrongSync(await make(), product);',
    'after an async call': 'await lib.wrongAsync(await make(), product);',
    'after prepare': `await (await make()).prepare(['300x300x300']);`,
    'after close': 'const rt = await make(); await lib.wrongAsync(rt, product); await rt.close();',
    'closed twice': 'const rt = await make(); await Promise.all([rt.close(), rt.close()]); await rt.close();',
    'a call that nobody awaits': `const rt = await make();
       rt.matmul(product.a, product.b).then((c) => console.log(lib.wrong(c, product) ?? 'right'));`,
    'two runtimes, one closed': `const [x, y] = [await make(), await make()];
       await lib.wrongAsync(x, product); await lib.wrongAsync(y, product); await x.close();`,
  };
  for (const [name, code] of Object.entries(cases)) {
    const { status, stdout, stderr, lingeredMs } = await runChild(`${MAKE} ${code}\nconsole.log('end');`, {
      timeoutMs: 20_000,
    });
    t.equal(status, 0, `${name}: status 0 ${stderr}`);
    t.ok(lingeredMs < 2000, `${name}: ${lingeredMs.toFixed(0)} ms after its last word`);
    if (name.includes('nobody')) t.match(stdout, /right/, `${name}: it is finished first`);
  }
});

test('close while calls are in flight', async (t) => {
  const rt = await make();
  await rt.prepare(['700x300x700']);
  const calls = Array.from({ length: 4 }, () => codeOf(rt.matmul(large.a, large.b)));
  const closing = rt.close();
  t.deepEqual(
    await Promise.all(calls),
    ['E_CLOSED', 'E_CLOSED', 'E_CLOSED', 'E_CLOSED'],
    'each gets E_CLOSED',
  );
  await closing;
  await rt.close();
  t.pass('closing again is harmless');
});

test('close while other work is in flight', async (t) => {
  const work: Readonly<Record<string, (rt: Runtime) => Promise<unknown>>> = {
    tune: (rt) => rt.tune(['64x64x64', '200x200x200'], { budgetMs: 3000 }),
    prepare: (rt) => rt.prepare(['64x64x64', '65x65x65', '66x66x66']),
    measureMachine: (rt) => rt.measureMachine(),
  };
  for (const [name, begin] of Object.entries(work)) {
    const rt = await make({ memory: { maximum: 64 * MiB } });
    const pending = codeOf(begin(rt));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await rt.close();
    const started = Date.now();
    t.equal(await pending, 'E_CLOSED', `${name} gets E_CLOSED`);
    t.ok(Date.now() - started < 1500, `${name} stops soon`);
  }
  const rt = await make({ effort: 'measure' });
  const pending = codeOf(rt.matmul(product.a, product.b));
  await rt.close();
  t.equal(await pending, 'E_CLOSED', 'a call that is being tuned gets E_CLOSED');
});

test('the second close waits for the first', async (t) => {
  const rt = await make();
  await wrongAsync(rt, product);
  let first = false;
  void rt.close().then(() => {
    first = true;
  });
  await rt.close();
  t.ok(first, 'both are through');
});

test('after close', async (t) => {
  const rt = await make();
  const tensor = rt.tensor([1, 2, 3, 4], [2, 2]);
  const panels = rt.prepack(tensor);
  await rt.close();
  const uses: Readonly<Record<string, () => unknown>> = {
    tensor: () => rt.tensor([1], [1]),
    zeros: () => rt.zeros([1]),
    matmul: () => rt.matmul(tensor, tensor),
    matmulSync: () => rt.matmulSync(tensor, panels),
    prepack: () => rt.prepack(tensor),
    explain: () => rt.explain('4x4x4'),
    prepare: () => rt.prepare(['4x4x4']),
    tune: () => rt.tune(['4x4x4']),
    measureMachine: () => rt.measureMachine(),
    data: () => tensor.data,
  };
  for (const [name, use] of Object.entries(uses)) t.equal(await codeOf(use), 'E_CLOSED', `${name}: E_CLOSED`);
  t.equal(rt.info.closed, true, 'info still answers');
  tensor.dispose();
  tensor.dispose();
  panels.dispose();
  panels.dispose();
  t.equal(rt.memory().tensors, 0, 'disposing twice counts once');
});

test('Symbol.asyncDispose and Symbol.dispose', async (t) => {
  const rt = await make();
  await wrongAsync(rt, product);
  const tensor = rt.zeros([2]);
  tensor[Symbol.dispose]();
  t.ok(tensor.disposed, 'a tensor is disposed');
  await rt[Symbol.asyncDispose]();
  t.ok(rt.info.closed, 'the runtime is closed');
});

test('`await using` closes', async (t) => {
  let kept: Runtime | undefined;
  {
    await using rt = await make();
    using c = await rt.matmul(product.a, product.b);
    t.equal(c.data[0], product.expected[0], 'the result is there');
    kept = rt;
  }
  t.ok(kept.info.closed, 'closed at the end of the block');
});

test('a tensor that is collected without having been disposed is reported, and its memory comes back', async (t) => {
  const { status, stdout, stderr } = await runChild(
    `${MAKE}
    const leaks = [];
    const rt = await make({ onEvent: (event) => { if (event.type === 'leak') leaks.push(event); } });
    const kept = rt.zeros([2, 2]);
    rt.prepack(kept).dispose();
    const before = rt.memory();
    (() => { rt.zeros([7, 11]); rt.prepack(kept); rt.zeros([3]).dispose(); })();
    for (let i = 0; i < 100 && leaks.length < 2; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const after = rt.memory();
    console.log(JSON.stringify({ leaks, flat: after.used === before.used, tensors: after.tensors, kept: kept.size }));`,
    { nodeArgs: ['--expose-gc'] },
  );
  t.equal(status, 0, `the child ends well ${stderr}`);
  const { leaks, flat, tensors } = JSON.parse(stdout) as {
    leaks: { bytes: number; shape: number[] }[];
    flat: boolean;
    tensors: number;
  };
  const shapes = leaks.map(({ shape }) => shape.join('x')).sort();
  t.deepEqual(shapes, ['2x2', '7x11'], 'the tensor and the panels are named, the disposed one is not');
  t.equal(leaks.find(({ shape }) => shape[0] === 7)?.bytes, 308, 'with its bytes');
  t.ok(flat, 'their memory is back');
  t.equal(tensors, 1, 'what is still in use is counted');
});

test('out of memory', async (t) => {
  const rt = await make({ memory: { initial: 0, maximum: 8 * MiB } });
  const tensor = rt.tensor(product.a.data, [130, 64]);
  const before = rt.memory().used;
  const attempts: Readonly<Record<string, () => unknown>> = {
    zeros: () => rt.zeros([4 * MiB]),
    tensor: () => rt.tensor(new Float32Array(4 * MiB), [4 * MiB]),
    'a result': () =>
      rt.matmulSync(
        { data: new Float32Array(3000), shape: [3000, 1] },
        { data: new Float32Array(3000), shape: [1, 3000] },
      ),
    'an async result': () =>
      rt.matmul(
        { data: new Float32Array(3000), shape: [3000, 1] },
        { data: new Float32Array(3000), shape: [1, 3000] },
      ),
    'an operand': () => rt.matmul({ data: new Float32Array(3 * MiB), shape: [1, 3 * MiB] }, tensor),
    panels: () => rt.prepack({ data: new Float32Array(2 ** 20), shape: [2 ** 20, 1] }),
  };
  for (const [name, attempt] of Object.entries(attempts)) {
    const error = await failure(attempt);
    if (name === 'an operand') {
      t.equal((error as TesseraeError).code, 'E_SHAPE', 'shapes are checked before memory is taken');
      continue;
    }
    t.ok(error instanceof TesseraeError && error.code === 'E_MEMORY', `${name}: ${String(error)}`);
    const { needed, available } = (error as TesseraeError).values as { needed: number; available: number };
    t.ok(needed > available && available >= 0, `${name}: needed ${needed}, available ${available}`);
    t.equal(rt.memory().used, before, `${name}: nothing is lost`);
  }
  t.deepEqual(tensor.data, product.a.data, 'what was there is unharmed');
  t.equal((await wrongAsync(rt, product)) ?? wrongSync(rt, product), undefined, 'the next calls are right');
  const { available } = ((await failure(() => rt.zeros([4 * MiB]))) as TesseraeError).values as {
    available: number;
  };
  rt.zeros([Math.floor(available / 4)]).dispose();
  t.pass(`the ${available} bytes that were said to be available are`);
  await rt.close();
});

test('operands disposed during an async call', async (t) => {
  const rt = await make();
  const before = rt.memory().tensors;
  for (let turn = 0; turn < 20; turn++) {
    const [a, b] = [rt.tensor(large.a.data, [700, 300]), rt.tensor(large.b.data, [300, 700])];
    const call = rt.matmul(a, b);
    a.dispose();
    b.dispose();
    // would get the operands' memory if that were free already
    const other = rt.tensor(new Float32Array(700 * 300).fill(Number.NaN), [700, 300]);
    const fault = wrong(await call, large);
    other.dispose();
    if (fault) t.fail(fault);
  }
  t.equal(rt.memory().tensors, before, 'all results are right and all tensors gone');
  t.equal(rt.memory().byOwner.tensors, 0, 'and their memory');
  const out = rt.zeros([700, 700]);
  const call = rt.matmul(large.a, large.b, { out });
  out.dispose();
  const result = await call;
  t.ok(result.disposed, 'a result disposed during the call is a disposed result');
  t.equal(rt.memory().byOwner.tensors, 0, 'whose memory is back');
  await rt.close();
});
