/** gpu.js as a place for calls: forced, chosen by cost, refused, put aside when wrong. On the processor, which answers as WebGL2 would. */
import test from 'tape';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions } from '../../../src/ops/types.ts';
import type { GatherProfile } from '../../../src/plan/gather.ts';
import { codeOf } from '../../support/faulty.ts';
import { wholeProduct, wrongAsync, wrongSync } from '../../support/products.ts';

const FAST: GatherProfile = { callMs: 5, gflops: 100_000, moveGBs: 100 };

async function open(options: RuntimeOptions = {}, profile = FAST): Promise<Runtime> {
  return createRuntimeWith(
    { wisdom: false, threads: 1, backend: 'gpujs', ...options },
    { gpujsMode: 'cpu', gatherProfile: profile },
  );
}

test('calls that are sent to gpu.js', async (t) => {
  const rt = await open();
  const entry = rt.info.backends.find(({ name }) => name === 'gpujs');
  t.ok(entry?.available, 'it is there');
  t.match(entry!.reason, /stands in for a GPU/, 'and named as what it is');
  for (const [salt, extents] of [
    [5, 7, 3],
    [33, 65, 17],
  ].entries()) {
    const [m, k, n] = extents as [number, number, number];
    t.equal(await wrongAsync(rt, wholeProduct(m, k, n, salt)), undefined, `${m}x${k}x${n}`);
  }
  t.equal(wrongSync(rt, wholeProduct(5, 6, 7)), undefined, 'a blocking call stays in memory');
  const x = rt.tensor(
    Float32Array.from({ length: 2 * 3 * 6 * 5 }, (_, i) => i % 7),
    [2, 3, 6, 5],
  );
  const w = rt.tensor(
    Float32Array.from({ length: 4 * 3 * 3 * 3 }, (_, i) => (i % 5) - 2),
    [4, 3, 3, 3],
  );
  const bias = rt.tensor([1, 2, 3, 4], [4]);
  const options = { padding: 1, bias, activation: 'relu' } as const;
  t.deepEqual([...(await rt.conv2d(x, w, options)).data], [...rt.conv2dSync(x, w, options).data], 'conv2d');
  const nhwc = { layout: 'nhwc' } as const;
  const y = rt.tensor(x.data, [2, 6, 5, 3]);
  t.deepEqual([...(await rt.conv2d(y, w, nhwc)).data], [...rt.conv2dSync(y, w, nhwc).data], 'of NHWC');
  t.deepEqual([...(await rt.maxPool2d(x, 2)).data], [...rt.maxPool2dSync(x, 2).data], 'max pooling');
  const explained = rt.explain('5x7x3');
  t.equal(explained.plan.backend, 'gpujs', 'explain says so');
  t.ok(explained.candidates[0]!.transfer!.bytes > 0, 'with the bytes that move');
  await rt.close();
  t.equal(await codeOf(rt.matmul(x, x)), 'E_CLOSED');
});

test('what gpu.js cannot do is done in memory, or refused to a strict caller', async (t) => {
  const rt = await open();
  const a = rt.tensor([1, 2, 3, 4], [2, 2]);
  t.deepEqual(
    [...(await rt.matmul(a, a, { beta: 1, out: rt.tensor([1, 1, 1, 1], [2, 2]) })).data],
    [8, 11, 16, 23],
  );
  await rt.close();
  const strict = await open({ policy: 'strict' });
  const b = strict.tensor([1, 2, 3, 4], [2, 2]);
  t.equal(await codeOf(strict.matmul(b, b, { activation: 'gelu' })), 'E_FALLBACK');
  t.deepEqual([...(await strict.matmul(b, b)).data], [7, 10, 15, 22], 'what it can do it does');
  await strict.close();
  const exact = await open({ numerics: 'exact', policy: 'strict' });
  const c = exact.tensor([1], [1, 1]);
  t.equal(await codeOf(exact.matmul(c, c)), 'E_FALLBACK', 'exact results are not for a GPU');
  await exact.close();
});

test('a kernel that is wrong is put aside, and the call answered in memory', async (t) => {
  const events: RuntimeEvent[] = [];
  const gpujs = (await import('gpu.js')).default as unknown as Record<string, unknown>;
  class Wrong extends (gpujs.GPU as new (
    options: object,
  ) => { createKernel(source: string, options: object): never }) {
    override createKernel(source: string, options: object): never {
      return super.createKernel(source.replace('i * stepA', 'i * stepA * 0'), options);
    }
  }
  const rt = await open({
    gpu: { gpujs: { ...gpujs, GPU: Wrong } },
    onEvent: (event) => void events.push(event),
  });
  t.equal(await wrongAsync(rt, wholeProduct(5, 7, 3)), undefined, 'the answer is right');
  const [event] = events.filter(({ type }) => type === 'quarantine');
  t.equal(event?.type === 'quarantine' && event.kernel, 'f32_gemm_gather__gpujs', 'the kernel is named');
  t.equal(rt.explain('5x7x3').plan.backend, 'wasm', 'and not planned with');
  await rt.close();
});

test('options of gpu.js', async (t) => {
  t.equal(await codeOf(open({ gpu: { gpujs: 3 } })), 'E_ARGUMENT');
  t.equal(await codeOf(open({ gpu: { gpujs: {} } })), 'E_GPU', 'something else than the package');
  const aborted = AbortSignal.abort(new Error('no'));
  const rt = await open();
  const a = rt.tensor([1], [1, 1]);
  t.match(await codeOf(rt.matmul(a, a, { signal: aborted })), /no/);
  const controller = new AbortController();
  const call = rt.matmul(a, a, { signal: controller.signal });
  controller.abort(new Error('later'));
  t.match(await codeOf(call), /later/);
  const before = rt.memory().used;
  for (let nth = 0; nth < 20; nth++) (await rt.matmul(a, a)).dispose();
  t.equal(rt.memory().used, before, 'memory is flat');
  await rt.close();
});
