/** A model's file without its large constants: what is read of it, and that nothing else is missing. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { initializer, intAttribute, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { readOutline } from '../../src/onnx/model/outline.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { codeOf } from '../support/faulty.ts';
import { edge, type Field, modelOf } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const SIDE = 160;
const LARGE = 4 * SIDE * SIDE;

/** AttributeProto: name = 1, t = 5, type = 20 (TENSOR = 4); an initializer is a field 5 as well. */
function tensorAttribute(name: string, tensor: Field): Field {
  const parts = [Buffer.from([10, name.length]), Buffer.from(name), tensor, Buffer.from([160, 1, 4])];
  const content = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = content.length; length.length === 0 || rest > 0; rest = Math.floor(rest / 128))
    length.push((rest % 128) + (rest >= 128 ? 128 : 0));
  return Buffer.concat([Buffer.from([42, ...length]), content]);
}

/** Large constants in both places where they may be, filters among them, and small ones between. */
function layers(random: Random): Uint8Array {
  const square = (name: string) => initializer(edge(name, [SIDE, SIDE]), random.floats(SIDE * SIDE));
  const nodes = [
    node('Constant', [], 'c', [tensorAttribute('value', square(''))]),
    node('MatMul', ['x', 'a'], 'p'),
    node('Add', ['p', 'b'], 'q'),
    node('MatMul', ['q', 'c'], 'r'),
    node('Add', ['r', 'd'], 'u'),
    node('Reshape', ['u', 'shape'], 's'),
    node('Conv', ['s', 'w'], 'y', [intsAttribute('pads', [1, 1, 1, 1])]),
  ];
  const constants = [
    square('a'),
    initializer(edge('b', [SIDE]), random.floats(SIDE)),
    // longer than one reading, and not large
    initializer(edge('d', [30, 1, SIDE]), random.floats(30 * SIDE)),
    initializer(edge('shape', [4], 'int64'), BigInt64Array.of(30n, BigInt(SIDE), 3n, 1n)),
    initializer(edge('w', [64, SIDE, 3, 3]), random.floats(64 * SIDE * 9)),
  ];
  return modelOf(nodes, [edge('x', [3, SIDE])], edge('y', []), constants);
}

/** The outline of a file, and how many bytes of it were read. */
function outlineOf(file: Uint8Array): { bytes: Uint8Array; read: number; twice: boolean } {
  let [read, last, twice] = [0, 0, false];
  const bytes = readOutline(file.length, (offset, to) => {
    twice ||= offset < last;
    last = offset + to.length;
    read += to.length;
    to.set(file.subarray(offset, last));
  });
  return { bytes, read, twice };
}

test(seeded('the outline of a model: all but its large constants'), async (t) => {
  const file = layers(new Random(951));
  const { bytes, read, twice } = outlineOf(file);
  t.equal(bytes.length, file.length, 'as long as the file');
  t.notOk(twice, 'nothing is read twice');
  const constants = 2 * LARGE + 4 * 64 * SIDE * 9;
  t.ok(file.length - constants < 24 * 1024 && read < 96 * 1024, `${read} bytes of ${file.length} were read`);
  const off = bytes.findIndex((byte, at) => byte !== 0 && byte !== file[at]);
  t.equal(off, -1, 'what is there is as in the file');
  const missing = bytes.reduce((count, byte, at) => count + (byte === file[at] ? 0 : 1), 0);
  t.ok(missing > 0.7 * constants && missing <= constants, `${missing} bytes are not there`);
});

test(seeded('the outline of what is no model is all of it'), (t) => {
  const random = new Random(954);
  const nothing = Uint8Array.from({ length: 100_000 }, () => random.int(0, 255));
  t.deepEqual(outlineOf(nothing).bytes, nothing, 'of bytes at random');
  // a length that leads beyond the graph
  const file = layers(random);
  const at = file.findIndex((byte, i) => byte === 42 && file[i + 1]! > 127);
  file.fill(255, at + 1, at + 4);
  const missing = outlineOf(file).bytes.reduce((sum, byte, i) => sum + (byte === file[i] ? 0 : 1), 0);
  t.equal(missing, 0, 'of a model from where it makes no sense');
  t.equal(outlineOf(new Uint8Array(0)).bytes.length, 0, 'of nothing');
  t.end();
});

