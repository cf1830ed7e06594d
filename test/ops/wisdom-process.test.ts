/** Wisdom from one process to the next: nothing is measured twice, and nothing bad is believed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'tape';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions } from '../../src/ops/types.ts';
import { runChild, temporaryFolder } from '../support/bundle.ts';
import { codeOf } from '../support/faulty.ts';
import { wholeProduct, wrongAsync, wrongSync } from '../support/products.ts';
import { madeUpMachine } from '../support/runtime.ts';

const SPECS = ['64x64x64', '1x200x300', '130x64x70'];
const product = wholeProduct(64, 64, 64);

let files = 0;
function newPath(): string {
  return join(temporaryFolder(), `wisdom-${++files}`, 'wisdom.jsonl');
}

interface Opened {
  readonly rt: Runtime;
  readonly events: RuntimeEvent[];
}

async function open(wisdom: string, options: RuntimeOptions = {}): Promise<Opened> {
  const events: RuntimeEvent[] = [];
  const onEvent = (event: RuntimeEvent) => events.push(event);
  const rt = await createRuntimeWith(
    { threads: 2, wisdom, onEvent, ...options },
    { machine: madeUpMachine(1) },
  );
  return { rt, events };
}

function refusals(events: readonly RuntimeEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'wisdom-refused' ? [event.reason] : []));
}

/** A file with measured plans for all SPECS. */
async function tunedFile(path = newPath()): Promise<string> {
  const { rt } = await open(path);
  await rt.tune(SPECS, { budgetMs: 300 });
  await rt.close();
  return path;
}

interface Report {
  readonly createMs: number;
  readonly events: readonly string[];
  readonly sources: readonly string[];
  readonly plans: readonly unknown[];
  readonly machine: unknown;
  readonly entries: number;
  readonly fault: string | null;
}

