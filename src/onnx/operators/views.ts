/** What operators that only move elements are made of: strided readings of an array, and arrays put together from parts. */
import { type Shape, sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import { movePart, takePlaces } from '../../ops/array/move.ts';
import { DenseTensor } from '../../ops/tensor.ts';
import type { Context } from '../context.ts';
import { arrayFor } from '../model/tensor-proto.ts';
import type { Numbers } from '../model/types.ts';
import { Value } from '../value.ts';

export interface Reading {
  readonly shape: Shape;
  /** Elements of what is read from step to step along each extent; may be 0 or negative. */
  readonly strides: readonly number[];
  readonly first: number;
}

/** Calls `at` with the element that is read and the one that is written, in the order in which they are written. */
function eachOf({ shape, strides, first }: Reading, at: (from: number, to: number) => void): void {
  const count = sizeOf(shape);
  const place = new Array<number>(shape.length).fill(0);
  let from = first;
  for (let to = 0; to < count; to++) {
    at(from, to);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place[axis]!++;
      from += strides[axis]!;
      if (place[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      place[axis] = 0;
    }
  }
}

/** The array that a reading of `x` gives. */
export function read(context: Context, x: Value, reading: Reading): Value {
  const { shape, strides, first } = reading;
  if (context.isHost(x)) {
    const out = arrayFor(x.type, sizeOf(shape));
    const numbers = x.numbers!;
    eachOf(reading, (from, to) => {
      out[to] = numbers[from]!;
    });
    return context.made(x.type, shape, out, [x]);
  }
  const out = new DenseTensor(context.core.heap, shape);
  const part = { extents: shape, from: strides, to: denseStrides(shape), firstFrom: first, firstTo: 0 };
  if (sizeOf(shape) > 0) movePart(context.core, context.tensor(x), out, part);
  return context.result(out, x.type);
}

/** Extents split, reordered and joined again. */
export function regrouped(
  context: Context,
  x: Value,
  inner: Shape,
  order: readonly number[],
  shape: Shape,
): Value {
  const strides = denseStrides(inner);
  const reading = {
    shape: order.map((axis) => inner[axis]!),
    strides: order.map((axis) => strides[axis]!),
    first: 0,
  };
  const moved = read(context, x, reading);
  const result = context.reshaped(moved, shape);
  moved.dispose();
  return result;
}

/** A value for each channel as [1, c, 1, ...], to be multiplied with an image. */
export function perChannel(context: Context, value: Value, rank: number): Value {
  return context.reshaped(value, [1, value.size, ...new Array<number>(Math.max(0, rank - 2)).fill(1)]);
}

export interface Placed {
  readonly value: Value;
  /** Where its first element goes in each extent. */
  readonly at: readonly number[];
}

/** An array full of `fill` with others put into it. */
export function assemble(
  context: Context,
  shape: Shape,
  fill: number | undefined,
  parts: readonly Placed[],
): Value {
  const [{ value: one }] = parts as [Placed];
  const to = denseStrides(shape);
  const begin = (at: readonly number[]) => at.reduce((sum, place, axis) => sum + place * to[axis]!, 0);
  if (parts.every(({ value }) => context.isHost(value))) {
    const out = arrayFor(one.type, sizeOf(shape));
    if (fill) out.fill(fill);
    for (const { value, at } of parts) {
      const numbers = value.numbers!;
      eachOf({ shape: value.shape, strides: to, first: begin(at) }, (place, index) => {
        out[place] = numbers[index]!;
      });
    }
    return context.made(
      one.type,
      shape,
      out,
      parts.map(({ value }) => value),
    );
  }
  const out = fill === undefined ? new DenseTensor(context.core.heap, shape) : filled(context, shape, fill);
  for (const { value, at } of parts) {
    if (value.size === 0) continue;
    const from = denseStrides(value.shape);
    const part = { extents: value.shape, from, to, firstFrom: 0, firstTo: begin(at) };
    movePart(context.core, context.tensor(value), out, part);
  }
  return context.result(out, one.type);
}

/** A tensor full of one number: read from a single element, so that a replay fills it again. */
function filled(context: Context, shape: Shape, fill: number): DenseTensor {
  const one = context.tensor(context.made('float32', [1], Float32Array.of(fill), []));
  const out = new DenseTensor(context.core.heap, shape);
  const none = shape.map(() => 0);
  const part = { extents: shape, from: none, to: denseStrides(shape), firstFrom: 0, firstTo: 0 };
  if (sizeOf(shape) > 0) movePart(context.core, one, out, part);
  return out;
}

/** Places of the axis `axis` of x, which are known. */
export function take(
  context: Context,
  x: Value,
  axis: number,
  places: readonly number[],
  shape: Shape,
): Value {
  const [outer, size, inner] = [
    sizeOf(x.shape.slice(0, axis)),
    x.shape[axis]!,
    sizeOf(x.shape.slice(axis + 1)),
  ];
  const wrong = places.find((place) => !(place >= 0 && place < size));
  if (wrong !== undefined) throw context.refuse(`place ${wrong} of ${size}`, { place: wrong, size });
  if (context.isHost(x)) {
    const out = arrayFor(x.type, sizeOf(shape));
    let to = 0;
    for (let o = 0; o < outer; o++)
      for (const place of places) {
        const from = (o * size + place) * inner;
        for (let i = 0; i < inner; i++) out[to++] = x.numbers![from + i]!;
      }
    return context.made(x.type, shape, out, [x]);
  }
  if (sizeOf(shape) === 0) return context.result(new DenseTensor(context.core.heap, shape), x.type);
  const step = places.length > 1 ? places[1]! - places[0]! : 0;
  if (places.every((place, i) => place === places[0]! + i * step)) {
    // a move needs no list, and is often one with the moves before it
    const strides = [size * inner, step * inner, 1];
    const even = { shape: [outer, places.length, inner], strides, first: places[0]! * inner };
    const moved = read(context, x, even);
    const result = context.reshaped(moved, shape);
    moved.dispose();
    return result;
  }
  const list = context.outside(() => {
    const made = new DenseTensor<'i32'>(context.core.heap, [places.length], 'i32');
    made.data.set(places);
    return context.planned.own(made);
  });
  return context.result(
    takePlaces(context.core, context.tensor(x), { outer, size, inner }, list, shape),
    x.type,
  );
}

export function hostValue(
  context: Context,
  like: Value,
  shape: Shape,
  numbers: Numbers,
  from: readonly Value[],
): Value {
  return context.made(like.type, shape, numbers, from);
}

export function ofInts(values: readonly number[], isConstant = true): Value {
  return Value.ofNumbers('int64', [values.length], Float64Array.from(values), isConstant);
}
