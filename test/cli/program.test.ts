import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { adviceFor } from '../../src/cli/advice.ts';
import type { BenchReport } from '../../src/cli/bench/report.ts';
import { describeEnvironment } from '../../src/cli/environment.ts';
import type { MachineReport } from '../../src/index.ts';
import { fakeLog, INFO, MACHINE, runFake } from './support.ts';

const FAST = ['--no-cold', '--time', '1'];

test('program: usage errors end with 2 and help where they can', async (t) => {
  const cases: readonly (readonly [argv: string, message: RegExp])[] = [
    ['benhc', /unknown command 'benhc'[\s\S]*bench/],
    ['bench --suite quik', /no suite "quik"[\s\S]*Did you mean "quick"\?/],
    ['bench --suite zzzzzz', /no suite "zzzzzz"[\s\S]*Known are .*gpt2-decode/],
    ['bench --suite quick --shapes 8x8x8', /exclude each other/],
    ['bench --shapes nowhere.txt', /cannot read nowhere.txt: ENOENT/],
    ['bench --shapes 8x8', /"8x8" is no shape/],
    ['bench --only onnxruntime-wbe', /Did you mean "onnxruntime-web"\?/],
    ['bench --threads 0', /"0" is no whole number/],
    ['bench --effort mesure', /Did you mean "measure"\?/],
    ['bench --resident', /--resident is for a GPU[\s\S]*--backend webgpu/],
    ['bench --backend cuda', /argument 'cuda' is invalid[\s\S]*webgpu/],
    ['bench --thread 2', /unknown option '--thread'[\s\S]*--threads/],
    ['tune --budget soon', /"soon" is no duration/],
    ['tune --effort estimate', /no effort "estimate"/],
    ['explain matmull 1x2x3', /no operation "matmull"[\s\S]*Did you mean "matmul"\?/],
    ['explain matmul 1x2', /"1x2" is no shape/],
    ['explain conv 1x2x3 4 3x3', /"conv 1x2x3 4 3x3" is no shape/],
    ['explain conv 1x2x8x8 4 3x3 --transpose-b', /are for matmul/],
    ['explain matmul conv 1x2x8x8 4 3x3', /is no shape/],
    ['explain int8 1x2', /"int8 1x2" is no shape/],
    ['explain int8 1x2x3 --prepacked', /are not for int8/],
    ['bench --shapes int8,1x2x3', /cannot read int8,1x2x3: ENOENT/],
    ['bench --suite conv-resnet', /Did you mean "conv-resnet50"\?/],
    ['chart', /missing required argument/],
    ['chart nowhere.json', /cannot read nowhere.json: ENOENT/],
    ['explain matmul 1x2x3 --activation rellu', /Did you mean "relu"\?/],
    ['explain', /missing required argument/],
    ['compare a.json', /missing required argument/],
    ['compare a.json b.json', /cannot read a.json: ENOENT/],
    ['compare --min-effect 200 a.json b.json', /no percentage/],
    ['wisdom import nowhere.json', /cannot use nowhere.json: ENOENT/],
    ['wisdom', /Usage: tesserae wisdom/],
    ['', /Usage: tesserae/],
  ];
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-cli-'));
  for (const [argv, message] of cases) {
    const log = fakeLog();
    const { code, out, err } = await runFake(argv.split(' ').filter(Boolean), { log, cwd: folder });
    t.equal(code, 2, `${argv}: exit status`);
    t.match(err, message, `${argv}: message`);
    t.equal(out, '', `${argv}: nothing on stdout`);
    t.equal(log.created.length, log.closed, `${argv}: no runtime left open`);
  }
  rmSync(folder, { recursive: true });
  t.end();
});

test('program: help and version end with 0, and help documents the exit codes', async (t) => {
  const help = await runFake(['--help']);
  t.equal(help.code, 0);
  t.match(help.out, /130 {2}interrupted/);
  for (const name of ['doctor', 'bench', 'compare', 'chart', 'tune', 'explain', 'wisdom']) {
    const { code, out } = await runFake([name, '--help']);
    t.equal(code, 0, name);
    t.match(out, /--json/.test(out) || name === 'wisdom' ? /Usage/ : /--json/, `${name} has --json`);
  }
  t.match((await runFake(['--version'])).out, /^\d+\.\d+\.\d+/);
  t.end();
});

