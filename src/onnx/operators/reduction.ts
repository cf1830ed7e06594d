/** Reductions, softmax, norms, and the place of the largest. */
import { sizeOf } from '../../core/shape.ts';
import type { ReduceKind } from '../../problem/lines.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary, onHost, unary } from './elementwise.ts';
import { type Operators, operator } from './types.ts';
import { perChannel } from './views.ts';

/** Numbers of the host, by the same names. */
const HOST: Partial<Record<ReduceKind, (line: readonly number[]) => number>> = {
  sum: (line) => line.reduce((x, y) => x + y, 0),
  mean: (line) => line.reduce((x, y) => x + y, 0) / line.length,
  max: (line) => line.reduce((x, y) => Math.max(x, y), Number.NEGATIVE_INFINITY),
  min: (line) => line.reduce((x, y) => Math.min(x, y), Number.POSITIVE_INFINITY),
  prod: (line) => line.reduce((x, y) => x * y, 1),
  l1: (line) => line.reduce((x, y) => x + Math.abs(y), 0),
  sumSquare: (line) => line.reduce((x, y) => x + y * y, 0),
};

function reduce(kind: ReduceKind) {
  return operator(1, 1, (context: Context, x: Value, axesInput?: Value): Value => {
    const given = context.axes(axesInput, 'axes', x.rank);
    const isNone = !given || given.length === 0;
    if (isNone && context.int('noop_with_empty_axes', 0) === 1) return context.reshaped(x, x.shape);
    const axes = isNone ? x.shape.map((_, axis) => axis) : given;
    const keepDims = context.int('keepdims', 1) === 1;
    const onNumbers = HOST[kind];
    if (context.isHost(x) && onNumbers) return reduceNumbers(context, x, axes, keepDims, onNumbers);
    return context.result(context.rt.reduceSync(kind, context.tensor(x), { axes, keepDims }), x.type);
  });
}

function reduceNumbers(
  context: Context,
  x: Value,
  axes: readonly number[],
  keepDims: boolean,
  of: (line: readonly number[]) => number,
): Value {
  const kept = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  const lines = Array.from({ length: sizeOf(kept) }, () => [] as number[]);
  const numbers = x.numbers!;
  for (let i = 0; i < numbers.length; i++) {
    let index = 0;
    let rest = i;
    let scale = 1;
    for (let axis = x.rank - 1; axis >= 0; axis--) {
      const place = rest % x.shape[axis]!;
      rest = Math.floor(rest / x.shape[axis]!);
      if (axes.includes(axis)) continue;
      index += place * scale;
      scale *= x.shape[axis]!;
    }
    lines[index]!.push(numbers[i]!);
  }
  const flat = context.made(x.type, [lines.length], Float64Array.from(lines, of), [x]);
  const shape = keepDims ? kept : x.shape.filter((_, axis) => !axes.includes(axis));
  return context.reshaped(
    onHost(context, x.type, [flat], (v) => v),
    shape,
  );
}

/** Before opset 13 all axes from `axis` on are one line. */
function softmax(log: boolean) {
  return operator(1, 1, (context: Context, x: Value): Value => {
    if (context.opset >= 13) {
      const axis = context.axis(context.int('axis', -1), x.rank);
      return context.result(context.rt.softmaxSync(context.tensor(x), { axis, log }), x.type);
    }
    const axis = context.axis(context.int('axis', 1), x.rank);
    const rows = context.reshaped(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]);
    const y = context.result(context.rt.softmaxSync(context.tensor(rows), { log }), x.type);
    const result = context.reshaped(y, x.shape);
    rows.dispose();
    y.dispose();
    return result;
  });
}

/** Mean, what each element is off it, variance and deviation over some axes, which stay as extents of 1. */
function momentsOf(context: Context, x: Value, axes: readonly number[]) {
  const meanOf = (value: Value) =>
    context.result(context.rt.reduceSync('mean', context.tensor(value), { axes, keepDims: true }), x.type);
  const mean = meanOf(x);
  const off = binary(context, 'sub', x, mean);
  const variance = meanOf(binary(context, 'mul', off, off));
  const epsilon = context.number(context.float('epsilon', 1e-5));
  return {
    mean,
    off,
    variance,
    deviation: unary(context, 'sqrt', binary(context, 'add', variance, epsilon)),
  };
}

/** The mean of each group of lines, and one over its deviation. */
function statistics(context: Context, x: Value, axis: number): readonly [Value, Value] {
  const axes = x.shape.map((_, at) => at).slice(axis);
  const { mean, deviation } = momentsOf(context, x, axes);
  return [mean, unary(context, 'reciprocal', deviation)];
}

function layerNorm(
  context: Context,
  x: Value,
  scale: Value,
  bias?: Value,
): Value | readonly (Value | undefined)[] {
  const axis = context.axis(context.int('axis', -1), x.rank);
  const options = {
    axis,
    epsilon: context.float('epsilon', 1e-5),
    scale: context.tensor(scale),
    ...(bias ? { bias: context.tensor(bias) } : {}),
  };
  const y = context.result(context.rt.layerNormSync(context.tensor(x), options), x.type);
  const [, mean = '', inverse = ''] = context.node.outputs;
  return mean || inverse ? [y, ...statistics(context, x, axis)] : y;
}

