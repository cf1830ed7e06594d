/** Recorded runs on a GPU: what the threads give, wherever each step is computed, and whatever happens to the device. */
import test from 'tape';
import { type OpenedGpu, openGpu } from '../../../src/backends/webgpu/open.ts';
import type { GpuDevice } from '../../../src/core/webgpu.ts';
import { movePart } from '../../../src/ops/array/move.ts';
import { GpuTape } from '../../../src/ops/gpu/tape.ts';
import { Replay } from '../../../src/ops/replay.ts';
import { coreOf, createRuntimeWith } from '../../../src/ops/runtime.ts';
import { DenseTensor } from '../../../src/ops/tensor.ts';
import type { Runtime, RuntimeEvent, RuntimeOptions, Tensor } from '../../../src/ops/types.ts';
import { termsOf } from '../../../src/problem/conv.ts';
import { codeOf, failure } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { LONG_WAY, ONE_ROW } from '../../support/gpu-profile.ts';
import { madeUpMachine } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const SIDE = 12;

interface Made {
  readonly rt: Runtime;
  readonly devices: GpuDevice[];
  readonly events: RuntimeEvent[];
}

async function makeOnGpu(
  options: RuntimeOptions = {},
  { opensAgain = true, profile = ONE_ROW } = {},
): Promise<Made | string> {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const devices: GpuDevice[] = [];
  const events: RuntimeEvent[] = [];
  const open = async (): Promise<OpenedGpu> => {
    if (devices.length > 0 && !opensAgain) throw new Error('planted: no second device');
    const opened = await openGpu({ gpu });
    devices.push(opened.device);
    return opened;
  };
  const onEvent = (event: RuntimeEvent) => events.push(event);
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false, backend: 'webgpu', onEvent, ...options },
    { machine: madeUpMachine(5), gpuProfile: profile, openGpu: open },
  );
  return { rt, devices, events };
}

interface Network {
  readonly input: Tensor;
  readonly output: Tensor;
  readonly replay: Replay;
  /** What the threads make of the input. */
  wanted(): Float32Array;
}

/** Layers of all kinds, parts of a block that are written one after the other, and in the middle, if wanted, one that has no shader. */
function network(rt: Runtime, random: Random, withSine: boolean): Network {
  const core = coreOf(rt);
  const values = (...shape: number[]) => rt.tensor(random.floats(shape.reduce((x, y) => x * y, 1)), shape);
  const weights = rt.prepack(values(8, 4, 3, 3), { op: 'conv' });
  const deep = rt.prepack(values(8, 1, 3, 3), { op: 'conv' });
  const panels = rt.prepack(random.chance(0.5) ? values(SIDE, 10) : values(SIDE, 10));
  const up = values(8, 3, 2, 2);
  const bias = values(8);
  const [tape, inner] = [core.makeTape(), { input: undefined as unknown as Tensor }];
  const make = (): Tensor => {
    let y: Tensor = rt.conv2dSync(inner.input, weights, { padding: 1, bias, activation: 'hardSwish' });
    y = rt.conv2dSync(y, deep, { padding: 1, groups: 8, residual: y });
    if (withSine) y = rt.unarySync('sin', y);
    const pooled = rt.maxPool2dSync(y, 2, { stride: 2 });
    const grown = rt.convTranspose2dSync(pooled, up, { stride: 2 }) as DenseTensor;
    const both = new DenseTensor(core.heap, [1, 11, SIDE, SIDE]);
    const [large, small] = [8 * SIDE * SIDE, 3 * SIDE * SIDE];
    movePart(core, y as DenseTensor, both, {
      extents: [large],
      from: [1],
      to: [1],
      firstFrom: 0,
      firstTo: 0,
    });
    movePart(core, grown, both, { extents: [small], from: [1], to: [1], firstFrom: 0, firstTo: large });
    const rows = both.reshaped([11 * SIDE, SIDE]);
    return rt.softmaxSync(rt.matmulSync(rows, panels, { activation: 'tanh' }));
  };
  const output = core.record(tape, () => {
    inner.input = new DenseTensor(core.heap, [1, 4, SIDE, SIDE]);
    return make();
  });
  const addressOf = (tensor: Tensor) => [(tensor as DenseTensor).block.address];
  const replay = new Replay(core, tape, addressOf(inner.input), addressOf(output));
  const wanted = () => {
    const fresh = make();
    const copy = Float32Array.from(fresh.data as Float32Array);
    fresh.dispose();
    return copy;
  };
  return { input: inner.input, output, replay, wanted };
}

function off(got: Float32Array, wanted: Float32Array): number {
  return wanted.reduce((most, value, at) => {
    const one = Math.abs(value - got[at]!);
    return one <= most ? most : Number.isNaN(one) ? Number.POSITIVE_INFINITY : one;
  }, 0);
}

