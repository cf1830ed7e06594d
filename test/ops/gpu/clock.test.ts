/** Calls timed by the GPU's own clock. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Tensor } from '../../../src/ops/types.ts';
import { codeOf } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { madeUpMachine } from '../../support/runtime.ts';

const MADE_UP = { machine: madeUpMachine(1), gpuProfile: ONE_ROW };

test('gpu clock: more work takes more of it, and devices without one say so', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const { device } = await openGpu({ gpu });
  const options = { threads: 1, wisdom: false, gpu: { device }, backend: 'webgpu' } as const;
  const rt = await createRuntimeWith(options, MADE_UP);
  const a = await rt.tensor(new Float32Array(64 * 64).fill(0.5), [64, 64]).to('gpu');
  const times = (count: number) =>
    rt.gpuTime(async () => {
      for (let i = 0; i < count; i++) (await rt.matmul(a, a)).dispose();
    });
  await times(1);
  const [few, many] = [await times(2), await times(60)];
  if (!device.features.has('timestamp-query')) t.equal(many, undefined, 'no timestamps');
  else t.ok(few! >= 0 && many! > few! && many! > 0, `2 in ${few} ms, 60 in ${many} ms`);
  t.equal(await codeOf(rt.gpuTime('now' as never)), 'E_ARGUMENT');
  t.equal(
    await codeOf(rt.gpuTime(() => Promise.reject(new RangeError('mine')))),
    'foreign: RangeError: mine',
    'what work throws',
  );
  let begun: Tensor | undefined;
  const failing = rt.gpuTime(async () => {
    begun = await rt.matmul(a, a);
    throw new RangeError('mine');
  });
  t.equal(await codeOf(failing), 'foreign: RangeError: mine', 'after it has begun something');
  t.equal((await begun!.read())[0], 16, 'what was recorded is computed all the same');
  await rt.close();
  const features = { has: (name: string) => name !== 'timestamp-query' && device.features.has(name) };
  const blind = new Proxy(device, {
    get: (target, name) => {
      if (name === 'features') return features;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const without = await createRuntimeWith({ ...options, gpu: { device: blind } }, MADE_UP);
  let ran = false;
  const ms = await without.gpuTime(async () => {
    await without.matmul(without.tensor([1, 2], [1, 2]), without.tensor([3, 4], [2, 1]));
    ran = true;
  });
  t.ok(ran && ms === undefined, 'no clock: the work is done all the same');
  await without.close();
  device.destroy();
});
