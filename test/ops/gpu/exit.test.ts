/** Processes that have used a GPU end by themselves, with status 0, whatever was left open. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { workingGpu } from '../../support/gpu.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

const CASES: Readonly<Record<string, string>> = {
  'closed in order':
    'const c = await rt.matmul(a, b); if (c.data[0] !== 8) throw new Error("wrong"); await rt.close();',
  'left open, a result on the GPU': 'await rt.matmul(a, b, { result: "gpu" });',
  'left open, read back': 'const c = await rt.matmul(a, b, { result: "gpu" }); await c.read();',
  'closed with a call in flight':
    'const pending = rt.matmul(a, b).catch(() => undefined); await rt.close(); await pending;',
};

const PRELUDE = `
import { createRuntimeWith } from './src/ops/runtime.ts';
const profile = { launchMs: 1, passMs: 0.01, readbackMs: 1, uploadGBs: 1, downloadGBs: 1, memoryGBs: 1, peakGflops: 1, kernelStepMs: {}, gatherGflops: {}, gatherStepMs: {},
  kernelGflops: { f32_gemm_32x32x16_2x4__wgsl: 1 } };
const rt = await createRuntimeWith({ threads: 2, wisdom: false, backend: 'webgpu' }, { gpuProfile: profile });
const a = rt.tensor(new Float32Array(64).fill(1), [8, 8]);
const b = rt.tensor(new Float32Array(64).fill(1), [8, 8]);
`;

function run(code: string): Promise<{ status: number | string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', PRELUDE + code],
      {
        cwd: ROOT,
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: 60_000,
        killSignal: 'SIGKILL',
      },
    );
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => {
      stderr += text;
    });
    child.on('close', (status, signal) => resolve({ status: status ?? signal ?? 'unknown', stderr }));
  });
}

test('gpu: processes end by themselves', async (t) => {
  // also sets the variables by which the children find the driver
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  for (const [name, code] of Object.entries(CASES)) {
    const { status, stderr } = await run(code);
    t.equal(status, 0, `${name}${status === 0 ? '' : `: ${stderr.slice(-500)}`}`);
  }
});
