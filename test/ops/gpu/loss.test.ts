/** A device that goes away: the call is replayed or ends in memory, with the right result, and the caller hears of it once. */
import test from 'tape';
import { type OpenedGpu, openGpu } from '../../../src/backends/webgpu/open.ts';
import type { GpuDevice } from '../../../src/core/webgpu.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { RuntimeEvent } from '../../../src/ops/types.ts';
import { codeOf, until } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { wholeProduct, wrong } from '../../support/products.ts';
import { madeUpMachine } from '../../support/runtime.ts';

async function makeLosable(opensAgain: boolean) {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const devices: GpuDevice[] = [];
  const open = async (): Promise<OpenedGpu> => {
    if (devices.length > 0 && !opensAgain) throw new Error('planted: no second device');
    const opened = await openGpu({ gpu });
    devices.push(opened.device);
    return opened;
  };
  const events: RuntimeEvent[] = [];
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, backend: 'webgpu', onEvent: (event) => events.push(event) },
    { machine: madeUpMachine(4), gpuProfile: ONE_ROW, openGpu: open },
  );
  const losses = () => events.filter(({ type }) => type === 'gpu-lost').length;
  return { rt, devices, losses };
}

const product = wholeProduct(50, 40, 30);

for (const opensAgain of [true, false]) {
  test(`gpu loss: the device ${opensAgain ? 'comes back' : 'stays away'}`, async (t) => {
    const made = await makeLosable(opensAgain);
    if (typeof made === 'string') return t.skip(made);
    const { rt, devices, losses } = made;
    const warm = await rt.matmul(product.a, product.b, { result: 'gpu' });
    const kept = await rt.tensor(product.a.data, [50, 40]).to('gpu');
    const pending = rt.matmul(kept, product.b, { result: 'wasm' });
    devices[0]!.destroy();
    t.equal(wrong(await pending, product), undefined, 'a call in flight ends right');
    t.ok(await until(() => losses() === 1), 'one event');
    t.equal(wrong(await rt.matmul(product.a, product.b), product), undefined, 'and so does the next');
    t.equal(losses(), 1, 'still one');
    t.equal(devices.length, opensAgain ? 2 : 1, opensAgain ? 'on a new device' : 'in memory');
    t.equal(await codeOf(warm.read()), 'E_GPU_LOST', 'what lay only there is gone, and says so');
    t.equal(
      await codeOf(rt.matmul(warm, { data: new Float32Array(30), shape: [30, 1] })),
      'E_GPU_LOST',
      'also as an operand',
    );
    t.deepEqual(await kept.read(), product.a.data, 'a copy in memory is not');
    warm.dispose();
    kept.dispose();
    await rt.close();
  });
}

test('gpu loss: a device of the caller is never destroyed here', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const adapter = await gpu.requestAdapter();
  const device = await adapter!.requestDevice();
  let lost = false;
  device.lost.then(() => {
    lost = true;
  });
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, backend: 'webgpu', gpu: { device } },
    { machine: madeUpMachine(4), gpuProfile: ONE_ROW },
  );
  t.equal(wrong(await rt.matmul(product.a, product.b), product), undefined, 'it computes');
  await rt.close();
  await device.queue.onSubmittedWorkDone();
  t.notOk(lost, 'it lives on');
  device.destroy();
});