async function runFault(made: Network, random: Random): Promise<number> {
  (made.input.data as Float32Array).set(random.floats(made.input.size));
  (made.output.data as Float32Array).fill(Number.NaN);
  await made.replay.run({});
  return off(made.output.data as Float32Array, made.wanted());
}

const WAYS = [
  ['all of it there', false, ONE_ROW],
  ['one step stays on the threads', true, ONE_ROW],
  ['sums cut between workgroups', false, LONG_WAY],
] as const;

for (const [name, withSine, profile] of WAYS) {
  test(seeded(`gpu tape: ${name}`), async (t) => {
    const made = await makeOnGpu({}, { profile });
    if (typeof made === 'string') return t.skip(made);
    const { rt, events } = made;
    const random = new Random(911);
    const net = network(rt, random, withSine);
    const far: number[] = [];
    for (let turn = 0; turn < 5; turn++) far.push(await runFault(net, random));
    t.ok(Math.max(...far) < 1e-5, `off by ${far.map((one) => one.toExponential(1))}`);
    const places: string[] = [];
    let cut = 0;
    await net.replay.runEach(({ execution: { problem, plan } }) => {
      places.push(`${problem.op} ${plan.backend}`);
      if (problem.op === 'conv' && plan.algorithm === 'gemm' && plan.kc < termsOf(problem)) cut++;
    });
    t.equal(cut, profile === LONG_WAY ? 1 : 0, 'convolutions whose sums are cut');
    const here = places.filter((place) => !place.endsWith('webgpu'));
    t.deepEqual(here, withSine ? ['map wasm'] : [], places.join(', '));
    t.deepEqual(
      events.filter(({ type }) => type === 'quarantine'),
      [],
      'every shader was right',
    );
    t.ok(rt.info.gpu!.memory.used > 0, 'mirrors lie there');
    net.replay.release();
    t.equal(rt.info.gpu!.memory.used, 0, 'and come back');
    await rt.close();
  });
}

for (const opensAgain of [true, false]) {
  test(seeded(`gpu tape: the device is lost and ${opensAgain ? 'comes back' : 'stays away'}`), async (t) => {
    const made = await makeOnGpu({}, { opensAgain });
    if (typeof made === 'string') return t.skip(made);
    const { rt, devices, events } = made;
    const random = new Random(912);
    const net = network(rt, random, true);
    t.ok((await runFault(net, random)) < 1e-5, 'before');
    devices[0]!.destroy();
    t.ok((await runFault(net, random)) < 1e-5, 'the run that meets the loss');
    t.ok((await runFault(net, random)) < 1e-5, 'and the next');
    t.equal(devices.length, opensAgain ? 2 : 1);
    t.equal(events.filter(({ type }) => type === 'gpu-lost').length, 1, 'one event');
    await rt.close();
    t.equal(await codeOf(async () => net.replay.run({})), 'E_CLOSED');
  });
}

test(seeded('gpu tape: aborted, refused, and left where it is'), async (t) => {
  const made = await makeOnGpu();
  if (typeof made === 'string') return t.skip(made);
  const random = new Random(913);
  const net = network(made.rt, random, true);
  await net.replay.run({});
  const controller = new AbortController();
  const pending = net.replay.run({ signal: controller.signal });
  controller.abort(new Error('enough'));
  t.equal(((await failure(Promise.resolve(pending))) as Error).message, 'enough');
  t.ok((await runFault(net, random)) < 1e-5, 'the run after it is right');
  await made.rt.close();
  const strict = (await makeOnGpu({ policy: 'strict' })) as Made;
  const half = network(strict.rt, random, true);
  t.equal(
    await codeOf(Promise.resolve(half.replay.run({}))),
    'E_FALLBACK',
    'a strict runtime says what has no shader',
  );
  t.equal(strict.rt.info.gpu!.memory.used, 0);
  await strict.rt.close();
  const auto = (await makeOnGpu({ backend: 'auto', gpu: true })) as Made;
  const own = network(auto.rt, random, false);
  t.ok((await runFault(own, random)) < 1e-5);
  if (auto.rt.info.gpu!.software)
    t.equal(auto.rt.info.gpu!.memory.used, 0, 'a processor that stands in for a GPU is not asked');
  await auto.rt.close();
});

test(seeded('gpu tape: nothing to be served'), async (t) => {
  const made = await makeOnGpu();
  if (typeof made === 'string') return t.skip(made);
  const core = coreOf(made.rt);
  const tape = core.makeTape();
  const y = core.record(tape, () => made.rt.unarySync('sin', made.rt.tensor(Float32Array.of(0, 1), [2])));
  t.equal(await GpuTape.make(core, core.gpu!, tape, [], [(y as DenseTensor).block.address]), undefined);
  await made.rt.close();
});
