/** Pooling, folding and taking on a GPU: every shader is one that a device takes, and its numbers are right. */
import test from 'tape';
import { lower } from '../../../src/backends/webgpu/lower.ts';
import { GPU_KERNELS } from '../../../src/kernels/gpu.ts';
import { arrayTrial, type GpuTrial, windowTrial } from '../../../src/ops/gpu/array-trial.ts';
import type { ActivationKind } from '../../../src/problem/epilogue.ts';
import { type FoldProblem, transposeWindowOf } from '../../../src/problem/fold.ts';
import type { PoolProblem } from '../../../src/problem/pool.ts';
import type { Problem } from '../../../src/problem/problem.ts';
import type { TakeProblem } from '../../../src/problem/take.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { nullGpu, openBackend, trialFault, workingGpu } from '../../support/gpu.ts';

const IMAGE = { height: 9, width: 14 } as const;

function* pools(): Generator<PoolProblem> {
  const options = [
    {},
    { stride: 2, padding: 1 },
    { stride: [3, 2], padding: [0, 1, 2, 1], ceil: true },
    { dilation: 2, padding: 'same' },
  ] as const;
  for (const layout of ['nchw', 'nhwc'] as const)
    for (const kind of ['max', 'average'] as const)
      for (const countPadding of kind === 'average' ? [false, true] : [false])
        for (const one of options) {
          const window = windowOf(IMAGE, { kH: 3, kW: 3 }, one);
          yield {
            op: 'pool',
            dtype: 'f32',
            kind,
            layout,
            batch: 2,
            channels: 3,
            ...window,
            countPadding,
            exact: false,
          };
        }
  const whole = windowOf(IMAGE, { kH: 9, kW: 14 }, {});
  const all = { op: 'pool', dtype: 'f32', kind: 'average', layout: 'nchw', batch: 1, channels: 5 } as const;
  yield { ...all, ...whole, countPadding: false, exact: false };
}

function foldProblem(
  traits: Partial<FoldProblem>,
  options: Parameters<typeof transposeWindowOf>[2],
  k = 3,
): FoldProblem {
  const window = transposeWindowOf(IMAGE, { kH: k, kW: k }, options);
  const plain = { op: 'fold', dtype: 'f32', layout: 'nchw', batch: 2, groups: 1, outC: 3 } as const;
  return { ...plain, ...window, bias: false, activation: 'none', residual: false, exact: false, ...traits };
}

function* folds(): Generator<FoldProblem> {
  yield foldProblem({}, {});
  yield foldProblem({}, { stride: 2 }, 2);
  yield foldProblem({}, { stride: [2, 3], padding: [1, 0, 1, 2], outputPadding: [1, 2] });
  yield foldProblem({}, { stride: 2, dilation: [1, 2], padding: 'same' });
  yield foldProblem({}, { stride: 3 }, 1);
}

const TAKE: TakeProblem = { op: 'take', dtype: 'f32', outer: 2, size: 9, inner: 3, count: 4 };

const rowOf = (problem: Problem) => GPU_KERNELS.find(({ family }) => family === `gpu-${problem.op}`)!;

test('gpu windows: the null device takes every shader', async (t) => {
  const gpu = await nullGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const endings = (['relu', 'prelu', 'gelu', 'clip'] as ActivationKind[]).map((activation) =>
    foldProblem({ bias: true, residual: true, activation }, { stride: 2 }),
  );
  const keys = new Map<string, string>();
  for (const problem of [...pools(), ...folds(), ...endings, TAKE]) {
    const launch = lower(problem, rowOf(problem))!;
    const source = launch.source();
    if (keys.has(launch.key) && keys.get(launch.key) !== source) t.fail(`${launch.key} has two texts`);
    keys.set(launch.key, source);
    await backend.pipeline(launch);
  }
  t.ok(keys.size > 25, `${keys.size} shaders`);
  t.equal(
    lower({ ...foldProblem({}, {}), layout: 'nhwc' }, rowOf(foldProblem({}, {}))),
    undefined,
    'columns of NHWC lie otherwise',
  );
  await backend.close();
});

test('gpu windows: beside float64', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const backend = await openBackend(gpu);
  const trials: GpuTrial[] = [...[...pools(), ...folds()].map(windowTrial), arrayTrial(TAKE)];
  const faults: string[] = [];
  for (const trial of trials) {
    const fault = await trialFault(backend, trial, rowOf(trial.problem));
    if (fault !== undefined) faults.push(fault);
  }
  t.deepEqual(faults, [], `${trials.length} of them`);
  await backend.close();
});
