/** Rewrites of graphs: each is found where it should be, and what a graph computes stays what it was. */
import test from 'tape';
import {
  floatAttribute,
  initializer,
  intAttribute,
  intsAttribute,
  node,
  stringAttribute,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { inspectModel } from '../../src/onnx/inspect.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { valuesFault } from '../support/arrays.ts';
import { constantOf, edge, type Field, modelOf, resultAt } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const SHAPE = [2, 6, 7, 5] as const;

interface Case {
  readonly name: string;
  readonly nodes: readonly Field[];
  readonly constants: readonly Field[];
  readonly runs: Readonly<Record<string, number>>;
}

const scalar = (name: string, value: number) => initializer(edge(name, []), Float32Array.of(value));

function integers(name: string, values: readonly number[]): Field {
  return initializer(edge(name, [values.length], 'int64'), BigInt64Array.from(values, BigInt));
}

function positive(random: Random, name: string, count: number): Field {
  return initializer(
    edge(name, [count]),
    random.floats(count).map((x) => Math.abs(x) + 0.3),
  );
}

const pads = (n: number) => intsAttribute('pads', [n, n, n, n]);

function cases(random: Random): Case[] {
  const conv = [constantOf(random, 'w', [6, 6, 3, 3]), constantOf(random, 'b', [6])];
  return [
    {
      name: 'hard-swish from its parts',
      nodes: [
        node('Add', ['x', 'three'], 'a'),
        node('Clip', ['a', 'zero', 'six'], 'c'),
        node('Mul', ['x', 'c'], 'm'),
        node('Div', ['m', 'six'], 'y'),
      ],
      constants: [scalar('three', 3), scalar('zero', 0), scalar('six', 6)],
      runs: { HardSwish: 1 },
    },
    {
      name: 'hard-swish by hard sigmoid, and its slope kept',
      nodes: [
        node('HardSigmoid', ['x'], 'g', [floatAttribute('alpha', 1 / 6), floatAttribute('beta', 0.5)]),
        node('Mul', ['x', 'g'], 'h'),
        node('HardSigmoid', ['h'], 'i', [floatAttribute('alpha', 0.2), floatAttribute('beta', 0.5)]),
        node('Mul', ['h', 'i'], 'y'),
      ],
      constants: [],
      runs: { HardSwish: 1, HardSigmoid: 1, Mul: 1 },
    },
    {
      name: 'SiLU and GELU',
      nodes: [
        node('Sigmoid', ['x'], 's'),
        node('Mul', ['s', 'x'], 'a'),
        node('Div', ['a', 'root'], 'd'),
        node('Erf', ['d'], 'e'),
        node('Add', ['e', 'one'], 'p'),
        node('Mul', ['a', 'p'], 'q'),
        node('Mul', ['q', 'half'], 'y'),
      ],
      constants: [scalar('root', Math.SQRT2), scalar('one', 1), scalar('half', 0.5)],
      runs: { Swish: 1, Gelu: 1 },
    },
    {
      name: 'layer norm',
      nodes: [
        node('ReduceMean', ['x'], 'm', [intsAttribute('axes', [-1])]),
        node('Sub', ['x', 'm'], 'd'),
        node('Pow', ['d', 'two'], 'p'),
        node('ReduceMean', ['p'], 'v', [intsAttribute('axes', [-1])]),
        node('Add', ['v', 'eps'], 'e'),
        node('Sqrt', ['e'], 'r'),
        node('Div', ['d', 'r'], 'n'),
        node('Mul', ['n', 's'], 't'),
        node('Add', ['t', 'b'], 'y'),
      ],
      constants: [
        scalar('two', 2),
        scalar('eps', 1e-5),
        constantOf(random, 's', [5]),
        constantOf(random, 'b', [5]),
      ],
      runs: { LayerNormalization: 1 },
    },
    {
      name: 'batch norm, factor, summand and activation into a convolution',
      nodes: [
        node('Conv', ['x', 'w', 'b'], 'c', [pads(1)]),
        node('BatchNormalization', ['c', 's', 't', 'm', 'v'], 'n'),
        node('Mul', ['f', 'n'], 'a'),
        node('Sub', ['a', 'g'], 'u'),
        node('Clip', ['u', 'low', 'high'], 'y'),
      ],
      constants: [
        ...[...conv, positive(random, 's', 6), positive(random, 't', 6), positive(random, 'm', 6)],
        ...[positive(random, 'v', 6), constantOf(random, 'f', [6, 1, 1]), scalar('g', 0.3)],
        ...[scalar('low', -1), scalar('high', 2)],
      ],
      runs: { 'Conv + clip': 1 },
    },
    {
      name: 'numbers behind a hard-swish that padding follows, or nothing',
      nodes: [
        node('Conv', ['x', 'w', 'b'], 'c', [pads(1)]),
        node('HardSwish', ['c'], 'h'),
        node('Mul', ['h', 'f'], 'm'),
        node('Add', ['g', 'm'], 'a'),
        node('Conv', ['a', 'w', 'b'], 'd', [pads(1)]),
        node('HardSwish', ['d'], 'i'),
        node('Mul', ['i', 'f'], 'n'),
        node('Add', ['n', 'g'], 'o'),
        node('Mul', ['o', 'f'], 'y'),
      ],
      constants: [...conv, initializer(edge('f', [1]), Float32Array.of(-1.7)), scalar('g', 0.3)],
      runs: { 'Conv + affineHardSwish': 2 },
    },
    {
      name: 'numbers behind a hard-swish that widen the result, or whose sum is wanted elsewhere',
      nodes: [
        node('Conv', ['x', 'w', 'b'], 'c', [pads(1)]),
        node('HardSwish', ['c'], 'h'),
        node('Add', ['h', 'g'], 'a'),
        node('Conv', ['x', 'w', 'b'], 'd', [pads(2)]),
        node('HardSwish', ['d'], 'i'),
        node('Add', ['i', 'wide'], 'e'),
        node('ReduceMax', ['e'], 'm'),
        node('Mul', ['a', 'h'], 'p'),
        node('Add', ['p', 'm'], 'y'),
      ],
      constants: [
        ...conv,
        scalar('g', 0.3),
        initializer(edge('wide', [1, 1, 1, 1, 1]), Float32Array.of(0.5)),
      ],
      runs: { 'Conv + hardSwish': 2, Add: 3, ReduceMax: 1, Mul: 1 },
    },
    {
      name: 'a sum of two convolutions',
      nodes: [
        node('Conv', ['x', 'w', 'b'], 'c', [pads(1)]),
        node('Conv', ['x', 'w'], 'd', [pads(1)]),
        node('Add', ['c', 'd'], 's'),
        node('Relu', ['s'], 'y'),
      ],
      constants: conv,
      runs: { 'Conv + Add + relu': 1, Conv: 1 },
    },
    {
      name: 'a summand that only broadcasts is added all the same',
      nodes: [
        node('Conv', ['x', 'w', 'b'], 'c', [pads(1)]),
        node('GlobalAveragePool', ['x'], 'p'),
        node('Add', ['p', 'c'], 's'),
        node('Tanh', ['s'], 'y'),
      ],
      constants: conv,
      runs: { 'Conv + Add + tanh': 1, GlobalAveragePool: 1 },
    },
    {
      name: 'x + x g is x (1 + g)',
      nodes: [
        node('GlobalAveragePool', ['x'], 'p'),
        node('Sigmoid', ['p'], 'g'),
        node('Mul', ['x', 'g'], 'm'),
        node('Add', ['x', 'm'], 'y'),
      ],
      constants: [],
      runs: { GlobalAveragePool: 1, Sigmoid: 1, Add: 1, Mul: 1 },
    },
    {
      name: 'bias and activation into a product',
      nodes: [node('MatMul', ['x', 'm'], 'p'), node('Add', ['p', 'b'], 's'), node('LeakyRelu', ['s'], 'y')],
      constants: [constantOf(random, 'm', [5, 4]), constantOf(random, 'b', [4])],
      runs: { 'MatMul + leakyRelu': 1 },
    },
    {
      name: 'zeros before a convolution are its padding',
      nodes: [
        node('Pad', ['x', 'around', 'zero'], 'p'),
        node('Conv', ['p', 'w', 'b'], 'y', [intsAttribute('pads', [1, 0, 0, 1])]),
      ],
      constants: [...conv, integers('around', [0, 0, 1, 2, 0, 0, 3, 0]), scalar('zero', 0)],
      runs: { Conv: 1 },
    },
    {
      name: 'other padding is not',
      nodes: [
        node('Pad', ['x', 'around', 'one'], 'p'),
        node('Conv', ['p', 'w', 'b'], 'c'),
        node('Pad', ['c', 'channels'], 'q'),
        node('Conv', ['q', 'v'], 'd'),
        node('Pad', ['d', 'around'], 'e', [stringAttribute('mode', 'edge')]),
        node('Conv', ['e', 'w', 'b'], 'y'),
      ],
      constants: [
        ...[...conv, constantOf(random, 'v', [6, 8, 1, 1]), scalar('one', 1)],
        ...[integers('around', [0, 0, 1, 2, 0, 0, 3, 0]), integers('channels', [0, 0, 0, 0, 0, 2, 0, 0])],
      ],
      runs: { Pad: 3, Conv: 3 },
    },
    {
      name: 'transposes that undo one another, with functions between them',
      nodes: [
        node('Transpose', ['x'], 'a', [intsAttribute('perm', [0, 2, 3, 1])]),
        node('LeakyRelu', ['a'], 'b1'),
        node('Sigmoid', ['b1'], 'c'),
        node('Transpose', ['c'], 'd', [intsAttribute('perm', [0, 3, 1, 2])]),
        node('Transpose', ['d'], 'e', [intsAttribute('perm', [1, 0, 3, 2])]),
        node('Tanh', ['e'], 'f'),
        node('Transpose', ['f'], 'g', [intsAttribute('perm', [1, 0, 3, 2])]),
        node('Neg', ['g'], 'y'),
      ],
      constants: [],
      runs: { LeakyRelu: 1, Sigmoid: 1, Tanh: 1, Neg: 1 },
    },
    {
      name: 'transposes behind one another are one',
      nodes: [
        node('Transpose', ['x'], 'a', [intsAttribute('perm', [0, 2, 3, 1])]),
        node('Transpose', ['a'], 'b1', [intsAttribute('perm', [3, 0, 1, 2])]),
        node('Transpose', ['b1'], 'y', [intsAttribute('perm', [1, 2, 0, 3])]),
      ],
      constants: [],
      runs: { Transpose: 1 },
    },
    {
      name: 'attention from its parts',
      nodes: [
        node('Transpose', ['x'], 'k', [intsAttribute('perm', [0, 1, 3, 2])]),
        node('MatMul', ['x', 'k'], 's'),
        node('Div', ['s', 'root'], 'd'),
        node('Add', ['d', 'mask'], 'm'),
        node('Softmax', ['m'], 'p', [intAttribute('axis', -1)]),
        node('MatMul', ['p', 'x'], 'y'),
      ],
      constants: [scalar('root', Math.sqrt(5)), constantOf(random, 'mask', [2, 1, 1, 7])],
      runs: { Attention: 1 },
    },
    {
      name: 'attention with keys that were moved, a factor before it, a mask in front',
      nodes: [
        node('Transpose', ['x'], 'a', [intsAttribute('perm', [0, 2, 3, 1])]),
        node('Abs', ['a'], 'b1'),
        node('Transpose', ['b1'], 'k', [intsAttribute('perm', [0, 3, 2, 1])]),
        node('MatMul', ['x', 'k'], 's'),
        node('Mul', ['factor', 's'], 'd'),
        node('Add', ['mask', 'd'], 'm'),
        node('Softmax', ['m'], 'p', [intAttribute('axis', 3)]),
        node('MatMul', ['p', 'x'], 'y'),
      ],
      constants: [scalar('factor', 0.3), constantOf(random, 'mask', [7])],
      runs: { Abs: 1, Transpose: 2, Attention: 1 },
    },
    {
      name: 'attention of other extents: a number for each row, queries of one image, values of one matrix',
      nodes: [
        node('ReduceMax', ['x'], 'q', [intsAttribute('axes', [0, 1]), intAttribute('keepdims', 0)]),
        node('Transpose', ['x'], 'k', [intsAttribute('perm', [0, 1, 3, 2])]),
        node('MatMul', ['q', 'k'], 's'),
        node('Add', ['s', 'mask'], 'm'),
        node('Softmax', ['m'], 'p', [intAttribute('axis', -1)]),
        node('MatMul', ['p', 'q'], 'y'),
      ],
      constants: [constantOf(random, 'mask', [7, 1])],
      runs: { ReduceMax: 1, Attention: 1 },
    },
    {
      name: 'attention whose mask widens the scores',
      nodes: [
        node('ReduceMax', ['x'], 'q', [intsAttribute('axes', [0])]),
        node('Transpose', ['q'], 'k', [intsAttribute('perm', [0, 1, 3, 2])]),
        node('MatMul', ['q', 'k'], 's'),
        node('Add', ['s', 'mask'], 'm'),
        node('Softmax', ['m'], 'p', [intAttribute('axis', -1)]),
        node('MatMul', ['p', 'x'], 'y'),
      ],
      constants: [constantOf(random, 'mask', [2, 1, 7, 7])],
      runs: { ReduceMax: 1, Attention: 1 },
    },
    {
      name: 'no attention: another axis, scores that are wanted, a quotient by the scores',
      nodes: [
        node('Transpose', ['x'], 'k', [intsAttribute('perm', [0, 1, 3, 2])]),
        node('MatMul', ['x', 'k'], 's'),
        node('Softmax', ['s'], 'p', [intAttribute('axis', 2)]),
        node('MatMul', ['p', 'x'], 'o'),
        node('MatMul', ['o', 'k'], 't'),
        node('Softmax', ['t'], 'r', [intAttribute('axis', -1)]),
        node('MatMul', ['r', 'o'], 'u'),
        node('ReduceSum', ['t'], 'w'),
        node('Add', ['u', 'w'], 'z'),
        node('MatMul', ['z', 'k'], 'n'),
        node('Exp', ['n'], 'e'),
        node('Div', ['one', 'e'], 'v'),
        node('Softmax', ['v'], 'g', [intAttribute('axis', -1)]),
        node('MatMul', ['g', 'z'], 'y'),
      ],
      constants: [scalar('one', 1)],
      runs: { Transpose: 1, MatMul: 6, Softmax: 3, ReduceSum: 1, Add: 1, Exp: 1, Div: 1 },
    },
    {
      name: 'nothing that is wanted elsewhere is taken away',
      nodes: [
        node('Conv', ['x', 'w', 'b'], 'c', [pads(1)]),
        node('Relu', ['c'], 'r'),
        node('Add', ['c', 'r'], 's'),
        node('Identity', ['s'], 'i'),
        node('Relu', ['i'], 'y'),
      ],
      constants: conv,
      runs: { Conv: 1, Relu: 2, Add: 1 },
    },
  ];
}

test(seeded('rewrites: each where it should be, and the values stay'), async (t) => {
  const runtime = await makeRuntime();
  const random = new Random(621);
  for (const { name, nodes, constants, runs } of cases(random)) {
    const bytes = modelOf(nodes, [edge('x', SHAPE)], edge('y', []), constants);
    const x = new Tensor('float32', random.floats(420, 2), SHAPE);
    const [all, none] = [await resultAt(bytes, x, 'all', runtime), await resultAt(bytes, x, 'none', runtime)];
    t.deepEqual([...all.dims], [...none.dims], name);
    t.equal(
      valuesFault(all.data as Float32Array, none.data as Float32Array, 16, 1e-4),
      undefined,
      'the same values',
    );
    t.deepEqual((await inspectModel(bytes)).optimised, runs, Object.keys(runs).join(', '));
  }
  await runtime.close();
});

/** Chains of factors and summands around convolutions with groups, padding, and transposed ones. */
test(seeded('rewrites: what is folded into filters, at random'), async (t) => {
  const runtime = await makeRuntime();
  const random = new Random(622);
  const faults: string[] = [];
  for (let turn = 0; turn < 60; turn++) {
    const nodes: Field[] = [];
    const constants: Field[] = [];
    let [last, made] = ['x', 0];
    const said: string[] = [];
    const affine = () => {
      const op = random.pick(['Mul', 'Add', 'Div', 'Sub']);
      const name = `k${made}`;
      const dims = random.pick([[], [1], [6, 1, 1], [1, 6, 1, 1]]);
      const count = dims.reduce((x, y) => x * y, 1);
      constants.push(
        initializer(
          edge(name, dims),
          random.floats(count).map((v) => v + Math.sign(v) * 0.5),
        ),
      );
      // a constant over what may be next to nothing would say more of rounding than of folding
      const inputs = op !== 'Div' && random.chance(0.3) ? [name, last] : [last, name];
      nodes.push(node(op, inputs, `v${made}`));
      said.push(`${op}${inputs[0] === name ? ' reversed' : ''} [${dims}]`);
      last = `v${made++}`;
    };
    const convolve = () => {
      const isTransposed = random.chance(0.25);
      const groups = random.pick([1, 2, 6]);
      const pad = random.int(0, 1);
      constants.push(
        constantOf(random, `w${made}`, [6, 6 / groups, 3, 3]),
        constantOf(random, `b${made}`, [6]),
      );
      const inputs = [last, `w${made}`, ...(random.chance(0.5) ? [`b${made}`] : [])];
      const op = isTransposed ? 'ConvTranspose' : 'Conv';
      nodes.push(node(op, inputs, `v${made}`, [pads(pad), intAttribute('group', groups)]));
      said.push(`${op} g${groups} p${pad}`);
      last = `v${made++}`;
    };
    for (let i = 0; i < 2; i++) {
      for (let k = 0; k < random.int(0, 2); k++) affine();
      convolve();
      for (let k = 0; k < random.int(0, 2); k++) affine();
      if (random.chance(0.4)) {
        nodes.push(node('Relu', [last], `v${made}`));
        last = `v${made++}`;
      }
    }
    nodes.push(node('Identity', [last], 'y'));
    const bytes = modelOf(nodes, [edge('x', [1, 6, 9, 8])], edge('y', []), constants);
    const x = new Tensor('float32', random.floats(432), [1, 6, 9, 8]);
    const [all, none] = [await resultAt(bytes, x, 'all', runtime), await resultAt(bytes, x, 'none', runtime)];
    const most = (none.data as Float32Array).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const wrong = valuesFault(all.data as Float32Array, none.data as Float32Array, 16, 1e-5 * most);
    if (wrong) faults.push(`${said.join(', ')}: ${wrong}`);
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
});

test('rewrites: none before opset 7, where arrays broadcast in another way', async (t) => {
  const random = new Random(977);
  // as many rows as columns: by the newer rule the summand would be one for each column
  const bytes = modelOf(
    [
      node('MatMul', ['x', 'w'], 'c'),
      node('Add', ['c', 'b'], 'y', [intAttribute('axis', 0), intAttribute('broadcast', 1)]),
    ],
    [edge('x', [3, 4])],
    [edge('y', [3, 3])],
    [constantOf(random, 'w', [4, 3]), initializer(edge('b', [3]), Float32Array.of(10, 20, 30))],
    6,
  );
  t.deepEqual((await inspectModel(bytes)).optimised, { MatMul: 1, Add: 1 }, 'left as they are');
  const session = await InferenceSession.create(bytes, { threads: 1 });
  const { y } = await session.run({ x: new Tensor('float32', new Float32Array(12), [3, 4]) });
  t.deepEqual(
    [...(y!.data as Float32Array)],
    [10, 20, 30].flatMap((b) => [b, b, b]),
  );
  await session.release();
});
