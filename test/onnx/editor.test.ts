/** A graph that is being rewritten: what is known of it after each change is what a look at all of it says. */
import test from 'tape';
import { Editor } from '../../src/onnx/graph/editor.ts';
import type { Attribute, Graph, GraphNode } from '../../src/onnx/model/types.ts';
import { Random, seeded } from '../support/seed.ts';

function made(op: string, inputs: readonly string[], outputs: readonly string[], inner?: Graph): GraphNode {
  const attributes = new Map<string, Attribute>(inner ? [['body', { kind: 'graph', value: inner }]] : []);
  return { op, name: outputs[0]!, domain: '', inputs, outputs, attributes };
}

function graphOf(nodes: readonly GraphNode[], inputs: readonly string[], outputs: readonly string[]): Graph {
  const named = (name: string) => ({ name, type: 'float32' as const, shape: undefined });
  return { name: 'g', nodes, inputs: inputs.map(named), outputs: outputs.map(named), constants: new Map() };
}

/** Nodes of one to three inputs, some with two results, some that read from within. */
function randomGraph(random: Random): Graph {
  const known = ['x'];
  const nodes = Array.from({ length: random.int(1, 14) }, (_, i) => {
    const inputs = Array.from({ length: random.int(1, 3) }, () =>
      random.chance(0.1) ? '' : random.pick(known),
    );
    const outputs = random.chance(0.2) ? [`v${i}`, `u${i}`] : [`v${i}`];
    const inner = random.chance(0.15)
      ? graphOf([made('Neg', [random.pick(known)], ['i'])], [], ['i'])
      : undefined;
    known.push(...outputs);
    return made(`op${i}`, inputs, outputs, inner);
  });
  return graphOf(nodes, ['x'], [`v${nodes.length - 1}`, random.pick(known.slice(1))]);
}

/** What the editor says that a look at all nodes does not. */
function faultOf(editor: Editor): string | undefined {
  const { nodes } = editor;
  const inside = (node: GraphNode) =>
    [...node.attributes.values()].flatMap((one) =>
      one.kind === 'graph' ? one.value.nodes.flatMap(({ inputs }) => inputs) : [],
    );
  const reads = (node: GraphNode) => [
    ...node.inputs,
    ...inside(node).filter((name) => !node.inputs.includes(name)),
  ];
  const names = new Set(
    nodes.flatMap((node) => [...node.outputs, ...reads(node)]).filter((name) => name !== ''),
  );
  for (const name of names) {
    const place = nodes.findIndex(({ outputs }) => outputs.includes(name));
    if (editor.maker(name) !== nodes[place]) return `the maker of ${name}`;
    const readers = nodes.flatMap((node) =>
      reads(node)
        .filter((one) => one === name)
        .map(() => node),
    );
    const said = editor.readers(name);
    if (said.length !== readers.length || said.some((node, i) => node !== readers[i]))
      return `readers of ${name}`;
  }
  const places = nodes.map(({ outputs }) => editor.placeOf(outputs[0]!));
  if (places.some((place, i) => i > 0 && place <= places[i - 1]!)) return `places ${places}`;
  return nodes.every((node) => editor.has(node)) ? undefined : 'a node that is not there';
}

test(seeded('an editor: makers, readers and places after changes at random'), (t) => {
  const random = new Random(631);
  const faults: string[] = [];
  let bypassed = 0;
  for (let turn = 0; turn < 300; turn++) {
    const editor = new Editor(randomGraph(random));
    const said: string[] = [];
    for (let change = 0; change < 8 && editor.nodes.length > 1; change++) {
      const before = editor.nodes;
      const node = random.pick(before);
      const kind = random.pick(['replace', 'join', 'bypass', 'prune', 'gone']);
      said.push(`${kind} ${node.op}`);
      if (kind === 'replace') editor.replace(node, { ...node, inputs: ['x', ...node.inputs.slice(1)] });
      if (kind === 'join') {
        const other = editor.maker(node.inputs[0]);
        if (other && other.outputs.length === 1 && editor.isReadOnce(other))
          editor.replace(node, { ...node, inputs: [...other.inputs, ...node.inputs.slice(1)] }, other);
      }
      if (kind === 'bypass' && node.outputs.length === 1) {
        const isDone = editor.bypass(node, node.inputs[0] || 'x');
        if (isDone && editor.readers(node.outputs[0]!).length > 0) faults.push('read after it was bypassed');
        if (isDone) bypassed++;
      }
      if (kind === 'prune') editor.prune();
      if (kind === 'gone') {
        editor.replace(node, { ...node });
        editor.replace(node, made('never', ['x'], ['never']));
        if (editor.has(node) || editor.maker('never')) faults.push('a node that had gone was replaced');
      }
      const fault = faultOf(editor);
      if (fault) faults.push(`${said.join(', ')}: ${fault}`);
      if (
        kind === 'prune' &&
        editor.nodes.some(({ outputs }) =>
          outputs.every((name) => !editor.isOutput(name) && editor.readers(name).length === 0),
        )
      )
        faults.push(`${said.join(', ')}: something dead is left`);
    }
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  t.ok(bypassed > 50, `${bypassed} nodes bypassed`);
  t.end();
});
