/** Calls on a GPU through the public library: right results, values where they should be, and every way out. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions } from '../../../src/ops/types.ts';
import { askConv, convFault, randomConv, withEpilogue } from '../../support/conv-problems.ts';
import { codeOf } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { wholeProduct, wrong, wrongAsync } from '../../support/products.ts';
import { madeUpMachine } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const ROW = 'f32_gemm_32x32x16_2x4__wgsl';

/** WebGPU's least limits. */
const LEAST = {
  maxBufferSize: 268435456,
  maxStorageBufferBindingSize: 134217728,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupsPerDimension: 65535,
};

interface OnGpu {
  readonly rt: Runtime;
  readonly events: RuntimeEvent[];
}

/** A wrong shader is found out and its calls computed in memory, rightly: that must not pass for the shader's own answer. */
function noneQuarantined(t: test.Test, { events }: OnGpu): void {
  t.deepEqual(
    events.filter(({ type }) => type === 'quarantine'),
    [],
    'every shader was right',
  );
}

async function makeOnGpu(options: RuntimeOptions = {}): Promise<OnGpu | string> {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const events: RuntimeEvent[] = [];
  const rt = await createRuntimeWith(
    {
      threads: 2,
      wisdom: false,
      gpu: { gpu },
      backend: 'webgpu',
      onEvent: (event) => events.push(event),
      ...options,
    },
    { machine: madeUpMachine(3), gpuProfile: ONE_ROW },
  );
  return { rt, events };
}

test('gpu: a residual of fewer channels is added in memory', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const x = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [1, 1, 2, 3] };
  const w = { data: Float32Array.of(1, 2, 3), shape: [3, 1, 1, 1] };
  const residual = { data: new Float32Array(12).fill(100), shape: [1, 2, 2, 3] };
  using y = await rt.conv2d(x, w, { residual });
  t.deepEqual(
    Array.from(await y.read()),
    [1, 2, 3].flatMap((factor) => Array.from(x.data, (value) => factor * value + (factor < 3 ? 100 : 0))),
  );
  await rt.close();
  return t.end();
});

test('gpu: a product from memory to memory', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt, events } = on;
  const product = wholeProduct(65, 33, 47);
  t.equal(await wrongAsync(rt, product), undefined, 'from plain arrays');
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  const out = rt.zeros([65, 47]);
  const result = await rt.matmul(product.a, product.b, { out });
  t.equal(result, out, 'into the tensor of the caller');
  t.equal(result.location, 'wasm', 'whose values are in memory');
  t.equal(wrong(result, product), undefined, 'right');
  const { plan, candidates } = rt.explain('256x256x256');
  t.equal(plan.backend, 'webgpu', 'explain says where');
  const there = candidates.filter((candidate) => candidate.plan.backend === 'webgpu');
  t.ok(
    there.length > 0 && there.every(({ transfer }) => transfer && transfer.bytes === 3 * 4 * 256 * 256),
    'and what is moved',
  );
  t.ok(
    candidates.some((candidate) => candidate.plan.backend === 'wasm'),
    'beside the other backend',
  );
  t.deepEqual(events, [], 'nothing happened');
  await rt.close();
  await rt.close();
});

test('gpu: values stay where they are', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const product = wholeProduct(40, 24, 24);
  const a = await rt.tensor(product.a.data, [40, 24]).to('gpu');
  t.equal(a.location, 'both', 'to() copies');
  const c = await rt.matmul(a, product.b);
  t.equal(c.location, 'gpu', 'the result stays there');
  t.throws(() => c.data, /E_LOCATION/, 'its bytes are not here');
  t.equal(await codeOf(() => rt.matmulSync(c, product.b)), 'E_LOCATION', 'nor for a call that cannot wait');
  const d = await rt.matmul(c, product.b, { activation: 'relu' });
  const e = await rt.matmul(d, product.b, { result: 'wasm' });
  t.equal(e.location, 'wasm', 'brought back where asked');
  await rt.settle();
  const chain = (x: Float32Array, isLast: boolean) => {
    const rows = new Float32Array(40 * 24);
    for (let i = 0; i < 40; i++)
      for (let j = 0; j < 24; j++) {
        let sum = 0;
        for (let k = 0; k < 24; k++) sum += x[i * 24 + k]! * product.b.data[k * 24 + j]!;
        rows[i * 24 + j] = isLast ? sum : Math.max(0, sum);
      }
    return rows;
  };
  t.deepEqual(e.data, chain(chain(product.expected, false), true), 'a chain of three is right');
  t.deepEqual(await c.read(), product.expected, 'read() brings the values');
  t.equal(c.location, 'both', 'and leaves a copy there');
  c.data[0] = 7;
  t.equal(c.location, 'wasm', 'writing makes the copy here the only one');
  const moved = await (await c.to('gpu')).to('wasm');
  t.equal(moved.location, 'wasm', 'moved back');
  t.equal(moved.data[0], 7, 'with what was written');
  t.equal(await codeOf(() => rt.tensor(new Int32Array(2), [2]).to('gpu')), 'E_DTYPE', 'floats only');
  t.equal(await codeOf(() => c.to('moon' as 'gpu')), 'E_ARGUMENT', 'there is no other place');
  for (const tensor of [a, c, d, e]) tensor.dispose();
  t.equal(await codeOf(c.read()), 'E_DISPOSED', 'a disposed one cannot be read');
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  await rt.close();
});

