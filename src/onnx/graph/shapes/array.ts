/** Shapes of what is reshaped, joined, cut, reduced, multiplied; and the numbers that say shapes. */
import type { GraphNode } from '../../model/types.ts';
import { intOf, intsOf } from '../editor.ts';
import {
  isSame,
  known,
  type Length,
  minus,
  numberOf,
  over,
  plus,
  quotient,
  textOf,
  times,
} from './lengths.ts';
import type { Guess, Infer, Rules } from './rules.ts';

const of = (shape: readonly Length[] | undefined): Guess | undefined => (shape ? { shape } : undefined);

/** Where a model runs at all, two lengths that meet are the same or one of them is 1; of two with names that is taken not to be so. */
function together(a: Length, b: Length): Length | undefined {
  if (numberOf(a) === 1 || isSame(a, b)) return b;
  if (numberOf(b) === 1) return a;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return undefined;
  if (x !== undefined || y !== undefined) return x === undefined ? b : a;
  return textOf(a).length <= textOf(b).length ? a : b;
}

/** NumPy's rule. */
function broadcastLengths(shapes: readonly (readonly Length[] | undefined)[]): readonly Length[] | undefined {
  return shapes.reduce(
    (all, shape) => {
      if (!all || !shape) return undefined;
      const rank = Math.max(all.length, shape.length);
      const at = (list: readonly Length[], axis: number) => list[axis - rank + list.length] ?? known(1);
      const both = Array.from({ length: rank }, (_, axis) => together(at(all, axis), at(shape, axis)));
      return both.every((length) => length !== undefined) ? both : undefined;
    },
    [] as readonly Length[] | undefined,
  );
}

/** Arithmetic of numbers that say shapes. */
const LISTED: Readonly<Record<string, (a: Length, b: Length) => Length | undefined>> = {
  Add: plus,
  Sub: minus,
  Mul: times,
  Div: (a, b) => {
    const by = numberOf(b);
    return by !== undefined && by > 0 ? over(a, by) : undefined;
  },
};

const broadcasting: Infer = (node, inputs) => {
  const shape = broadcastLengths(inputs.map((input) => input?.shape));
  const [a, b] = [inputs[0]?.list, inputs[1]?.list];
  const work = LISTED[node.op];
  if (!shape || !a || !b || !work) return of(shape);
  const count = Math.max(a.length, b.length);
  const pick = (list: readonly Length[], i: number) => (list.length === 1 ? list[0]! : list[i]!);
  const list = Array.from({ length: count }, (_, i) => work(pick(a, i), pick(b, i)));
  return { shape, list: list.every((length) => length !== undefined) ? list : undefined };
};

const same: Infer = (_, [x]) => x && { shape: x.shape, list: x.list };
const likeFirst: Infer = (_, [x]) => of(x?.shape);

export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

const numbersOf = (guess: Guess | undefined): readonly number[] | undefined => {
  const list = guess?.list?.map(numberOf);
  return list?.every((number) => number !== undefined) ? list : undefined;
};

/** From an input, which may be left out, or the attribute. */
function axesFor(node: GraphNode, input: Guess | undefined, name: string): readonly number[] | undefined {
  return input ? numbersOf(input) : intsOf(node, name);
}

const reshape: Infer = (node, [x, target]) => {
  const wanted = target ? target.list : intsOf(node, 'shape')?.map(known);
  if (!wanted) return undefined;
  const copies = intOf(node, 'allowzero', 0) === 0;
  const shape = wanted.map((length, axis) => (copies && numberOf(length) === 0 ? x?.shape?.[axis] : length));
  const free = shape.findIndex((length) => length && numberOf(length) === -1);
  if (free >= 0) {
    const others = shape.filter((_, axis) => axis !== free);
    const all = others.every((length) => length !== undefined) ? others : undefined;
    shape[free] = x?.shape && all ? quotient(x.shape, all) : undefined;
  }
  const whole = shape.every((length) => length !== undefined) ? shape : undefined;
  return whole && { shape: whole, list: x?.list };
};

const transpose: Infer = (node, [x]) => {
  const order = intsOf(node, 'perm') ?? x?.shape?.map((_, i) => x.shape!.length - 1 - i);
  return of(x?.shape && order?.map((axis) => x.shape![axisOf(axis, x.shape!.length)]!));
};

