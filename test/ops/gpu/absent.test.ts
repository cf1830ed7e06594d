/** Without a GPU nothing breaks: who asked for one hears why there is none, and strict callers get an error. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import type { Gpu, GpuAdapter } from '../../../src/core/webgpu.ts';
import { createRuntime } from '../../../src/index.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { RuntimeOptions } from '../../../src/ops/types.ts';
import { codeOf, failure } from '../../support/faulty.ts';
import { nullGpu } from '../../support/gpu.ts';
import { wholeProduct, wrongAsync } from '../../support/products.ts';
import { madeUpMachine } from '../../support/runtime.ts';

const NOTHING: Gpu = { requestAdapter: async () => null };

function adapter(description: string, isFallbackAdapter?: boolean): Gpu {
  const made: GpuAdapter = {
    features: new Set<string>(['shader-f16']),
    limits: {} as GpuAdapter['limits'],
    info: {
      vendor: '',
      architecture: '',
      device: '',
      description,
      ...(isFallbackAdapter === undefined ? {} : { isFallbackAdapter }),
    },
    requestDevice: async () => ({ features: new Set<string>() }) as never,
  };
  return { requestAdapter: async () => made };
}

const make = (options: RuntimeOptions) =>
  createRuntimeWith({ threads: 1, wisdom: false, ...options }, { machine: madeUpMachine(1) });

test('gpu absent: by default none is asked for', async (t) => {
  const rt = await make({});
  const webgpu = rt.info.backends.find(({ name }) => name === 'webgpu');
  t.deepEqual(webgpu, { name: 'webgpu', available: false, reason: 'not asked for: gpu is false' });
  t.equal(rt.info.gpu, undefined);
  const tensor = rt.zeros([2]);
  t.equal(tensor.location, 'wasm');
  t.equal(await codeOf(tensor.to('gpu')), 'E_GPU', 'nothing goes there');
  t.equal((await tensor.read()).length, 2, 'read() works anywhere');
  t.equal(await codeOf(rt.matmul(rt.zeros([2, 2]), rt.zeros([2, 2]), { result: 'gpu' })), 'E_GPU');
  t.equal(
    await codeOf(rt.matmul(rt.zeros([2, 2]), rt.zeros([2, 2]), { result: 'x' as 'gpu' })),
    'E_ARGUMENT',
  );
  t.equal(await rt.settle(), undefined, 'nothing to wait for');
  t.throws(() => rt.gpuDevice, /E_GPU/);
  t.throws(() => rt.fromGpu({} as never, [1]), /E_GPU/);
  await rt.close();
});

test('gpu absent: asked for, not there', async (t) => {
  const rt = await make({ gpu: { gpu: NOTHING } });
  const reason = rt.info.backends.find(({ name }) => name === 'webgpu')?.reason ?? '';
  t.match(reason, /no adapter was found/, 'info says why');
  t.equal(await wrongAsync(rt, wholeProduct(9, 8, 7)), undefined, 'everything works without');
  await rt.close();
  t.equal(
    await codeOf(make({ gpu: { gpu: NOTHING }, policy: 'strict' })),
    'E_GPU',
    'a strict caller gets an error',
  );
  t.equal(await codeOf(make({ gpu: { gpu: NOTHING }, backend: 'webgpu' })), 'E_GPU', 'and one that named it');
  const refusing: Gpu = {
    requestAdapter: async () => ({
      ...(await adapter('Grumpy').requestAdapter())!,
      requestDevice: async () => {
        throw new Error('planted');
      },
    }),
  };
  t.match(String(await failure(openGpu({ gpu: refusing }))), /Grumpy gives no device: planted/);
});

test('gpu absent: options that are none', async (t) => {
  for (const options of [
    { gpu: 'yes' },
    { gpu: null },
    { gpu: { power: 'high' } },
    { gpu: { device: {} } },
    { gpu: { gpu: {} } },
    { backend: 'cuda' },
  ])
    t.equal(
      await codeOf(createRuntime({ wisdom: false, ...options } as RuntimeOptions)),
      'E_ARGUMENT',
      JSON.stringify(options),
    );
});

test('gpu: an adapter that is a processor is named as one', async (t) => {
  for (const [description, fallback, software] of [
    ['SwiftShader driver 5.0.0', undefined, true],
    ['llvmpipe (LLVM 15.0.6, 256 bits)', undefined, true],
    ['Some card', true, true],
    ['NVIDIA H100', false, false],
  ] as const) {
    const { report } = await openGpu({ gpu: adapter(description, fallback) });
    t.equal(report.software, software, description);
    t.equal(report.name, description);
  }
});

test('gpu: a strange device that computes nothing is found out', async (t) => {
  const gpu = await nullGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const events: string[] = [];
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, gpu: { gpu }, backend: 'webgpu', onEvent: ({ type }) => events.push(type) },
    {
      machine: madeUpMachine(1),
      gpuProfile: {
        ...{
          launchMs: 0.1,
          passMs: 0.01,
          readbackMs: 0.1,
          uploadGBs: 1,
          downloadGBs: 1,
          memoryGBs: 1,
          peakGflops: 1,
          kernelStepMs: {},
          gatherGflops: {},
          gatherStepMs: {},
        },
        kernelGflops: { f32_gemm_32x32x16_2x4__wgsl: 1 },
      },
    },
  );
  t.equal(await wrongAsync(rt, wholeProduct(9, 8, 7)), undefined, 'the result is right');
  t.deepEqual(events, ['quarantine'], 'by another backend');
  const [report] = await rt.tune([{ m: 9, k: 8, n: 7 }], { budgetMs: 50 });
  t.equal(report?.plan.backend, 'wasm', 'and tuned there');
  await rt.close();
});