async function inProcess(path: string, work: string): Promise<Report> {
  const { status, stdout, stderr } = await runChild(`
    const events = [];
    const start = performance.now();
    const rt = await lib.createRuntime({
      threads: 2, wisdom: ${JSON.stringify(path)}, effort: 'measure', onEvent: ({ type }) => events.push(type),
    });
    const createMs = performance.now() - start;
    const product = lib.wholeProduct(64, 64, 64);
    ${work}
    const explained = ${JSON.stringify(SPECS)}.map((spec) => rt.explain(spec));
    const fault = (await lib.wrongAsync(rt, product)) ?? lib.wrongSync(rt, product) ?? null;
    console.log(JSON.stringify({
      createMs, events, fault, machine: rt.info.machine, entries: rt.info.wisdom.entries,
      sources: explained.map(({ source }) => source), plans: explained.map(({ plan }) => plan),
    }));
    await rt.close();`);
  if (status !== 0) throw new Error(`the child ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Report;
}

test('a second process measures nothing that the first one has measured', async (t) => {
  const path = newPath();
  const first = await inProcess(path, `await rt.tune(${JSON.stringify(SPECS)}, { budgetMs: 600 });`);
  t.deepEqual(first.events, ['planned', 'planned', 'planned'], 'the first plans each problem once');
  const second = await inProcess(path, '');
  t.deepEqual(second.events, [], 'the second plans none, although its effort is to measure');
  t.deepEqual(second.sources, ['wisdom', 'wisdom', 'wisdom'], 'all plans come from wisdom');
  t.deepEqual(second.plans, first.plans, 'and are those of the first');
  t.deepEqual(second.machine, first.machine, 'the machine was not probed again');
  t.ok(
    second.createMs < first.createMs,
    `createRuntime: ${first.createMs.toFixed(0)}, then ${second.createMs.toFixed(0)} ms`,
  );
  t.equal(second.entries, 3, 'three entries');
  t.equal(first.fault ?? second.fault, null, 'the results are right');
});

test('processes that write the same file at once', async (t) => {
  const path = newPath();
  await inProcess(path, '');
  await Promise.all(SPECS.map((spec) => inProcess(path, `await rt.tune(['${spec}'], { budgetMs: 150 });`)));
  const { rt, events } = await open(path);
  t.deepEqual(refusals(events), [], 'the file is whole');
  t.ok(rt.info.wisdom.entries >= 1, `${rt.info.wisdom.entries} entries`);
  t.deepEqual(
    readdirSync(join(path, '..')).filter((name) => name.endsWith('.tmp')),
    [],
    'no temporary file is left',
  );
  await rt.close();
});

test('a damaged file is refused, told of, and replaced', async (t) => {
  const good = readFileSync(await tunedFile(), 'utf8');
  const lines = good.split('\n');
  const damage: Readonly<Record<string, string | Buffer>> = {
    'one changed digit': good.replace(/"ms":(\d)/, (_, digit: string) => `"ms":${(Number(digit) + 1) % 10}`),
    'one changed plan': good.replace(/"threads":\d/, '"threads":9'),
    'torn at two thirds': good.slice(0, Math.floor((good.length * 2) / 3)),
    'torn after the header': `${lines[0]}\n`,
    'torn inside the header': good.slice(0, 20),
    'one line missing': [...lines.slice(0, 2), ...lines.slice(3)].join('\n'),
    'one line twice': [...lines.slice(0, 3), ...lines.slice(2)].join('\n'),
    'something behind it': `${good}{}\n`,
    'another schema': good.replace('"schema":', '"schema":9'),
    'another signature': good.replace(/"signature":"[^"]*"/, '"signature":"s1-0"'),
    'another format': good.replace('tesserae-wisdom', 'fftw-wisdom'),
    'no text at all': Buffer.from([0, 255, 254, 13, 10, 0]),
    'an empty file': '',
    'a list': '[]\n',
  };
  for (const [name, content] of Object.entries(damage)) {
    const path = newPath();
    mkdirSync(join(path, '..'));
    writeFileSync(path, content);
    const { rt, events } = await open(path);
    t.equal(refusals(events).length, 1, `${name}: refused with one event (${refusals(events)[0]})`);
    t.equal(rt.info.wisdom.entries, 0, 'nothing of it is used');
    t.equal(rt.explain('64x64x64').source, 'estimate', 'the plan is made anew');
    t.equal((await wrongAsync(rt, product)) ?? wrongSync(rt, product), undefined, 'the results are right');
    await rt.tune(['64x64x64'], { budgetMs: 50 });
    await rt.close();
    const again = await open(path);
    t.deepEqual(refusals(again.events), [], 'the file was replaced by a good one');
    t.equal(again.rt.explain('64x64x64').source, 'wisdom', 'with the new plan');
    await again.rt.close();
    t.ok(existsSync(`${path}.refused`), 'what was refused was set aside');
  }
});

test('a file of another configuration', async (t) => {
  const path = await tunedFile();
  const { rt, events } = await open(path, { threads: 1 });
  t.match(refusals(events)[0] ?? '', /another signature/, 'is refused');
  t.equal(rt.explain('64x64x64').source, 'estimate', 'and not used');
  t.equal(wrongSync(rt, product), undefined, 'the results are right');
  await rt.close();
});

test('a file that cannot be read or written', async (t) => {
  const file = join(temporaryFolder(), 'a-file');
  writeFileSync(file, 'not a folder');
  const folder = join(temporaryFolder(), 'a-folder');
  mkdirSync(folder);
  for (const path of [join(file, 'wisdom.jsonl'), folder]) {
    const { rt, events } = await open(path);
    t.equal((await wrongAsync(rt, product)) ?? wrongSync(rt, product), undefined, 'the results are right');
    await rt.tune(['64x64x64'], { budgetMs: 50 });
    t.equal(rt.explain('64x64x64').source, 'wisdom', 'plans are kept in memory');
    await rt.close();
    t.ok(refusals(events).length >= 1, `told of: ${refusals(events).at(-1)}`);
  }
});

test('a file that goes away while the runtime lives', async (t) => {
  const path = await tunedFile();
  const { rt, events } = await open(path);
  unlinkSync(path);
  await rt.tune(['65x65x65'], { budgetMs: 50 });
  await rt.close();
  t.deepEqual(refusals(events), [], 'no event');
  const again = await open(path);
  t.equal(again.rt.info.wisdom.entries, 4, 'it is written again, with all that is known');
  await again.rt.close();
});

test('export and import between runtimes', async (t) => {
  const { rt: from } = await open(newPath());
  const reports = await from.tune(SPECS, { budgetMs: 300 });
  const text = from.wisdom.export();
  const { rt: to, events } = await open(newPath());
  const before = to.explain('64x64x64');
  t.equal(before.source, 'estimate', 'before: an estimate');
  t.equal(to.wisdom.import(text), 3, 'three entries are taken');
  t.equal(to.wisdom.import(text), 0, 'once');
  t.deepEqual(
    SPECS.map((spec) => to.explain(spec).plan),
    reports.map(({ plan }) => plan),
    'after: the imported plans',
  );
  t.equal(wrongSync(to, product), undefined, 'the results are right');
  t.equal(events.length, 0, 'nothing was measured');

  const listed = to.wisdom.list();
  for (const bad of [
    text.slice(0, -10),
    text.replace('"threads":', '"threads":1'),
    text.replace(/s\d-/, 's9-'),
  ]) {
    t.equal(await codeOf(() => to.wisdom.import(bad)), 'E_WISDOM', 'a damaged text is refused');
    t.deepEqual(to.wisdom.list(), listed, 'and changes nothing');
  }
  const { rt: single } = await open(newPath(), { threads: 1 });
  t.equal(await codeOf(() => single.wisdom.import(text)), 'E_WISDOM', 'another configuration refuses it');
  t.equal(single.wisdom.list().length, 0, 'whole');

  to.wisdom.clear();
  t.equal(to.explain('64x64x64').source, 'estimate', 'cleared');
  for (const rt of [from, to, single]) await rt.close();
});
