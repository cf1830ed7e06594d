/** The shaders in a browser: headless Chromium with its own WebGPU, and a page where there is no adapter. */
import test from 'tape';
import type { PageReport } from '../support/gpu-page.ts';
import type { GpuJsPageReport } from '../support/gpujs-page.ts';
import { noBrowser, pageScript, visit } from '../support/page.ts';

test('gpu in a browser', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const script = await pageScript('gpu-page.ts');
  const report = await visit<PageReport>({ script, webgpu: true });
  t.deepEqual(report.faults, [], `${report.products} products on ${report.adapter}`);
  t.ok(report.products > 0, 'some');
  t.deepEqual(report.differing, [], `${report.calls} calls of a runtime that sends them there`);
  t.equal(report.location, 'gpu', 'a result may stay there');
  t.equal((await visit<{ code: string }>({ script })).code, 'E_GPU', 'a page without an adapter hears so');
});

test('gpu.js on WebGL2 in a page without WebGPU', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const report = await visit<GpuJsPageReport>({ script: await pageScript('gpujs-page.ts') });
  t.deepEqual(report.faults, [], `${report.problems} problems on ${report.adapter.name}`);
  t.equal(report.adapter.mode, 'webgl2');
  t.ok(report.adapter.software, 'this one is a processor that stands in for a GPU');
  const backends = new Map(report.welcome.map((backend) => [backend.name, backend]));
  t.notOk(backends.get('webgpu')!.available, 'there is no WebGPU');
  t.ok(backends.get('gpujs')!.available, backends.get('gpujs')!.reason);
  t.equal(report.forced, undefined, 'a product that is sent there is right');
  t.equal(report.placed, 'gpujs');
  t.deepEqual(report.kernel, [3, 5, 7], "a user's kernel");
});
