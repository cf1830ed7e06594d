/** Attention that exporters write as products, a scale, a mask and a softmax. */
import type { Attribute, GraphNode } from '../model/types.ts';
import { KEYS_TURNED } from '../operators/attention.ts';
import { type Editor, intOf, intsOf } from './editor.ts';
import { made, other, withNumber } from './patterns.ts';

interface Scores {
  readonly product: GraphNode;
  readonly scale: number;
  readonly gone: readonly GraphNode[];
}

/** The product of queries and keys under a name, and the number that it is multiplied with. */
function scaledProduct(editor: Editor, name: string | undefined): Scores | undefined {
  const scaled = editor.only(name, 'Mul', 'Div');
  const operand = scaled && withNumber(editor, scaled);
  if (!scaled || !operand) {
    const product = plainProduct(editor, name);
    return product && { product, scale: 1, gone: [product] };
  }
  if (operand.number === 0 || (scaled.op === 'Div' && scaled.inputs[0] !== operand.name)) return undefined;
  const product = plainProduct(editor, operand.name);
  const scale = scaled.op === 'Div' ? 1 / operand.number : operand.number;
  return product && { product, scale, gone: [product, scaled] };
}

function plainProduct(editor: Editor, name: string | undefined): GraphNode | undefined {
  const product = editor.only(name, 'MatMul');
  return product?.inputs.length === 2 && product.attributes.size === 0 ? product : undefined;
}

/** Scores, and what is added to them. */
function maskedScores(editor: Editor, name: string | undefined): (Scores & { mask?: string }) | undefined {
  const add = editor.only(name, 'Add');
  if (!add) return scaledProduct(editor, name);
  for (const input of add.inputs) {
    const scores = scaledProduct(editor, input);
    const mask = other(add, input);
    if (scores && mask !== undefined && mask !== input)
      return { ...scores, mask, gone: [...scores.gone, add] };
  }
  return undefined;
}

/** softmax(scale q k + mask) v of four extents: that keys were transposed says so. */
export function findAttention(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'MatMul' || node.inputs.length !== 2 || node.attributes.size > 0) return false;
  const softmax = editor.only(node.inputs[0], 'Softmax');
  // without a number it is another axis in old files
  if (!softmax || ![-1, 3].includes(intOf(softmax, 'axis', 1))) return false;
  const found = maskedScores(editor, softmax.inputs[0]);
  if (!found) return false;
  const { product, scale, mask, gone } = found;
  const [q, turned] = product.inputs as [string, string];
  const maker = editor.maker(turned);
  const order = maker?.op === 'Transpose' ? intsOf(maker, 'perm') : undefined;
  if (!maker || order?.length !== 4) return false;
  const isPlain = order.join() === '0,1,3,2';
  const attributes = new Map<string, Attribute>([
    ['scale', { kind: 'float', value: scale }],
    [KEYS_TURNED, { kind: 'int', value: isPlain ? 0 : 1 }],
  ]);
  const inputs = [
    q,
    isPlain ? maker.inputs[0]! : turned,
    node.inputs[1]!,
    ...(mask === undefined ? [] : [mask]),
  ];
  editor.replace(node, made(node, 'Attention', inputs, attributes), softmax, ...gone);
  return true;
}