const concat: Infer = (node, inputs) => {
  const [first] = inputs;
  const lists = inputs.map((input) => input?.list);
  const list = lists.every((one) => one !== undefined) ? lists.flat() : undefined;
  if (!first?.shape || inputs.some((input) => !input?.shape)) return undefined;
  const axis = axisOf(intOf(node, 'axis', 1), first.shape.length);
  const along = inputs.reduce((sum, input) => plus(sum, input!.shape![axis]!), known(0));
  return { shape: first.shape.map((length, i) => (i === axis ? along : length)), list };
};

const squeeze: Infer = (node, [x, axesInput]) => {
  const axes = axesFor(node, axesInput, 'axes')?.map((axis) => axisOf(axis, x?.shape?.length ?? 0));
  const isAll = !axes && !axesInput && x?.shape?.every((length) => numberOf(length) !== undefined);
  if (!x?.shape || !(axes || isAll)) return undefined;
  const isGone = (length: Length, axis: number) => (axes ? axes.includes(axis) : numberOf(length) === 1);
  return { shape: x.shape.filter((length, axis) => !isGone(length, axis)), list: x.list };
};

const unsqueeze: Infer = (node, [x, axesInput]) => {
  const axes = axesFor(node, axesInput, 'axes');
  if (!x?.shape || !axes) return undefined;
  const rank = x.shape.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(axis, rank)));
  const rest = [...x.shape];
  const shape = Array.from({ length: rank }, (_, axis) => (added.has(axis) ? known(1) : rest.shift()!));
  return { shape, list: x.list };
};

const flatten: Infer = (node, [x]) => {
  if (!x?.shape) return undefined;
  const axis = axisOf(intOf(node, 'axis', 1), x.shape.length);
  const product = (list: readonly Length[]) => list.reduce(times, known(1));
  return of([product(x.shape.slice(0, axis)), product(x.shape.slice(axis))]);
};

const shapeOf: Infer = (node, [x]) => {
  const rank = x?.shape?.length ?? 0;
  const list = x?.shape?.slice(axisOf(intOf(node, 'start', 0), rank), axisOf(intOf(node, 'end', rank), rank));
  return list && { shape: [known(list.length)], list };
};

const gather: Infer = (node, [x, indices]) => {
  if (!x?.shape || !indices?.shape) return undefined;
  const axis = axisOf(intOf(node, 'axis', 0), x.shape.length);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  const places = numbersOf(indices);
  const list = x.list && places?.map((place) => x.list![axisOf(place, x.list!.length)]);
  return { shape, list: list?.every((one) => one !== undefined) ? list : undefined };
};

/** Where the bounds are numbers that lie inside, or reach the end. */
const slice: Infer = (node, [x, ...bounds], opset) => {
  if (!x?.shape) return undefined;
  const read = (at: number, name: string) =>
    opset < 10 ? intsOf(node, name) : bounds[at] && numbersOf(bounds[at]);
  const [starts, ends] = [read(0, 'starts'), read(1, 'ends')];
  const hasAxes = bounds[2] !== undefined || (opset < 10 && intsOf(node, 'axes') !== undefined);
  const axes = hasAxes ? read(2, 'axes') : starts?.map((_, i) => i);
  const steps = bounds[3] ? numbersOf(bounds[3]) : starts?.map(() => 1);
  if (!starts || !ends || !axes || !steps) return undefined;
  const shape: (Length | undefined)[] = [...x.shape];
  axes.forEach((one, i) => {
    const axis = axisOf(one, x.shape!.length);
    shape[axis] = cut(x.shape![axis]!, starts[i]!, ends[i]!, steps[i]!);
  });
  const list = x.list && steps[0] === 1 && axes.length === 1 ? x.list.slice(starts[0], ends[0]) : undefined;
  return shape.every((length) => length !== undefined) ? { shape, list } : undefined;
};

const FAR = 2 ** 31 - 1;

function cut(extent: Length, start: number, end: number, step: number): Length | undefined {
  const whole = numberOf(extent);
  if (whole !== undefined) {
    const clamp = (at: number, low: number, high: number) =>
      Math.max(low, Math.min(high, at < 0 ? at + whole : at));
    if (step < 0) {
      const [from, to] = [clamp(start, 0, whole - 1), end < -whole ? -1 : clamp(end, -1, whole - 1)];
      return known(Math.max(0, Math.ceil((to - from) / step)));
    }
    return known(Math.max(0, Math.ceil((clamp(end, 0, whole) - clamp(start, 0, whole)) / step)));
  }
  if (step < 1 || start < 0) return undefined;
  const last = end >= FAR ? extent : end < 0 ? plus(extent, known(end)) : undefined;
  return last && over(plus(minus(last, known(start)), known(step - 1)), step);
}

