/** What a product or a convolution does in its last pass: bias, another tensor of the result's shape, an activation. */
import type { Attribute, GraphNode } from '../model/types.ts';
import { ACTIVATION, AFFINE_HARD_SWISH, P0, P1 } from '../operators/fused.ts';
import { type Editor, floatOf, intOf, withAttributes } from './editor.ts';
import { other, withNumber } from './patterns.ts';

const PRODUCTS = ['Conv', 'ConvTranspose', 'MatMul', 'Gemm'] as const;

/** Activations by the operators that they are. */
const KINDS: Readonly<Record<string, string>> = {
  ...{ Relu: 'relu', Sigmoid: 'sigmoid', Tanh: 'tanh', HardSwish: 'hardSwish', Swish: 'silu', Gelu: 'gelu' },
  ...{ LeakyRelu: 'leakyRelu', HardSigmoid: 'hardSigmoid', Clip: 'clip' },
};

function numbersOf(editor: Editor, node: GraphNode): readonly [number, number] | undefined {
  switch (node.op) {
    case 'LeakyRelu':
      return [floatOf(node, 'alpha', 0.01), 0];
    case 'HardSigmoid':
      return [floatOf(node, 'alpha', 0.2), floatOf(node, 'beta', 0.5)];
    case 'Clip': {
      const bound = (at: number, name: string, none: number) =>
        node.inputs[at] ? editor.scalar(node.inputs[at]) : floatOf(node, name, none);
      const low = bound(1, 'min', Number.NEGATIVE_INFINITY);
      const high = bound(2, 'max', Number.POSITIVE_INFINITY);
      return low === undefined || high === undefined || low > high ? undefined : [low, high];
    }
    case 'Gelu':
      return node.attributes.has('approximate') ? undefined : [0, 0];
    case 'Swish':
      return floatOf(node, 'alpha', 1) === 1 ? [0, 0] : undefined;
    default:
      return [0, 0];
  }
}

function isFinished(node: GraphNode): boolean {
  return node.attributes.has(ACTIVATION);
}

export function joinActivation(editor: Editor, node: GraphNode): boolean {
  const kind = KINDS[node.op];
  const product = kind === undefined ? undefined : editor.only(node.inputs[0], ...PRODUCTS);
  const numbers = product && !isFinished(product) ? numbersOf(editor, node) : undefined;
  if (!product || !numbers) return false;
  const value = (number: number): Attribute => ({ kind: 'float', value: number });
  const more = {
    [ACTIVATION]: { kind: 'string', value: kind! } as const,
    [P0]: value(numbers[0]),
    [P1]: value(numbers[1]),
  };
  const joined = withAttributes(product, more);
  editor.replace(node, { ...joined, outputs: [node.outputs[0]!] }, product);
  return true;
}

/** A number that what a convolution has joined is multiplied by, or that is added: where padding follows, it can go no further. */
export function joinAffine(editor: Editor, node: GraphNode): boolean {
  const operand = node.op === 'Mul' || node.op === 'Add' ? withNumber(editor, node) : undefined;
  const conv = editor.only(operand?.name, 'Conv', 'ConvTranspose');
  const kind = conv?.attributes.get(ACTIVATION);
  if (!operand || !conv || kind?.kind !== 'string' || conv.inputs.length > 3) return false;
  const isPlain = kind.value === 'hardSwish';
  if (!(isPlain || kind.value === AFFINE_HARD_SWISH) || !Number.isFinite(operand.number)) return false;
  // a number with more extents than the image would widen the result
  const number = editor.constant(node.inputs.find((name) => name !== operand.name))!;
  if (number.shape.length > (editor.constant(conv.inputs[1])?.shape.length ?? 0)) return false;
  const [scale, shift] = isPlain ? [1, 0] : [floatOf(conv, P0, 1), floatOf(conv, P1, 0)];
  const [factor, summand] = node.op === 'Mul' ? [operand.number, 0] : [1, operand.number];
  const joined = withAttributes(conv, {
    [ACTIVATION]: { kind: 'string', value: AFFINE_HARD_SWISH },
    [P0]: { kind: 'float', value: scale * factor },
    [P1]: { kind: 'float', value: shift * factor + summand },
  });
  editor.replace(node, { ...joined, outputs: [node.outputs[0]!] }, conv);
  return true;
}

