// Serves a folder to headless Chromium and returns what its page reports: for the consumers that are web pages.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { chromium } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update'];
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** Why pages cannot be tried here. */
export const noBrowser = existsSync(CHROMIUM) ? undefined : `no ${CHROMIUM} (apt-get install chromium)`;

/** Opens `path` of the folder and waits for `globalThis.report`; isolated pages have shared memory. */
export async function visit(folder, path, { isolated = false } = {}) {
  const server = createServer(async (request, response) => {
    if (isolated) {
      response.setHeader('cross-origin-opener-policy', 'same-origin');
      response.setHeader('cross-origin-embedder-policy', 'require-corp');
    }
    const file = join(folder, new URL(request.url, 'http://localhost').pathname);
    try {
      const body = await readFile(file);
      response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text());
    });
    await page.goto(`http://localhost:${server.address().port}/${path}`);
    await page.waitForFunction('globalThis.report', null, { timeout: 10_000 }).catch(() => undefined);
    return { report: await page.evaluate('globalThis.report'), errors };
  } finally {
    await browser.close();
    server.close();
  }
}
