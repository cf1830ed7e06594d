/** Functions that exporters write as several nodes. */
import type { Attribute, GraphNode } from '../model/types.ts';
import { type Editor, floatOf, intOf, intsOf } from './editor.ts';

const NONE: ReadonlyMap<string, Attribute> = new Map();

function near(value: number | undefined, wanted: number): boolean {
  return value !== undefined && Math.abs(value - wanted) <= 1e-5 * Math.max(1, Math.abs(wanted));
}

/** The operand of a node of two that is not constant, and the number that the other is. */
export function withNumber(editor: Editor, node: GraphNode): { name: string; number: number } | undefined {
  const [a, b] = node.inputs as [string, string];
  const [left, right] = [editor.scalar(a), editor.scalar(b)];
  if (right !== undefined && editor.constant(a) === undefined) return { name: a, number: right };
  if (left !== undefined && editor.constant(b) === undefined) return { name: b, number: left };
  return undefined;
}

export function made(node: GraphNode, op: string, inputs: readonly string[], attributes = NONE): GraphNode {
  return { name: node.name, op, domain: '', inputs, outputs: [node.outputs[0]!], attributes };
}

/** The other operand of a node of two. */
export function other({ inputs }: GraphNode, name: string): string | undefined {
  if (inputs.length !== 2) return undefined;
  return inputs[0] === name ? inputs[1] : inputs[1] === name ? inputs[0] : undefined;
}

function boundsOf(editor: Editor, clip: GraphNode): readonly [number | undefined, number | undefined] {
  const bound = (at: number, name: string) =>
    clip.inputs[at] ? editor.scalar(clip.inputs[at]) : floatOf(clip, name, Number.NaN);
  return [bound(1, 'min'), bound(2, 'max')];
}

/** The x of clip(x + 3, 0, 6). */
function shiftedClip(editor: Editor, name: string): { x: string; gone: GraphNode[] } | undefined {
  const clip = editor.only(name, 'Clip');
  if (!clip) return undefined;
  const [low, high] = boundsOf(editor, clip);
  const add = near(low, 0) && near(high, 6) ? editor.only(clip.inputs[0], 'Add') : undefined;
  const operand = add && withNumber(editor, add);
  return operand && near(operand.number, 3) ? { x: operand.name, gone: [clip, add] } : undefined;
}

/** x clip(x + 3, 0, 6) / 6, and x hardSigmoid(x) with its slope of a sixth (Howard et al., "Searching for MobileNetV3", 2019). */
export function findHardSwish(editor: Editor, node: GraphNode): boolean {
  if (node.op === 'Mul') {
    for (const name of node.inputs) {
      const gate = editor.only(name, 'HardSigmoid');
      if (!gate || gate.inputs[0] !== other(node, name)) continue;
      if (!near(floatOf(gate, 'alpha', 0.2), 1 / 6) || !near(floatOf(gate, 'beta', 0.5), 0.5)) continue;
      editor.replace(node, made(node, 'HardSwish', [gate.inputs[0]!]), gate);
      return true;
    }
  }
  const last = node.op === 'Div' || node.op === 'Mul' ? withNumber(editor, node) : undefined;
  if (!last || node.inputs[0] !== last.name) return false;
  if (!near(last.number, node.op === 'Div' ? 6 : 1 / 6)) return false;
  const product = editor.only(last.name, 'Mul');
  for (const name of product?.inputs ?? []) {
    const found = shiftedClip(editor, name);
    if (!found || found.x !== other(product!, name)) continue;
    editor.replace(node, made(node, 'HardSwish', [found.x]), product!, ...found.gone);
    return true;
  }
  return false;
}

/** x sigmoid(x). */
export function findSilu(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Mul') return false;
  for (const name of node.inputs) {
    const gate = editor.only(name, 'Sigmoid');
    if (!gate || gate.inputs[0] !== other(node, name)) continue;
    editor.replace(node, made(node, 'Swish', [gate.inputs[0]!]), gate);
    return true;
  }
  return false;
}

/** x (erf(x / sqrt 2) + 1) / 2, in the orders in which it is written. */
export function findGelu(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Mul') return false;
  const chain = halfOf(editor, node);
  if (!chain) return false;
  const { x, plusOne, gone } = chain;
  const add = editor.only(plusOne, 'Add');
  const sum = add && withNumber(editor, add);
  const erf = sum && near(sum.number, 1) ? editor.only(sum.name, 'Erf') : undefined;
  const scaled = erf && editor.only(erf.inputs[0], 'Div', 'Mul');
  const inner = scaled && withNumber(editor, scaled);
  if (!inner || inner.name !== x) return false;
  if (!near(inner.number, scaled.op === 'Div' ? Math.SQRT2 : Math.SQRT1_2)) return false;
  editor.replace(node, made(node, 'Gelu', [x]), ...gone, add!, erf!, scaled);
  return true;
}