/** x / (bias + alpha / size * the sum of squares of `size` channels around it) ^ beta (Krizhevsky et al., 2012). */
function localNorm(context: Context, x: Value): Value {
  const size = context.int('size', 1);
  const [n, c] = x.shape as [number, number];
  const squares = binary(context, 'mul', x, x);
  const planes = context.reshaped(squares, [n, 1, c, x.size / (n * c)]);
  const before = Math.floor((size - 1) / 2);
  const padding = [before, 0, size - 1 - before, 0] as const;
  const means = context.result(
    context.rt.averagePool2dSync(context.tensor(planes), [size, 1], { padding, countPadding: true }),
  );
  const scaled = binary(context, 'mul', means, context.number(context.float('alpha', 1e-4)));
  const power = binary(
    context,
    'pow',
    binary(context, 'add', scaled, context.number(context.float('bias', 1))),
    context.number(context.float('beta', 0.75)),
  );
  return binary(context, 'div', x, context.reshaped(power, x.shape));
}

function rmsNorm(context: Context, x: Value, scale: Value): Value {
  const axis = context.axis(context.int('axis', -1), x.rank);
  const options = { axis, epsilon: context.float('epsilon', 1e-5), rms: true, scale: context.tensor(scale) };
  return context.result(context.rt.layerNormSync(context.tensor(x), options), x.type);
}

/** (x - mean) / sqrt(variance + epsilon) over each group of channels, then a factor and a summand for each channel. */
function normalised(
  context: Context,
  x: Value,
  groups: number,
  scale: Value,
  bias: Value,
  byGroup = false,
): Value {
  const [n, c] = x.shape as [number, number];
  const lines = context.reshaped(x, [n * groups, x.size / (n * groups)]);
  const epsilon = context.float('epsilon', 1e-5);
  const normed = context.result(context.rt.layerNormSync(context.tensor(lines), { epsilon }), x.type);
  const image = context.reshaped(normed, byGroup ? [n, groups, c / groups, ...x.shape.slice(2)] : x.shape);
  const scaled = binary(context, 'mul', image, perChannel(context, scale, image.rank));
  const shifted = binary(context, 'add', scaled, perChannel(context, bias, image.rank));
  const result = context.reshaped(shifted, x.shape);
  for (const value of [lines, normed, image, scaled, shifted]) value.dispose();
  return result;
}

function instanceNorm(context: Context, x: Value, scale: Value, bias: Value): Value {
  return normalised(context, x, x.shape[1]!, scale, bias);
}

function groupNorm(context: Context, x: Value, scale: Value, bias: Value): Value {
  const groups = context.int('num_groups', 1);
  return normalised(context, x, groups, scale, bias, context.opset < 21);
}

/** By the image's own statistics, which also go into those that are kept. */
function trainedNorm(context: Context, ...inputs: readonly [Value, Value, Value, Value, Value]) {
  const [x, scale, bias, oldMean, oldVariance] = inputs;
  const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== 1);
  const { mean, off, variance, deviation } = momentsOf(context, x, axes);
  const scaled = binary(
    context,
    'mul',
    binary(context, 'div', off, deviation),
    perChannel(context, scale, x.rank),
  );
  const momentum = context.float('momentum', 0.9);
  const kept = (old: Value, now: Value) =>
    binary(
      context,
      'add',
      binary(context, 'mul', old, context.number(momentum)),
      binary(context, 'mul', context.reshaped(now, old.shape), context.number(1 - momentum)),
    );
  const y = binary(context, 'add', scaled, perChannel(context, bias, x.rank));
  return [y, kept(oldMean, mean), kept(oldVariance, variance)];
}

/** x times a factor plus a summand, both of which are known from the training's statistics. */
function batchNorm(
  context: Context,
  x: Value,
  scale: Value,
  bias: Value,
  mean: Value,
  variance: Value,
): Value | readonly Value[] {
  if (context.int('spatial', 1) === 0) throw context.refuse('it has statistics for each pixel');
  if (context.opset < 7 && context.int('is_test', 0) === 0) throw context.refuse('it is in training mode');
  if (context.int('training_mode', 0) === 1) return trainedNorm(context, x, scale, bias, mean, variance);
  const epsilon = context.float('epsilon', 1e-5);
  const lists = [scale, bias, mean, variance].map((value) => context.numbers(value));
  const [s, b, m, v] = [lists[0]!, lists[1]!, lists[2]!, lists[3]!];
  const factor = Float32Array.from({ length: scale.size }, (_, i) => s[i]! / Math.sqrt(v[i]! + epsilon));
  const summand = Float32Array.from({ length: scale.size }, (_, i) => b[i]! - m[i]! * factor[i]!);
  const from = [scale, bias, mean, variance];
  const channels = (numbers: Float32Array) =>
    perChannel(context, context.made('float32', [scale.size], numbers, from), x.rank);
  const scaled = binary(context, 'mul', x, channels(factor));
  const result = binary(context, 'add', scaled, channels(summand));
  scaled.dispose();
  return result;
}

