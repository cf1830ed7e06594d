/** The command as a process, on the real runtime: what only a process can show. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { measureCold } from '../../src/cli/bench/cold.ts';
import type { BenchReport } from '../../src/cli/bench/report.ts';
import { libraryModule } from '../../src/cli/package.ts';
import { MAIN, runCli, SELF } from './support.ts';

test('process: usage errors end with 2 and leave stdout empty', async (t) => {
  const { code, out, err } = await runCli(['bnch']);
  t.deepEqual([code, out], [2, '']);
  t.match(err, /Did you mean bench\?/);
  t.end();
});

test('process: a bench beside a peer is pure JSON on stdout', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-process-'));
  const argv = [
    'bench',
    '--shapes',
    '48x48x48,1x64x96',
    '--only',
    'plain-js,jax-js',
    '--time',
    '5',
    '--no-cold',
    '--effort',
    'estimate',
  ];
  // Nothing is installed in this folder; jax-js may still come from the checkout.
  const { code, out, err } = await runCli([...argv, '--threads', '2', '--no-wisdom', '--json'], {
    cwd: folder,
  });
  t.equal(code, 0, err);
  const report = JSON.parse(out) as BenchReport;
  t.deepEqual(
    report.rows.map(({ key }) => key),
    ['48x48x48', '1x64x96'],
  );
  for (const { key, cells } of report.rows) {
    for (const { id, status } of cells) t.equal(status, 'timed', `${key} ${id}`);
  }
  t.equal(report.settings.threads, 2);
  rmSync(folder, { recursive: true });
  t.end();
});

test('process: convolutions are tuned, right and timed on the real runtime', async (t) => {
  const shapes = 'conv 1x8x20x24 12 3x3 p1 bias hardSwish,conv 1x16x20x24 16 5x5 s2 p1.1.2.2 g16 clip=0:6';
  const argv = [
    'bench',
    '--shapes',
    shapes,
    '--time',
    '5',
    '--no-cold',
    '--no-wisdom',
    '--threads',
    '2',
    '--json',
  ];
  const { code, out, err } = await runCli(argv);
  t.equal(code, 0, err);
  for (const { key, cells } of (JSON.parse(out) as BenchReport).rows) {
    const [own] = cells;
    t.ok(own?.status === 'timed' && own.plan !== undefined, `${key}: ${own?.status}`);
    t.ok(own?.status === 'timed' && (own.relativeError ?? 1) < 1e-5, 'with its largest error');
  }
  t.end();
});

test('process: Ctrl-C ends a bench with 130 and a report, and nothing keeps it alive', async (t) => {
  let sent = 0;
  const argv = [
    'bench',
    '--suite',
    'squares',
    '--only',
    'plain-js',
    '--no-cold',
    '--no-wisdom',
    '--json',
    '--verbose',
  ];
  const started = performance.now();
  const { code, out } = await runCli(argv, {
    onErr: (_, kill) => {
      // The first event tells of a tuned shape: the command is in the middle of its work.
      if (sent === 0) setTimeout(() => kill('SIGINT'), 300);
      sent ||= performance.now();
    },
  });
  t.equal(code, 130);
  t.equal((JSON.parse(out) as BenchReport).interrupted, true);
  t.ok(performance.now() - sent < 20_000, `${Math.round(performance.now() - started)} ms in all`);
  t.end();
});

test('process: wisdom goes from one process to the next, and through export and import', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-process-'));
  const here = { cwd: folder };
  const tuned = await runCli(
    ['tune', '--shapes', '40x40x40', '--budget', '300ms', '--wisdom', 'a.json', '--json'],
    here,
  );
  t.equal(tuned.code, 0, tuned.err);
  const explained = await runCli(['explain', 'matmul', '40x40x40', '--wisdom', 'a.json', '--json'], here);
  t.equal((JSON.parse(explained.out) as { source: string }).source, 'wisdom');
  t.equal((await runCli(['wisdom', 'export', 'x.json', '--wisdom', 'a.json'], here)).code, 0);
  const imported = await runCli(['wisdom', 'import', 'x.json', '--wisdom', 'b.json', '--json'], here);
  t.equal(imported.code, 0, imported.err);
  t.ok((JSON.parse(imported.out) as { imported: number }).imported >= 1, 'plans taken over');
  t.ok(readFileSync(join(folder, 'b.json'), 'utf8').length > 0, 'and kept');
  const cleared = await runCli(['wisdom', 'clear', '--wisdom', 'b.json', '--json'], here);
  t.equal(cleared.code, 0);
  const listed = await runCli(['wisdom', 'list', '--wisdom', 'b.json', '--json'], here);
  t.deepEqual((JSON.parse(listed.out) as { entries: unknown[] }).entries, []);
  rmSync(folder, { recursive: true });
  t.end();
});

test('process: doctor says what is on', async (t) => {
  const { code, out, err } = await runCli(['doctor', '--threads', '2', '--no-wisdom', '--json']);
  t.equal(code, 0, err);
  const document = JSON.parse(out) as {
    info: { features: { name: string; on: boolean }[]; threads: { actual: number } };
    machine: { peakGflops: number };
  };
  t.equal(document.info.threads.actual, 2);
  t.equal(document.info.features.find(({ name }) => name === 'simd')?.on, true, 'SIMD is on');
  t.ok(document.machine.peakGflops > 0);
  t.end();
});

test('process: our cold start is a right answer too', async (t) => {
  const options = {
    threads: 1,
    engineFlags: 'off',
    searchFrom: [],
    wisdom: undefined,
    rounds: 1,
    self: SELF,
  } as const;
  const [outcome] = await measureCold(['tesserae, no wisdom'], options);
  t.equal(outcome?.status, 'timed', JSON.stringify(outcome));
  t.ok(libraryModule().url.startsWith('file:'), libraryModule().what);
  t.ok(MAIN.endsWith('main.ts'));
  t.end();
});
