/** The library in headless Chromium: isolated and not, under a strict policy, with the bytes that Node gives. */
import test from 'tape';
import { embeddedWorker } from '../../src/index.ts';
import { GOLDEN } from '../support/exact-calls.ts';
import { ISOLATED, noBrowser, pageScript, visit } from '../support/page.ts';
import type { RuntimeReport } from '../support/runtime-page.ts';
import type { ShareReport } from '../support/share-page.ts';
import type { WisdomReport } from '../support/wisdom-page.ts';

const SCRIPT = 'runtime-page.ts';

test('a page that is isolated computes on threads that share memory', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const script = await pageScript(SCRIPT);
  const report = await visit<RuntimeReport>({ script, headers: ISOLATED });
  t.deepEqual(report.faults, [], 'products are right');
  t.deepEqual(report.hashes, [GOLDEN, GOLDEN], 'exact results have the bytes that Node gives');
  t.equal(report.threads.actual, report.threads.requested, 'all threads');
  t.deepEqual(
    report.events.filter(({ type }) => type === 'worker-lost'),
    [],
    'none is lost',
  );
  t.ok(report.turns > 3, `the page had ${report.turns} turns meanwhile`);
  t.equal(report.strict, 'none', 'a strict caller gets what it asked for');
  t.equal(report.spread, 'right', 'a matrix in strips, on threads beside those');
});

test('a page that is not isolated computes on threads with memories of their own, and says why', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const report = await visit<RuntimeReport>({ script: await pageScript(SCRIPT) });
  t.deepEqual(report.faults, [], 'products are right');
  t.deepEqual(report.hashes, [GOLDEN, GOLDEN], 'exact results have the bytes that Node gives');
  t.equal(report.threads.actual, report.threads.requested, 'all threads');
  t.equal(report.threads.memory, 'private');
  t.match(report.threads.reason, /memory of its own: the page is not cross-origin isolated/, 'the reason');
  t.deepEqual(report.events, [], 'nothing to tell');
  t.ok(report.turns > 3, `the page had ${report.turns} turns meanwhile`);
  t.equal(report.strict, 'E_FALLBACK', 'a strict caller is refused');
  t.equal(report.spread, 'right', 'a matrix in strips');
});

test('a page whose policy forbids blob: computes right all the same', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const headers = {
    ...ISOLATED,
    'content-security-policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
  };
  const report = await visit<RuntimeReport>({ script: await pageScript(SCRIPT), headers });
  t.deepEqual(report.faults, [], 'products are right');
  t.ok(
    report.events.some(({ type }) => type === 'worker-lost'),
    'an event tells that no worker could start',
  );
  t.equal(report.spread, 'E_FALLBACK', 'no thread could have a strip');
});

test('with a file for its threads that page has them all', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const policy = { 'content-security-policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" };
  for (const headers of [{ ...ISOLATED, ...policy }, policy]) {
    const files = { '/threads.js': embeddedWorker() };
    const script = await pageScript(SCRIPT);
    const report = await visit<RuntimeReport>({ script, headers, files, query: '?worker=/threads.js' });
    t.deepEqual(report.faults, [], 'products are right');
    t.equal(report.threads.actual, report.threads.requested, report.threads.reason);
    t.deepEqual(report.events, [], 'nothing to tell');
    t.ok(report.turns > 3, `the page had ${report.turns} turns meanwhile`);
    t.equal(report.spread, 'right', 'a matrix in strips');
  }
});

test('a page that is not isolated, with such a policy and no file, computes alone', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
  const headers = { 'content-security-policy': policy };
  const report = await visit<RuntimeReport>({ script: await pageScript(SCRIPT), headers });
  t.deepEqual(report.faults, [], 'products are right');
  t.equal(report.threads.actual, 1);
  t.match(report.threads.reason, /none came up/, report.threads.reason);
});

test('workers of a page join its runtime, and what they had is given back when they end', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const report = await visit<ShareReport>({ script: await pageScript('share-page.ts'), headers: ISOLATED });
  t.equal(report.fault, undefined, 'a product by a worker, blocking, without copies');
  t.equal(report.left, 0, 'nothing is left of one that was ended');
});

test('a page keeps its plans in its database', async (t) => {
  if (noBrowser) return t.skip(noBrowser);
  const report = await visit<WisdomReport>({ script: await pageScript('wisdom-page.ts') });
  t.equal(report.source, 'indexedDB tesserae');
  t.deepEqual(report.plans, ['estimate', 'wisdom'], 'a later runtime finds what was measured');
  t.equal(report.other, 'estimate', 'a database of another name has others');
  t.deepEqual(
    report.spoiled,
    ['wisdom-refused', 'wisdom', 'key refused'],
    'spoiled text is refused, set aside and replaced',
  );
  t.equal(report.kept, 8, 'old configurations go');
  t.equal(report.without, 'memory', 'without a database in memory');
});
