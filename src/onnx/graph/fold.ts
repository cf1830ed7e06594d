/** Factors and summands for each channel that go into the constants of a convolution before or behind them. */
import { sizeOf } from '../../core/shape.ts';
import { LaterArray } from '../model/later.ts';
import type { ConstantArray, GraphNode } from '../model/types.ts';
import { type Editor, floatOf, intOf, intsOf } from './editor.ts';

/** y = factor x + summand, for each channel. */
interface Affine {
  readonly factor: Float64Array;
  readonly summand: Float64Array;
}

const LINEAR = ['Conv', 'ConvTranspose'] as const;
const AFFINE: ReadonlySet<string> = new Set(['Add', 'BatchNormalization', 'Div', 'Mul', 'Sub']);

/** Values for each channel of an image: one for all, or extents that are 1 but for the channels'. */
function channelValues(array: ConstantArray | undefined, channels: number): Float64Array | undefined {
  if (!array) return undefined;
  const { shape } = array;
  const count = sizeOf(shape);
  if (count === 1 && shape.length <= 4) return new Float64Array(channels).fill(array.data[0]!);
  const isByChannel = count === channels && shape.length >= 3 && shape.at(-3) === channels;
  // asked for only then: large constants are read from a file
  return isByChannel && shape.slice(-2).every((extent) => extent === 1)
    ? Float64Array.from(array.data)
    : undefined;
}

/** What a node does to the image `name`, if that is a factor or a summand for each channel. */
function affineOf(editor: Editor, node: GraphNode, name: string, channels: number): Affine | undefined {
  const ones = () => new Float64Array(channels).fill(1);
  const zeros = () => new Float64Array(channels);
  if (node.op === 'BatchNormalization') return normOf(editor, node);
  const isFirst = node.inputs[0] === name;
  const values = channelValues(editor.constant(node.inputs[isFirst ? 1 : 0]), channels);
  if (!values) return undefined;
  switch (node.op) {
    case 'Mul':
      return { factor: values, summand: zeros() };
    case 'Div':
      return isFirst ? { factor: values.map((v) => 1 / v), summand: zeros() } : undefined;
    case 'Add':
      return { factor: ones(), summand: values };
    case 'Sub':
      return isFirst ? { factor: ones(), summand: values.map((v) => -v) } : undefined;
    default:
      return undefined;
  }
}

function normOf(editor: Editor, node: GraphNode): Affine | undefined {
  const [scale, bias, mean, variance] = node.inputs.slice(1).map((name) => editor.constant(name)?.data);
  if (!scale || !bias || !mean || !variance || intOf(node, 'training_mode', 0) === 1) return undefined;
  const epsilon = floatOf(node, 'epsilon', 1e-5);
  const factor = new Float64Array(scale).map((s, i) => s / Math.sqrt(variance[i]! + epsilon));
  return { factor, summand: new Float64Array(bias).map((b, i) => b - mean[i]! * factor[i]!) };
}

interface Filters {
  readonly weights: ConstantArray;
  readonly bias: ArrayLike<number> | undefined;
  readonly channels: number;
}

function filtersOf(editor: Editor, node: GraphNode): Filters | undefined {
  const weights = editor.constant(node.inputs[1]);
  const biasName = node.inputs[2];
  const bias = biasName ? editor.constant(biasName)?.data : undefined;
  if (weights?.type !== 'float32' || (biasName && !bias) || node.inputs.length > 3) return undefined;
  const groups = intOf(node, 'group', 1);
  const channels = node.op === 'Conv' ? weights.shape[0]! : weights.shape[1]! * groups;
  return { weights, bias, channels };
}

function floats(shape: readonly number[], data: Float32Array): ConstantArray {
  return { type: 'float32', shape, data };
}

/** Filters with factors in them; those of a file are read, and multiplied, when they are wanted. */
function multiplied(weights: ConstantArray, multiply: (data: Float32Array) => void): ConstantArray {
  const { type, shape } = weights;
  const read = () => {
    const data = new Float32Array(weights.data);
    multiply(data);
    return data;
  };
  if (!(weights instanceof LaterArray)) return floats(shape, read());
  const { fill } = weights;
  const into =
    fill &&
    ((to: Float32Array) => {
      fill(to);
      multiply(to);
    });
  return new LaterArray(type, shape, read, into);
}

/** Times a factor for each output channel. */
function scale(
  node: GraphNode,
  shape: readonly number[],
  factor: ArrayLike<number>,
  data: Float32Array,
): void {
  // elements in a row that belong to one output channel, and the channels that take turns within a group
  const isConv = node.op === 'Conv';
  const run = sizeOf(shape.slice(isConv ? 1 : 2));
  const [inC, perGroup] = shape as [number, number];
  const runsInGroup = isConv ? 1 : perGroup * (inC / intOf(node, 'group', 1));
  for (let index = 0, at = 0; at < data.length; index++) {
    const group = Math.floor(index / runsInGroup);
    const by = factor[isConv ? index : group * perGroup + (index % perGroup)]!;
    for (const end = at + run; at < end; at++) data[at]! *= by;
  }
}

/** The first input channel of each output of a convolution. */
function firstInput(node: GraphNode, [outC, perGroup]: readonly number[]): (out: number) => number {
  const outPerGroup = outC! / intOf(node, 'group', 1);
  return (out) => Math.floor(out / outPerGroup) * perGroup!;
}

