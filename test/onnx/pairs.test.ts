/** A depthwise convolution that the 1x1 convolution behind it computes where it reads it: where, and to the same bits. */
import test from 'tape';
import {
  floatAttribute,
  initializer,
  intAttribute,
  intsAttribute,
  node,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { KERNELS, type Kernel } from '../../src/kernels/table.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime } from '../../src/ops/types.ts';
import { edge, type Field, modelOf } from '../support/onnx.ts';
import { madeUpMachine, makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** A depthwise convolution with what follows it, and a 1x1 convolution. */
interface Layer {
  readonly size?: 3 | 5;
  readonly stride?: readonly [vertical: number, horizontal: number];
  readonly multiplier?: number;
  readonly bias?: boolean;
  readonly activation?: 'Relu' | 'HardSwish' | 'Sigmoid' | 'Clip' | 'PRelu';
  readonly outC?: number;
  /** Adds what the layer has read. */
  readonly residual?: boolean;
}

interface Net {
  readonly name?: string;
  readonly batch?: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly layers: readonly Layer[];
}

interface Built {
  /** What lies between two convolutions is nobody else's, or is a result as well. */
  readonly bytes: (isSeen: boolean) => Uint8Array;
  readonly feeds: { readonly x: Tensor };
}

function activationNodes(kind: NonNullable<Layer['activation']>, from: string, to: string, channels: number) {
  if (kind === 'PRelu')
    return {
      nodes: [node('PRelu', [from, `${to}s`], to)],
      constants: [
        initializer(
          edge(`${to}s`, [channels, 1, 1]),
          Float32Array.from({ length: channels }, (_, i) => 0.05 * i),
        ),
      ],
    };
  if (kind === 'Clip') {
    const bounds = [
      initializer(edge(`${to}l`, []), new Float32Array([-0.3])),
      initializer(edge(`${to}h`, []), new Float32Array([0.6])),
    ];
    return { nodes: [node('Clip', [from, `${to}l`, `${to}h`], to)], constants: bounds };
  }
  return { nodes: [node(kind, [from], to)], constants: [] };
}

function build(net: Net, random: Random): Built {
  const { batch = 1, layers } = net;
  const nodes: Field[] = [];
  const constants: Field[] = [];
  const between: { name: string; dims: number[] }[] = [];
  let [name, c, h, w] = ['x', net.channels, net.height, net.width];
  const weights = (at: string, dims: readonly number[]) =>
    constants.push(initializer(edge(at, dims), random.floats(dims.reduce((x, y) => x * y, 1))));
  layers.forEach((layer, i) => {
    const { size = 3, stride = [1, 1], multiplier = 1, bias = false, activation, residual = false } = layer;
    const from = name;
    const [half, middle] = [size >> 1, c * multiplier];
    weights(`d${i}`, [middle, 1, size, size]);
    if (bias) weights(`db${i}`, [middle]);
    const attributes: Field[] = [
      intAttribute('group', c),
      intsAttribute('kernel_shape', [size, size]),
      intsAttribute('strides', stride),
      intsAttribute('pads', [half, half, half, half]),
    ];
    nodes.push(node('Conv', [from, `d${i}`, ...(bias ? [`db${i}`] : [])], `m${i}`, attributes));
    [h, w] = [Math.floor((h - 1) / stride[0]) + 1, Math.floor((w - 1) / stride[1]) + 1];
    let last = `m${i}`;
    if (activation) {
      const more = activationNodes(activation, last, `f${i}`, middle);
      nodes.push(...more.nodes);
      constants.push(...more.constants);
      last = `f${i}`;
    }
    between.push({ name: last, dims: [batch, middle, h, w] });
    const outC = residual ? c : (layer.outC ?? c);
    weights(`p${i}`, [outC, middle, 1, 1]);
    weights(`pb${i}`, [outC]);
    nodes.push(node('Conv', [last, `p${i}`, `pb${i}`], `s${i}`, [intsAttribute('kernel_shape', [1, 1])]));
    if (residual) nodes.push(node('Add', [`s${i}`, from], `r${i}`));
    nodes.push(node('Relu', [residual ? `r${i}` : `s${i}`], `y${i}`));
    [name, c] = [`y${i}`, outC];
  });
  const x = [batch, net.channels, net.height, net.width];
  const bytes = (isSeen: boolean) =>
    modelOf(
      nodes,
      [edge('x', x)],
      [edge(name, [batch, c, h, w]), ...(isSeen ? between.map((one) => edge(one.name, one.dims)) : [])],
      constants,
      14,
    );
  const elements = x.reduce((a, b) => a * b, 1);
  return { bytes, feeds: { x: new Tensor('float32', random.floats(elements), x) } };
}

/** The first result of some runs, and how many steps were computed within others. */
async function runOn(runtime: Runtime, bytes: Uint8Array, feeds: Built['feeds'], runs = 2) {
  const session = await InferenceSession.create(bytes, { runtime });
  const bits: string[] = [];
  for (let run = 0; run < runs; run++) {
    const result = (await session.run(feeds))[session.outputNames[0]!]!;
    bits.push(Buffer.from(new Uint8Array((result.data as Float32Array).buffer)).toString('base64'));
  }
  const steps = await session.explain(feeds);
  const again = (await session.run(feeds))[session.outputNames[0]!]!;
  bits.push(Buffer.from(new Uint8Array((again.data as Float32Array).buffer)).toString('base64'));
  await session.release();
  return { bits, steps, within: steps.filter(({ kernel }) => kernel.includes('within')) };
}

const SQUARE = { channels: 16, height: 48, width: 64 };

const NETS: readonly (Net & { name: string; pairs: number })[] = [
  { name: 'a residual block', ...SQUARE, layers: [{ residual: true }], pairs: 1 },
  { name: 'bias and relu between', ...SQUARE, layers: [{ bias: true, activation: 'Relu' }], pairs: 1 },
  { name: 'bounds', ...SQUARE, layers: [{ activation: 'Clip', outC: 5 }], pairs: 1 },
  { name: 'hard swish', ...SQUARE, layers: [{ bias: true, activation: 'HardSwish' }], pairs: 1 },
  { name: 'sigmoid', ...SQUARE, layers: [{ activation: 'Sigmoid' }], pairs: 1 },
  { name: 'a step between them', ...SQUARE, layers: [{ bias: true, activation: 'PRelu' }], pairs: 0 },
  {
    name: 'stride 2',
    channels: 17,
    height: 95,
    width: 127,
    layers: [{ stride: [2, 2], outC: 23 }],
    pairs: 1,
  },
  { name: '5x5', ...SQUARE, layers: [{ size: 5, bias: true }], pairs: 1 },
  { name: 'two filters a channel', ...SQUARE, layers: [{ multiplier: 2, outC: 20 }], pairs: 1 },
  { name: 'a batch', batch: 3, ...SQUARE, layers: [{ residual: true }, { bias: true }], pairs: 2 },
  {
    name: 'rows that are no multiple of a block',
    channels: 16,
    height: 37,
    width: 64,
    layers: [{}],
    pairs: 1,
  },
  { name: 'layers over one another', ...SQUARE, layers: [{}, {}, { residual: true }, { outC: 7 }], pairs: 4 },
  { name: 'no whole panels', channels: 16, height: 48, width: 60, layers: [{}], pairs: 0 },
  { name: 'a small map', channels: 16, height: 16, width: 16, layers: [{}], pairs: 0 },
  { name: 'many channels', channels: 400, height: 8, width: 64, layers: [{}], pairs: 0 },
];

for (const threads of [1, 2]) {
  test(`pairs: the same bits as one after the other, ${threads} threads`, async (t) => {
    const runtime = await makeRuntime({ threads, numerics: 'exact' });
    const random = new Random(77);
    for (const { name, pairs, ...net } of NETS) {
      const { bytes, feeds } = build(net, random);
      const apart = await runOn(runtime, bytes(true), feeds);
      const joined = await runOn(runtime, bytes(false), feeds);
      t.equal(apart.within.length, 0, `${name}: none where what lies between is wanted`);
      t.equal(joined.within.length, pairs, `${name}: ${pairs}`);
      t.deepEqual(new Set([...joined.bits, ...apart.bits]).size, 1, `${name}: the same bits`);
    }
    t.equal(runtime.memory().tensors, 0, 'nothing is kept');
    await runtime.close();
  });
}

test(seeded('pairs: strides that differ, by kernels of one row'), async (t) => {
  const rate = ({ family, taps, mr }: Kernel) => (family === 'depthwise' && !(taps && mr === 1) ? 5 : 40);
  const kernelGflops = Object.fromEntries(KERNELS.map((kernel) => [kernel.name, rate(kernel)]));
  const machine = { ...madeUpMachine(1), kernelGflops };
  const random = new Random(959);
  for (const threads of [1, 2]) {
    const options = { threads, numerics: 'exact', wisdom: false } as const;
    const runtime = await createRuntimeWith(options, { machine });
    for (const stride of [
      [2, 1],
      [1, 2],
      [3, 2],
    ] as const) {
      const layers = [{ stride, bias: true, activation: 'HardSwish', outC: 23 }] as const;
      const { bytes, feeds } = build({ channels: 17, height: 95, width: 64 * stride[1], layers }, random);
      const apart = await runOn(runtime, bytes(true), feeds);
      const joined = await runOn(runtime, bytes(false), feeds);
      t.equal(joined.within.length, 1, `${stride}: a pair`);
      t.equal(new Set([...joined.bits, ...apart.bits]).size, 1, `${stride}: the same bits`);
    }
    await runtime.close();
  }
});

test(seeded('pairs: networks of several layers on one thread and on three'), async (t) => {
  const random = new Random(954);
  const runtimes = [
    await makeRuntime({ threads: 1, numerics: 'exact' }),
    await makeRuntime({ threads: 3, numerics: 'exact' }),
  ];
  let [pairs, faults] = [0, 0];
  for (let turn = 0; turn < 10; turn++) {
    const layer = (): Layer => ({
      size: random.pick([3, 5] as const),
      stride:
        random.int(0, 3) > 0
          ? [1, 1]
          : random.pick([
              [2, 2],
              [2, 1],
            ] as const),
      multiplier: random.int(0, 4) === 0 ? 2 : 1,
      bias: random.int(0, 2) === 0,
      outC: random.int(4, 30),
      ...(random.int(0, 2) === 0
        ? {}
        : { activation: random.pick(['Relu', 'HardSwish', 'Sigmoid', 'Clip'] as const) }),
    });
    const net = {
      batch: random.int(1, 3),
      channels: random.int(8, 24),
      height: random.int(30, 70),
      width: random.pick([64, 96, 128]),
      layers: Array.from({ length: random.int(1, 5) }, layer),
    };
    const { bytes, feeds } = build(net, random);
    const results = [await runOn(runtimes[0]!, bytes(true), feeds, 1)];
    for (const runtime of runtimes) results.push(await runOn(runtime, bytes(false), feeds));
    pairs += results.reduce((sum, { within }) => sum + within.length, 0);
    if (new Set(results.flatMap(({ bits }) => bits)).size > 1) {
      faults++;
      t.comment(JSON.stringify(net));
    }
  }
  t.equal(faults, 0, 'the same bits');
  t.ok(pairs > 10, `${pairs} pairs`);
  for (const runtime of runtimes) await runtime.close();
});

test('pairs: what the second adds may be what lies between, or come from elsewhere', async (t) => {
  const runtime = await makeRuntime({ threads: 1, numerics: 'exact' });
  const random = new Random(955);
  const dims = [1, 16, 48, 64];
  const constants = [
    initializer(edge('d', [16, 1, 3, 3]), random.floats(144)),
    initializer(edge('p', [16, 16, 1, 1]), random.floats(256)),
    initializer(edge('q', [20, 32, 1, 1]), random.floats(640)),
    initializer(edge('shape', [4], 'int64'), BigInt64Array.from([1n, 32n, 24n, 64n])),
    initializer(edge('back', [4], 'int64'), BigInt64Array.from([1n, 10n, 48n, 64n])),
  ];
  const depthwise = [intAttribute('group', 16), intsAttribute('pads', [1, 1, 1, 1])];
  const models: readonly { name: string; nodes: readonly Field[]; pairs: number }[] = [
    {
      name: 'between',
      nodes: [
        node('Conv', ['x', 'd'], 'm', depthwise),
        node('Conv', ['m', 'p'], 's'),
        node('Add', ['s', 'm'], 'y'),
      ],
      pairs: 0,
    },
    {
      name: 'elsewhere',
      nodes: [
        node('LeakyRelu', ['x'], 'e', [floatAttribute('alpha', 0.5)]),
        node('Conv', ['x', 'd'], 'm', depthwise),
        node('Conv', ['m', 'p'], 's'),
        node('Add', ['s', 'e'], 'y'),
      ],
      pairs: 1,
    },
    {
      name: 'what the first reads is written over before the second',
      nodes: [
        node('LeakyRelu', ['x'], 'e', [floatAttribute('alpha', 0.5)]),
        node('Conv', ['e', 'd'], 'm', depthwise),
        node('Relu', ['x'], 'r'),
        node('Sigmoid', ['r'], 'g'),
        node('Conv', ['m', 'p'], 's'),
        node('Add', ['s', 'g'], 'y'),
      ],
      pairs: 0,
    },
    {
      name: 'read in another shape',
      nodes: [
        node('Conv', ['x', 'd'], 'm', depthwise),
        node('Reshape', ['m', 'shape'], 'v'),
        node('Conv', ['v', 'q'], 's'),
        node('Reshape', ['s', 'back'], 'y'),
      ],
      pairs: 0,
    },
    {
      name: 'read twice',
      nodes: [
        node('Conv', ['x', 'd'], 'm', depthwise),
        node('Conv', ['m', 'p'], 's'),
        node('Relu', ['m'], 'r'),
        node('Add', ['s', 'r'], 'y'),
      ],
      pairs: 0,
    },
  ];
  for (const { name, nodes, pairs } of models) {
    const feeds = { x: new Tensor('float32', random.floats(16 * 48 * 64), dims) };
    const make = (outputs: readonly string[]) =>
      modelOf(
        nodes,
        [edge('x', dims)],
        outputs.map((one) => edge(one, dims)),
        constants,
      );
    const [joined, apart] = [
      await runOn(runtime, make(['y']), feeds),
      await runOn(runtime, make(['y', 'm']), feeds),
    ];
    t.equal(joined.within.length, pairs, `${name}: ${pairs}`);
    t.equal(new Set([...joined.bits, ...apart.bits]).size, 1, `${name}: the same bits`);
  }
  await runtime.close();
});

test('pairs: explain and profile tell of both', async (t) => {
  const runtime = await makeRuntime({ threads: 2 });
  const { bytes, feeds } = build({ ...SQUARE, layers: [{ residual: true }] }, new Random(956));
  const { steps, within } = await runOn(runtime, bytes(false), feeds);
  t.deepEqual(
    within.map(({ ms, bytes: written }) => ({ ms, written })),
    [{ ms: 0, written: 0 }],
    'nothing is written, and no time taken',
  );
  const [first, second] = steps;
  t.ok(first!.kernel.endsWith(`within ${second!.node}`), 'the first says where it is computed');
  t.ok(second!.ms > 0 && second!.bytes === 4 * 16 * 48 * 64, 'the second has the time of both');
  const session = await InferenceSession.create(bytes(false), { runtime });
  await session.run(feeds);
  const { spans } = await runtime.profile(() => session.run(feeds));
  const ops = spans.filter(({ kind }) => kind === 'op');
  t.equal(ops.length, 1, 'one operation');
  t.equal(ops[0]!.details.before, first!.problem, 'which names what it computes before');
  t.ok(spans.some(({ name }) => name === 'patchTile') && !spans.some(({ name }) => name === 'depthwise'));
  const checked = await session.compare(feeds);
  t.ok(checked.steps === 2 && !checked.departs, 'each is compared by itself');
  await session.release();
  await runtime.close();
});
