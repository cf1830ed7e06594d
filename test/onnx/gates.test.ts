/** Gates of channels before convolutions: found where they are, filters scaled where those are small, and the values stay. */
import test from 'tape';
import { intAttribute, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { inspectModel } from '../../src/onnx/inspect.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { valuesFault } from '../support/arrays.ts';
import { constantOf, edge, type Field, modelOf, resultAt } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** An image [batch, 12, 7, 9] gated by its channels' means, `m`, and convolved: the nodes from the mean on. */
function gatedBy(mean: Field, gate: readonly Field[], product: Field, conv: Field): Field[] {
  return [node('Relu', ['x'], 'r'), mean, ...gate, product, conv];
}

interface Gated {
  readonly name: string;
  readonly nodes: readonly Field[];
  /** Extents of what the gate is multiplied with where there is one image. */
  readonly scales: string;
  /** Whether the convolution takes the gate in. */
  readonly joined: boolean;
}

function casesOf(): readonly Gated[] {
  const mean = node('GlobalAveragePool', ['r'], 'm');
  const alongRows = node('ReduceMean', ['r'], 'm', [intsAttribute('axes', [3])]);
  const excited = [
    node('Conv', ['m', 's', 'sb'], 'p'),
    node('Relu', ['p'], 'q'),
    node('Conv', ['q', 'e'], 'u'),
    node('HardSigmoid', ['u'], 'g'),
  ];
  const squeezed = [node('Sigmoid', ['m'], 'g')];
  const product = node('Mul', ['r', 'g'], 'v');
  const turned = node('Mul', ['g', 'r'], 'v');
  const pixel = node('Conv', ['v', 'few', 'b'], 'y');
  const withSum = [
    node('Conv', ['v', 'same', 'b2'], 'c'),
    node('Add', ['c', 'r'], 'd'),
    node('Relu', ['d'], 'y'),
  ];
  return [
    { name: 'scaled filters', nodes: gatedBy(mean, excited, product, pixel), scales: '2x12', joined: true },
    { name: 'the gate first', nodes: gatedBy(mean, squeezed, turned, pixel), scales: '2x12', joined: true },
    {
      name: 'a residual and an activation',
      nodes: [...gatedBy(mean, squeezed, product, withSum[0]!), ...withSum.slice(1)],
      scales: '12x12',
      joined: true,
    },
    {
      name: 'more filters than pixels',
      nodes: gatedBy(mean, excited, product, node('Conv', ['v', 'many'], 'y')),
      scales: '12x63',
      joined: true,
    },
    {
      name: 'filters of 3x3',
      nodes: gatedBy(
        mean,
        squeezed,
        product,
        node('Conv', ['v', 'nine'], 'y', [intsAttribute('pads', [1, 1, 1, 1])]),
      ),
      scales: '12x63',
      joined: true,
    },
    {
      name: 'a gate of rows',
      nodes: gatedBy(alongRows, squeezed, product, pixel),
      scales: '84x9',
      joined: true,
    },
    {
      name: 'groups',
      nodes: gatedBy(mean, squeezed, product, node('Conv', ['v', 'halves'], 'y', [intAttribute('group', 2)])),
      scales: '12x63',
      joined: false,
    },
    {
      name: 'the means of another image',
      nodes: gatedBy(node('GlobalAveragePool', ['x'], 'm'), squeezed, product, pixel),
      scales: '12x63',
      joined: false,
    },
    {
      name: 'a product that is wanted elsewhere',
      nodes: [
        ...gatedBy(mean, squeezed, product, node('Conv', ['v', 'same'], 'c')),
        node('Add', ['v', 'c'], 'y'),
      ],
      scales: '12x63',
      joined: false,
    },
  ];
}

function constantsOf(random: Random): readonly Field[] {
  const filters = { few: [2, 12, 1, 1], many: [90, 12, 1, 1], same: [12, 12, 1, 1], nine: [2, 12, 3, 3] };
  const gates = { s: [3, 12, 1, 1], sb: [3], e: [12, 3, 1, 1] };
  const all = { ...filters, ...gates, halves: [4, 6, 1, 1], b: [2], b2: [12] };
  return Object.entries(all).map(([name, dims]) => constantOf(random, name, dims));
}

test(seeded('gates of channels go into convolutions'), async (t) => {
  const runtime = await makeRuntime();
  const random = new Random(981);
  const constants = constantsOf(random);
  for (const { name, nodes, scales, joined } of casesOf()) {
    const bytes = modelOf(nodes, [edge('x', [0, 12, 7, 9])], edge('y', []), constants);
    const { optimised } = await inspectModel(bytes);
    t.equal(
      Object.keys(optimised).some((op) => op.startsWith('Mul + Conv')),
      joined,
      `${name}: ${Object.keys(optimised).join(', ')}`,
    );
    for (const batch of [1, 3]) {
      const x = new Tensor('float32', random.floats(batch * 756, 2), [batch, 12, 7, 9]);
      const [all, none] = [
        await resultAt(bytes, x, 'all', runtime),
        await resultAt(bytes, x, 'none', runtime),
      ];
      const wrong = valuesFault(all.data as Float32Array, none.data as Float32Array, 16, 1e-5);
      t.equal(wrong, undefined, `batch ${batch}: the same values`);
      if (batch > 1) continue;
      const session = await InferenceSession.create(bytes, { runtime });
      const steps = (await session.explain({ x })).map(({ problem }) => problem);
      t.ok(
        steps.some((key) => key.startsWith(`map mul f32 ${scales} `)),
        `${scales}: ${steps.join(', ')}`,
      );
      await session.release();
    }
  }
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
});
