/** Files that are damaged, cut, circular, too large, or lead out of their folder: a typed error, never a crash. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { initializer, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { externalFrom, noExternal } from '../../src/onnx/external.ts';
import { checkModel, gapsOf, inOrder } from '../../src/onnx/graph/check.ts';
import { readModel } from '../../src/onnx/model/read.ts';
import { codeOf, failure } from '../support/faulty.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { Random, seeded } from '../support/seed.ts';

const good = () =>
  modelOf([node('Add', ['x', 'w'], 'y'), node('Relu', ['y'], 'z')], [edge('x', [4])], edge('z', [4]), [
    initializer(edge('w', [4]), Float32Array.of(1, 2, 3, 4)),
  ]);

const load = (bytes: Uint8Array) => {
  const model = readModel(bytes, noExternal);
  checkModel(model);
  return inOrder(model.graph);
};

test(seeded('files with bytes changed, left out, or cut off'), (t) => {
  const random = new Random(611);
  const faults: string[] = [];
  let refused = 0;
  for (let turn = 0; turn < 4000; turn++) {
    let bytes = good();
    const kind = random.int(0, 3);
    for (let i = 0; i < random.int(1, 4); i++) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    if (kind === 1) bytes = bytes.slice(0, random.int(0, bytes.length));
    if (kind === 2) bytes = bytes.slice(random.int(0, bytes.length));
    try {
      load(bytes);
    } catch (error) {
      refused++;
      if (!(error instanceof TesseraeError && error.code === 'E_MODEL')) faults.push(String(error));
    }
  }
  t.deepEqual(faults.slice(0, 3), [], `${refused} of 4000 were refused, all as E_MODEL`);
  t.ok(refused > 1000, 'and many were');
  t.end();
});

test('graphs that are none', async (t) => {
  const circle = modelOf(
    [node('Add', ['x', 'b'], 'a'), node('Relu', ['a'], 'b')],
    [edge('x', [4])],
    edge('b', [4]),
  );
  t.equal(await codeOf(() => load(circle)), 'E_MODEL', 'a circle');
  const lost = modelOf([node('Relu', ['x'], 'y')], [edge('x', [4])], edge('z', [4]));
  t.equal(await codeOf(() => load(lost)), 'E_MODEL', 'an output that nothing makes');
  t.equal(await codeOf(() => load(new Uint8Array(0))), 'E_MODEL', 'no bytes');
  t.equal(await codeOf(() => load(new TextEncoder().encode('<!doctype html>'))), 'E_MODEL', 'a web page');
  const huge = initializer(edge('w', [65536, 65536]), new Float32Array(1));
  const bomb = modelOf([node('Relu', ['w'], 'y')], [edge('x', [4])], edge('y', [4]), [huge]);
  const error = (await failure(() => load(bomb))) as TesseraeError;
  t.equal(error.code, 'E_MODEL', `a constant of 16 GiB in ${bomb.length} bytes: ${error.message}`);
});

test('everything that is missing is named at once', async (t) => {
  const bytes = modelOf(
    [
      node('Relu', ['x'], 'a'),
      node('StringNormalizer', ['a'], 'b'),
      node('NoSuchThing', ['b'], 'c'),
      node('Add', ['c'], 'd'),
    ],
    [edge('x', [4])],
    edge('d', [4]),
  );
  const gaps = gapsOf(readModel(bytes, noExternal));
  t.deepEqual(
    gaps.map(({ op }) => op),
    ['StringNormalizer', 'NoSuchThing', 'Add'],
  );
  const error = (await failure(() => load(bytes))) as TesseraeError;
  for (const word of ['StringNormalizer', 'NoSuchThing', '2 are needed'])
    t.ok(error.message.includes(word), word);
});

test('constants in other files: found beside the model, and nowhere else', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-'));
  const inside = join(folder, 'model');
  mkdirSync(inside);
  writeFileSync(join(inside, 'w.bin'), Buffer.from(Float32Array.of(1, 2, 3, 4).buffer));
  writeFileSync(join(folder, 'secret.bin'), Buffer.alloc(16));
  symlinkSync(join(folder, 'secret.bin'), join(inside, 'link.bin'));
  const read = externalFrom(inside);
  const place = (location: string, offset = 0, length: number | undefined = undefined) => ({
    location,
    offset,
    length,
  });
  t.deepEqual(
    [...new Float32Array(read(place('w.bin', 4, 8), 'w').read().buffer)],
    [2, 3],
    'a part of a file',
  );
  for (const location of ['../secret.bin', join(folder, 'secret.bin'), 'link.bin', '', '.', 'none.bin'])
    t.equal(
      await codeOf(() => read(place(location), 'w')),
      'E_MODEL',
      `refused: ${location.replace(folder, '')}`,
    );
  t.equal(await codeOf(() => read(place('w.bin', 12, 8), 'w')), 'E_MODEL', 'beyond the end');
  rmSync(folder, { recursive: true });
});
