/** Pictures and arrays in files, and the commands that take them. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { node } from '../../src/cli/bench/peers/onnx-proto.ts';
import {
  pixelsOf,
  readArray,
  readPicture,
  resizePicture,
  writeArray,
  writePicture,
} from '../../src/cli/images.ts';
import { createRuntime } from '../../src/index.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { runFake } from './support.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'tesserae-'));

test('pictures: written and read, brought to another size, made into numbers', (t) => {
  const at = folder();
  const path = join(at, 'p.png');
  const data = Uint8Array.from([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255]);
  writePicture(path, { width: 2, height: 2, data });
  const picture = readPicture(path);
  t.deepEqual([picture.width, picture.height, [...picture.data]], [2, 2, [...data]]);
  t.deepEqual([...resizePicture(picture, 1, 1).data], [128, 128, 128, 255], 'made smaller: the mean');
  t.deepEqual(
    [...resizePicture(picture, 4, 4).data.slice(0, 4)],
    [255, 0, 0, 255],
    'made larger: corners stay',
  );
  const options = { scale: 255, mean: [0.5], deviation: [0.5], isBgr: false, layout: 'nchw' } as const;
  t.deepEqual(
    [...pixelsOf(picture, options)],
    [1, -1, -1, 1, -1, 1, -1, 1, -1, -1, 1, 1],
    'plane after plane',
  );
  const turned = pixelsOf(picture, { ...options, isBgr: true, layout: 'nhwc' });
  t.deepEqual([...turned.slice(0, 3)], [-1, -1, 1], 'pixel after pixel, blue first');
  writeFileSync(path, 'no picture');
  t.throws(() => readPicture(path), /no picture that can be read/);
  rmSync(at, { recursive: true });
  t.end();
});

test('arrays: .npy written and read', (t) => {
  const at = folder();
  const path = join(at, 'a.npy');
  for (const [type, data] of [
    ['float32', Float32Array.of(1, -2.5, 3, 4, 5, 6)],
    ['int64', BigInt64Array.of(1n, -2n, 3n, 4n, 5n, 6n)],
    ['uint8', Uint8Array.of(1, 2, 3, 4, 5, 255)],
  ] as const)
    for (const dims of [[6], [2, 3], [1, 6, 1]]) {
      writeArray(path, type, data, dims);
      const read = readArray(path);
      t.deepEqual([read.type, read.dims, [...read.data]], [type, dims, [...data]], `${type} [${dims}]`);
    }
  writeFileSync(path, 'nothing of the kind');
  t.throws(() => readArray(path), /no \.npy file/);
  rmSync(at, { recursive: true });
  t.end();
});

test('tesserae inspect and run', async (t) => {
  const at = folder();
  const relu = modelOf([node('Relu', ['x'], 'y')], [edge('x', [2, 2])], edge('y', [2, 2]));
  writeFileSync(join(at, 'm.onnx'), relu);
  writeArray(join(at, 'x.npy'), 'float32', Float32Array.of(1, -2, 3, -4), [2, 2]);
  const real = () => createRuntime({ threads: 1, wisdom: false });
  const go = (...argv: string[]) => runFake(argv, { cwd: at, createRuntime: real });
  const inspected = await go('inspect', 'm.onnx', '--json');
  t.deepEqual(JSON.parse(inspected.out).operators, { Relu: 1 });
  t.ok((await go('inspect', 'm.onnx')).out.includes('Relu'), 'as a table too');
  const run = await go('run', 'm.onnx', '--input', 'x=x.npy', '--json', '--out', '.');
  t.deepEqual(JSON.parse(run.out).outputs.y.data, [1, 0, 3, 0]);
  t.ok(existsSync(join(at, 'y.npy')), 'and into a file');
  t.deepEqual([...readArray(join(at, 'y.npy')).data], [1, 0, 3, 0]);
  t.equal((await go('run', 'm.onnx', '--input', 'x.npy', '--explain')).code, 0, 'one input needs no name');
  t.equal((await go('run', 'none.onnx')).code, 1, 'no model');
  t.equal((await go('run', 'm.onnx', '--size', '5')).code, 2, 'no size');
  t.equal((await go('run', 'm.onnx', '--input', 'm.onnx')).code, 2, 'no picture');
  const odd = modelOf([node('NoSuchThing', ['x'], 'y')], [edge('x', [2])], edge('y', [2]));
  writeFileSync(join(at, 'odd.onnx'), odd);
  const missing = await go('inspect', 'odd.onnx');
  t.equal(missing.code, 1, 'something is not run');
  t.ok(missing.out.includes('NoSuchThing'), 'and named');
  rmSync(at, { recursive: true });
});