/** Of x, a half and 1 + erf multiplied in any order: x and the sum. */
function halfOf(
  editor: Editor,
  node: GraphNode,
): { x: string; plusOne: string; gone: GraphNode[] } | undefined {
  const last = withNumber(editor, node);
  if (last && near(last.number, 0.5)) {
    const product = editor.only(last.name, 'Mul');
    for (const name of product?.inputs ?? [])
      if (editor.only(name, 'Add')) return { x: other(product!, name)!, plusOne: name, gone: [product!] };
    return undefined;
  }
  for (const name of node.inputs) {
    const half = editor.only(name, 'Mul');
    const operand = half && withNumber(editor, half);
    const rest = other(node, name);
    if (operand && near(operand.number, 0.5) && rest) return { x: operand.name, plusOne: rest, gone: [half] };
  }
  return undefined;
}

/** A mean over the last axis. */
function isLastMean(editor: Editor, node: GraphNode | undefined): node is GraphNode {
  if (node?.op !== 'ReduceMean' || intOf(node, 'keepdims', 1) !== 1) return false;
  const axes = intsOf(node, 'axes') ?? Array.from(editor.constant(node.inputs[1])?.data ?? []);
  return axes.length === 1 && axes[0] === -1;
}

/** The root of mean((x - mean x)^2) + epsilon, and what it is made of. */
function deviation(editor: Editor, name: string | undefined, centred: string) {
  const root = editor.only(name, 'Sqrt');
  const add = root && editor.only(root.inputs[0], 'Add');
  const operand = add && withNumber(editor, add);
  const mean = operand && editor.only(operand.name, 'ReduceMean');
  if (!isLastMean(editor, mean)) return undefined;
  const square = editor.only(mean.inputs[0], 'Pow', 'Mul');
  const isSquare =
    square?.inputs[0] === centred &&
    (square.op === 'Pow' ? near(editor.scalar(square.inputs[1]), 2) : square.inputs[1] === centred);
  return isSquare ? { epsilon: operand!.number, gone: [root!, add!, mean, square!] } : undefined;
}

/** Layer normalisation over the last axis with factors and summands that are constant. */
export function findLayerNorm(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Add') return false;
  const isLine = (name: string | undefined) => editor.constant(name)?.shape.length === 1;
  const bias = node.inputs.find(isLine);
  const scaled = bias === undefined ? undefined : editor.only(other(node, bias), 'Mul');
  const scale = scaled?.inputs.find(isLine);
  const quotient = scale === undefined ? undefined : editor.only(other(scaled!, scale), 'Div');
  const centring = quotient && editor.maker(quotient.inputs[0]);
  if (centring?.op !== 'Sub') return false;
  const [x, meanName] = centring.inputs as [string, string];
  const mean = editor.only(meanName, 'ReduceMean');
  if (!isLastMean(editor, mean) || mean.inputs[0] !== x) return false;
  const [centred] = centring.outputs as [string];
  const found = deviation(editor, quotient!.inputs[1], centred);
  if (!found) return false;
  const own = new Set([quotient!, ...found.gone]);
  if (editor.isOutput(centred) || !editor.readers(centred).every((reader) => own.has(reader))) return false;
  const attributes = new Map<string, Attribute>([
    ['axis', { kind: 'int', value: -1 }],
    ['epsilon', { kind: 'float', value: found.epsilon }],
  ]);
  const norm = made(node, 'LayerNormalization', [x, scale!, bias!], attributes);
  editor.replace(node, norm, scaled!, quotient!, centring, mean, ...found.gone);
  return true;
}

/** x + x g is x (1 + g): a gate for each channel is small where x is an image. */
export function findSqueeze(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Add' || node.inputs.length !== 2) return false;
  for (const name of node.inputs) {
    const product = editor.only(name, 'Mul');
    const x = other(node, name);
    const gate = product && x !== undefined ? other(product, x) : undefined;
    const maker = editor.only(gate, 'HardSigmoid', 'Sigmoid');
    if (!product || !maker || gate === undefined) continue;
    const one = editor.addConstant({ type: 'float32', shape: [], data: Float32Array.of(1) });
    // the product's own name now stands for 1 + g
    const shifted = { ...made(product, 'Add', [gate, one]), outputs: product.outputs };
    editor.replace(product, shifted);
    editor.replace(node, made(node, 'Mul', [x!, product.outputs[0]!]));
    return true;
  }
  return false;
}
