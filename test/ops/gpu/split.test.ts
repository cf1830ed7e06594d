/** One product on the GPU and the threads at once: the same result as on either side. */
import test from 'tape';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { RuntimeEvent } from '../../../src/ops/types.ts';
import { codeOf, SLOW_MACHINE } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { wholeProduct, wrong } from '../../support/products.ts';

/** As fast as the slow machine, so that both get a good part. */
const PROFILE = {
  ...ONE_ROW,
  uploadGBs: 100,
  downloadGBs: 100,
  kernelGflops: { f32_gemm_32x32x16_2x4__wgsl: 0.02 },
};

/** A software adapter that says it is none: only then do calls go there by themselves. */
async function makeBoth() {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const events: RuntimeEvent[] = [];
  const opened = await openGpu({ gpu });
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false, gpu: true, onEvent: (event) => events.push(event) },
    {
      machine: SLOW_MACHINE,
      gpuProfile: PROFILE,
      openGpu: async () => ({ ...opened, report: { ...opened.report, software: false } }),
    },
  );
  return { rt, events, device: opened.device };
}

const product = wholeProduct(200, 64, 96);

test('gpu split: rows on both sides', async (t) => {
  const made = await makeBoth();
  if (typeof made === 'string') return t.skip(made);
  const { rt, events } = made;
  const { plan, candidates } = rt.explain('200x64x96');
  t.ok(
    plan.share !== undefined && plan.share > 0.1 && plan.share < 0.9,
    `the GPU takes ${plan.share} of the rows`,
  );
  t.equal(candidates[0]?.plan.share, plan.share, 'explain lists it first');
  t.equal(wrong(await rt.matmul(product.a, product.b), product), undefined, 'right');
  const out = rt.zeros([200, 96]);
  t.equal(await rt.matmul(product.a, product.b, { out }), out, "into the caller's tensor");
  t.equal(wrong(out, product), undefined, 'right');
  const rows = { data: Float32Array.from({ length: 200 }, (_, i) => i), shape: [200, 1] };
  const result = await rt.matmul(product.a, product.b, { bias: rows, activation: 'relu', alpha: 2 });
  const expected = product.expected.map((value, i) => Math.max(0, 2 * value + Math.floor(i / 96)));
  t.deepEqual(result.data, expected, 'each side has its part of a bias');
  result.dispose();
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  const gone = new AbortController();
  const pending = rt.matmul(product.a, product.b, { signal: gone.signal });
  gone.abort(new Error('enough'));
  t.equal(await codeOf(pending), 'foreign: Error: enough', 'an abort ends both');
  t.deepEqual(events, [], 'nothing happened');
  await rt.close();
});

test('gpu split: the GPU is lost on the way', async (t) => {
  const made = await makeBoth();
  if (typeof made === 'string') return t.skip(made);
  const { rt, device, events } = made;
  t.equal(wrong(await rt.matmul(product.a, product.b), product), undefined, 'right before');
  // a new result may lie where the last one did
  const out = rt.zeros([200, 96]);
  out.data.fill(Number.NaN);
  const pending = rt.matmul(product.a, product.b, { out });
  device.destroy();
  t.equal(wrong(await pending, product), undefined, 'the threads do what it left undone');
  t.equal(events.filter(({ type }) => type === 'gpu-lost').length, 1, 'one event');
  await rt.close();
});

test('gpu split: channels and images of a convolution on both sides', async (t) => {
  const made = await makeBoth();
  if (typeof made === 'string') return t.skip(made);
  const { rt, events } = made;
  const whole = (...shape: number[]) => {
    const count = shape.reduce((x, y) => x * y, 1);
    return rt.tensor(
      Float32Array.from({ length: count }, (_, i) => ((i * 7) % 11) - 5),
      shape,
    );
  };
  // of 3x3 or 5x5 the threads would do all, by Winograd's method
  const [w, bias, slope] = [whole(96, 4, 7, 7), whole(96), whole(96)];
  const activation = { kind: 'prelu', slope } as const;
  for (const [name, x, layout] of [
    ['channels', whole(1, 4, 20, 19), 'nchw'],
    ['images', whole(3, 4, 12, 11), 'nchw'],
    ['images of NHWC', whole(3, 12, 12, 4), 'nhwc'],
  ] as const) {
    const options = { padding: 3, bias, activation, layout };
    const plain = rt.conv2dSync(x, w, { padding: 3, layout });
    const residual = whole(...plain.shape);
    const { share } = rt.explain({
      op: 'conv',
      input: x.shape,
      weights: w.shape,
      padding: 3,
      layout,
    }).plan;
    t.ok(share !== undefined && share > 0.1 && share < 0.9, `${name}: the GPU takes ${share}`);
    const got = await rt.conv2d(x, w, { ...options, residual });
    const want = rt.conv2dSync(x, w, { ...options, residual });
    t.deepEqual(got.data, want.data, 'right, with all that follows the sum');
    for (const tensor of [plain, residual, got, want]) tensor.dispose();
  }
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  t.deepEqual(events, [], 'nothing happened');
  await rt.close();
});
