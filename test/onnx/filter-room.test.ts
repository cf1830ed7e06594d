/** How much memory larger forms of filters take: as much as fits, and what then goes another way gives the same. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { initializer, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { type Shape, sizeOf } from '../../src/core/shape.ts';
import { KERNELS, type Kernel } from '../../src/kernels/table.ts';
import { type FilterForms, FilterRoom } from '../../src/onnx/filter-room.ts';
import { InferenceSession, Tensor } from '../../src/onnx/index.ts';
import type { Graph, GraphNode } from '../../src/onnx/model/types.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { madeUpMachine, makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const MIB = 2 ** 20;

/** A graph of convolutions by filters of such shapes, which nobody reads. */
function graphOf(shapes: readonly Shape[], attributes: GraphNode['attributes'] = new Map()): Graph {
  const constants = shapes.map((shape, i) => [`w${i}`, { type: 'float32', shape }] as const);
  const nodes = shapes.map((_, i) => {
    const ends = { inputs: [`v${i}`, `w${i}`], outputs: [`v${i + 1}`] };
    return { name: `n${i}`, op: 'Conv', domain: '', ...ends, attributes };
  });
  return { name: 'test', nodes, constants: new Map(constants) as never, inputs: [], outputs: [] };
}

/** What filters may take beyond their own, in parts of these: 3 where it is all that there is. */
function shares(graph: Graph, forms: FilterForms = 'auto'): number[] {
  const room = new FilterRoom(forms, graph);
  return [...graph.constants.values()].map((filters) => {
    const bytes = 4 * sizeOf(filters.shape);
    return [four, two, 3 / 4].find((share) => room.fits(filters, share * bytes)) ?? 0;
  });
}

/** Shares of the forms of F(2, 3) and F(4, 3). */
const [two, four] = [16 / 9 - 1, 3];

/** 3x3 filters of so many channels. */
const square = (channels: number): Shape => [channels, channels, 3, 3];

test('room for filters', (t) => {
  // 9 MiB each, of which F(2, 3) takes 7 more
  t.deepEqual(shares(graphOf([square(512)])), [four], 'a small model has 64 MiB less a quarter of it');
  t.deepEqual(
    shares(graphOf(Array(5).fill(square(512)))),
    Array(5).fill(two),
    'for all filters if it can be',
  );
  const many = shares(graphOf(Array(20).fill(square(512))));
  t.deepEqual(many, [...Array(2).fill(two), ...Array(18).fill(0)], 'else for the first');
  const layers = [64, 128, 256, 512];
  // as of a network of 18 layers (He et al., 2016)
  const shapes = layers.flatMap((channels) => Array<Shape>(channels === 64 ? 4 : 3).fill(square(channels)));
  const found = shares(graphOf(shapes));
  const wanted = [...Array(10).fill(four), two, two, two];
  t.deepEqual(found, wanted, 'filters of larger images come before others');
  const turned = shares(graphOf(shapes.toReversed()));
  t.deepEqual(turned.slice(3), Array(10).fill(four), 'wherever they are');
  const large = graphOf([...Array(110).fill([512, 512, 7, 7]), ...Array(9).fill(square(512))]);
  t.equal(shares(large).filter((share) => share < two).length, 0, 'a large model has a tenth of its weights');
  t.deepEqual(
    shares(graphOf(Array(3).fill([4096, 2048, 1, 1]))),
    [four, 0, 0],
    'pixels have one larger form',
  );
  t.end();
});

test('room for filters: those that have no larger forms take none of it', (t) => {
  const all = Array(4).fill(square(512));
  const strided = new Map([['strides', { kind: 'ints', value: [2, 2] } as const]]);
  t.deepEqual(shares(graphOf(all, strided)), [3, 3, 3, 3], 'strides');
  const deep = Array(40).fill([1_000_000, 1, 3, 3]);
  t.deepEqual(shares(graphOf([...deep, square(512)])), Array(41).fill(3), 'a filter for each channel');
  const wide = Array(40).fill([512, 512, 7, 7]);
  t.deepEqual(shares(graphOf([...wide, square(512)])), Array(41).fill(3), '7x7');
  const lines = Array(24).fill([256, 256, 9]);
  t.deepEqual(shares(graphOf([...lines, square(512)])), Array(25).fill(3), 'lines');
  const none: Shape = [0, 512, 3, 3];
  const few = shares(graphOf([none, ...Array(20).fill(square(512))]));
  t.deepEqual(few.slice(0, 4), [3, two, two, 0], 'no filters at all');
  t.end();
});

test('room for filters that a run works out, and without a limit', (t) => {
  const [first, second, third] = [{}, {}, {}];
  const room = new FilterRoom('auto', graphOf([]));
  t.ok(room.fits(first, 32 * MIB) && !room.fits(first, 33 * MIB), 'half of the room');
  room.note(first, 12 * MIB);
  t.ok(room.fits(first, 12 * MIB), 'what has been counted needs no more room');
  t.ok(room.fits(first, 38 * MIB) && !room.fits(first, 39 * MIB), 'and may grow by half of what is left');
  t.ok(room.fits(second, 26 * MIB) && !room.fits(second, 27 * MIB), 'as others may take');
  room.note(first, 44 * MIB);
  t.ok(room.fits(second, 10 * MIB) && !room.fits(second, 11 * MIB), 'what was counted is not counted twice');
  room.note(third, -MIB);
  t.ok(room.fits(third, 10 * MIB) && !room.fits(third, 11 * MIB), 'smaller forms leave no more of it');
  const fast = new FilterRoom('fast', graphOf([square(512)]));
  fast.note(first, 1e12);
  t.ok(fast.fits(second, Number.POSITIVE_INFINITY), 'all fits where speed is all');
  t.ok(new FilterRoom('fast').fits(first, 1e12), 'and where there is no graph');
  const small = new FilterRoom('small', graphOf([square(8)]));
  t.ok(small.fits(first, 0) && !small.fits(first, 1), 'nothing where memory is');
  t.end();
});

