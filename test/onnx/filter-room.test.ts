/** How much memory larger forms of filters take: as much as fits, and what then goes another way gives the same. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { initializer, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { sizeOf } from '../../src/core/shape.ts';
import { KERNELS, type Kernel } from '../../src/kernels/table.ts';
import { FilterRoom } from '../../src/onnx/filter-room.ts';
import { InferenceSession, Tensor } from '../../src/onnx/index.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { madeUpMachine, makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const MIB = 2 ** 20;

test('room for filters', (t) => {
  const [first, second, third] = [{}, {}, {}];
  const room = new FilterRoom('auto', 1000 * MIB);
  t.ok(room.fits(first, 50 * MIB), 'half of a tenth');
  t.notOk(room.fits(first, 51 * MIB), 'and no more');
  room.note(first, 40 * MIB);
  t.ok(room.fits(first, 40 * MIB), 'what has been counted needs no more room');
  t.ok(room.fits(first, 70 * MIB) && !room.fits(first, 71 * MIB), 'and may grow by half of what is left');
  t.ok(room.fits(second, 30 * MIB) && !room.fits(second, 31 * MIB), 'as others may take');
  room.note(first, 60 * MIB);
  t.ok(room.fits(second, 20 * MIB) && !room.fits(second, 21 * MIB), 'what was counted is not counted twice');
  room.note(second, 36 * MIB);
  t.ok(room.fits(third, 2 * MIB) && !room.fits(third, 3 * MIB), 'small ones find room to the end');
  room.note(third, -MIB);
  t.ok(room.fits(third, 2 * MIB) && !room.fits(third, 3 * MIB), 'smaller forms leave no more of it');
  t.ok(new FilterRoom('auto', 0).fits(first, 32 * MIB), 'a small model has 64 MiB');
  t.notOk(new FilterRoom('auto', 0).fits(first, 33 * MIB));
  const fast = new FilterRoom('fast', 0);
  fast.note(first, 1e12);
  t.ok(fast.fits(second, 1e12), 'all fits where speed is all');
  const small = new FilterRoom('small', 1e12);
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
    auto > 2 * bytes && auto - bytes < 64 * MIB && auto < fast,
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
