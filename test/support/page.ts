/** Headless Chromium for tests: a page with a script of the tests' own, under the headers that a test wants. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import { LOOPS_OF_ZEROS } from './gpu.ts';

const CHROMIUM = '/usr/bin/chromium';
export const FLAGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update'];
/** An adapter on software. */
export const WEBGPU_FLAGS = ['--enable-unsafe-webgpu', `--${LOOPS_OF_ZEROS}`];

/** Why browser tests are skipped here. */
export const noBrowser = existsSync(CHROMIUM) ? undefined : `no ${CHROMIUM} (apt-get install chromium)`;

/** With both, a page has shared memory. */
export const ISOLATED: Readonly<Record<string, string>> = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

export interface Site {
  readonly script: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What follows the page's address. */
  readonly query?: string;
  /** Other files, by their paths. */
  readonly files?: Readonly<Record<string, string>>;
  /** Chromium has an adapter on software with it, and none without. */
  readonly webgpu?: boolean;
}

/** A script of test/support as one file for browsers. */
export async function pageScript(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`./${name}`, import.meta.url))],
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

/** What the page's `globalThis.report` resolves to. `localhost` is a secure context, which WebGPU and isolation need. */
export async function visit<T>({
  script,
  headers = {},
  files = {},
  query = '',
  webgpu = false,
}: Site): Promise<T> {
  const server = createServer((request, response) => {
    const file = { ...files, '/page.js': script }[request.url ?? ''];
    response.setHeader('content-type', file === undefined ? 'text/html' : 'text/javascript');
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    response.end(file ?? '<!doctype html><script src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  let browser: Browser | undefined;
  try {
    const args = webgpu ? [...FLAGS, ...WEBGPU_FLAGS] : FLAGS;
    browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args });
    const page = await browser.newPage();
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/${query}`);
    return (await page.evaluate('globalThis.report')) as T;
  } finally {
    await browser?.close();
    server.close();
  }
}
