/** RNN, GRU and LSTM in all their ways, and operators that draw numbers. */
import test from 'tape';
import {
  type Field,
  floatAttribute,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  node,
  stringAttribute,
  stringsAttribute,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import { codeOf } from '../support/faulty.ts';
import { workingGpu } from '../support/gpu.ts';
import { ONE_ROW } from '../support/gpu-profile.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { besideOrt, type Case, type Cases, floats, modelFor } from '../support/operator-cases.ts';
import { madeUpMachine, makeRuntime } from '../support/runtime.ts';
import { Random } from '../support/seed.ts';

/** Activations with the numbers that each takes. */
const ACTIVATIONS: Readonly<Record<string, readonly ('alpha' | 'beta')[]>> = {
  ...{ Relu: [], Tanh: [], Sigmoid: [], Softsign: [], Softplus: [] },
  ...{ LeakyRelu: ['alpha'], Elu: ['alpha'] },
  ...{ HardSigmoid: ['alpha', 'beta'], ScaledTanh: ['alpha', 'beta'], Affine: ['alpha', 'beta'] },
};

function recurrent(op: string, gates: number, activations: number) {
  return (random: Random): Case => {
    const [steps, batch, width, hidden] = [
      random.int(1, 5),
      random.int(1, 3),
      random.int(1, 4),
      random.int(1, 4),
    ];
    const direction = random.pick(['forward', 'reverse', 'bidirectional']);
    const directions = direction === 'bidirectional' ? 2 : 1;
    const names = Array.from({ length: directions * activations }, () =>
      random.pick(Object.keys(ACTIVATIONS)),
    );
    const numbers = (which: 'alpha' | 'beta') =>
      names.flatMap((name) => (ACTIVATIONS[name]!.includes(which) ? [random.int(1, 9) / 10] : []));
    const [alphas, betas] = [numbers('alpha'), numbers('beta')];
    const isOdd = random.chance(0.6);
    const lengths = Int32Array.from({ length: batch }, () => random.int(1, steps));
    const [hasBias, hasLengths, hasState] = [random.chance(0.7), random.chance(0.6), random.chance(0.6)];
    const hasCell = op === 'LSTM' && hasState;
    const hasPeeps = op === 'LSTM' && random.chance(0.4);
    const attributes: Field[] = [
      ...[intAttribute('hidden_size', hidden), stringAttribute('direction', direction)],
      ...(isOdd ? [stringsAttribute('activations', names)] : []),
      ...(isOdd && alphas.length > 0 ? [floatsAttribute('activation_alpha', alphas)] : []),
      ...(isOdd && betas.length > 0 ? [floatsAttribute('activation_beta', betas)] : []),
      ...(random.chance(0.4) ? [floatAttribute('clip', 0.4)] : []),
      ...(op === 'GRU' ? [intAttribute('linear_before_reset', random.int(0, 1))] : []),
      ...(op === 'LSTM' && random.chance(0.3) ? [intAttribute('input_forget', 1)] : []),
    ];
    const inputs = {
      x: floats(random, steps, batch, width),
      w: floats(random, directions, gates * hidden, width),
      r: floats(random, directions, gates * hidden, hidden),
      ...(hasBias ? { b: floats(random, directions, 2 * gates * hidden) } : {}),
      ...(hasLengths ? { lengths: new Tensor('int32', lengths, [batch]) } : {}),
      ...(hasState ? { h: floats(random, directions, batch, hidden) } : {}),
      ...(hasCell ? { c: floats(random, directions, batch, hidden) } : {}),
      ...(hasPeeps ? { p: floats(random, directions, 3 * hidden) } : {}),
    };
    const slots = ['x', 'w', 'r', 'b', 'lengths', 'h', ...(op === 'LSTM' ? ['c', 'p'] : [])];
    const present = slots.map((name) => (name in inputs ? name : ''));
    while (present.at(-1) === '') present.pop();
    const outputs =
      op === 'LSTM' ? (['float32', 'float32', 'float32'] as const) : (['float32', 'float32'] as const);
    return { ...{ op, opset: 14, attributes, inputs, outputs }, names: present };
  };
}

const CASES: Cases = {
  RNN: recurrent('RNN', 1, 1),
  GRU: recurrent('GRU', 3, 2),
  LSTM: recurrent('LSTM', 4, 3),
};

besideOrt(CASES);

test('recurrent: batches before steps are the same turned around', async (t) => {
  const runtime = await makeRuntime({ threads: 1 });
  const random = new Random(941);
  for (let turn = 0; turn < 12; turn++) {
    const one = CASES[random.pick(['RNN', 'GRU', 'LSTM'])]!(random);
    const swap = (tensor: Tensor): Tensor => {
      const [a, b, ...rest] = tensor.dims as [number, number, ...number[]];
      const size = rest.reduce((x, y) => x * y, 1);
      const from = tensor.data as Float32Array;
      const to = from.map(
        (_, i) => from[((Math.floor(i / size) % a) * b + Math.floor(i / (size * a))) * size + (i % size)]!,
      );
      return new Tensor('float32', to, [b, a, ...rest]);
    };
    const turned = Object.fromEntries(
      Object.entries(one.inputs).map(([name, value]) => [
        name,
        ['x', 'h', 'c'].includes(name) ? swap(value) : value,
      ]),
    );
    const results = async (of: Case) => {
      const session = await InferenceSession.create(modelFor(of), { runtime });
      const made = await session.run(of.inputs);
      await session.release();
      return made;
    };
    const wanted = await results(one);
    const got = await results({
      ...one,
      inputs: turned,
      attributes: [...one.attributes, intAttribute('layout', 1)],
    });
    t.deepEqual(swap(got.out1!).data, wanted.out1!.data, `${one.op}: last states`);
    const [steps, directions, batch, hidden] = wanted.out0!.dims as [number, number, number, number];
    t.deepEqual(got.out0!.dims, [batch, steps, directions, hidden], `${one.op}: all states`);
    const at = (n: number, s: number) => (s * directions * batch + n) * hidden;
    const first = (got.out0!.data as Float32Array).subarray((batch - 1) * steps * directions * hidden)[0];
    t.equal(
      first,
      (wanted.out0!.data as Float32Array)[at(batch - 1, 0)],
      `${one.op}: of the last of the batch`,
    );
  }
  t.equal(runtime.memory().tensors, 0);
  await runtime.close();
});

/** Of a model with one node, what some runs give. */
async function drawn(
  bytes: Uint8Array,
  feeds: Record<string, Tensor>,
  runs: number,
  threads = 1,
): Promise<Float32Array[]> {
  const runtime = await makeRuntime({ threads });
  const session = await InferenceSession.create(bytes, { runtime });
  const all: Float32Array[] = [];
  for (let run = 0; run < runs; run++)
    all.push(Float32Array.from((await session.run(feeds)).y!.data as never));
  await session.release();
  await runtime.close();
  return all;
}

const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values: Float32Array) =>
  Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / values.length);

