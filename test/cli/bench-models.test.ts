/** `bench --suite models`: engines in processes of their own, the same answers, and what is said of those that are not there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { namedModel } from '../../src/cli/bench/models/list.ts';
import { isWrong, type ModelCell, meanOf } from '../../src/cli/bench/models/race.ts';
import { node } from '../../src/cli/bench/peers/onnx-proto.ts';
import type { ModelsReport } from '../../src/cli/commands/bench-models.ts';
import { UsageError } from '../../src/cli/errors.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { runCli, runFake } from './support.ts';

function small(): Uint8Array {
  const nodes = [node('Relu', ['x'], 'y'), node('Softmax', ['y'], 'z')];
  return modelOf(nodes, [edge('x', [4, 40])], edge('z', [4, 40]));
}

test('bench of models: beside both peers, as JSON', async (t) => {
  const at = mkdtempSync(join(tmpdir(), 'tesserae-models-'));
  writeFileSync(join(at, 'small.onnx'), small());
  const argv = ['bench', '--suite', 'models', '--models', 'small.onnx@x=4x40', '--peers', '--time', '40'];
  const common = ['--effort', 'estimate', '--no-wisdom', '--threads', '1'];
  const { code, out, err } = await runCli([...argv, ...common, '--json'], { cwd: at });
  t.equal(code, 0, err);
  const { kind, engines, absent, rows, means } = JSON.parse(out) as ModelsReport;
  t.equal(kind, 'bench-models');
  t.equal(engines.length + absent.length, 3, 'ours and two peers, here or not');
  const [row] = rows;
  t.equal(row!.model, 'small.onnx');
  t.deepEqual(row!.inputs, { x: [4, 40] });
  for (const cell of row!.cells) {
    t.ok(cell.ms > 0 && cell.samples.length >= 5, `${cell.id}: ${cell.ms} ms`);
    t.notOk(isWrong(cell), `${cell.id}: the same answer`);
  }
  t.deepEqual(
    Object.keys(means).sort(),
    engines
      .map(({ id }) => id)
      .filter((id) => id !== 'tesserae')
      .sort(),
  );
  rmSync(at, { recursive: true });
});

test('bench of models: what makes no sense', async (t) => {
  const at = mkdtempSync(join(tmpdir(), 'tesserae-models-'));
  writeFileSync(join(at, 'broken.onnx'), 'nothing');
  for (const [argv, message] of [
    [['--suite', 'models', '--models', 'nowhere.onnx'], /there is no model nowhere/],
    [['--suite', 'models', '--models', 'broken.onnx', '--only', 'tfjs'], /no peer "tfjs" for models/],
    [['--models', 'broken.onnx'], /--models is for whole models/],
    [['--suite', 'quick,models'], /measured by itself/],
    [['--suite', 'models', '--effort', 'much'], /no effort "much"/],
  ] as const) {
    const { code, err } = await runFake(['bench', ...argv], { cwd: at });
    t.equal(code, 2, argv.join(' '));
    t.match(err, message);
  }
  const argv = ['bench', '--suite', 'models', '--models', 'broken.onnx', '--no-wisdom', '--json'];
  const { code, out } = await runCli(argv, { cwd: at });
  t.equal(code, 1, 'a file that is no model');
  t.match(JSON.parse(out).error.code, /E_MODEL/);
  rmSync(at, { recursive: true });
});

test('bench of models: names, shapes and sums', (t) => {
  const at = mkdtempSync(join(tmpdir(), 'tesserae-@models-'));
  writeFileSync(join(at, 'a.onnx'), '');
  const { name, file, inputs } = namedModel('a.onnx@x:0=1x3x224x224@mask=5', at);
  t.deepEqual([name, file, inputs], ['a.onnx', join(at, 'a.onnx'), { 'x:0': [1, 3, 224, 224], mask: [5] }]);
  t.deepEqual(namedModel(join(at, 'a.onnx'), '/').inputs, {}, 'a folder with an @');
  t.throws(() => namedModel('a.onnx@x=1x0', at), UsageError);
  const cell = (id: string, ratio: number): ModelCell => ({
    id,
    ratio,
    createMs: 0,
    createFirstMs: 0,
    firstMs: 0,
    ms: 1,
    samples: [],
    off: 0,
  });
  const rows = [2, 8].map((ratio) => ({ model: '', inputs: {}, cells: [cell('web', ratio)], failed: [] }));
  t.deepEqual(meanOf(rows, 'web'), { mean: 4, worst: 2 });
  t.equal(meanOf(rows, 'node'), undefined);
  t.ok(isWrong({ ...cell('web', 1), off: Number.NaN }), 'not a number is wrong');
  rmSync(at, { recursive: true });
  t.end();
});