function lpNorm(context: Context, x: Value): Value {
  const axis = context.axis(context.int('axis', -1), x.rank);
  const kind = context.int('p', 2) === 1 ? 'l1' : 'l2';
  const size = context.result(
    context.rt.reduceSync(kind, context.tensor(x), { axes: [axis], keepDims: true }),
  );
  const result = binary(context, 'div', x, size);
  size.dispose();
  return result;
}

/** The place of the largest (or smallest) of each line; found on the host, where places are wanted. */
function argument(isLargest: boolean) {
  return operator(1, 1, (context: Context, x: Value): Value => {
    const axis = context.axis(context.int('axis', 0), x.rank);
    const last = context.int('select_last_index', 0) === 1;
    const numbers = context.numbers(x);
    const [size, inner] = [x.shape[axis]!, sizeOf(x.shape.slice(axis + 1))];
    const kept = x.shape.map((extent, i) => (i === axis ? 1 : extent));
    const out = Float64Array.from({ length: sizeOf(kept) }, (_, line) => {
      const base = Math.floor(line / inner) * size * inner + (line % inner);
      let best = 0;
      for (let i = 1; i < size; i++) {
        const [is, was] = [numbers[base + i * inner]!, numbers[base + best * inner]!];
        if (is === was ? last : isLargest ? is > was : is < was) best = i;
      }
      return best;
    });
    const value = context.made('int64', kept, out, [x]);
    return context.int('keepdims', 1) === 1
      ? value
      : context.reshaped(
          value,
          x.shape.filter((_, i) => i !== axis),
        );
  });
}

/** The k largest (or smallest) of each line, and their places. */
function topK(context: Context, x: Value, kInput?: Value): readonly Value[] {
  const axis = context.axis(context.int('axis', -1), x.rank);
  const k = kInput ? context.numbers(kInput)[0]! : context.int('k', 1);
  const isLargest = context.int('largest', 1) === 1;
  const numbers = context.numbers(x);
  const [size, inner] = [x.shape[axis]!, sizeOf(x.shape.slice(axis + 1))];
  const shape = x.shape.map((extent, i) => (i === axis ? k : extent));
  const lines = size === 0 ? 0 : x.size / size;
  const values = new Float64Array(lines * k);
  const places = new Float64Array(lines * k);
  for (let line = 0; line < lines; line++) {
    const [outer, column] = [Math.floor(line / inner), line % inner];
    const at = (i: number) => numbers[(outer * size + i) * inner + column]!;
    const order = Array.from({ length: size }, (_, i) => i).sort((a, b) => {
      const difference = isLargest ? at(b) - at(a) : at(a) - at(b);
      return difference || a - b;
    });
    for (let i = 0; i < k; i++) {
      values[(outer * k + i) * inner + column] = at(order[i]!);
      places[(outer * k + i) * inner + column] = order[i]!;
    }
  }
  const found = onHost(context, x.type, [context.made(x.type, shape, values, [x])], (v) => v);
  return [found, context.made('int64', shape, places, [x])];
}

function cumulated(context: Context, x: Value, axisInput: Value): Value {
  const axis = context.axis(context.numbers(axisInput)[0]!, x.rank);
  const [exclusive, reverse] = [context.int('exclusive', 0) === 1, context.int('reverse', 0) === 1];
  const numbers = context.numbers(x);
  const [size, inner] = [x.shape[axis]!, sizeOf(x.shape.slice(axis + 1))];
  const out = new Float64Array(x.size);
  for (let line = 0; line < x.size / Math.max(1, size); line++) {
    const base = Math.floor(line / inner) * size * inner + (line % inner);
    let sum = 0;
    for (let step = 0; step < size; step++) {
      const at = base + (reverse ? size - 1 - step : step) * inner;
      out[at] = exclusive ? sum : sum + numbers[at]!;
      sum += numbers[at]!;
    }
  }
  return onHost(context, x.type, [context.made(x.type, x.shape, out, [x])], (v) => v);
}

export const REDUCTION: Operators = {
  ReduceSum: reduce('sum'),
  ReduceMean: reduce('mean'),
  ReduceMax: reduce('max'),
  ReduceMin: reduce('min'),
  ReduceProd: reduce('prod'),
  ReduceSumSquare: reduce('sumSquare'),
  ReduceL1: reduce('l1'),
  ReduceL2: reduce('l2'),
  ReduceLogSum: reduce('logSum'),
  ReduceLogSumExp: reduce('logSumExp'),
  Softmax: softmax(false),
  LogSoftmax: softmax(true),
  LayerNormalization: operator(17, 2, layerNorm),
  RMSNormalization: operator(23, 2, rmsNorm),
  InstanceNormalization: operator(1, 3, instanceNorm),
  GroupNormalization: operator(18, 3, groupNorm),
  BatchNormalization: operator(1, 5, batchNorm),
  LpNormalization: operator(1, 1, lpNorm),
  LRN: operator(1, 1, localNorm),
  ArgMax: argument(true),
  ArgMin: argument(false),
  TopK: operator(1, 1, topK),
  CumSum: operator(11, 2, cumulated),
};