test('drawn numbers: of their distribution, others in each run, the same for the same seed', async (t) => {
  const model = (op: string, attributes: readonly Field[], inputs: readonly string[] = []) =>
    modelOf(
      [node(op, inputs, ['y'], attributes)],
      inputs.map((name) => edge(name, [4000])),
      [edge('y', [4000])],
      [],
      22,
    );
  const shape = intsAttribute('shape', [4000]);
  const normal = [shape, floatAttribute('mean', 3), floatAttribute('scale', 2)];
  const [first, second] = (await drawn(model('RandomNormal', normal), {}, 2)) as [Float32Array, Float32Array];
  t.ok(Math.abs(mean(first) - 3) < 0.15 && Math.abs(deviation(first) - 2) < 0.15, 'normal ones');
  t.notDeepEqual(first, second, 'a replay draws anew');
  const seeded = [...normal, floatAttribute('seed', 0.25)];
  const [one, other] = [
    await drawn(model('RandomNormal', seeded), {}, 2),
    await drawn(model('RandomNormal', seeded), {}, 2),
  ];
  t.deepEqual(one, other, 'a seed says all of them');
  const squashed = modelOf(
    [node('RandomNormal', [], ['z'], seeded), node('Tanh', ['z'], ['w']), node('Neg', ['w'], ['y'])],
    [],
    [edge('y', [4000])],
    [],
    22,
  );
  t.deepEqual(await drawn(squashed, {}, 2, 2), await drawn(squashed, {}, 2, 1), 'on any number of threads');
  t.notDeepEqual(one[0], one[1], 'which go on from run to run');
  const even = [shape, floatAttribute('low', -1), floatAttribute('high', 4)];
  const [values] = await drawn(model('RandomUniform', even), {}, 1);
  t.ok(values!.every((v) => v >= -1 && v < 4) && Math.abs(mean(values!) - 1.5) < 0.1, 'even ones');
  const x = new Tensor('float32', new Float32Array(4000).fill(0.3), [4000]);
  const [hits, more] = await drawn(model('Bernoulli', [], ['x']), { x }, 2);
  t.ok(hits!.every((v) => v === 0 || v === 1) && Math.abs(mean(hits!) - 0.3) < 0.04, 'by probability');
  t.notDeepEqual(hits, more, 'drawn anew');
  const [like] = await drawn(model('RandomUniformLike', [], ['x']), { x }, 1);
  t.ok(like!.length === 4000 && like!.every((v) => v >= 0 && v < 1), 'as many as there are');
  const logs = new Tensor('float32', Float32Array.from([0.1, 0.6, 0.3], Math.log), [1, 3]);
  const classes = modelOf(
    [node('Multinomial', ['x'], ['y'], [intAttribute('sample_size', 4000)])],
    [edge('x', [1, 3])],
    [edge('y', [1, 4000], 'int32')],
    [],
    22,
  );
  const [picked] = await drawn(classes, { x: logs }, 1);
  const share = (of: number) => picked!.filter((at) => at === of).length / 4000;
  t.ok(Math.abs(share(0) - 0.1) < 0.03 && Math.abs(share(1) - 0.6) < 0.04, 'classes by their probability');
});

