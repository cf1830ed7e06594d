import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { measureCold } from '../../src/cli/bench/cold.ts';
import { SELF } from './support.ts';

const CLI = fileURLToPath(new URL('../../src/cli/', import.meta.url));
const ROOT = resolve(CLI, '../..');
const OPTIONS = {
  threads: 1,
  engineFlags: 'off',
  searchFrom: [ROOT],
  wisdom: undefined,
  self: SELF,
} as const;

/** Files that loading `file` loads at once: static imports that are more than types, transitively. */
function loadedBy(file: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!file.startsWith(CLI)) return seen;
  const source = readFileSync(file, 'utf8');
  for (const [, clause = '', specifier = ''] of source.matchAll(
    /^(?:import|export)\s+([^;]*?)\s+from\s+'(\.[^']+)'/gms,
  )) {
    const names = /^\{([\s\S]*)\}$/.exec(clause)?.[1]?.split(',') ?? [];
    const onlyTypes =
      clause.startsWith('type ') || (names.length > 0 && names.every((name) => /^\s*(type\s|$)/.test(name)));
    if (!onlyTypes) loadedBy(resolve(dirname(file), specifier), seen);
  }
  return seen;
}

test('cold: nothing of the library is loaded before the clock starts', (t) => {
  for (const file of ['main.ts', 'bench/cold-child.ts', 'bench/peer-host.ts']) {
    const loaded = [...loadedBy(resolve(CLI, file))].filter((path) => !path.startsWith(CLI));
    t.deepEqual(loaded, [], `${file} loads nothing outside src/cli`);
  }
  t.ok(
    [...loadedBy(resolve(CLI, 'program.ts'))].some((path) => path.endsWith('src/index.ts')),
    'the walk sees imports',
  );
  t.end();
});

test('cold: each time is a fresh process, the first round does not count', async (t) => {
  const steps: number[] = [];
  const onProgress = (done: number) => steps.push(done);
  const [outcome] = await measureCold(['plain-js'], { ...OPTIONS, rounds: 2, onProgress });
  t.equal(outcome?.status, 'timed');
  t.equal(outcome?.status === 'timed' ? outcome.samples.length : 0, 2);
  t.deepEqual(steps, [0, 1, 2], 'one round more than counted');
  t.end();
});

test('cold: who cannot start is named with the reason', async (t) => {
  const [outcome] = await measureCold(['nobody'], { ...OPTIONS, rounds: 1 });
  t.deepEqual(outcome, { id: 'nobody', status: 'failed', reason: 'Error: no such peer' });
  t.end();
});

test('cold: an abort kills the process and rejects', async (t) => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 50);
  try {
    await measureCold(['plain-js'], { ...OPTIONS, rounds: 50, signal: controller.signal });
    t.fail('it must reject');
  } catch (error) {
    t.equal((error as Error).name, 'AbortError');
  }
  t.end();
});
