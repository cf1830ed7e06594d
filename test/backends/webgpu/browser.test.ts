/** The same shaders in a browser: headless Chromium with its own WebGPU, and a page where there is no adapter. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import test from 'tape';
import type { PageReport } from '../../support/gpu-page.ts';

const CHROMIUM = '/usr/bin/chromium';
/** Without the flag Chromium has no adapter on software. */
const FLAGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update'];
const WITH_WEBGPU = [...FLAGS, '--enable-unsafe-webgpu'];

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../support/gpu-page.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    // the seed is read from the command line where there is one
    define: { 'process.argv': '[]', 'process.env.TESSERAE_TEST_SEED': 'undefined' },
    logLevel: 'error',
  });
  return outputFiles[0]!.text;
}

/** What the page reports. WebGPU is there in secure contexts, which localhost is. */
async function visit(
  script: string,
  args: readonly string[],
): Promise<PageReport & { readonly code?: string }> {
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? script : '<!doctype html><script src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...args] });
  try {
    const page = await browser.newPage();
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
    return await page.evaluate('globalThis.report');
  } finally {
    await browser.close();
    server.close();
  }
}

test('gpu in a browser', async (t) => {
  if (!existsSync(CHROMIUM)) return t.skip(`no ${CHROMIUM} (apt-get install chromium)`);
  const script = await bundle();
  const report = await visit(script, WITH_WEBGPU);
  t.deepEqual(report.faults, [], `${report.products} products on ${report.adapter}`);
  t.ok(report.products > 0, 'some');
  t.equal((await visit(script, FLAGS)).code, 'E_GPU', 'a page without an adapter hears so');
});