test('drawn numbers: anew in each run, on threads with memories of their own and on a GPU too', async (t) => {
  const bytes = modelOf(
    [node('RandomUniformLike', ['x'], 'r'), node('Add', ['x', 'r'], 'y')],
    [edge('x', [4000])],
    [edge('y', [4000])],
    [],
    22,
  );
  const run = async (session: InferenceSession) => {
    const runs: Float32Array[] = [];
    const x = new Tensor('float32', new Float32Array(4000).fill(5), [4000]);
    for (let turn = 0; turn < 3; turn++) runs.push((await session.run({ x })).y!.data as Float32Array);
    await session.release();
    t.ok(
      runs.every((values) => values.every((v) => v >= 5 && v <= 6) && Math.abs(mean(values) - 5.5) < 0.05),
    );
    t.equal(new Set(runs.map((values) => values.slice(0, 8).join())).size, 3, 'no two runs alike');
  };
  await run(await InferenceSession.create(bytes, { threads: 2, memory: { shared: false } }));
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const runtime = await createRuntimeWith(
    { threads: 1, wisdom: false, gpu: { gpu }, backend: 'webgpu' },
    { machine: madeUpMachine(6), gpuProfile: ONE_ROW },
  );
  await run(await InferenceSession.create(bytes, { runtime }));
  await runtime.close();
});

test('dropout in training: a part is zero, and the rest as much larger', async (t) => {
  const session = await InferenceSession.create(
    modelOf(
      [node('Dropout', ['x', 'ratio', 'on'], ['y', 'mask'], [intAttribute('seed', 7)])],
      [edge('x', [8000]), edge('ratio', []), edge('on', [], 'bool')],
      [edge('y', [8000]), edge('mask', [8000], 'bool')],
      [],
      13,
    ),
    { threads: 1 },
  );
  const feeds = {
    x: new Tensor('float32', new Float32Array(8000).fill(1), [8000]),
    ratio: new Tensor('float32', Float32Array.of(0.25), []),
    on: new Tensor('bool', Uint8Array.of(1), []),
  };
  const { y, mask } = await session.run(feeds);
  const [values, kept] = [y!.data as Float32Array, mask!.data as Uint8Array];
  t.ok(
    values.every((v, i) => Math.abs(v - kept[i]! / 0.75) < 1e-6),
    'what the mask says',
  );
  t.ok(Math.abs(kept.reduce((a, b) => a + b, 0) / 8000 - 0.75) < 0.03, 'of the ratio');
  const { y: whole } = await session.run({ ...feeds, on: new Tensor('bool', Uint8Array.of(0), []) });
  t.ok(
    (whole!.data as Float32Array).every((v) => v === 1),
    'all of it where nothing is trained',
  );
  await session.release();
});

test('recurrent: what is not run is named', async (t) => {
  const random = new Random(942);
  const one = {
    ...CASES.RNN!(random),
    attributes: [intAttribute('hidden_size', 1), stringsAttribute('activations', ['Swish'])],
  };
  const session = await InferenceSession.create(modelFor(one), { threads: 1 });
  t.equal(await codeOf(session.run(one.inputs)), 'E_MODEL', 'an activation that there is not');
  await session.release();
});
