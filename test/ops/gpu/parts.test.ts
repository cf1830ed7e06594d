/** Sums that several workgroups make parts of: right with whatever follows the sum, and planned where the way along k is long. */
import test from 'tape';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { RuntimeEvent } from '../../../src/ops/types.ts';
import { gpuPlans } from '../../../src/plan/gpu.ts';
import { convProblem } from '../../../src/problem/conv.ts';
import { matmulProblem } from '../../../src/problem/matmul.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { askConv, convFault, withEpilogue } from '../../support/conv-problems.ts';
import { workingGpu } from '../../support/gpu.ts';
import { LONG_WAY } from '../../support/gpu-profile.ts';
import { wholeProduct, wrongAsync } from '../../support/products.ts';
import { madeUpMachine } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

test(seeded('gpu parts: calls through the library'), async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const events: RuntimeEvent[] = [];
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, gpu: { gpu }, backend: 'webgpu', onEvent: (event) => events.push(event) },
    { machine: madeUpMachine(3), gpuProfile: LONG_WAY },
  );
  t.ok(rt.explain('16x512x16').plan.kc < 512, 'k is cut');
  for (const [m, k, n] of [
    [16, 512, 16],
    [33, 257, 18],
    [5, 100, 7],
  ] as const)
    t.equal(await wrongAsync(rt, wholeProduct(m, k, n)), undefined, `${m}x${k}x${n}`);
  const product = wholeProduct(9, 200, 12);
  const bias = Float32Array.from({ length: 12 }, (_, i) => i);
  const out = await rt.tensor(new Float32Array(9 * 12).fill(1), [9, 12]).to('gpu');
  const options = { alpha: 2, beta: 3, bias: { data: bias, shape: [12] }, out, result: 'gpu' } as const;
  await rt.matmul(product.a, product.b, options);
  const expected = product.expected.map((value, i) => 2 * value + 3 + bias[i % 12]!);
  t.deepEqual(await out.read(), expected, 'on top of what lay there, with a bias');
  out.dispose();
  const random = new Random(93);
  const image = { batch: 2, inC: 16, outC: 12, image: [9, 8], filter: [3, 3] } as const;
  for (const layout of ['nchw', 'nhwc'] as const)
    for (const groups of layout === 'nchw' ? [1, 2] : [1]) {
      const asked = withEpilogue(random, askConv(random, image, { layout, groups, padding: 1 }));
      const fault = await convFault(rt, random, asked, { sync: false, into: groups === 2 });
      t.equal(fault, undefined, `${layout}, ${groups} groups`);
    }
  t.deepEqual(events, [], 'every shader was right');
  t.equal(rt.info.gpu?.memory.used, 0, 'all blocks are back');
  await rt.close();
});

test('gpu parts: planned for few tiles and a long way, not where tiles fill the machine', (t) => {
  const rates = { f32_gemm_64x64x16_8x4__wgsl_ahead_blocks: 30_000 };
  const profile = {
    ...LONG_WAY,
    ...{ launchMs: 0.03, passMs: 0.01, memoryGBs: 1000 },
    ...{ kernelGflops: rates, kernelStepMs: { f32_gemm_64x64x16_8x4__wgsl_ahead_blocks: 4e-5 } },
  };
  const [large] = gpuPlans(matmulProblem({ m: 4096, n: 4096, k: 4096 }), profile);
  t.equal(large!.plan.kc, 4096, 'a large square is not cut');
  const deep = matmulProblem({ m: 64, n: 64, k: 8192 });
  const plans = gpuPlans(deep, profile);
  t.ok(plans[0]!.plan.kc <= 1024, `64 x 8192 x 64 is, kc ${plans[0]!.plan.kc}`);
  t.equal(plans.at(-1)!.plan.kc, 8192, 'whole it would take longest');
  const kcs = plans.map(({ plan }) => plan.kc);
  t.ok(new Set(kcs).size === kcs.length && kcs.every((kc) => kc === 8192 || kc % 16 === 0), `${kcs}`);
  const [narrow] = gpuPlans(matmulProblem({ m: 64, n: 64, k: 24 }), profile);
  t.equal(narrow!.plan.kc, 24, 'what has hardly a slice is not');
  const window = windowOf({ height: 7, width: 7 }, { kH: 3, kW: 3 }, { padding: 1 });
  const conv = convProblem({ batch: 1, inC: 512, outC: 512 }, window, {});
  const gathered = { gatherGflops: rates, gatherStepMs: { f32_gemm_64x64x16_8x4__wgsl_ahead_blocks: 8e-5 } };
  const [one] = gpuPlans(conv, profile);
  const [slower] = gpuPlans(conv, { ...profile, ...gathered });
  t.ok(one!.plan.kc < 4608 && slower!.computeMs > one!.computeMs, 'patches have rates of their own');
  t.end();
});