/** A line of constants added to a product of matrices. */
export function joinBias(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Add') return false;
  const bias = node.inputs.find((name) => editor.constant(name)?.shape.length === 1);
  const product =
    bias === undefined
      ? undefined
      : editor.only(
          node.inputs.find((name) => name !== bias),
          'MatMul',
        );
  const right = editor.constant(product?.inputs[1]);
  if (product?.inputs.length !== 2 || isFinished(product)) return false;
  // the bias has an element for each column, or it would widen the result
  if (right?.shape.length !== 2 || editor.constant(bias)!.shape[0] !== right.shape[1]) return false;
  editor.replace(
    node,
    { ...product, inputs: [...product.inputs, bias!], outputs: [node.outputs[0]!] },
    product,
  );
  return true;
}

/** The sum of a convolution and another tensor: the one that is made later takes the other in. */
export function joinResidual(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Add' || node.inputs.length !== 2) return false;
  const [a, b] = node.inputs.toSorted((x, y) => editor.placeOf(y) - editor.placeOf(x)) as [string, string];
  for (const [name, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const conv = editor.only(name, 'Conv');
    if (!conv || isFinished(conv) || conv.inputs.length > 3 || editor.constant(other) || name === other)
      continue;
    const inputs = [conv.inputs[0]!, conv.inputs[1]!, conv.inputs[2] ?? '', other];
    editor.replace(node, { ...conv, inputs, outputs: [node.outputs[0]!] }, conv);
    return true;
  }
  return false;
}

/** Whether all elements of a value are 0, whatever its shape. */
function isZeros(editor: Editor, name: string): boolean {
  const constant = editor.constant(name);
  if (constant) return constant.type === 'float32' && constant.data.every((one) => Object.is(one, 0));
  const maker = editor.maker(name);
  if (maker?.op !== 'ConstantOfShape') return false;
  const value = maker.attributes.get('value');
  return value === undefined || (value.kind === 'tensor' && Object.is(value.value.data[0], 0));
}

/**
 * An image that is given further channels of zeros before it is added to what a convolution makes: the convolution takes both in, and adds the
 * image alone. So networks widen whose blocks add what came in (BlazeFace: Bazarevsky et al., 2019).
 */
export function joinZeros(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Conv' || node.inputs.length > 5) return false;
  const wide = editor.only(node.inputs[3], 'Concat');
  const [image, zeros, ...more] = wide?.inputs ?? [];
  if (!wide || !image || !zeros || more.length > 0 || intOf(wide, 'axis', 1) !== 1) return false;
  if (editor.constant(image) || !isZeros(editor, zeros)) return false;
  const [x, weights, bias = '', , gate = ''] = node.inputs as [string, string, string?, string?, string?];
  editor.replace(node, { ...node, inputs: [x, weights, bias, image, gate, zeros] }, wide);
  return true;
}

/** What lies between the mean of each channel and the gate that follows from it. */
const BETWEEN_GATE: ReadonlySet<string> = new Set([
  ...['Conv', 'Add', 'Mul', 'Identity', 'Reshape', 'Unsqueeze', 'Squeeze', 'Gemm', 'MatMul', 'Flatten'],
  ...Object.keys(KINDS),
]);
const MOST_BETWEEN = 16;

/** Whether a value follows from the means of an image's channels, and from constants. */
function isGateOf(editor: Editor, gate: string, image: string): boolean {
  let name: string | undefined = gate;
  for (let step = 0; step < MOST_BETWEEN; step++) {
    const maker = editor.maker(name);
    if (!maker) return false;
    if (maker.op === 'GlobalAveragePool' || maker.op === 'ReduceMean') return maker.inputs[0] === image;
    if (!BETWEEN_GATE.has(maker.op)) return false;
    name = maker.inputs.find((input) => input !== '' && !editor.constant(input));
  }
  return false;
}

/**
 * An image whose channels are gated before a convolution (squeeze and excitation: Hu et al., 2018): the convolution takes the gate in, and scales
 * its filters by it in place of the image where they are smaller.
 */
export function joinGate(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Conv' || node.inputs.length > 4 || intOf(node, 'group', 1) !== 1) return false;
  const product = editor.only(node.inputs[0], 'Mul');
  if (!product || editor.constant(node.inputs[1])?.type !== 'float32') return false;
  const gate = product.inputs.find((name) => {
    const image = other(product, name);
    return image !== undefined && image !== name && isGateOf(editor, name, image);
  });
  if (gate === undefined) return false;
  const [, weights, bias = '', residual = ''] = node.inputs as [string, string, string?, string?];
  const inputs = [other(product, gate)!, weights, bias, residual, gate];
  editor.replace(node, { ...node, inputs }, product);
  return true;
}
