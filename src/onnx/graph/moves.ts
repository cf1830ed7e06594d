/** Nodes that only move elements: padding that a window has anyway, transposes that undo one another. */
import type { GraphNode } from '../model/types.ts';
import { type Editor, intsOf, withAttributes } from './editor.ts';

/** What a constant list says, or an attribute in older models. */
function listOf(
  editor: Editor,
  node: GraphNode,
  input: number,
  attribute: string,
): readonly number[] | undefined {
  const name = node.inputs[input];
  return name
    ? editor.constant(name)?.data && Array.from(editor.constant(name)!.data)
    : intsOf(node, attribute);
}

/** Zeros around an image, before and after its extents; undefined where other extents grow, or something else is filled in. */
function zerosAround(editor: Editor, pad: GraphNode, rank: number): readonly number[] | undefined {
  const mode = pad.attributes.get('mode');
  const value = pad.attributes.get('value');
  const isZero =
    (pad.inputs[2] ? editor.scalar(pad.inputs[2]) === 0 : true) &&
    (value?.kind !== 'float' || value.value === 0);
  if (!isZero || pad.inputs[3] || (mode?.kind === 'string' && mode.value !== 'constant')) return undefined;
  const all = listOf(editor, pad, 1, 'pads') ?? intsOf(pad, 'paddings');
  if (all?.length !== 2 * rank || all.some((one) => one < 0)) return undefined;
  const others = [0, 1, rank, rank + 1].map((at) => all[at]!);
  if (others.some((one) => one !== 0)) return undefined;
  return [...all.slice(2, rank), ...all.slice(rank + 2)];
}

/** Zeros before a convolution are its own padding. */
export function joinPad(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Conv') return false;
  const pad = editor.only(node.inputs[0], 'Pad');
  const auto = node.attributes.get('auto_pad');
  const rank = editor.constant(node.inputs[1])?.shape.length;
  if (!pad || rank === undefined || (auto?.kind === 'string' && !['NOTSET', 'VALID'].includes(auto.value)))
    return false;
  const zeros = zerosAround(editor, pad, rank);
  if (!zeros) return false;
  const own = auto?.kind === 'string' && auto.value === 'VALID' ? undefined : intsOf(node, 'pads');
  const pads = zeros.map((one, at) => one + (own?.[at] ?? 0));
  const { attributes } = withAttributes(node, {
    pads: { kind: 'ints', value: pads },
    auto_pad: { kind: 'string', value: 'NOTSET' },
  });
  editor.replace(node, { ...node, inputs: [pad.inputs[0]!, ...node.inputs.slice(1)], attributes }, pad);
  return true;
}

/** Functions of one element each, which do not mind where it is. */
const ELEMENTWISE: ReadonlySet<string> = new Set([
  ...[
    'Relu',
    'LeakyRelu',
    'Sigmoid',
    'Tanh',
    'HardSigmoid',
    'HardSwish',
    'Elu',
    'Selu',
    'Celu',
    'Softplus',
    'Softsign',
  ],
  ...[
    'Gelu',
    'Swish',
    'Mish',
    'Abs',
    'Neg',
    'Exp',
    'Log',
    'Sqrt',
    'Reciprocal',
    'Erf',
    'Floor',
    'Ceil',
    'Round',
    'Sign',
  ],
]);

/** Two transposes behind one another are one, or none; functions of elements between them come before both. */
export function joinTransposes(editor: Editor, node: GraphNode): boolean {
  const perm = node.op === 'Transpose' ? intsOf(node, 'perm') : undefined;
  if (!perm) return false;
  const between: GraphNode[] = [];
  let before = editor.only(node.inputs[0], 'Transpose', ...ELEMENTWISE);
  while (before && before.op !== 'Transpose') {
    between.unshift(before);
    before = editor.only(before.inputs[0], 'Transpose', ...ELEMENTWISE);
  }
  const first = before && intsOf(before, 'perm');
  if (!before || first?.length !== perm.length) return false;
  const both = perm.map((axis) => first[axis]!);
  const isNothing = both.every((axis, at) => axis === at);
  // moving functions to the front gains something only where both transposes go
  if (between.length > 0 && !isNothing) return false;
  const [x] = before.inputs as [string];
  if (!isNothing) {
    editor.replace(
      node,
      { ...withAttributes(node, { perm: { kind: 'ints', value: both } }), inputs: [x] },
      before,
    );
    return true;
  }
  const [head, last] = [between[0], between.at(-1)];
  if (!head || !last) {
    editor.replace(node, { ...node, op: 'Identity', inputs: [x], attributes: new Map() }, before);
    return true;
  }
  if (head === last)
    editor.replace(
      node,
      { ...last, inputs: [x, ...last.inputs.slice(1)], outputs: node.outputs },
      before,
      last,
    );
  else {
    editor.replace(head, { ...head, inputs: [x, ...head.inputs.slice(1)] }, before);
    editor.replace(node, { ...last, outputs: node.outputs }, last);
  }
  return true;
}
