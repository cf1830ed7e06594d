/** Kernels that a user writes, on the GPU through gpu.js: the same answers, or the processor's. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import type { GpuDevice } from '../../../src/core/webgpu.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent } from '../../../src/ops/types.ts';
import { codeOf } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { wholeProduct } from '../../support/products.ts';
import { madeUpMachine } from '../../support/runtime.ts';

interface Made {
  readonly rt: Runtime;
  readonly events: RuntimeEvent[];
  readonly devices: GpuDevice[];
}

async function make(): Promise<Made | string> {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const events: RuntimeEvent[] = [];
  const devices: GpuDevice[] = [];
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, backend: 'webgpu', onEvent: (event) => events.push(event) },
    {
      machine: madeUpMachine(3),
      gpuProfile: ONE_ROW,
      openGpu: async () => {
        const opened = await openGpu({ gpu });
        devices.push(opened.device);
        return opened;
      },
    },
  );
  return { rt, events, devices };
}

/** Whole numbers and halves: exact on both sides. */
const halves = (count: number) => Float32Array.from({ length: count }, (_, i) => (i % 13) / 2 - 3);

test('kernel on the GPU: the same answers, in memory or there', async (t) => {
  const made = await make();
  if (typeof made === 'string') return t.skip(made);
  const { rt, events } = made;
  const leak = rt.kernel(
    function leak(x: number, y: number) {
      let sum = 0;
      // a bound that is no constant: gpu.js would end such a loop after 1,000 turns
      for (let i = 0; i < y * 2500; i++) sum += 1;
      return x > 0 ? x * y + sum : this.constants.slope! * x;
    },
    { constants: { slope: 0.25 } },
  );
  const want = (x: Float32Array, y: number) =>
    x.map((value) => (value > 0 ? value * y + 2500 * y : 0.25 * value));
  for (const count of [1000, 37, 4096]) {
    const x = halves(count);
    const result = await leak.run([
      { data: x, shape: [count] },
      { data: Float32Array.of(2), shape: [1] },
    ]);
    t.equal(result.location, 'wasm');
    t.deepEqual(result.data, want(x, 2), `${count} elements`);
    result.dispose();
  }
  t.ok(leak.measured.gpu! > 0 && leak.measured.cpu === undefined, 'it ran there');
  t.equal(leak.noGpu, undefined);
  const far = await rt.tensor(halves(100), [10, 10]).to('gpu');
  const there = await leak.run([far, { data: Float32Array.of(3), shape: [1] }]);
  t.equal(there.location, 'gpu', 'a result stays where its inputs are');
  t.equal(
    await codeOf(() => leak.runSync([there, there])),
    'E_LOCATION',
    'a call that cannot wait has no access',
  );
  t.deepEqual(await there.read(), want(halves(100), 3), 'right');
  far.dispose();
  there.dispose();
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  t.deepEqual(events, [], 'nothing happened');
  t.equal(
    (globalThis as { navigator?: { gpu?: unknown } }).navigator?.gpu,
    undefined,
    'and no global is left behind',
  );
  leak.dispose();
  await rt.close();
});

test('kernel on the GPU: between two products, without leaving', async (t) => {
  const made = await make();
  if (typeof made === 'string') return t.skip(made);
  const { rt } = made;
  const square = rt.kernel(function (x: number) {
    return x * x;
  });
  const kept = [];
  // in the second turn the kernel is there already, and nothing waits between the calls
  for (const salt of [1, 2]) {
    const { a, b, expected } = wholeProduct(24, 16, 16, salt);
    const first = await rt.matmul(a, b, { result: 'gpu' });
    const second = await square.run([first]);
    t.equal(second.location, 'gpu');
    const third = await rt.matmul(second, b, { result: 'wasm' });
    const want = new Float32Array(24 * 16);
    for (let i = 0; i < 24; i++)
      for (let j = 0; j < 16; j++)
        for (let k = 0; k < 16; k++) want[i * 16 + j]! += expected[i * 16 + k]! ** 2 * b.data[k * 16 + j]!;
    t.deepEqual(third.data, want, `right, turn ${salt}`);
    kept.push({ second, expected });
    first.dispose();
    third.dispose();
  }
  for (const { second, expected } of kept) {
    t.deepEqual(
      await second.read(),
      expected.map((x) => x * x),
      'a later result of the same kernel leaves this one alone',
    );
    second.dispose();
  }
  const { expected } = wholeProduct(24, 16, 16);
  const out = rt.zeros([24, 16]);
  const same = await square.run([{ data: expected, shape: [24, 16] }], { out });
  t.equal(same, out, "into the caller's tensor");
  t.deepEqual(
    await out.read(),
    expected.map((x) => x * x),
  );
  await rt.close();
});

test('kernel on the GPU: what it computes wrongly is found out', async (t) => {
  const made = await make();
  if (typeof made === 'string') return t.skip(made);
  const { rt, events } = made;
  // WGSL has no power of a negative number
  const cube = rt.kernel(function cube(x: number) {
    return x ** 3;
  });
  const x = halves(50);
  t.deepEqual(
    (await cube.run([{ data: x, shape: [50] }])).data,
    x.map((value) => value ** 3),
    'the processor is right',
  );
  t.match(cube.noGpu ?? '', /on the GPU, not|pow/, 'and says why');
  t.deepEqual(
    events.map(({ type }) => type),
    ['quarantine'],
    'one event',
  );
  await cube.run([{ data: x, shape: [50] }]);
  t.equal(events.length, 1, 'and no other');
  await rt.close();
});

test('kernel on the GPU: the device is lost', async (t) => {
  const made = await make();
  if (typeof made === 'string') return t.skip(made);
  const { rt, devices } = made;
  const twice = rt.kernel(function (x: number) {
    return x + x;
  });
  const x = halves(64);
  const run = async () => (await twice.run([{ data: x, shape: [64] }])).data;
  t.deepEqual(
    await run(),
    x.map((value) => 2 * value),
    'right before',
  );
  const far = await twice.run([{ data: x, shape: [64] }], { result: 'gpu' });
  devices[0]!.destroy();
  await devices[0]!.lost;
  t.deepEqual(
    await run(),
    x.map((value) => 2 * value),
    'and after',
  );
  t.equal(devices.length, 2, 'on another device');
  t.equal(await codeOf(twice.run([far])), 'E_GPU_LOST', 'what lay there only is gone');
  await rt.close();
});