test('gpu: out with beta, bias, sums that go on from what lies there', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const product = wholeProduct(12, 8, 20);
  const bias = Float32Array.from({ length: 20 }, (_, i) => i);
  const expected = product.expected.map((value, i) => 2 * value + 3 * 1 + bias[i % 20]!);
  for (const where of ['wasm', 'gpu'] as const) {
    const out = await rt.tensor(new Float32Array(12 * 20).fill(1), [12, 20]).to(where);
    const options = { alpha: 2, beta: 3, bias: { data: bias, shape: [20] }, out, result: where };
    const result = await rt.matmul(product.a, product.b, options);
    t.equal(result.location, where, `out lies in ${where}`);
    t.deepEqual(await result.read(), expected, 'right');
    result.dispose();
  }
  await rt.close();
});

test('gpu: what it has no kernel for', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const product = wholeProduct(20, 16, 12);
  const packed = rt.prepack(product.b);
  t.equal(wrong(await rt.matmul(product.a, packed), product), undefined, 'panels are multiplied in memory');
  const a = await rt.matmul(product.a, product.b, { result: 'gpu' });
  const sines = await rt.unary('sin', { data: new Float32Array(4), shape: [4] });
  t.deepEqual([...sines.data], [0, 0, 0, 0], 'sines too');
  const image = await rt.tensor(new Float32Array(16).fill(3), [1, 1, 4, 4]).to('gpu');
  const result = await rt.conv2d(image, { data: Float32Array.of(2), shape: [1, 1, 1, 1] }, { result: 'gpu' });
  const again = await rt.unary('isNaN', result);
  t.deepEqual([...again.data], new Array(16).fill(0), 'after its operand was fetched');
  t.equal(
    (await rt.matmul(new Proxy(product.a, {}), rt.zeros([16, 0]))).size,
    0,
    'nor is there one for nothing',
  );
  for (const own of [packed, a, sines, image, result, again]) own.dispose();
  await rt.close();
  const strict = await makeOnGpu({ policy: 'strict' });
  if (typeof strict === 'string') return;
  const panels = strict.rt.prepack(product.b);
  t.equal(await codeOf(strict.rt.matmul(product.a, panels)), 'E_FALLBACK', 'a strict runtime says so');
  await strict.rt.close();
});

test(seeded('gpu: convolutions of every geometry'), async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const random = new Random(71);
  const asks = [
    askConv(random, { inC: 8, outC: 12, image: [9, 8], filter: [1, 1] }),
    askConv(random, { batch: 2, inC: 8, outC: 12, image: [9, 8], filter: [1, 1] }, { layout: 'nhwc' }),
    askConv(random, { batch: 2, inC: 6, outC: 12, image: [9, 8], filter: [3, 3] }, { groups: 6, padding: 1 }),
    askConv(
      random,
      { batch: 2, inC: 6, outC: 6, image: [9, 8], filter: [3, 3] },
      { groups: 6, layout: 'nhwc', stride: 2 },
    ),
    askConv(
      random,
      { batch: 3, inC: 6, outC: 9, image: [9, 8], filter: [3, 2] },
      { groups: 3, padding: 'same' },
    ),
    // rows of the result that are whole vectors, a stride apart in the image
    askConv(random, { inC: 3, outC: 8, image: [15, 16], filter: [3, 3] }, { padding: 1, stride: 2 }),
    ...Array.from({ length: 24 }, () => withEpilogue(random, randomConv(random))),
  ];
  for (const [index, asked] of asks.entries())
    t.equal(
      await convFault(rt, random, asked, { sync: false, into: index % 2 === 0 }),
      undefined,
      `case ${index}`,
    );
  const asked = askConv(random, { inC: 8, outC: 8, image: [8, 8], filter: [3, 3] }, { padding: 1 });
  const weights = rt.prepack(rt.tensor(asked.w.data, asked.w.shape), { op: 'conv' });
  for (let turn = 0; turn < 2; turn++)
    t.equal(await convFault(rt, random, asked, { sync: false, weights }), undefined, 'weights that are kept');
  noneQuarantined(t, on);
  weights.dispose();
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  await rt.close();
});