test('program: with --json, stdout is one document whatever happens', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-cli-'));
  writeFileSync(join(folder, 'wisdom.json'), '{"fake":1}');
  const commands: readonly (readonly [argv: readonly string[], code: number])[] = [
    [['doctor'], 0],
    [['bench', '--shapes', '8x8x8', ...FAST], 0],
    [['tune', '--shapes', '8x8x8'], 0],
    [['explain', 'matmul', '1x2x3'], 0],
    [['explain', 'conv', '1x2x8x8', '4', '3x3', 'p1'], 0],
    [['explain', 'int8', '1x2x3'], 0],
    [['bench', '--shapes', 'conv 1x2x8x8 4 3x3 p1', ...FAST], 0],
    [['chart', 'nowhere.json'], 2],
    [['wisdom', 'list'], 0],
    [['wisdom', 'export'], 0],
    [['wisdom', 'import', 'wisdom.json'], 0],
    [['wisdom', 'clear'], 0],
    [['bench', '--suite', 'quik'], 2],
    [['bench', '--nonsense'], 2],
    [['explain', 'matmul', '1x13x3'], 1],
  ];
  for (const [argv, code] of commands) {
    const result = await runFake([...argv, '--json'], { cwd: folder });
    t.equal(result.code, code, `${argv.join(' ')}: exit status`);
    const document = JSON.parse(result.out) as { tool?: string; error?: { code: string } };
    t.ok(code === 0 ? document.tool === 'tesserae' : document.error !== undefined, `${argv.join(' ')}: JSON`);
  }
  rmSync(folder, { recursive: true });
  t.end();
});

test('program: common options reach the runtime, which is always closed', async (t) => {
  const log = fakeLog();
  const argv = ['wisdom', 'list', '--threads', '3', '--engine-flags', '--exact', '--wisdom', 'my.json'];
  await runFake(argv, { log, cwd: '/somewhere' });
  const { onEvent, ...given } = log.created[0] ?? {};
  t.equal(typeof onEvent, 'function');
  t.equal(given.wisdom, join('/somewhere', 'my.json'), 'the file is relative to the user');
  t.deepEqual({ ...given, wisdom: '' }, { threads: 3, engineFlags: 'allow', numerics: 'exact', wisdom: '' });
  await runFake(['explain', 'matmul', '1x13x3', '--no-wisdom'], { log });
  t.equal(log.created[1]?.wisdom, false);
  await runFake(['explain', 'matmul', '1x13x3', '--gpu', '--backend', 'webgpu'], { log });
  t.deepEqual([log.created[2]?.gpu, log.created[2]?.backend], [true, 'webgpu'], 'a GPU was asked for');
  t.deepEqual([log.created.length, log.closed], [3, 3], 'closed after an error too');
  t.end();
});

test("program: the library's errors are code, message and hint, with a stack only if asked", async (t) => {
  const plain = await runFake(['explain', 'matmul', '1x13x3']);
  t.equal(plain.code, 1);
  t.equal(plain.err, 'error: E_MEMORY: no memory for it\n  Close something.\n');
  const verbose = await runFake(['explain', 'matmul', '1x13x3', '--verbose']);
  t.match(verbose.err, /at .*support\.ts/);
  t.end();
});

test('bench: a report for people and one for machines', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-cli-'));
  const log = fakeLog();
  const { code, out } = await runFake(
    ['bench', '--shapes', '8x8x8,1x16x16', ...FAST, '--json', 'report.json'],
    { log, cwd: folder },
  );
  t.equal(code, 0);
  t.match(out, /8x8x8 +tesserae +[\d.]+ GFLOP\/s/, 'a table');
  t.match(out, /1x16x16 +tesserae +[\d.]+ GB\/s/, 'GEMV by bandwidth');
  t.match(out, /f32_gemm_4x8__simd ab mc=96/, 'the chosen plan');
  t.equal(log.tuned, 2, 'plans are measured before the race');
  const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as BenchReport;
  const cell = report.rows[0]?.cells[0];
  t.equal(report.rows[0]?.flops, 1024, "the user's shape is counted");
  t.ok(cell?.status === 'timed' && cell.samples.length >= 16, 'samples are kept');
  t.equal(report.environment.node, process.version);
  rmSync(folder, { recursive: true });
  t.end();
});