const CHANNELS = 512;
const SIDE = 16;
const LAYERS = 4;

test(seeded('a session keeps as many large forms of filters as find room'), async (t) => {
  const random = new Random(957);
  const numbers = random.floats(CHANNELS ** 2 * 9).map((value) => value / 100);
  const channels = [...Array(LAYERS + 1).fill(CHANNELS), 64, 64];
  const shapes = channels.slice(1).map((outC, layer) => [outC, channels[layer]!, 3, 3]);
  const file = modelOf(
    shapes.map((_, layer) =>
      node('Conv', [`v${layer}`, `w${layer}`], `v${layer + 1}`, [intsAttribute('pads', [1, 1, 1, 1])]),
    ),
    [edge('v0', [1, CHANNELS, SIDE, SIDE])],
    [edge(`v${shapes.length}`, [])],
    shapes.map((shape, layer) => initializer(edge(`w${layer}`, shape), numbers.subarray(0, sizeOf(shape)))),
  );
  const bytes = shapes.reduce((sum, shape) => sum + 4 * sizeOf(shape), 0);
  const x = new Tensor('float32', random.floats(CHANNELS * SIDE ** 2), [1, CHANNELS, SIDE, SIDE]);
  const taken: Record<string, number> = {};
  const results: Float32Array[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-room-'));
  const path = join(folder, 'model.onnx');
  writeFileSync(path, file);
  for (const filters of ['fast', 'auto', 'small', undefined] as const) {
    const runtime = await makeRuntime({ threads: 1 });
    const session = await InferenceSession.create(path, { runtime, ...(filters && { filters }) });
    results.push((await session.run({ v0: x }))[`v${shapes.length}`]!.data as Float32Array);
    taken[String(filters)] = runtime.memory().byOwner.prepacked;
    await session.release();
    await runtime.close();
  }
  rmSync(folder, { recursive: true });
  const { fast, auto, small } = taken as { fast: number; auto: number; small: number };
  t.ok(small < 1.1 * bytes, `small: ${(small / bytes).toFixed(2)} times the filters`);
  t.ok(fast > 2 * bytes, `fast: ${(fast / bytes).toFixed(2)} times`);
  t.ok(
    auto > 1.5 * bytes && auto - bytes < 64 * MIB && auto < fast,
    `auto: ${(auto / bytes).toFixed(2)} times, and 64 MiB more at most`,
  );
  t.equal(taken.undefined, auto, 'which is what is done');
  const largest = Math.max(...results[0]!.map(Math.abs));
  for (const other of results.slice(1))
    t.ok(
      other.every((value, i) => Math.abs(value - results[0]![i]!) < 1e-3 * largest),
      'the same results',
    );
});

test(seeded('filters of one pixel that find no room for sums of them stay as they are'), async (t) => {
  const random = new Random(958);
  const [inC, outC, side] = [1024, 1024, 6];
  const numbers = random.floats(inC * outC).map((value) => value / 100);
  const file = modelOf(
    [node('Conv', ['x', 'w'], 'y')],
    [edge('x', [1, inC, side, side])],
    [edge('y', [1, outC, side, side])],
    [initializer(edge('w', [outC, inC, 1, 1]), numbers)],
  );
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-room-'));
  const path = join(folder, 'model.onnx');
  writeFileSync(path, file);
  const x = new Tensor('float32', random.floats(inC * side ** 2), [1, inC, side, side]);
  // a machine on which kernels look best that read filters in place
  const rate = ({ family, mr }: Kernel) => (family === 'direct' && mr > 1 ? 40 : 20);
  const kernelGflops = Object.fromEntries(KERNELS.map((kernel) => [kernel.name, rate(kernel)]));
  const machine = { ...madeUpMachine(1), kernelGflops };
  const results: Float32Array[] = [];
  const taken: number[] = [];
  for (const filters of ['fast', 'small'] as const) {
    const runtime = await createRuntimeWith({ threads: 1, wisdom: false }, { machine });
    const session = await InferenceSession.create(path, { runtime, filters });
    results.push((await session.run({ x })).y!.data as Float32Array);
    taken.push(runtime.memory().byOwner.prepacked / numbers.byteLength);
    await session.release();
    await runtime.close();
  }
  rmSync(folder, { recursive: true });
  const [fast, small] = taken as [number, number];
  t.ok(small < 1.1, `small: ${small.toFixed(2)} times the filters`);
  t.ok(fast > 1.7, `fast: ${fast.toFixed(2)} times`);
  const largest = Math.max(...results[0]!.map(Math.abs));
  const apart = Math.max(...results[0]!.map((value, i) => Math.abs(value - results[1]![i]!)));
  t.ok(apart < 1e-4 * largest, 'the same result');
  t.end();
});
