/** Products and convolutions of 8-bit integers, by the runtime's own. */
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';
import { asImage, asLine, axesOf, plane, refolded, unfolded } from './windows.ts';

interface Bytes {
  readonly data: Uint8Array;
  readonly shape: readonly number[];
}

/** 8-bit numbers as the runtime takes them; which of both types they are is known only here. */
function bytes(context: Context, value: Value): Bytes {
  const data = context.numbers(value);
  if (data instanceof Uint8Array || data instanceof Int8Array)
    return { data: data as Uint8Array, shape: value.shape };
  throw context.refuse(`8-bit integers are taken, not ${value.type}`);
}

/** One number, or one for each line. */
function values(context: Context, value: Value | undefined): number | number[] | undefined {
  if (!value) return undefined;
  const list = context.ints(value);
  return list.length === 1 ? list[0]! : list;
}

function one(context: Context, value: Value | undefined): number {
  return value ? context.numbers(value)[0]! : 0;
}

function made(
  context: Context,
  tensor: {
    readonly data: Uint8Array | Int8Array | Int32Array;
    readonly shape: readonly number[];
    dispose(): void;
  },
  type: Value['type'],
  from: readonly (Value | undefined)[],
): Value {
  const data = tensor.data.slice();
  tensor.dispose();
  return context.made(type, tensor.shape, data, from);
}

/** Images and filters of two extents, how windows go over them, and the way back to as many extents as there were. */
function flattened(context: Context, x: Value, w: Value, zero: number) {
  if (x.rank !== w.rank || x.rank < 3)
    throw context.refuse(`an image [${x.shape}] with filters [${w.shape}]`);
  const axes = axesOf(context, x.shape.slice(2), w.shape.slice(2));
  const leading = axes.slice(0, -2);
  const image = leading.reduce((frames, axis) => unfolded(context, frames, axis, zero), x);
  const [m, c, ...kernel] = w.shape as [number, number, ...number[]];
  const channels = leading.reduce((all, { k }) => all * k, c);
  const filters = context.reshaped(w, [m, channels, ...kernel.slice(leading.length)]);
  return {
    image: asImage(context, image),
    filters: asImage(context, filters),
    geometry: { ...plane(axes.slice(leading.length)), groups: context.int('group', 1) },
    restore: (y: Value) =>
      leading.reduceRight((frames, { out }) => refolded(context, frames, out), asLine(context, y, x.rank)),
  };
}

/** `wZeroPoint` is left out where it is 0, as prepacked and plain filters have it. */
function convInteger(context: Context, x: Value, w: Value, xZero?: Value, wZero?: Value): Value {
  const zero = one(context, xZero);
  const { image, filters, geometry, restore } = flattened(context, x, w, zero);
  const options = {
    ...geometry,
    xZeroPoint: zero,
    ...(wZero ? { wZeroPoint: values(context, wZero)! } : {}),
  };
  const y = context.rt.convIntegerSync(bytes(context, image), bytes(context, filters), options);
  return restore(made(context, y, 'int32', [x, w, xZero, wZero]));
}

function quantised(context: Context, scale: Value, zero: Value | undefined) {
  const zeroPoint = values(context, zero);
  return { scale: values(context, scale)!, ...(zeroPoint === undefined ? {} : { zeroPoint }) };
}

function target(context: Context, scale: Value, zero: Value | undefined) {
  const dtype = zero?.type === 'int8' ? ('i8' as const) : ('u8' as const);
  return { scale: one(context, scale), zeroPoint: one(context, zero), dtype };
}

function qlinearConv(context: Context, ...inputs: Value[]): Value {
  const [x, xScale, xZero, w, wScale, wZero, yScale, yZero, b] = inputs as [
    ...[Value, Value, Value, Value, Value, Value, Value, Value],
    Value | undefined,
  ];
  const y = target(context, yScale, yZero);
  const { image, filters, geometry, restore } = flattened(context, x, w, one(context, xZero));
  const options = {
    ...geometry,
    x: { scale: one(context, xScale), zeroPoint: one(context, xZero) },
    ...{ w: quantised(context, wScale, wZero), y },
    ...(b ? { bias: { data: Int32Array.from(context.numbers(b)), shape: b.shape } } : {}),
  };
  const result = context.rt.qlinearConvSync(bytes(context, image), bytes(context, filters), options);
  return restore(made(context, result, y.dtype === 'i8' ? 'int8' : 'uint8', inputs));
}

function qlinearMatmul(context: Context, ...inputs: Value[]): Value {
  const [a, aScale, aZero, b, bScale, bZero, yScale, yZero] = inputs as [
    ...[Value, Value, Value, Value, Value, Value, Value, Value],
  ];
  const y = target(context, yScale, yZero);
  const options = { a: quantised(context, aScale, aZero), b: quantised(context, bScale, bZero), y };
  const result = context.rt.qlinearMatmulSync(bytes(context, a), bytes(context, b), options);
  return made(context, result, y.dtype === 'i8' ? 'int8' : 'uint8', inputs);
}

/** Exact sums, whatever their number. */
function matmulInteger(context: Context, a: Value, b: Value, aZero?: Value, bZero?: Value): Value {
  const zeros = {
    ...(aZero ? { aZeroPoint: values(context, aZero)! } : {}),
    ...(bZero ? { bZeroPoint: values(context, bZero)! } : {}),
  };
  const y = context.rt.matmulIntegerSync(bytes(context, a), bytes(context, b), zeros);
  return made(context, y, 'int32', [a, b, aZero, bZero]);
}

export const INTEGERS: Operators = {
  MatMulInteger: operator(10, 2, matmulInteger),
  ConvInteger: operator(10, 2, convInteger),
  QLinearConv: operator(10, 8, qlinearConv),
  QLinearMatMul: operator(10, 8, qlinearMatmul),
};
