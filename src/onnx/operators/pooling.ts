/** Operators that pool: over windows, and over all of an image. */
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary, unary } from './elementwise.ts';
import { type Operators, operator } from './types.ts';
import { assemble } from './views.ts';
import { type Axis, axesOf, plane, UNIT } from './windows.ts';

/** Largest values and their places in the whole array; on the host. */
function largestAt(context: Context, x: Value, axes: readonly Axis[]): readonly Value[] {
  const [n, c, ...extents] = x.shape as [number, number, ...number[]];
  const byColumn = context.int('storage_order', 0) === 1;
  const numbers = context.numbers(x);
  const shape = [n, c, ...axes.map(({ out }) => out)];
  const taps = axes.map(({ k }) => k);
  const size = sizeOf(extents);
  const [rows, columns] = [denseStrides(extents), denseStrides([...extents].reverse()).reverse()];
  const [outer, inner] = [denseStrides(shape.slice(2)), denseStrides(taps)];
  const count = sizeOf(shape);
  const [values, places] = [new Float64Array(count).fill(Number.NEGATIVE_INFINITY), new Float64Array(count)];
  for (let i = 0; i < count; i++) {
    const first = Math.floor(i / sizeOf(shape.slice(2))) * size;
    for (let tap = 0; tap < sizeOf(taps); tap++) {
      const at = axes.map(({ out, k, stride, dilation, before }, axis) => {
        const window = Math.floor(i / outer[axis]!) % out;
        return window * stride - before + (Math.floor(tap / inner[axis]!) % k) * dilation;
      });
      if (at.some((place, axis) => place < 0 || place >= extents[axis]!)) continue;
      const along = (strides: readonly number[]) =>
        at.reduce((sum, place, axis) => sum + place * strides[axis]!, first);
      const value = numbers[along(rows)]!;
      if (value <= values[i]!) continue;
      values[i] = value;
      places[i] = along(byColumn ? columns : rows);
    }
  }
  return [context.made(x.type, shape, values, [x]), context.made('int64', shape, places, [x])];
}

type Kind = 'max' | 'average';

/** One pass over the last two of `image`'s extents. */
function pooledPlane(
  context: Context,
  kind: Kind,
  image: Value,
  axes: readonly [Axis, Axis],
  ceil: boolean,
): Value {
  const [h, w] = axes;
  const options = { ...plane(axes), ceil };
  const tensor = context.tensor(image);
  const countPadding = context.int('count_include_pad', 0) === 1;
  const y =
    kind === 'max'
      ? context.rt.maxPool2dSync(tensor, [h.k, w.k], options)
      : context.rt.averagePool2dSync(tensor, [h.k, w.k], { ...options, countPadding });
  return context.result(y, image.type);
}

/**
 * The last two extents at once, those before them one after another: the largest of largest values is the largest, and the mean of means the
 * mean, since all frames of a window count as many pixels.
 */
function pooled(context: Context, kind: Kind, x: Value, axes: readonly Axis[], ceil: boolean): Value {
  const [n, c, ...extents] = x.shape as [number, number, ...number[]];
  const [h, w] = axes.length === 1 ? [UNIT, axes[0]!] : [axes.at(-2)!, axes.at(-1)!];
  const leading = axes.slice(0, -2);
  const step = (value: Value, shape: readonly number[], of: readonly [Axis, Axis]): Value => {
    const image = context.reshaped(value, shape);
    const y = pooledPlane(context, kind, image, of, ceil);
    image.dispose();
    return y;
  };
  const planes = c * sizeOf(leading.map(({ extent }) => extent));
  let y = step(x, [n, planes, h.extent, w.extent], [h, w]);
  leading.forEach((axis, i) => {
    const before = c * sizeOf(leading.slice(0, i).map(({ out }) => out));
    const after = sizeOf([...extents.slice(i + 1, -2), h.out, w.out]);
    const next = step(y, [n, before, axis.extent, after], [axis, { ...UNIT, extent: after, out: after }]);
    y.dispose();
    y = next;
  });
  const result = context.reshaped(y, [n, c, ...axes.map(({ out }) => out)]);
  y.dispose();
  return result;
}

function axesFor(context: Context, x: Value): readonly Axis[] {
  return axesOf(context, x.shape.slice(2), context.intList('kernel_shape') ?? []);
}

function pool(kind: Kind) {
  return operator(1, 1, (context: Context, x: Value): Value | readonly Value[] => {
    const axes = axesFor(context, x);
    return context.node.outputs[1]
      ? largestAt(context, x, axes)
      : pooled(context, kind, x, axes, context.int('ceil_mode', 0) === 1);
  });
}

/** |x|^p. */
function powered(context: Context, x: Value, p: number): Value {
  if (p === 2) return binary(context, 'mul', x, x);
  const size = unary(context, 'abs', x);
  return p === 1 ? size : binary(context, 'pow', size, context.number(p));
}

function rooted(context: Context, sum: Value, p: number): Value {
  if (p === 2) return unary(context, 'sqrt', sum);
  return p === 1 ? sum : binary(context, 'pow', sum, context.number(1 / p));
}

/** (the sum of |x|^p over a window)^(1/p): zeros around the image make all windows whole, whose sum is their mean times their pixels. */
function lpPool(context: Context, x: Value): Value {
  const axes = axesFor(context, x);
  const p = context.int('p', 2);
  const whole = axes.map((axis): Axis => {
    const { extent, k, stride, dilation, before, after, out } = axis;
    const reach = Math.max(before + extent + after, (out - 1) * stride + (k - 1) * dilation + 1);
    return { ...axis, extent: reach, before: 0, after: 0 };
  });
  const padded = assemble(context, [...x.shape.slice(0, 2), ...whole.map(({ extent }) => extent)], 0, [
    { value: powered(context, x, p), at: [0, 0, ...axes.map(({ before }) => before)] },
  ]);
  const means = pooled(context, 'average', padded, whole, false);
  const sums = binary(context, 'mul', means, context.number(sizeOf(axes.map(({ k }) => k))));
  return rooted(context, sums, p);
}

function spatialAxes(x: Value): number[] {
  return x.shape.map((_, axis) => axis).slice(2);
}

function globalPool(kind: 'mean' | 'max') {
  return operator(1, 1, (context: Context, x: Value): Value => {
    const axes = spatialAxes(x);
    return context.result(context.rt.reduceSync(kind, context.tensor(x), { axes, keepDims: true }), x.type);
  });
}

function globalLpPool(context: Context, x: Value): Value {
  const p = context.int('p', 2);
  const powers = context.tensor(powered(context, x, p));
  const sums = context.rt.reduceSync('sum', powers, { axes: spatialAxes(x), keepDims: true });
  return rooted(context, context.result(sums, x.type), p);
}

export const POOLING: Operators = {
  MaxPool: pool('max'),
  AveragePool: pool('average'),
  LpPool: operator(2, 1, lpPool),
  GlobalAveragePool: globalPool('mean'),
  GlobalMaxPool: globalPool('max'),
  GlobalLpPool: operator(2, 1, globalLpPool),
};
