/** Where a call goes, from numbers alone: no device is needed to test it. */
import test from 'tape';
import { GPU_KERNELS } from '../../src/kernels/gpu.ts';
import { cutOf, uploadOf } from '../../src/plan/cut.ts';
import {
  allMoves,
  type GpuProfile,
  gpuCandidates,
  gpuPlans,
  movingMs,
  placeCall,
  splitCall,
} from '../../src/plan/gpu.ts';
import { convProblem } from '../../src/problem/conv.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { flopsOf, keyOf, resultElements } from '../../src/problem/problem.ts';
import { windowOf } from '../../src/problem/window.ts';

/** A fast GPU behind a slow road: 5 ms until a call is through, 10 TFLOP/s. */
const FAR: GpuProfile = {
  launchMs: 5,
  passMs: 0.01,
  readbackMs: 1,
  uploadGBs: 10,
  downloadGBs: 5,
  peakGflops: 20_000,
  kernelGflops: Object.fromEntries(GPU_KERNELS.map(({ name }) => [name, 10_000])),
  kernelStepMs: {},
  gatherGflops: {},
  gatherStepMs: {},
  memoryGBs: 400,
};
const CPU_GFLOPS = 100;

function placed(n: number, profile = FAR): 'here' | 'there' {
  const p = matmulProblem({ m: n, n, k: n });
  const hereMs = (2 * n ** 3) / CPU_GFLOPS / 1e6;
  const none = { upload: 0, download: 0 };
  return placeCall(hereMs, gpuPlans(p, profile)[0], { here: none, there: allMoves(p) }, profile);
}

test('placement: a 5 ms GPU is not chosen for 64 cubed and is for 2048 cubed', (t) => {
  t.equal(placed(64), 'here');
  t.equal(placed(2048), 'there');
  t.equal(
    placed(2048, { ...FAR, uploadGBs: 0.1 }),
    'here',
    'not through a road that takes longer than the work',
  );
  t.equal(placed(2048, { ...FAR, kernelGflops: {} }), 'here', 'nor where no row has been measured');
  t.end();
});

test('placement: what is already there is not moved', (t) => {
  const p = matmulProblem({ m: 512, n: 512, k: 512 });
  const [best] = gpuPlans(p, FAR);
  const all = allMoves(p);
  t.equal(all.upload, 2 * 4 * 512 * 512, 'both operands');
  t.equal(all.download, 4 * 512 * 512, 'the result');
  const slow = { ...FAR, launchMs: 0, passMs: 0.01, uploadGBs: 0.5, downloadGBs: 0.5 };
  const none = { upload: 0, download: 0 };
  const hereMs = 2.7;
  t.equal(placeCall(hereMs, best && { ...best, computeMs: 0.1 }, { here: none, there: all }, slow), 'here');
  t.equal(placeCall(hereMs, best && { ...best, computeMs: 0.1 }, { here: none, there: none }, slow), 'there');
  const away = { upload: 0, download: all.upload };
  t.ok(movingMs(away, slow) > movingMs(none, slow), 'reading back counts');
  t.equal(
    placeCall(0.01, best && { ...best, computeMs: 1 }, { here: away, there: none }, slow),
    'there',
    'also for the other side',
  );
  t.end();
});

test('placement: candidates say what is moving and what is computing', (t) => {
  const p = matmulProblem({ m: 256, n: 256, k: 256 });
  const plans = gpuPlans(p, FAR);
  t.ok(
    plans.every(({ computeMs }, i) => i === 0 || computeMs >= plans[i - 1]!.computeMs),
    'best first',
  );
  for (const { estimateMs, transfer, plan } of gpuCandidates(p, plans, FAR)) {
    const own = plans.find((other) => other.plan.kernel === plan.kernel)!.computeMs;
    t.ok(
      transfer && Math.abs(estimateMs - transfer.ms - own) < 1e-9,
      `${plan.kernel}: ${estimateMs} ms, ${transfer?.bytes} bytes`,
    );
  }
  t.deepEqual(gpuPlans({ ...p, exact: true }, FAR), [], 'none is exact');
  t.end();
});

test('placement: depthwise layers have a row of their own', (t) => {
  const window = windowOf({ height: 56, width: 56 }, { kH: 3, kW: 3 }, { padding: 1 });
  const plans = gpuPlans(convProblem({ batch: 1, inC: 64, outC: 64 }, window, { groups: 64 }), FAR);
  t.equal(plans[0]?.plan.algorithm, 'depthwise');
  const grouped = gpuPlans(
    convProblem({ batch: 1, inC: 64, outC: 64 }, window, { groups: 2, layout: 'nhwc' }),
    FAR,
  );
  t.deepEqual(grouped, [], 'grouped channels side by side have none');
  t.end();
});

/** One that is about as fast as the threads, and near. */
const ALIKE: GpuProfile = {
  ...FAR,
  launchMs: 0.2,
  passMs: 0.01,
  readbackMs: 0.2,
  uploadGBs: 100,
  downloadGBs: 100,
};