test(seeded('a model from its file gives what its bytes give'), async (t) => {
  const random = new Random(952);
  const file = layers(random);
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-outline-'));
  const path = join(folder, 'model.onnx');
  writeFileSync(path, file);
  const runtime = await makeRuntime();
  const x = new Tensor('float32', random.floats(3 * SIDE), [3, SIDE]);
  const results = [];
  for (const source of [file, path]) {
    const session = await InferenceSession.create(source, { runtime });
    const first = (await session.run({ x })).y!.data as Float32Array;
    t.deepEqual((await session.run({ x })).y!.data, first, 'a second run gives the same');
    t.equal((await session.compare({ x })).departs, undefined, 'as float64 has it');
    results.push(first);
    await session.release();
  }
  t.deepEqual(results[1], results[0]);
  t.equal(runtime.memory().tensors, 0, 'memory is back');
  await runtime.close();
  rmSync(folder, { recursive: true });
});

const CHANNELS = 48;

const MANY = 2048;

/** 3x3 filters whose batch norm goes into them, and those of a depthwise convolution, which reads them as they are. */
function filters(random: Random): Uint8Array {
  const positive = (name: string) =>
    initializer(
      edge(name, [CHANNELS]),
      random.floats(CHANNELS).map((v) => Math.abs(v) + 0.5),
    );
  const pads = intsAttribute('pads', [1, 1, 1, 1]);
  return modelOf(
    [
      node('Conv', ['x', 'w'], 'c', [pads]),
      node('BatchNormalization', ['c', 's', 'b', 'm', 'v'], 'y'),
      node('Conv', ['u', 'd'], 'z', [pads, intAttribute('group', MANY)]),
    ],
    [edge('x', [1, CHANNELS, 40, 40]), edge('u', [1, MANY, 5, 5])],
    [edge('y', [1, CHANNELS, 40, 40]), edge('z', [1, MANY, 5, 5])],
    [
      initializer(edge('w', [CHANNELS, CHANNELS, 3, 3]), random.floats(CHANNELS ** 2 * 9)),
      initializer(edge('d', [MANY, 1, 3, 3]), random.floats(MANY * 9)),
      ...['s', 'b', 'm', 'v'].map(positive),
    ],
  );
}

test(seeded('filters of a file are kept in the form that is read, and no other'), async (t) => {
  const random = new Random(955);
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-outline-'));
  const path = join(folder, 'model.onnx');
  const file = filters(random);
  writeFileSync(path, file);
  const feeds = {
    x: new Tensor('float32', random.floats(CHANNELS * 1600), [1, CHANNELS, 40, 40]),
    u: new Tensor('float32', random.floats(MANY * 25), [1, MANY, 5, 5]),
  };
  const bytes = 4 * 9 * (CHANNELS ** 2 + MANY);
  const runs: { y: Float32Array; z: Float32Array }[] = [];
  const results = async (session: InferenceSession) => {
    const { y, z } = await session.run(feeds);
    return { y: y!.data as Float32Array, z: z!.data as Float32Array };
  };
  for (const forms of ['fast', 'small'] as const) {
    const runtime = await makeRuntime({ threads: 1 });
    const session = await InferenceSession.create(path, { runtime, filters: forms });
    runs.push(await results(session));
    const { prepacked } = runtime.memory().byOwner;
    if (forms === 'small')
      t.ok(prepacked < 1.2 * bytes, `${(prepacked / bytes).toFixed(2)} times the filters`);
    else t.ok(prepacked > 1.7 * bytes, `${(prepacked / bytes).toFixed(2)} times, by Winograd's method`);
    const used = () => runtime.memory().byOwner.prepacked;
    t.equal(
      (await session.compare(feeds)).departs,
      undefined,
      'as float64 has it, which reads them as they are',
    );
    t.equal(used(), prepacked, 'for a moment');
    await session.release();
    t.equal(used(), 0, 'all is given back');
    await runtime.close();
  }
  const inBytes = await InferenceSession.create(file, { threads: 1, filters: 'small' });
  // their plans may differ, and with them the last bits
  const near = (a: Float32Array, b: Float32Array) => a.every((value, i) => Math.abs(value - b[i]!) < 1e-3);
  const fromBytes = await results(inBytes);
  t.ok(
    near(fromBytes.y, runs[1]!.y) && near(fromBytes.z, runs[1]!.z),
    'the batch norm goes into filters of a file as into others',
  );
  await inBytes.release();
  t.ok(near(runs[0]!.y, runs[1]!.y), 'both forms give the same');
  t.equal(await codeOf(InferenceSession.create(path, { filters: 'tiny' as 'small' })), 'E_ARGUMENT');
  rmSync(folder, { recursive: true });
});