test('gpu: prepared, tuned, remembered', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const image = { op: 'conv', input: [1, 4, 8, 8], weights: [4, 4, 3, 3], padding: 1 } as const;
  await rt.prepare(['64x64x64', image]);
  const before = rt.explain('64x64x64').candidates.filter(({ plan }) => plan.backend === 'webgpu');
  t.ok(before.length > 0 && before.every(({ measuredMs }) => measuredMs === undefined), 'not measured yet');
  await rt.tune(['64x64x64', image], { budgetMs: 400 });
  for (const spec of ['64x64x64', image] as const) {
    const { candidates, plan } = rt.explain(spec);
    const there = candidates.filter((candidate) => candidate.plan.backend === 'webgpu');
    t.ok(there.length > 0 && there.every(({ measuredMs }) => measuredMs! > 0), `${plan.kernel} was measured`);
  }
  const kept = rt.wisdom.list().filter(({ plan }) => plan.backend === 'webgpu');
  t.equal(kept.length, 2, 'and is kept');
  t.ok(
    kept.every(({ key }) => key.startsWith(`${rt.info.gpu?.name}: `)),
    'under the name of the GPU',
  );
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  t.equal(rt.memory().byOwner.scratch, 0, 'here too');
  await rt.close();
});

test('gpu: buffers of the caller', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const product = wholeProduct(16, 8, 4);
  const device = rt.gpuDevice;
  const buffer = device.createBuffer({ size: 4 * 16 * 8, usage: 0x80 | 4 | 8, mappedAtCreation: true });
  new Float32Array(buffer.getMappedRange()).set(product.a.data);
  buffer.unmap();
  const a = rt.fromGpu(buffer, [16, 8]);
  t.equal(a.location, 'gpu', 'no copy');
  const c = await rt.matmul(a, product.b, { result: 'wasm' });
  t.equal(wrong(c, product), undefined, 'right');
  a.dispose();
  const again = rt.fromGpu(buffer, [8, 16]);
  t.deepEqual(await again.read(), product.a.data, 'the buffer is still there');
  again.dispose();
  const result = await rt.matmul(product.a, product.b, { result: 'gpu' });
  const out = await rt.gpuBuffer(result);
  const view = rt.fromGpu(out, result.shape);
  t.deepEqual(await view.read(), await result.read(), "a result's own buffer, without a copy");
  view.dispose();
  t.equal(await codeOf(rt.gpuBuffer({ shape: [1] } as never)), 'E_ARGUMENT', 'of a stranger');
  result.dispose();
  t.equal(await codeOf(rt.gpuBuffer(result)), 'E_DISPOSED', 'of one that is gone');
  t.throws(() => rt.fromGpu(buffer, [64, 64]), /E_SHAPE/, 'too small');
  t.throws(() => rt.fromGpu({} as never, [1]), /E_ARGUMENT/, 'no buffer');
  buffer.destroy();
  await rt.close();
});

test('gpu: operands that are disposed of while a call runs', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const product = wholeProduct(24, 20, 28);
  for (const where of ['wasm', 'gpu'] as const) {
    const a = await rt.tensor(product.a.data, [24, 20]).to(where);
    const b = await rt.tensor(product.b.data, [20, 28]).to(where);
    const pending = rt.matmul(a, b, { result: 'wasm' });
    a.dispose();
    b.dispose();
    // what a freed operand lay in would be taken for this
    const other = rt.tensor(new Float32Array(24 * 20).fill(9), [24, 20]);
    t.equal(wrong(await pending, product), undefined, `they lay in ${where}`);
    other.dispose();
  }
  const image = await rt.tensor(new Float32Array(16).fill(5), [1, 1, 4, 4]).to('gpu');
  const far = await rt.conv2d(image, { data: Float32Array.of(2), shape: [1, 1, 1, 1] });
  t.equal(far.location, 'gpu');
  const pooling = rt.globalPool2d(far, 'max');
  const turned = rt.convTranspose2d(far, { data: Float32Array.of(3), shape: [1, 1, 1, 1] });
  far.dispose();
  image.dispose();
  const [pooled, turnedResult] = [await pooling, await turned];
  t.deepEqual([...(await pooled.read())], [10], 'for a call there');
  t.deepEqual([...turnedResult.data], new Array(16).fill(30), 'fetched for one of several stages in memory');
  pooled.dispose();
  turnedResult.dispose();
  const out = rt.zeros([24, 28]);
  const late = rt.matmul(product.a, product.b, { out });
  out.dispose();
  t.equal(await codeOf(late), 'E_DISPOSED', 'a result that nobody can have');
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  t.equal(rt.memory().byOwner.tensors, 0, 'here too');
  await rt.close();
});

