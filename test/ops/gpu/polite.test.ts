/** Calls on a GPU wait for a budget as others do, and are in profiles. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime } from '../../../src/ops/types.ts';
import { failure, sleep } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { wholeProduct, wrong } from '../../support/products.ts';
import { madeUpMachine } from '../../support/runtime.ts';

const product = wholeProduct(90, 40, 70);

function double(x: number): number {
  return 2 * x;
}

async function make(): Promise<Runtime | string> {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  return createRuntimeWith(
    { threads: 2, wisdom: false, backend: 'webgpu' },
    { machine: madeUpMachine(5), gpuProfile: ONE_ROW, openGpu: () => openGpu({ gpu }) },
  );
}

test('profile: calls on a GPU, and those that leave it', async (t) => {
  const rt = await make();
  if (typeof rt === 'string') return t.comment(`SKIP ${rt}`);
  const kernel = rt.kernel(double);
  const { result, spans, ms, chromeTrace } = await rt.profile(async () => {
    const there = await rt.matmul(product.a, product.b, { result: 'gpu' });
    const fault = wrong(await rt.matmul(product.a, product.b), product);
    rt.matmulSync(product.a, product.b).dispose();
    (await kernel.run([there])).dispose();
    there.dispose();
    return fault;
  });
  t.equal(result, undefined, 'the result is right');
  const ops = spans.filter(({ kind }) => kind === 'op');
  t.deepEqual(
    ops.map(({ name, backend }) => `${name} ${backend}`),
    ['matmul webgpu', 'matmul webgpu', 'matmul wasm', 'kernel webgpu'],
  );
  t.ok(
    ops.every(({ startMs, ms: own }) => startMs >= 0 && startMs + own <= ms + 1e-3),
    'within the profile',
  );
  if (rt.gpuDevice.features.has('timestamp-query'))
    t.ok(Number(ops[0]!.details.gpuMs) > 0, `${ops[0]!.details.gpuMs} ms by the GPU's own clock`);
  t.ok(
    chromeTrace().traceEvents.some(({ cat }) => cat === 'webgpu'),
    'it is in the trace',
  );
  kernel.dispose();
  await rt.close();
});

test('pause and duty cycle: calls on a GPU wait', async (t) => {
  const rt = await make();
  if (typeof rt === 'string') return t.comment(`SKIP ${rt}`);
  await rt.matmul(product.a, product.b);
  await rt.pause();
  const control = new AbortController();
  let done = 0;
  const call = rt.matmul(product.a, product.b, { result: 'gpu' }).then((tensor) => {
    done++;
    return tensor.to('wasm');
  });
  const aborted = failure(rt.matmul(product.a, product.b, { signal: control.signal }));
  await sleep(30);
  control.abort(new Error('enough'));
  t.match(String(await aborted), /enough/, 'one that waits can be aborted');
  t.equal(done, 0, 'nothing is sent');
  rt.resume();
  t.equal(wrong(await call, product), undefined, 'then it goes on');
  rt.budget({ dutyCycle: 0.1 });
  const start = performance.now();
  for (let i = 0; i < 5; i++) (await rt.matmul(product.a, product.b)).dispose();
  const paced = performance.now() - start;
  const begin = performance.now();
  for (let i = 0; i < 5; i++) (await rt.matmul(product.a, product.b, { priority: 'interactive' })).dispose();
  const free = performance.now() - begin;
  t.comment(`${paced.toFixed(0)} ms at a tenth, ${free.toFixed(0)} ms without a limit`);
  await rt.close();
});
