/**
 * The example page as a visitor sees it: on a phone and on a desk, isolated and not; its pictures are looked at as far as a program can. With
 * TESSERAE_PICTURES=folder they are kept, to be looked at by people.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { PNG } from 'pngjs';
import test from 'tape';
import { createServer, type ViteDevServer } from 'vite';
import { FLAGS, noBrowser, WEBGPU_FLAGS } from '../support/page.ts';

const CONFIG = fileURLToPath(new URL('../../examples/page/vite.config.ts', import.meta.url));
const TIMEOUT_MS = 120_000;

const VISITS = [
  { name: 'a phone', width: 390, height: 844, mode: 'development', webgpu: false },
  { name: 'a desk, with WebGPU', width: 1280, height: 900, mode: 'development', webgpu: true },
  { name: 'a page without special headers', width: 390, height: 844, mode: 'plain', webgpu: false },
] as const;

interface Seen {
  readonly state: string;
  readonly widths: readonly number[];
  readonly texts: readonly string[];
  readonly choices: readonly string[];
  readonly dots: number;
  readonly facts: string;
  readonly overflow: number;
  readonly enabled: boolean;
}

/** Runs in the page; text, because no DOM is known here. */
const LOOK = `({
  state: document.body.dataset.state,
  widths: [...document.querySelectorAll('.bar i')].map((bar) => bar.getBoundingClientRect().width),
  texts: [...document.querySelectorAll('.bar span')].map((label) => label.textContent),
  choices: [...document.querySelectorAll('#choices tr')].map((row) => row.innerText),
  dots: document.querySelectorAll('#roofline svg circle').length,
  facts: document.getElementById('facts').innerText,
  overflow: document.documentElement.scrollWidth - window.innerWidth,
  enabled: !document.getElementById('again').disabled,
})`;

/** Colours of at least so many points as a small mark has. */
function coloursOf(png: Buffer): Set<string> {
  const { data } = PNG.sync.read(png);
  const counts = new Map<string, number>();
  for (let i = 0; i < data.length; i += 4) {
    const colour = data.subarray(i, i + 3).toString('hex');
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  return new Set([...counts].filter(([, count]) => count > 60).map(([colour]) => colour));
}

for (const { name, width, height, mode, webgpu } of VISITS)
  test(`the example page on ${name}`, async (t) => {
    if (noBrowser) return t.skip(noBrowser);
    let server: ViteDevServer | undefined;
    let browser: Browser | undefined;
    try {
      server = await createServer({ configFile: CONFIG, mode, logLevel: 'error', server: { port: 0 } });
      await server.listen();
      browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: webgpu ? [...FLAGS, ...WEBGPU_FLAGS] : FLAGS,
      });
      const page = await browser.newPage({ viewport: { width, height } });
      const complaints: string[] = [];
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.goto(`${server.resolvedUrls!.local[0]}?quick`);
      await page.waitForFunction(`['done', 'failed'].includes(document.body.dataset.state)`, undefined, {
        timeout: TIMEOUT_MS,
      });
      const seen = (await page.evaluate(LOOK)) as Seen;
      t.equal(seen.state, 'done', 'it comes to its end');
      const series = webgpu ? 2 : 1;
      t.deepEqual(
        complaints.filter((text) => !/WebGPU|No available adapters/.test(text)),
        [],
        'nothing to complain of',
      );
      t.equal(seen.widths.length, 6 * series, 'a bar for each problem and series');
      t.ok(
        seen.widths.every((one) => one >= 2 && one <= width),
        'all within the page',
      );
      t.ok(
        seen.texts.every((text) => Number(text) > 0),
        seen.texts.join(' '),
      );
      t.equal(seen.choices.length, 6, 'a choice for each problem');
      t.ok(
        seen.choices.every((row) => /(gemm|direct|winograd|axpy|dot).* ms/s.test(row)),
        seen.choices[0],
      );
      t.equal(seen.dots, 6 * series, 'all of them under the roofs');
      t.match(seen.facts, mode === 'plain' ? /a memory for each/ : /one shared memory/);
      t.ok(seen.overflow <= 0, 'nothing to scroll sideways for');
      t.ok(seen.enabled, 'it can be measured again');
      const picture = await page.screenshot({ fullPage: true });
      const folder = process.env.TESSERAE_PICTURES;
      if (folder) writeFileSync(join(folder, `page-${width}-${mode}.png`), picture);
      const colours = coloursOf(picture);
      t.ok(colours.has('0b7285'), 'the bars have their colour');
      t.equal(colours.has('e67700'), webgpu, webgpu ? 'of both series' : 'of one series');
      t.ok(colours.has('ffffff') && colours.has('f6f8f9'), 'cards on paper');
    } finally {
      await browser?.close();
      await server?.close();
    }
  });
