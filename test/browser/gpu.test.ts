/** The shaders in a browser: headless Chromium with its own WebGPU, and a page where there is no adapter. */
import test from 'tape';
import type { PageReport } from '../support/gpu-page.ts';
import { noBrowser, pageScript, visit } from '../support/page.ts';

test('gpu in a browser', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const script = await pageScript('gpu-page.ts');
  const report = await visit<PageReport>({ script, webgpu: true });
  t.deepEqual(report.faults, [], `${report.products} products on ${report.adapter}`);
  t.ok(report.products > 0, 'some');
  t.equal((await visit<{ code: string }>({ script })).code, 'E_GPU', 'a page without an adapter hears so');
});