const expand: Infer = (_, [x, target]) => of(broadcastLengths([x?.shape, target?.list]));

const tile: Infer = (_, [x, repeats]) =>
  of(x?.shape && repeats?.list && x.shape.map((length, axis) => times(length, repeats.list![axis]!)));

const pad: Infer = (node, [x, padsInput, , axesInput]) => {
  const pads = padsInput ? padsInput.list : intsOf(node, 'pads')?.map(known);
  if (!x?.shape || !pads) return undefined;
  const axes = axesInput ? numbersOf(axesInput) : x.shape.map((_, i) => i);
  if (!axes) return undefined;
  const shape = [...x.shape];
  axes.forEach((one, i) => {
    const axis = axisOf(one, shape.length);
    shape[axis] = plus(shape[axis]!, plus(pads[i]!, pads[i + axes.length]!));
  });
  return of(shape);
};

const reduced: Infer = (node, [x, axesInput]) => {
  if (!x?.shape) return undefined;
  const isArg = node.op.startsWith('Arg');
  const given = isArg ? [intOf(node, 'axis', 0)] : axesFor(node, axesInput, 'axes');
  if (!given && axesInput) return undefined;
  if (!given?.length && intOf(node, 'noop_with_empty_axes', 0) === 1) return of(x.shape);
  const axes = (given?.length ? given : x.shape.map((_, i) => i)).map((axis) =>
    axisOf(axis, x.shape!.length),
  );
  const keeps = intOf(node, 'keepdims', 1) === 1;
  const left = x.shape.map((length, axis) => (axes.includes(axis) ? known(1) : length));
  return of(keeps ? left : left.filter((_, axis) => !axes.includes(axis)));
};

const matmul: Infer = (_, [a, b]) => {
  if (!a?.shape || !b?.shape || a.shape.length < 2 || b.shape.length < 2) return undefined;
  const batch = broadcastLengths([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  return of(batch && [...batch, a.shape.at(-2)!, b.shape.at(-1)!]);
};

const gemm: Infer = (node, [a, b]) => {
  const [m, n] = [a?.shape?.[intOf(node, 'transA', 0)], b?.shape?.[1 - intOf(node, 'transB', 0)]];
  return of(m && n && [m, n]);
};

const GROUPS: readonly (readonly [string, Infer])[] = [
  ['Identity Cast CastLike', same],
  [
    'Relu Sigmoid Tanh LeakyRelu Elu Selu Celu HardSigmoid HardSwish Softplus Softsign Mish Gelu Swish Clip Abs Neg Exp Log Sqrt Reciprocal ' +
      'Floor Ceil Round Sign Erf Not IsNaN IsInf Sin Cos Tan Softmax LogSoftmax Hardmax LayerNormalization RMSNormalization ' +
      'BatchNormalization InstanceNormalization GroupNormalization LpNormalization LRN Dropout CumSum Trilu QuantizeLinear DequantizeLinear ' +
      'ThresholdedRelu Shrink EyeLike ScatterElements ScatterND ReverseSequence RandomNormalLike RandomUniformLike Bernoulli',
    likeFirst,
  ],
  [
    'Add Sub Mul Div Pow Mod Min Max Sum Mean PRelu Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Where',
    broadcasting,
  ],
  [
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare ArgMax ArgMin',
    reduced,
  ],
  ['Reshape', reshape],
  ['Transpose', transpose],
  ['Concat', concat],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  ['Flatten', flatten],
  ['Shape', shapeOf],
  ['Gather', gather],
  ['GatherElements', (_, [, indices]) => of(indices?.shape)],
  ['Slice', slice],
  ['Expand', expand],
  ['Tile', tile],
  ['Pad', pad],
  ['ConstantOfShape', (_, [shape]) => of(shape?.list)],
  ['MatMul', matmul],
  ['Gemm', gemm],
];

export const ARRAY_RULES: Rules = Object.fromEntries(
  GROUPS.flatMap(([names, infer]) => names.split(' ').map((name) => [name, infer] as const)),
);