/** Times a factor for each input channel. */
function scaleInputs(
  node: GraphNode,
  shape: readonly number[],
  factor: Float64Array,
  data: Float32Array,
): void {
  const [outC, perGroup, ...window] = shape as [number, number, ...number[]];
  const taps = sizeOf(window);
  const first = firstInput(node, shape);
  for (let out = 0, at = 0; out < outC; out++)
    for (let from = first(out), c = from; c < from + perGroup; c++) {
      const by = factor[c]!;
      for (const end = at + taps; at < end; at++) data[at]! *= by;
    }
}

/** What a summand for each input channel adds to each output. */
function shiftsOf(node: GraphNode, { shape, data }: ConstantArray, summand: Float64Array): Float64Array {
  const [outC, perGroup, ...window] = shape as [number, number, ...number[]];
  const taps = sizeOf(window);
  const first = firstInput(node, shape);
  const shifts = new Float64Array(outC);
  const filters = data as Float32Array;
  for (let out = 0, at = 0; out < outC; out++) {
    let shift = 0;
    for (let from = first(out), c = from; c < from + perGroup; c++) {
      const by = summand[c]!;
      for (const end = at + taps; at < end; at++) shift += filters[at]! * by;
    }
    shifts[out] = shift;
  }
  return shifts;
}

/** A factor or summand behind a convolution. */
export function foldAfter(editor: Editor, node: GraphNode): boolean {
  if (!AFFINE.has(node.op)) return false;
  for (const name of node.inputs.slice(0, 2)) {
    const before = editor.only(name, ...LINEAR);
    const filters = before && filtersOf(editor, before);
    const affine = filters && affineOf(editor, node, name, filters.channels);
    if (!affine || affine.factor.length !== filters.channels) continue;
    const { weights, bias, channels } = filters;
    const summed = new Float32Array(channels).map(
      (_, c) => (bias?.[c] ?? 0) * affine.factor[c]! + affine.summand[c]!,
    );
    const inputs = [
      before.inputs[0]!,
      editor.addConstant(multiplied(weights, (data) => scale(before, weights.shape, affine.factor, data))),
      editor.addConstant(floats([channels], summed)),
    ];
    editor.replace(node, { ...before, inputs, outputs: [node.outputs[0]!] }, before);
    return true;
  }
  return false;
}

/** A convolution whose border sees no padding. */
function isBare(node: GraphNode): boolean {
  const auto = node.attributes.get('auto_pad');
  const isPlain = auto?.kind !== 'string' || auto.value === 'NOTSET' || auto.value === 'VALID';
  return isPlain && (intsOf(node, 'pads') ?? []).every((pad) => pad === 0);
}

/** A factor before a convolution, or a summand where nothing is padded: zeros in a padding would not have had it. */
export function foldBefore(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Conv') return false;
  const filters = filtersOf(editor, node);
  const before = filters && editor.only(node.inputs[0], 'Mul', 'Add', 'Div', 'Sub');
  if (!before) return false;
  const { weights, bias, channels } = filters;
  const perGroup = weights.shape[1]!;
  const groups = intOf(node, 'group', 1);
  const x = before.inputs.find((name) => editor.constant(name) === undefined);
  const affine = x === undefined ? undefined : affineOf(editor, before, x, perGroup * groups);
  if (x === undefined || !affine) return false;
  const shifts = affine.summand.some((v) => v !== 0);
  if (shifts && !isBare(node)) return false;
  const shift = shifts ? shiftsOf(node, weights, affine.summand) : undefined;
  const summed = new Float32Array(channels).map((_, c) => (bias?.[c] ?? 0) + (shift?.[c] ?? 0));
  const biasName = bias || shift ? [editor.addConstant(floats([channels], summed))] : [];
  const filled = multiplied(weights, (data) => scaleInputs(node, weights.shape, affine.factor, data));
  const inputs = [x, editor.addConstant(filled), ...biasName];
  editor.replace(node, { ...node, inputs }, before);
  return true;
}

/** s x + t before a padded convolution as s (x + t / s): the factor then goes into the filters. */
export function swapShift(editor: Editor, node: GraphNode): boolean {
  if (node.op !== 'Add') return false;
  const [reader] = editor.readers(node.outputs[0]!);
  if (reader?.op !== 'Conv' || !editor.isReadOnce(node) || isBare(reader)) return false;
  const shiftName = node.inputs.find((name) => editor.scalar(name) !== undefined);
  const product = editor.only(
    node.inputs.find((name) => name !== shiftName),
    'Mul',
  );
  const factorName = product?.inputs.find((name) => editor.scalar(name) !== undefined);
  const x = product?.inputs.find((name) => name !== factorName);
  if (shiftName === undefined || factorName === undefined || x === undefined || editor.constant(x))
    return false;
  const [shift, factor] = [editor.scalar(shiftName)!, editor.scalar(factorName)!];
  if (!Number.isFinite(shift / factor)) return false;
  const ratio = editor.addConstant(floats([1], Float32Array.of(shift / factor)));
  editor.replace(product!, { ...product!, op: 'Add', inputs: [x, ratio] });
  editor.replace(node, { ...node, op: 'Mul', inputs: [product!.outputs[0]!, factorName] });
  return true;
}