test('bench: convolutions, their largest error, and the same report in compare', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-cli-'));
  const log = fakeLog();
  const shapes = 'conv 1x3x12x12 4 3x3 p1.0.0.1 bias,conv 2x4x9x9 3 1x1,8x8x8';
  const argv = ['bench', '--shapes', shapes, ...FAST, '--json', 'report.json'];
  const { code, out, err } = await runFake(argv, { log, cwd: folder });
  t.equal(code, 0, err);
  t.match(
    out,
    /conv 1x3x12x12 4 3x3 s1 p1\.0\.0\.1 bias +tesserae +[\d.]+ GFLOP\/s .* \d\.\de-\d/,
    'max error',
  );
  t.ok(log.convs > 32 && log.tuned === 3, `${log.convs} convolutions, ${log.tuned} tuned`);
  const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as BenchReport;
  const [conv, , product] = report.rows.map(({ cells }) => cells[0]);
  t.ok(conv?.status === 'timed' && (conv.maxAbsError ?? 1) < 1e-6 && (conv.relativeError ?? 1) < 1e-6);
  t.notOk(product !== undefined && 'maxAbsError' in product, 'products are as they were');
  t.equal(report.rows[0]?.flops, 2 * 4 * 11 * 11 * 27);
  t.equal(report.kinds, undefined, 'nothing to compare with');
  const compared = await runFake(['compare', 'report.json', 'report.json'], { cwd: folder });
  t.equal(compared.code, 0);
  t.match(compared.out, /conv 2x4x9x9 3 1x1 s1 p0 +tesserae/);
  const drawn = await runFake(['chart', 'report.json'], { cwd: folder });
  t.deepEqual([drawn.code, drawn.out], [2, ''], 'no picture without a peer');
  t.match(drawn.err, /"onnxruntime-web" did not take part/);
  rmSync(folder, { recursive: true });
  t.end();
});

test('bench: a wrong convolution is shown, not timed, and fails', async (t) => {
  const spoil = (result: Float32Array) => {
    result[130] = 7;
  };
  const { code, out } = await runFake(['bench', '--shapes', 'conv 1x2x8x8 4 3x3 p1', ...FAST], { spoil });
  t.equal(code, 1);
  t.match(out, /wrong answer, not timed: element \[0, 2, 0, 2\] is 7 instead of/);
  t.end();
});

test('chart: a picture of a report', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-cli-'));
  const argv = ['bench', '--shapes', 'conv 1x3x12x12 4 3x3 p1', ...FAST, '--json', 'a.json'];
  await runFake(argv, { cwd: folder });
  const report = JSON.parse(readFileSync(join(folder, 'a.json'), 'utf8')) as BenchReport;
  const [own] = report.contestants;
  // A peer that is us again, so that no other library is needed.
  const doubled = {
    ...report,
    contestants: [...report.contestants, { ...own, id: 'onnxruntime-web' }],
    rows: report.rows.map((row) => ({
      ...row,
      cells: [...row.cells, { ...row.cells[0], id: 'onnxruntime-web' }],
    })),
  };
  writeFileSync(join(folder, 'a.json'), JSON.stringify(doubled));
  const printed = await runFake(['chart', 'a.json', '--title', 'Mine & yours'], { cwd: folder });
  t.equal(printed.code, 0, printed.err);
  t.match(printed.out, /^<svg [\s\S]*Mine &amp; yours[\s\S]*1\.00x[\s\S]*<\/svg>\n$/);
  const written = await runFake(['chart', 'a.json', '--out', 'a.svg', '--title', 'Mine & yours', '--json'], {
    cwd: folder,
  });
  t.equal(readFileSync(join(folder, 'a.svg'), 'utf8'), printed.out, 'the same picture in a file');
  const document = JSON.parse(written.out) as { kind: string; groups: { name: string }[] };
  t.deepEqual([document.kind, document.groups[0]?.name], ['chart', 'first layer'], 'its figures as JSON');
  const nowhere = await runFake(['chart', 'a.json', '--out', 'no/such/a.svg'], { cwd: folder });
  t.equal(nowhere.code, 2);
  t.match(nowhere.err, /cannot write .*a\.svg: ENOENT/);
  rmSync(folder, { recursive: true });
  t.end();
});

