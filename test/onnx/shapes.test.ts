/** Shapes that follow from names: the arithmetic of lengths, and what is inferred beside what a run gives. */
import test from 'tape';
import { initializer, intAttribute, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import {
  extentOf,
  known,
  type Length,
  minus,
  named,
  over,
  plus,
  quotient,
  textOf,
  times,
} from '../../src/onnx/graph/shapes/lengths.ts';
import { inspectModel } from '../../src/onnx/inspect.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { edge, type Field, modelOf, randomFeeds, WHOLE_MODELS } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** What a text says where names have values. */
function evaluated(text: string | number, names: Readonly<Record<string, number>>): number {
  const numbers = Object.entries(names).reduce(
    (all, [name, value]) => all.replaceAll(name, `(${value})`),
    String(text),
  );
  return new Function(`return ${numbers.replaceAll('floor', 'Math.floor')};`)() as number;
}

test(seeded('lengths: texts that say what was computed'), (t) => {
  const random = new Random(961);
  const faults: string[] = [];
  for (let turn = 0; turn < 400; turn++) {
    const names = { N: random.int(0, 40), M: random.int(1, 300) };
    let length: Length = named(random.pick(['N', 'M']));
    let value = evaluated(textOf(length), names);
    const other = (): [Length, number] => {
      const pick = random.pick(['N', 'M', '']);
      const number = random.int(-7, 9);
      return pick === '' ? [known(number), number] : [named(pick), names[pick as 'N']];
    };
    for (let step = 0; step < random.int(1, 7); step++) {
      const [by, byValue] = other();
      const divisor = random.int(1, 5);
      [length, value] = random.pick<() => [Length, number]>([
        () => [plus(length, by), value + byValue],
        () => [minus(length, by), value - byValue],
        () => [times(length, by), value * byValue],
        () => [over(length, divisor), Math.floor(value / divisor)],
        () => [over(length, divisor), Math.floor(value / divisor)],
      ])();
    }
    const got = evaluated(extentOf(length), names);
    if (got !== value)
      faults.push(`${textOf(length)} is ${got}, not ${value}, with ${JSON.stringify(names)}`);
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  const halves = Array.from({ length: 5 }).reduce<Length>((h) => over(plus(h, known(1)), 2), named('H'));
  t.equal(textOf(halves), 'floor((H + 31) / 32)', 'parts of parts are one part');
  t.equal(textOf(minus(named('H'), named('H'))), '0');
  t.equal(textOf(times(named('H'), plus(named('W'), known(1)))), '(W + 1) * H');
  t.equal(textOf(quotient([named('N'), known(6), named('W')], [named('N'), known(2)])!), '3 * W');
  t.equal(
    textOf(quotient([known(6), named('N'), named('W')], [times(known(2), named('N')), known(3)])!),
    'W',
  );
  t.equal(quotient([named('N')], [named('W')]), undefined, 'what is not known to divide');
  t.end();
});

/** Values for names of inputs, from feeds. */
function namesOf(
  inputs: readonly { readonly name: string; readonly shape: readonly (string | number)[] | undefined }[],
  feeds: Readonly<Record<string, Tensor>>,
): Record<string, number> {
  const pairs = inputs.flatMap(({ name, shape }) =>
    (shape ?? []).flatMap((extent, axis) =>
      typeof extent === 'string' ? [[extent, feeds[name]!.dims[axis]!] as const] : [],
    ),
  );
  // longer names first: one may begin like another
  return Object.fromEntries(pairs.sort(([a], [b]) => b.length - a.length));
}

const SIZES: Readonly<Record<string, readonly Readonly<Record<string, readonly number[]>>[]>> = {
  'PP-OCRv4 detection': [{ x: [1, 3, 64, 96] }, { x: [2, 3, 160, 32] }],
  'PP-OCRv4 recognition': [{ x: [1, 3, 48, 160] }, { x: [2, 3, 48, 83] }],
};

test('shapes: of whole models as runs give them, each of their values known', async (t) => {
  const runtime = await makeRuntime({ threads: 1 });
  for (const { name, file, from, inputs } of WHOLE_MODELS) {
    if (!file) {
      t.skip(`${name}: ${from} is not here`);
      continue;
    }
    const report = await inspectModel(file);
    const nodes = Object.values(report.operators).reduce((sum, count) => sum + count, 0);
    t.equal(Object.keys(report.shapes).length, nodes, `${name}: ${nodes} values`);
    const session = await InferenceSession.create(file, { runtime });
    t.deepEqual(session.outputMetadata, report.outputs);
    for (const dims of SIZES[name] ?? [inputs]) {
      const feeds = randomFeeds(new Random(962), dims);
      const results = await session.run(feeds);
      const names = namesOf(session.inputMetadata, feeds);
      for (const { name: output, shape } of session.outputMetadata)
        t.deepEqual(
          shape!.map((extent) => evaluated(extent, names)),
          [...results[output]!.dims],
          `${output}: ${shape}`,
        );
    }
    await session.release();
  }
  await runtime.close();
});

test('shapes: numbers that say shapes are followed', async (t) => {
  const list = (name: string, values: readonly number[]) =>
    initializer(edge(name, [values.length], 'int64'), BigInt64Array.from(values, BigInt));
  const one = (name: string, value: number) =>
    initializer(edge(name, [], 'int64'), BigInt64Array.of(BigInt(value)));
  // [N, 6, 4] as [N * 2, 3, 4], by way of its shape
  const bytes = modelOf(
    [
      node('Shape', ['x'], 's'),
      node('Gather', ['s', 'first'], 'n'),
      node('Mul', ['n', 'two'], 'm'),
      node('Unsqueeze', ['m'], 'u', [intsAttribute('axes', [0])]),
      node('Concat', ['u', 'rest'], 'target', [intAttribute('axis', 0)]),
      node('Reshape', ['x', 'target'], 'y'),
      node('Split', ['y'], ['a', 'c'], [intAttribute('axis', 1), intsAttribute('split', [1, 2])]),
      node('ReduceMean', ['c'], 'r', [intsAttribute('axes', [2])]),
      node('Tile', ['r', 'repeats'], 'z'),
    ],
    [{ name: 'x', type: 'float32', dims: ['batch', 6, ''] }],
    [edge('z', [])],
    [one('first', 0), one('two', 2), list('rest', [3, -1]), list('repeats', [1, 3, 1])],
    11,
  );
  const halves = modelOf(
    [node('Slice', ['x', 'start', 'end', 'axis', 'step'], 'y')],
    [{ name: 'x', type: 'float32', dims: ['n', 3] }],
    [edge('y', [])],
    [list('start', [1]), list('end', [2 ** 40]), list('axis', [0]), list('step', [2])],
    11,
  );
  t.deepEqual((await inspectModel(halves)).shapes.y, ['floor(n / 2)', 3], 'every second one but the first');
  const report = await inspectModel(bytes);
  t.deepEqual(report.inputs[0]!.shape, ['batch', 6, 'x.2'], 'an extent without a name gets one');
  t.deepEqual(report.shapes.target, [2 + 1]);
  t.deepEqual(report.shapes.y, ['2 * batch', 3, 'x.2'], 'what is free is what the others leave');
  t.deepEqual(report.shapes.z, ['2 * batch', 6, 1], 'parts of it');
  t.end();
});

/** Nodes one after the other that cut, pad, turn and join arrays by constants, on an array of some extents with and without names. */
function chain(random: Random, dims: readonly number[]) {
  const nodes: Field[] = [];
  const constants: Field[] = [];
  let [name, rank] = ['x', dims.length];
  const list = (values: readonly number[]) => {
    const made = `c${constants.length}`;
    constants.push(initializer(edge(made, [values.length], 'int64'), BigInt64Array.from(values, BigInt)));
    return made;
  };
  const add = (op: string, inputs: readonly string[], attributes: readonly Field[] = []) => {
    const next = `v${nodes.length}`;
    nodes.push(node(op, [name, ...inputs], next, attributes));
    name = next;
  };
  const axis = () => random.int(-rank, rank - 1);
  const kinds: readonly (() => void)[] = [
    () =>
      add('Slice', [
        list([random.int(0, 1)]),
        list([random.pick([-1, 2 ** 40, 3])]),
        list([axis()]),
        list([random.int(1, 2)]),
      ]),
    () => add('Slice', [list([-1]), list([-(2 ** 40)]), list([axis()]), list([-1])]),
    () => add('Pad', [list(Array.from({ length: 2 * rank }, () => random.int(0, 2)))]),
    () =>
      add(
        'Transpose',
        [],
        [
          intsAttribute(
            'perm',
            Array.from({ length: rank }, (_, i) => (i + 1) % rank),
          ),
        ],
      ),
    () => {
      add('Unsqueeze', [list([random.int(-rank - 1, rank)])]);
      rank++;
    },
    () => {
      const at = axis();
      add('ReduceMax', [], [intsAttribute('axes', [at]), intAttribute('keepdims', 1)]);
      if (rank > 2 && random.chance(0.5)) {
        add('Squeeze', [list([at])]);
        rank--;
      }
    },
    () => add('Concat', [name], [intAttribute('axis', axis())]),
    () => add('Tile', [list(Array.from({ length: rank }, () => random.int(1, 2)))]),
    () => add('Gather', [list([0, 0, 0])], [intAttribute('axis', axis())]),
    () => add('Softmax', [], [intAttribute('axis', axis())]),
  ];
  for (let step = 0; step < 6; step++) {
    if (rank < 5) random.pick(kinds)();
  }
  const open = dims.map((extent, i) => (random.chance(0.5) ? `d${i}` : extent));
  const input = { name: 'x', type: 'float32', dims: open } as const;
  return { bytes: modelOf(nodes, [input], [edge(name, [])], constants, 13), output: name };
}

test(seeded('shapes: of arrays at random as runs give them'), async (t) => {
  const random = new Random(963);
  const runtime = await makeRuntime({ threads: 1 });
  const faults: string[] = [];
  let known = 0;
  for (let turn = 0; turn < 120; turn++) {
    const dims = Array.from({ length: random.int(1, 3) }, () => random.int(4, 7));
    const { bytes, output } = chain(random, dims);
    const { shapes } = await inspectModel(bytes);
    const session = await InferenceSession.create(bytes, { runtime });
    const x = new Tensor('float32', random.floats(dims.reduce((a, b) => a * b, 1)), dims);
    const made = (await session.run({ x }))[output]!.dims;
    await session.release();
    if (!shapes[output]) continue;
    known++;
    const got = shapes[output].map((extent) =>
      evaluated(extent, Object.fromEntries(dims.map((d, i) => [`d${i}`, d]))),
    );
    if (got.join() !== made.join()) faults.push(`turn ${turn}: ${shapes[output]} is ${got}, not ${made}`);
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  t.ok(known > 60, `${known} of 120 are known`);
  await runtime.close();
});

test('shapes: nodes that make no sense, and texts that double, say nothing and cost nothing', async (t) => {
  const doubling = Array.from({ length: 60 }, (_, i) => node('Mul', [`m${i}`, `m${i}`], `m${i + 1}`));
  const bytes = modelOf(
    [
      node('Shape', ['x'], 'm0'),
      ...doubling,
      node('Expand', ['x', 'm60'], 'large'),
      node('Expand', ['x', 'm2'], 'some'),
      node('Expand', ['x', 'm9'], 'many'),
      node('Transpose', ['x'], 't', [intsAttribute('perm', [0, 7])]),
      node('Relu', ['t'], 'u'),
      node('Concat', ['u', 'x'], 'v', [intAttribute('axis', 9)]),
      node('Gather', ['x', 'x'], 'w', [intAttribute('axis', -5)]),
      node('MaxPool', ['x'], 'p', [intsAttribute('kernel_shape', [0, 0, 0])]),
    ],
    [{ name: 'x', type: 'float32', dims: ['n', 'm'] }],
    [edge('u', []), edge('large', [])],
    [],
    13,
  );
  const { shapes } = await inspectModel(bytes);
  t.ok(shapes.some && !shapes.many, 'as long as anyone would read');
  t.ok(!shapes.large && !shapes.t && !shapes.u && !shapes.v && !shapes.p, Object.keys(shapes).join());
  const session = await InferenceSession.create(bytes, { threads: 1 });
  t.equal(session.outputMetadata.length, 2, 'a session is made');
  await session.release();
});

test('shapes: what cannot be known stays out', async (t) => {
  const bytes = modelOf(
    [
      node('NonZero', ['x'], 'places'),
      node('Transpose', ['places'], 'turned'),
      node('Add', ['x', 'w'], 'y'),
      node('Reshape', ['x', 'given'], 'z'),
      node('Squeeze', ['k', 'places'], 'q'),
    ],
    [
      edge('k', [1, 3, 1]),
      { name: 'x', type: 'float32', dims: ['n', 3] },
      { name: 'w', type: 'float32', dims: ['m', 1] },
      edge('given', [2], 'int64'),
    ],
    [edge('turned', []), edge('y', []), edge('z', []), edge('q', [])],
    [],
    13,
  );
  const report = await inspectModel(bytes);
  t.deepEqual(report.shapes, { y: ['n', 3] }, 'two names that meet are taken to be the same');
  t.end();
});