test(seeded('files that are cut or spoilt: the same errors by path and by bytes'), async (t) => {
  const random = new Random(953);
  const whole = layers(random);
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-outline-'));
  const path = join(folder, 'model.onnx');
  const runtime = await makeRuntime();
  const create = async (source: string | Uint8Array) => {
    const session = await InferenceSession.create(source, { runtime });
    await session.release();
  };
  const off: string[] = [];
  let refused = 0;
  for (let turn = 0; turn < 120; turn++) {
    const file = random.chance(0.3)
      ? whole.slice(0, random.int(0, whole.length))
      : whole.map((byte, at) => (at < 400 && random.chance(0.01) ? random.int(0, 255) : byte));
    if (random.chance(0.3)) file[random.int(0, file.length - 1)] = 255;
    writeFileSync(path, file);
    const [byBytes, byPath] = [await codeOf(create(file)), await codeOf(create(path))];
    if (byBytes !== byPath) off.push(`${turn}: ${byBytes} and ${byPath}`);
    if (byPath !== 'none') refused++;
    if (outlineOf(file).bytes.length !== file.length) off.push(`${turn}: another length`);
  }
  t.deepEqual(off, [], `${refused} of 120 refused`);
  t.ok(refused > 30 && refused < 110, 'some of them');
  await runtime.close();
  rmSync(folder, { recursive: true });
});

/** Factors and summands on both sides of convolutions with filters that are large: 64 channels in one group and in two. */
function shifted(random: Random): Uint8Array {
  const each = (name: string) => initializer(edge(name, [1, 64, 1, 1]), random.floats(64));
  return modelOf(
    [
      node('Mul', ['x', 'f'], 'a'),
      node('Add', ['a', 'g'], 'b'),
      node('Conv', ['b', 'w', 'k'], 'c'),
      node('Mul', ['c', 'h'], 'd'),
      node('Relu', ['d'], 'e'),
      node('Add', ['e', 'g'], 'p'),
      node('Mul', ['p', 'f'], 'q'),
      node('Conv', ['q', 'v'], 'y', [intAttribute('group', 2)]),
    ],
    [edge('x', [1, 64, 9, 8])],
    [edge('y', [1, 64, 5, 4])],
    [
      initializer(edge('w', [64, 64, 3, 3]), random.floats(64 * 64 * 9)),
      initializer(edge('v', [64, 32, 3, 3]), random.floats(64 * 32 * 9)),
      initializer(edge('k', [64]), random.floats(64)),
      ...['f', 'g', 'h'].map(each),
    ],
  );
}

test(seeded('factors and summands go into filters of a file when those are read'), async (t) => {
  const random = new Random(957);
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-outline-'));
  const path = join(folder, 'model.onnx');
  writeFileSync(path, shifted(random));
  const runtime = await makeRuntime();
  const x = new Tensor('float32', random.floats(64 * 72), [1, 64, 9, 8]);
  const run = async (level: 'all' | 'none') => {
    const session = await InferenceSession.create(path, { runtime, graphOptimizationLevel: level });
    const steps = (await session.explain({ x })).length;
    const again = (await session.run({ x })).y!.data as Float32Array;
    await session.release();
    return { steps, again };
  };
  const [all, none] = [await run('all'), await run('none')];
  t.equal(all.steps, 2, 'nothing but convolutions is left');
  const most = none.again.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  t.ok(
    all.again.every((value, i) => Math.abs(value - none.again[i]!) < 1e-5 * most),
    'the same values',
  );
  await runtime.close();
  rmSync(folder, { recursive: true });
});
