/** Branches that do not need one another: grouped, computed by several threads at the same time, and the same to the bit. */
import test from 'tape';
import { initializer, intsAttribute, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { noExternal } from '../../src/onnx/external.ts';
import { abreast } from '../../src/onnx/graph/abreast.ts';
import { schedule } from '../../src/onnx/graph/run.ts';
import { readModel } from '../../src/onnx/model/read.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { edge, type Field, modelOf } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const DIMS = [1, 6, 17, 13];

/** Some functions of some earlier values each, so that branches part and meet again. */
function branching(random: Random): Uint8Array {
  const made = ['x'];
  const nodes: Field[] = [];
  for (let i = 0; i < random.int(6, 20); i++) {
    const name = `v${i}`;
    const from = () => random.pick(made.slice(-4));
    const kernel = [intsAttribute('kernel_shape', [3, 3]), intsAttribute('pads', [1, 1, 1, 1])];
    const kind = random.int(0, 6);
    if (kind === 0) nodes.push(node('MaxPool', [from()], name, kernel));
    else if (kind === 1) nodes.push(node('Add', [from(), from()], name));
    else if (kind === 2) nodes.push(node('Sigmoid', [from()], name));
    else if (kind === 3) nodes.push(node('AveragePool', [from()], name, kernel));
    else if (kind === 4) nodes.push(node('Mul', [from(), from()], name));
    // these pack, each into space of its own
    else nodes.push(node('Conv', [from(), 'w'], name, kernel));
    made.push(name);
  }
  const outputs = made.slice(1).filter((_, i) => i % 3 === 0 || i === made.length - 2);
  return modelOf(
    nodes,
    [edge('x', DIMS)],
    outputs.map((name) => edge(name, DIMS)),
    [initializer(edge('w', [6, 6, 3, 3]), random.floats(324))],
  );
}

test('groups: nodes near one another of which none needs another', (t) => {
  const groupsOf = (nodes: readonly Field[]) => {
    const { graph } = readModel(modelOf(nodes, [edge('x', [1])], [edge('y', [1])]), noExternal);
    return abreast(graph.nodes).map((group) => group.map(({ outputs }) => outputs[0]));
  };
  const relu = (from: string, to: string) => node('Relu', [from], to);
  t.deepEqual(groupsOf([relu('x', 'a'), relu('a', 'y')]), [['a'], ['y']], 'a chain');
  t.deepEqual(
    groupsOf([relu('x', 'a'), relu('a', 'b'), relu('x', 'c'), relu('c', 'd'), node('Add', ['b', 'd'], 'y')]),
    [['a', 'c'], ['b', 'd'], ['y']],
    'branches that were listed one after the other',
  );
  const { graph } = readModel(
    modelOf(
      [relu('x', 'a'), relu('a', 'b'), relu('x', 'c'), relu('c', 'd'), node('Add', ['b', 'd'], 'y')],
      [edge('x', [1])],
      [edge('y', [1])],
    ),
    noExternal,
  );
  t.deepEqual(
    schedule(graph, abreast(graph.nodes)).last,
    [[], ['x'], [], ['a', 'c'], ['b', 'd']],
    'what one of a group reads last is there until all are done',
  );
  const far = Array.from({ length: 20 }, (_, i) => relu(i === 0 ? 'x' : `n${i - 1}`, `n${i}`));
  const groups = groupsOf([...far, relu('x', 'late'), node('Add', ['n19', 'late'], 'y')]);
  t.ok(groups.findIndex((group) => group.includes('late')) >= 4, 'not much before its place');
  t.deepEqual(
    groupsOf(Array.from({ length: 6 }, (_, i) => relu('x', `m${i}`))).map((group) => group.length),
    [4, 2],
    'a few at once',
  );
  t.end();
});

test(seeded('branches: the same to the bit on one thread and on three'), async (t) => {
  const random = new Random(952);
  const [alone, together] = [
    await makeRuntime({ threads: 1, numerics: 'exact' }),
    await makeRuntime({ threads: 3, numerics: 'exact' }),
  ];
  let faults = 0;
  for (let turn = 0; turn < 25; turn++) {
    const bytes = branching(random);
    const x = () => new Tensor('float32', random.floats(6 * 17 * 13), DIMS);
    const feeds = [x(), x(), x()];
    const results = async (runtime: typeof alone) => {
      const session = await InferenceSession.create(bytes, { runtime });
      const all: Record<string, unknown>[] = [];
      for (const one of feeds)
        all.push(
          Object.fromEntries(
            Object.entries(await session.run({ x: one })).map(([key, { data }]) => [key, data]),
          ),
        );
      await session.release();
      return all;
    };
    const [one, three] = [await results(alone), await results(together)];
    if (JSON.stringify(one) !== JSON.stringify(three)) faults++;
  }
  t.equal(faults, 0);
  for (const runtime of [alone, together]) {
    t.equal(runtime.memory().tensors, 0, 'nothing is kept');
    await runtime.close();
  }
});

test('branches: a profile says of each call what it took itself', async (t) => {
  const runtime = await makeRuntime({ threads: 2 });
  const random = new Random(953);
  // a product of two phases, between which the other call's only step is claimed
  const session = await InferenceSession.create(
    modelOf(
      [node('MatMul', ['x', 'y'], 'large'), node('Relu', ['s'], 'small')],
      [edge('x', [256, 512]), edge('y', [512, 256]), edge('s', [1, 64])],
      [edge('large', [256, 256]), edge('small', [1, 64])],
    ),
    { runtime },
  );
  const feeds = {
    x: new Tensor('float32', random.floats(256 * 512), [256, 512]),
    y: new Tensor('float32', random.floats(256 * 512), [512, 256]),
    s: new Tensor('float32', random.floats(64), [1, 64]),
  };
  await session.run(feeds);
  const { spans } = await runtime.profile(() => session.run(feeds));
  const stepsOf = (name: string) => {
    const op = spans.find((span) => span.kind === 'op' && span.name === name)!;
    return spans.filter((span) => span.kind === 'step' && span.op === op.op);
  };
  const [large, small] = [stepsOf('matmul'), stepsOf('map')];
  const tiles = large.filter(({ name }) => name === 'tile');
  t.ok(tiles.length < large.length && small.length === 1, 'phases');
  const end = (span: { startMs: number; ms: number }) => span.startMs + span.ms;
  // a phase begins when all of the one before is done, the other call's step included
  const begin = Math.min(...tiles.map(({ startMs }) => startMs)) + 0.05;
  t.ok(end(small[0]!) <= begin, 'the small one goes before the tiles');
  const packed = large.filter(({ name }) => name !== 'tile');
  t.ok(Math.max(...packed.map(end)) <= begin, 'in order');
  await session.release();
  await runtime.close();
});
