/** Shapes of what windows, resizing and regrouping make of images. */
import type { GraphNode } from '../../model/types.ts';
import { intOf, intsOf } from '../editor.ts';
import { known, type Length, minus, numberOf, over, plus, times } from './lengths.ts';
import type { Infer, Rules } from './rules.ts';

/** What of a window matters for an extent. */
interface Side {
  readonly k: number;
  readonly stride: number;
  readonly dilation: number;
  readonly pads: number;
}

function sidesOf(node: GraphNode, kernel: readonly number[]): readonly Side[] {
  const pads = intsOf(node, 'pads') ?? [];
  return kernel.map((k, i) => ({
    ...{ k, stride: intsOf(node, 'strides')?.[i] ?? 1, dilation: intsOf(node, 'dilations')?.[i] ?? 1 },
    pads: (pads[i] ?? 0) + (pads[i + kernel.length] ?? 0),
  }));
}

function autoPad(node: GraphNode): string {
  const attribute = node.attributes.get('auto_pad');
  return attribute?.kind === 'string' ? attribute.value : 'NOTSET';
}

/** How many windows there are along an extent. */
function windows(node: GraphNode, extent: Length, { k, stride, dilation, pads }: Side): Length {
  const auto = autoPad(node);
  if (auto.startsWith('SAME')) return over(plus(extent, known(stride - 1)), stride);
  const room = plus(extent, known((auto === 'VALID' ? 0 : pads) - (k - 1) * dilation - 1));
  const isUp = intOf(node, 'ceil_mode', 0) === 1;
  return plus(over(isUp ? plus(room, known(stride - 1)) : room, stride), known(1));
}

const numbers = (shape: readonly Length[]): readonly number[] | undefined => {
  const all = shape.map(numberOf);
  return all.every((number) => number !== undefined) ? all : undefined;
};

const conv: Infer = (node, [x, w]) => {
  const kernel = w?.shape && numbers(w.shape.slice(2));
  if (!x?.shape || !kernel || kernel.length !== x.shape.length - 2) return undefined;
  const sides = sidesOf(node, kernel);
  return {
    shape: [x.shape[0]!, w.shape![0]!, ...sides.map((side, i) => windows(node, x.shape![i + 2]!, side))],
  };
};

/** Rounding up may give a last window in the padding, which does not count: known where the extent is a number, and else left out. */
const pool: Infer = (node, [x]) => {
  const kernel = intsOf(node, 'kernel_shape');
  const isUp = intOf(node, 'ceil_mode', 0) === 1;
  if (!x?.shape || !kernel || isUp) return undefined;
  const sides = sidesOf(node, kernel);
  return {
    shape: [...x.shape.slice(0, 2), ...sides.map((side, i) => windows(node, x.shape![i + 2]!, side))],
  };
};

const globalPool: Infer = (_, [x]) =>
  x?.shape && { shape: x.shape.map((length, axis) => (axis < 2 ? length : known(1))) };

const convTranspose: Infer = (node, [x, w]) => {
  const kernel = w?.shape && numbers(w.shape.slice(2));
  if (!x?.shape || !kernel || intsOf(node, 'output_shape')) return undefined;
  const isSame = autoPad(node).startsWith('SAME');
  const spatial = sidesOf(node, kernel).map(({ k, stride, dilation, pads }, i) => {
    const extent = x.shape![i + 2]!;
    if (isSame) return times(extent, known(stride));
    const more = (k - 1) * dilation + 1 - pads + (intsOf(node, 'output_padding')?.[i] ?? 0);
    return plus(times(minus(extent, known(1)), known(stride)), known(more));
  });
  return { shape: [x.shape[0]!, times(w.shape![1]!, known(intOf(node, 'group', 1))), ...spatial] };
};

/** By sizes, or by scales that are whole numbers. */
const resize: Infer = (node, inputs, opset) => {
  const [x] = inputs;
  const isEarly = opset < 11 || node.op === 'Upsample';
  const [scales, sizes] = isEarly ? [inputs[1], undefined] : [inputs[2], inputs[3]];
  if (!x?.shape || intsOf(node, 'axes') || node.attributes.has('keep_aspect_ratio_policy')) return undefined;
  if (sizes?.list?.length === x.shape.length) return { shape: sizes.list };
  const by = scales?.list && numbers(scales.list);
  if (by?.length !== x.shape.length) return undefined;
  const shape = x.shape.map((length, axis) => {
    const whole = numberOf(length);
    if (whole !== undefined) return known(Math.floor(whole * by[axis]!));
    return Number.isInteger(by[axis]) ? times(length, known(by[axis]!)) : undefined;
  });
  return shape.every((length) => length !== undefined) ? { shape } : undefined;
};

const blocks =
  (isDeep: boolean): Infer =>
  (node, [x]) => {
    if (x?.shape?.length !== 4) return undefined;
    const [n, c, h, w] = x.shape as [Length, Length, Length, Length];
    const block = intOf(node, 'blocksize', 1);
    const grown = (length: Length) => times(length, known(block));
    const cut = (length: Length) => over(length, block);
    return isDeep
      ? { shape: [n, times(c, known(block ** 2)), cut(h), cut(w)] }
      : { shape: [n, over(c, block ** 2), grown(h), grown(w)] };
  };

/** [steps, directions, batch, hidden], or batches first. */
const recurrent: Infer = (node, [x, , r]) => {
  const [directions, , hidden] = r?.shape ?? [];
  const [a, b] = x?.shape ?? [];
  if (!directions || !hidden || !a || !b) return undefined;
  return intOf(node, 'layout', 0) === 1
    ? { shape: [a, b, directions, hidden] }
    : { shape: [a, directions, b, hidden] };
};

export const IMAGE_RULES: Rules = {
  Conv: conv,
  ConvTranspose: convTranspose,
  ...{ MaxPool: pool, AveragePool: pool, LpPool: pool },
  ...{ GlobalAveragePool: globalPool, GlobalMaxPool: globalPool, GlobalLpPool: globalPool },
  ...{ Resize: resize, Upsample: resize },
  DepthToSpace: blocks(false),
  SpaceToDepth: blocks(true),
  ...{ RNN: recurrent, GRU: recurrent, LSTM: recurrent },
};
