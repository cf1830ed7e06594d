/** Images that are given channels of zeros before they are added: convolutions add what there is, and the values stay. */
import test from 'tape';
import { type Field, initializer, intAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { valuesFault } from '../support/arrays.ts';
import { constantOf, edge, modelOf, resultAt } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

interface Widened {
  readonly name: string;
  readonly nodes: readonly Field[];
  /** How many channels the convolution adds; undefined where that is left to a sum behind it. */
  readonly adds: number | 'all' | undefined;
}

const sum = [node('Conv', ['x', 'w', 'b'], 'c'), node('Add', ['c', 'v'], 's'), node('Relu', ['s'], 'y')];

function wide(...inputs: readonly string[]): Field {
  return node('Concat', inputs, 'v', [intAttribute('axis', 1)]);
}

/** An image [batch, 6, 5, 7] convolved to 10 channels, to which it is added. */
const CASES: readonly Widened[] = [
  { name: 'zeros behind it', nodes: [wide('x', 'o'), ...sum], adds: 6 },
  {
    name: 'zeros that a node makes',
    nodes: [node('ConstantOfShape', ['extents'], 'm'), wide('x', 'm'), ...sum],
    adds: 6,
  },
  {
    name: 'with a gate',
    nodes: [
      node('GlobalAveragePool', ['x'], 'm'),
      node('Sigmoid', ['m'], 'g'),
      node('Mul', ['x', 'g'], 'p'),
      wide('x', 'o'),
      node('Conv', ['p', 'w', 'b'], 'c'),
      ...sum.slice(1),
    ],
    adds: 6,
  },
  { name: 'ones behind it', nodes: [wide('x', 'one'), ...sum], adds: 'all' },
  { name: 'zeros of -0 behind it', nodes: [wide('x', 'minus'), ...sum], adds: 'all' },
  {
    name: 'zeros before it',
    nodes: [wide('o', 'x'), ...sum],
    adds: 'all',
  },
  { name: 'zeros in two parts', nodes: [wide('x', 'half', 'half'), ...sum], adds: 'all' },
  {
    name: 'several images, added to one',
    nodes: [node('Concat', ['x', 'x'], 'x2', [intAttribute('axis', 0)]), wide('x2', 'o2'), ...sum],
    adds: undefined,
  },
  {
    name: 'a sum that others read as well',
    nodes: [wide('x', 'o'), ...sum.slice(0, 2), node('Mul', ['s', 'v'], 'y')],
    adds: 'all',
  },
];

function constantsOf(random: Random): readonly Field[] {
  const filled = (name: string, channels: number, value: number) => {
    const dims = [1, channels, 5, 7];
    return initializer({ name, type: 'float32', dims }, new Float32Array(channels * 35).fill(value));
  };
  return [
    constantOf(random, 'w', [10, 6, 1, 1]),
    constantOf(random, 'b', [10]),
    filled('o', 4, 0),
    filled('one', 4, 1),
    filled('minus', 4, -0),
    filled('half', 2, 0),
    initializer({ name: 'o2', type: 'float32', dims: [2, 4, 5, 7] }, new Float32Array(280)),
    initializer({ name: 'extents', type: 'int64', dims: [4] }, BigInt64Array.of(1n, 4n, 5n, 7n)),
  ];
}

test(seeded('channels of zeros behind an image are not added'), async (t) => {
  const runtime = await makeRuntime();
  const random = new Random(1602);
  const constants = constantsOf(random);
  for (const { name, nodes, adds } of CASES) {
    const bytes = modelOf(nodes, [edge('x', [1, 6, 5, 7])], edge('y', []), constants);
    const x = new Tensor('float32', random.floats(210, 2), [1, 6, 5, 7]);
    const all = await resultAt(bytes, x, 'all', runtime);
    const none = await resultAt(bytes, x, 'none', runtime);
    const wrong = valuesFault(all.data as Float32Array, none.data as Float32Array, 16, 1e-5);
    t.equal(wrong, undefined, `${name}: the same values`);
    const session = await InferenceSession.create(bytes, { runtime });
    const keys = (await session.explain({ x })).map(({ problem }) => problem);
    const added = keys.map((key) => / residual(?:=(\d+))?/.exec(key)).find((found) => found);
    const seen = added ? (added[1] === undefined ? 'all' : Number(added[1])) : undefined;
    t.equal(seen, adds, `${name}: ${keys.join(', ')}`);
    t.equal(keys.filter((key) => key.startsWith('move')).length > 0, adds !== 6, `${name}: copies`);
    await session.release();
  }
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
});

test(seeded('channels of zeros behind images of a batch, a line or one pixel: as they were'), async (t) => {
  const runtime = await makeRuntime();
  const random = new Random(1603);
  const shapes = [
    [3, 6, 2, 3],
    [1, 6, 4],
    [1, 6, 1, 1],
  ];
  for (const dims of shapes) {
    const [batch, , ...extents] = dims as [number, number, ...number[]];
    const zeros = [batch, 4, ...extents];
    const elements = (of: readonly number[]) => of.reduce((product, extent) => product * extent, 1);
    const constants = [
      constantOf(random, 'w', [10, 6, ...extents.map(() => 1)]),
      constantOf(random, 'b', [10]),
      initializer({ name: 'o', type: 'float32', dims: zeros }, new Float32Array(elements(zeros))),
    ];
    const bytes = modelOf([wide('x', 'o'), ...sum], [edge('x', dims)], edge('y', []), constants);
    const x = new Tensor('float32', random.floats(elements(dims), 2), dims);
    const [all, none] = [await resultAt(bytes, x, 'all', runtime), await resultAt(bytes, x, 'none', runtime)];
    const wrong = valuesFault(all.data as Float32Array, none.data as Float32Array, 16, 1e-5);
    t.equal(wrong, undefined, `[${dims}]`);
  }
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
});
