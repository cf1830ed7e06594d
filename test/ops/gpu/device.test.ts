/** A device of the caller's: it is left as it was found. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import type { GpuBuffer, GpuDevice } from '../../../src/core/webgpu.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import { memoryStore } from '../../../src/plan/stores/memory.ts';
import { Wisdom } from '../../../src/plan/wisdom.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { madeUpMachine } from '../../support/runtime.ts';

/** The same device; `living` are the buffers that it made and nobody destroyed. */
function counted(device: GpuDevice): { device: GpuDevice; living: Set<GpuBuffer>; made(): number } {
  const living = new Set<GpuBuffer>();
  let made = 0;
  const createBuffer: GpuDevice['createBuffer'] = (descriptor) => {
    const buffer = device.createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    Object.defineProperty(buffer, 'destroy', {
      value: () => {
        living.delete(buffer);
        destroy();
      },
    });
    living.add(buffer);
    made++;
    return buffer;
  };
  const proxy = new Proxy(device, {
    get: (target, name) => {
      if (name === 'createBuffer') return createBuffer;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { device: proxy, living, made: () => made };
}

test("gpu device: a closed runtime leaves none of its buffers on the caller's", async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const opened = await openGpu({ gpu });
  const { device, living, made } = counted(opened.device);
  const options = { threads: 1, wisdom: false, gpu: { device }, backend: 'webgpu' } as const;
  const rt = await createRuntimeWith(options, { machine: madeUpMachine(1), gpuProfile: ONE_ROW });
  const a = rt.tensor(new Float32Array(40 * 40).fill(0.5), [40, 40]);
  const halves = await rt.tensor(new Float32Array(40 * 40).fill(0.5), [40, 40]).to('gpu', { storage: 'f16' });
  const b = await rt.matmul(a, halves, { result: 'gpu' });
  const c = await rt.matmul(a, b, { result: 'wasm' });
  await rt.gpuTime(async () => (await rt.matmul(a, b)).dispose());
  t.equal(c.data[0], 0.5 * 0.25 * 40 * 40, 'right');
  t.ok(made() > 5 && living.size > 0, `${made()} buffers made, ${living.size} kept for further use`);
  for (const tensor of [a, c, halves]) tensor.dispose();
  await rt.close();
  t.equal(living.size, 1, 'only what a living tensor has is left');
  b.dispose();
  t.equal(living.size, 0, 'and goes with it');
  const other = await createRuntimeWith(options, { machine: madeUpMachine(1), gpuProfile: ONE_ROW });
  t.equal(
    (await (await other.matmul(other.zeros([3, 3]), other.zeros([3, 3]))).read()).length,
    9,
    'the device lives on',
  );
  await other.close();
  opened.device.destroy();
});

test('gpu device: what a probe found is remembered, for this adapter and as long as it has all rows', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const wisdom = memoryStore();
  const options = { threads: 1, wisdom, gpu: { gpu }, backend: 'webgpu' } as const;
  const profile = async () => {
    const rt = await createRuntimeWith(options, { machine: madeUpMachine(1) });
    const found = rt.info.gpu!.profile;
    await rt.close();
    return found;
  };
  const first = await profile();
  t.deepEqual(await profile(), first, 'the same numbers: it was not probed again');
  const text = wisdom.read()!;
  t.ok(text.includes('"gpu":"'), 'it is kept');
  const [row = ''] = Object.keys(first.kernelGflops);
  const { signature } = JSON.parse(text.slice(0, text.indexOf('\n'))) as { signature: string };
  const less = new Wisdom(memoryStore(text), signature);
  const [, id = ''] = /"gpu":"([^"]+)"/.exec(text) ?? [];
  const { [row]: _, ...kernelGflops } = first.kernelGflops;
  less.setGpu(id, { ...first, kernelGflops });
  wisdom.write(less.export());
  t.ok(row in (await profile()).kernelGflops, 'a row that is missing is measured');
});