test('bench: our wrong answer is shown, not timed, and fails', async (t) => {
  const spoil = (result: Float32Array) => {
    result[3] = 7;
  };
  const { code, out } = await runFake(['bench', '--shapes', '8x8x8', ...FAST], { spoil });
  t.equal(code, 1);
  t.match(out, /WRONG ANSWER/);
  t.match(out, /wrong answer, not timed: element \[0, 0, 3\] is 7/);
  t.end();
});

test('bench: an interrupt ends with 130 and keeps what is finished', async (t) => {
  const controller = new AbortController();
  const log = fakeLog();
  let results = 0;
  const spoil = () => {
    if (++results === 200) controller.abort();
  };
  const argv = ['bench', '--shapes', '8x8x8,64x64x64,256x256x256', ...FAST, '--json'];
  const { code, out } = await runFake(argv, { log, spoil, signal: controller.signal });
  t.equal(code, 130);
  const report = JSON.parse(out) as BenchReport;
  t.ok(report.interrupted && report.rows.length < 3, `${report.rows.length} of 3 rows`);
  t.equal(log.closed, 1, 'the runtime is closed');
  t.end();
});

test('bench: an interrupt before anything began', async (t) => {
  const log = fakeLog();
  const { code, err } = await runFake(['doctor'], { log, signal: AbortSignal.abort() });
  t.deepEqual([code, err, log.created.length], [130, 'interrupted\n', 0]);
  t.end();
});

test('doctor: a quarantined kernel is a problem, a missing feature a note', async (t) => {
  const fine = await runFake(['doctor']);
  t.equal(fine.code, 0);
  t.match(fine.out, /note +relaxed-simd is off: the engine needs a flag/);
  t.match(fine.out, /50\.0 GFLOP\/s on one thread/);
  const broken = await runFake(['doctor'], {
    quarantined: [{ kernel: 'f32_gemm_6x8__relaxed', reason: 'element 3' }],
  });
  t.equal(broken.code, 1);
  t.match(broken.out, /problem kernel f32_gemm_6x8__relaxed gave wrong answers/);
  t.end();
});

test('doctor: a ceiling below a kernel is named as disturbed', (t) => {
  const environment = { ...describeEnvironment(), load: 0, cores: 8 };
  const disturbed = { ...MACHINE, peakGflops: 20 };
  const about = (machine: MachineReport, info = INFO) =>
    adviceFor(info, machine, environment, []).filter(({ what }) => what.includes('ceiling')).length;
  t.equal(about(MACHINE), 0);
  t.equal(about(disturbed), 1);
  const wide = { ...INFO, features: [{ name: 'revectorize', on: true, reason: '' }] } as const;
  t.equal(about(disturbed, wide), 0, '256-bit vectors may exceed it');
  t.end();
});

test('compare: exit status 1 only for a change', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-cli-'));
  await runFake(['bench', '--shapes', '8x8x8', ...FAST, '--json', 'a.json'], { cwd: folder });
  const report = JSON.parse(readFileSync(join(folder, 'a.json'), 'utf8')) as BenchReport;
  const steady = Array.from({ length: 20 }, (_, i) => 1 + (i % 5) / 1000);
  const withSamples = (factor: number) => {
    const samples = steady.map((ms) => ms * factor);
    return JSON.stringify({
      ...report,
      rows: report.rows.map((row) => ({ ...row, cells: row.cells.map((cell) => ({ ...cell, samples })) })),
    });
  };
  writeFileSync(join(folder, 'a.json'), withSamples(1));
  writeFileSync(join(folder, 'b.json'), withSamples(1.15));
  writeFileSync(join(folder, 'broken.json'), '{"tool":');
  writeFileSync(join(folder, 'other.json'), '{"tool":"other"}');
  const codes = await Promise.all(
    [
      ['a', 'a'],
      ['a', 'b'],
      ['a', 'broken'],
      ['a', 'other'],
    ].map((names) => runFake(['compare', ...names.map((name) => `${name}.json`)], { cwd: folder })),
  );
  t.deepEqual(
    codes.map(({ code }) => code),
    [0, 1, 2, 2],
  );
  t.match(codes[1]?.out ?? '', /8x8x8 +tesserae .* 1\.15x +slower/);
  rmSync(folder, { recursive: true });
  t.end();
});
