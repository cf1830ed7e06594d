/** The exam of gpu.js's kernels where Node can run them: on the processor, and on a software adapter through WebGPU. */
import test from 'tape';
import { GpuJsBackend } from '../../../src/backends/gpujs/backend.ts';
import { gathers } from '../../../src/backends/gpujs/texts.ts';
import { openGpu } from '../../../src/backends/webgpu/open.ts';
import { matmulProblem } from '../../../src/problem/matmul.ts';
import { codeOf } from '../../support/faulty.ts';
import { GATHER_PROBLEMS, gatherFaults } from '../../support/gather-exam.ts';
import { workingGpu } from '../../support/gpu.ts';

test('gather kernels on the processor', async (t) => {
  const backend = await GpuJsBackend.open({ mode: 'cpu' });
  t.deepEqual(await gatherFaults(backend), [], `${GATHER_PROBLEMS.length} problems`);
  t.deepEqual(backend.report, { name: 'the processor', software: true, mode: 'cpu' });
  t.notOk(backend.fits([2 ** 24]), 'floats do not count further');
  t.ok(backend.fits([2 ** 24 - 1]));
  await backend.close();
});

test('gather kernels on a device that is shared', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const { device, report } = await openGpu({ gpu });
  const backend = await GpuJsBackend.open({ device: { device, ...report } });
  t.deepEqual(await gatherFaults(backend), [], `${GATHER_PROBLEMS.length} problems on ${report.name}`);
  await backend.close();
  device.destroy();
});

test('what gpu.js is not asked for', async (t) => {
  const p = matmulProblem({ m: 2, n: 2, k: 2 });
  t.ok(gathers(p));
  for (const traits of [
    { exact: true },
    { accumulate: true },
    { activation: 'gelu' },
    { activation: 'prelu' },
    { panel: { nr: 8, kc: 8 } },
  ] as const)
    t.notOk(gathers(matmulProblem({ m: 2, n: 2, k: 2 }, traits)), JSON.stringify(traits));
  t.equal(await codeOf(GpuJsBackend.open({})), 'E_GPU', 'Node has no WebGL2');
  t.equal(await codeOf(GpuJsBackend.open({ gpujs: {} })), 'E_GPU', 'what is not gpu.js');
});