test('placement: one product on both sides, where that wins', (t) => {
  const p = matmulProblem({ m: 2048, n: 1024, k: 1024 });
  const [best] = gpuPlans(p, { ...ALIKE, kernelGflops: { f32_gemm_64x64x16_8x4__wgsl_ahead_blocks: 100 } });
  const hereMs = (2 * 2048 * 1024 * 1024) / CPU_GFLOPS / 1e6;
  const both = splitCall(p, hereMs, best!, ALIKE);
  t.ok(
    both,
    `${hereMs.toFixed(1)} ms here, ${best!.computeMs.toFixed(1)} there, ${both?.computeMs.toFixed(1)} on both`,
  );
  const share = both?.plan.share ?? 0;
  t.ok(share > 0.4 && share < 0.55, `about half each: ${share}`);
  t.equal((share * p.m) % best!.plan.mc, 0, 'whole tiles for the GPU');
  t.ok(both!.computeMs > 0.5 * hereMs && both!.computeMs < 0.6 * hereMs, 'about twice as fast');
  t.equal(
    splitCall(p, hereMs, { ...best!, computeMs: 0.3 }, ALIKE),
    undefined,
    'not beside a far faster GPU',
  );
  t.equal(
    splitCall(p, hereMs, { ...best!, computeMs: 9000 }, ALIKE),
    undefined,
    'nor beside a far slower one',
  );
  t.equal(splitCall(p, 3, best!, ALIKE), undefined, 'nor a short call');
  t.equal(
    splitCall({ ...p, transposeA: true }, hereMs, best!, ALIKE),
    undefined,
    'rows must lie one after the other',
  );
  t.equal(splitCall({ ...p, batch: 2 }, hereMs, best!, ALIKE), undefined, 'one product');
  t.end();
});

test('placement: convolutions are cut by channels or by images', (t) => {
  const profile = { ...ALIKE, kernelGflops: { f32_gemm_64x64x16_8x4__wgsl_ahead_blocks: 100 } };
  const window = windowOf({ height: 56, width: 56 }, { kH: 3, kW: 3 }, { padding: 1 });
  const one = convProblem({ batch: 1, inC: 256, outC: 512 }, window, { bias: true });
  const [best] = gpuPlans(one, profile);
  const hereMs = flopsOf(one) / CPU_GFLOPS / 1e6;
  const channels = (splitCall(one, hereMs, best!, profile)?.plan.share ?? 0) * 512;
  t.ok(channels > 150 && channels < 280 && channels % 64 === 0, `${channels} of 512 channels, whole tiles`);
  const many = convProblem({ batch: 7, inC: 256, outC: 512 }, window);
  const images =
    (splitCall(many, 7 * hereMs, { ...best!, computeMs: 7 * best!.computeMs }, profile)?.plan.share ?? 0) * 7;
  t.equal(Math.round(images), 3, 'images are whole');
  const nhwc = convProblem({ batch: 1, inC: 256, outC: 512 }, window, { layout: 'nhwc' });
  t.equal(splitCall(nhwc, hereMs, best!, profile), undefined, 'channels that are not apart are not cut');
  t.equal(
    splitCall({ ...one, prepacked: true }, hereMs, best!, profile),
    undefined,
    'nor weights that are kept',
  );
  t.end();
});

test('placement: the parts of a cut are all there is', (t) => {
  const window = windowOf({ height: 9, width: 7 }, { kH: 3, kW: 2 }, { padding: 1 });
  const traits = { bias: true, residual: true, activation: 'prelu' } as const;
  for (const p of [
    matmulProblem({ m: 10, n: 4, k: 6 }, { bias: 'column', activation: 'prelu' }),
    matmulProblem({ m: 10, n: 4, k: 6 }, { bias: 'row' }),
    convProblem({ batch: 1, inC: 4, outC: 6 }, window, traits),
    convProblem({ batch: 5, inC: 4, outC: 6 }, window, { ...traits, groups: 2 }),
    convProblem({ batch: 5, inC: 4, outC: 6 }, window, { ...traits, layout: 'nhwc' }),
  ]) {
    const cut = cutOf(p)!;
    const { c } = cut.shares;
    t.deepEqual(cut.part(cut.units), p, `${keyOf(p)}: all units are the problem`);
    t.equal(c.fixed + c.stride * cut.units, resultElements(p), 'and its result');
    const upload = uploadOf(cut);
    const moves = allMoves(p);
    const slopes = p.activation === 'prelu' ? (p.op === 'conv' ? p.outC : p.n) : 0;
    const bias = p.op === 'matmul' ? (p.bias === 'row' ? p.n : p.m) : 0;
    t.equal(
      upload.fixed + upload.stride * cut.units,
      moves.upload + 4 * (slopes + bias),
      'and all its operands',
    );
  }
  t.end();
});