test('gpu: calls that overlap, and an abort', async (t) => {
  const on = await makeOnGpu();
  if (typeof on === 'string') return t.skip(on);
  const { rt } = on;
  const products = Array.from({ length: 12 }, (_, i) => wholeProduct(20 + i, 30, 25, i));
  const faults = await Promise.all(products.map((product) => wrongAsync(rt, product)));
  t.deepEqual(
    faults.filter((fault) => fault !== undefined),
    [],
    'each has its own result',
  );
  const gone = new AbortController();
  const pending = rt.matmul(products[0]!.a, products[0]!.b, { signal: gone.signal });
  gone.abort(new Error('enough'));
  t.equal(await codeOf(pending), 'foreign: Error: enough', "the caller's reason");
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  const last = rt.matmul(products[1]!.a, products[1]!.b).then(
    (c) => wrong(c, products[1]!) ?? 'right',
    (error) => error.code,
  );
  await rt.close();
  t.ok(['right', 'E_CLOSED'].includes(await last), `closing with a call in flight: ${await last}`);
});

test('gpu: a shader that is wrong on this device is found out, named, and not used', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const { device, ...rest } = await openGpu({ gpu });
  const wrongDevice = new Proxy(device, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (name === 'createShaderModule')
        return ({ code }: { code: string }) =>
          device.createShaderModule({ code: code.replace('= fma(', '= -fma(') });
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const events: RuntimeEvent[] = [];
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, backend: 'webgpu', onEvent: (event) => events.push(event) },
    {
      machine: madeUpMachine(3),
      gpuProfile: ONE_ROW,
      openGpu: async () => ({ device: wrongDevice, ...rest }),
    },
  );
  const product = wholeProduct(33, 20, 21);
  t.equal(await wrongAsync(rt, product), undefined, 'the result is right');
  const quarantined = events.filter(({ type }) => type === 'quarantine');
  t.equal(quarantined.length, 1, 'one event');
  t.match(
    JSON.stringify(quarantined),
    new RegExp(`${ROW}.*element .* is .*, not `),
    'names the row and what is wrong',
  );
  t.equal(rt.explain('33x20x21').quarantined[0]?.kernel, ROW, 'explain lists it');
  t.equal(await wrongAsync(rt, product), undefined, 'and so is the next');
  t.equal(events.length, 1, 'without another event');
  await rt.close();
});

test('gpu: what is larger than the device takes at once', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const opened = await openGpu({ gpu });
  const limits = { ...LEAST, maxStorageBufferBindingSize: 4096 };
  const small = new Proxy(opened.device, {
    get: (target, name) => {
      const value = name === 'limits' ? limits : Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const make = (backend: 'auto' | 'webgpu', software: boolean) =>
    createRuntimeWith(
      { threads: 1, wisdom: false, gpu: true, backend },
      {
        machine: madeUpMachine(3),
        gpuProfile: ONE_ROW,
        openGpu: async () => ({ device: small, report: { ...opened.report, software }, owned: false }),
      },
    );
  const [large, less] = [wholeProduct(40, 20, 40), wholeProduct(8, 8, 8)];
  const forced = await make('webgpu', true);
  t.equal(
    await codeOf(forced.matmul(large.a, large.b)),
    'E_GPU_MEMORY',
    'is refused before work where it was sent',
  );
  t.equal(await codeOf(forced.zeros([40, 40]).to('gpu')), 'E_GPU_MEMORY', 'a tensor too');
  t.equal(await wrongAsync(forced, less), undefined, 'less is not');
  await forced.close();
  const auto = await make('auto', false);
  t.equal(await wrongAsync(auto, large), undefined, 'and computed in memory where it was not');
  await auto.close();
  opened.device.destroy();
});
