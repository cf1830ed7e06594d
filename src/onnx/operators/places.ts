/** Operators that find or fill places one by one; on the host, where places are known. */
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import { arrayFor } from '../model/tensor-proto.ts';
import type { Numbers } from '../model/types.ts';
import type { Value } from '../value.ts';
import { binary, copyOf, wrap } from './elementwise.ts';
import { type Operators, operator } from './types.ts';

function nonZero(context: Context, x: Value): Value {
  const numbers = context.numbers(x);
  const found: number[] = [];
  for (let i = 0; i < numbers.length; i++) if (numbers[i] !== 0) found.push(i);
  const strides = denseStrides(x.shape);
  const out = new Float64Array(x.rank * found.length);
  for (let axis = 0; axis < x.rank; axis++)
    found.forEach((index, i) => {
      out[axis * found.length + i] = Math.floor(index / strides[axis]!) % x.shape[axis]!;
    });
  return context.made('int64', [x.rank, found.length], out, [x]);
}

/** Different values, or different slices along an axis: sorted, or in the order in which they come first. */
function unique(context: Context, x: Value): readonly Value[] {
  const numbers = context.numbers(x);
  const hasAxis = context.node.attributes.has('axis');
  const axis = hasAxis ? context.axis(context.int('axis', 0), x.rank) : 0;
  const extents = hasAxis ? x.shape : [x.size];
  const extent = extents[axis]!;
  const inner = sizeOf(extents.slice(axis + 1));
  const outer = sizeOf(extents.slice(0, axis));
  const slices = Array.from({ length: extent }, (_, i) =>
    Array.from({ length: outer * inner }, (__, j) => {
      return numbers[(Math.floor(j / inner) * extent + i) * inner + (j % inner)]!;
    }),
  );
  const groups = new Map<string, number[]>();
  for (const [i, slice] of slices.entries()) {
    const key = slice.join();
    const known = groups.get(key);
    if (known) known.push(i);
    else groups.set(key, [i]);
  }
  const found = [...groups.values()];
  const less = (a: readonly number[], b: readonly number[]) => {
    const at = a.findIndex((value, i) => value !== b[i]);
    return at < 0 ? 0 : a[at]! - b[at]!;
  };
  if (context.int('sorted', 1) === 1) found.sort((a, b) => less(slices[a[0]!]!, slices[b[0]!]!));
  const shape = extents.map((one, at) => (at === axis ? found.length : one));
  const values = arrayFor(x.type, sizeOf(shape));
  const inverse = new Float64Array(extent);
  for (const [at, members] of found.entries()) {
    for (const member of members) inverse[member] = at;
    for (const [j, value] of slices[members[0]!]!.entries())
      values[(Math.floor(j / inner) * found.length + at) * inner + (j % inner)] = value;
  }
  const list = (data: readonly number[] | Float64Array) =>
    context.made('int64', [data.length], Float64Array.from(data), [x]);
  return [
    context.made(x.type, shape, values, [x]),
    list(found.map(([first]) => first!)),
    list(inverse),
    list(found.map(({ length }) => length)),
  ];
}

function oneHot(context: Context, indices: Value, depth: Value, values: Value): Value {
  const size = context.numbers(depth)[0]!;
  const [off, on] = context.ints(values) as [number, number];
  const rank = indices.rank + 1;
  const axis = context.axis(context.int('axis', -1), rank);
  const shape = [...indices.shape.slice(0, axis), size, ...indices.shape.slice(axis)];
  const inner = sizeOf(indices.shape.slice(axis));
  const out = arrayFor(values.type, sizeOf(shape)).fill(off);
  context.ints(indices).forEach((index, i) => {
    const place = index < 0 ? index + size : index;
    if (place < 0 || place >= size) return;
    out[(Math.floor(i / inner) * size + place) * inner + (i % inner)] = on;
  });
  return context.made(values.type, shape, out, [indices, depth, values]);
}

/** What becomes of a place that is written to again. */
function joined(context: Context, type: Value['type'], old: number, next: number): number {
  switch (context.string('reduction', 'none')) {
    case 'add':
      return wrap(type, old + next);
    case 'mul':
      return wrap(type, old * next);
    case 'max':
      return Math.max(old, next);
    case 'min':
      return Math.min(old, next);
    default:
      return next;
  }
}

function scatterElements(context: Context, x: Value, indices: Value, updates: Value): Value {
  const axis = context.axis(context.int('axis', 0), x.rank);
  const out = copyOf(x.type, context.numbers(x));
  const [places, values] = [context.numbers(indices), context.numbers(updates)];
  const [strides, own] = [denseStrides(x.shape), denseStrides(indices.shape)];
  for (let i = 0; i < places.length; i++) {
    let at = 0;
    for (let a = 0; a < x.rank; a++) {
      const place = Math.floor(i / own[a]!) % indices.shape[a]!;
      at += (a === axis ? inside(context, places[i]!, x.shape[axis]!) : place) * strides[a]!;
    }
    out[at] = joined(context, x.type, out[at]!, values[i]!);
  }
  return context.made(x.type, x.shape, out, [x, indices, updates]);
}

function inside(context: Context, place: number, extent: number): number {
  const from = place < 0 ? place + extent : place;
  if (from >= 0 && from < extent) return from;
  throw context.refuse(`place ${place} of ${extent}`, { place, extent });
}

function scatterNd(context: Context, x: Value, indices: Value, updates: Value): Value {
  const depth = indices.shape.at(-1)!;
  const out = copyOf(x.type, context.numbers(x));
  const [places, values] = [context.numbers(indices), context.numbers(updates)];
  const strides = denseStrides(x.shape);
  const length = sizeOf(x.shape.slice(depth));
  for (let t = 0; t < indices.size / depth; t++) {
    let at = 0;
    for (let d = 0; d < depth; d++) at += inside(context, places[t * depth + d]!, x.shape[d]!) * strides[d]!;
    for (let i = 0; i < length; i++)
      out[at + i] = joined(context, x.type, out[at + i]!, values[t * length + i]!);
  }
  return context.made(x.type, x.shape, out, [x, indices, updates]);
}

function compress(context: Context, x: Value, condition: Value): Value {
  const given = context.node.attributes.get('axis');
  const flat = given ? x : context.reshaped(x, [x.size]);
  const axis = given ? context.axis(context.int('axis', 0), x.rank) : 0;
  const places = context.ints(condition).flatMap((is, i) => (is && i < flat.shape[axis]! ? [i] : []));
  const [outer, size, inner] = [
    sizeOf(flat.shape.slice(0, axis)),
    flat.shape[axis]!,
    sizeOf(flat.shape.slice(axis + 1)),
  ];
  const numbers = context.numbers(flat);
  const out = arrayFor(x.type, outer * places.length * inner);
  let to = 0;
  for (let o = 0; o < outer; o++)
    for (const place of places)
      for (let i = 0; i < inner; i++) out[to++] = numbers[(o * size + place) * inner + i]!;
  const shape = flat.shape.map((extent, i) => (i === axis ? places.length : extent));
  return context.made(x.type, shape, out, [x, condition]);
}

/** 1 at the first of the largest values of each line, 0 elsewhere. */
function hardmax(context: Context, x: Value): Value {
  const isLate = context.opset >= 13;
  const axis = context.axis(context.int('axis', isLate ? -1 : 1), x.rank);
  const size = isLate ? x.shape[axis]! : sizeOf(x.shape.slice(axis));
  const inner = isLate ? sizeOf(x.shape.slice(axis + 1)) : 1;
  const numbers = context.numbers(x);
  const out = arrayFor(x.type, x.size);
  for (let line = 0; line < x.size / size; line++) {
    const base = Math.floor(line / inner) * size * inner + (line % inner);
    let best = 0;
    for (let i = 1; i < size; i++) if (numbers[base + i * inner]! > numbers[base + best * inner]!) best = i;
    out[base + best * inner] = 1;
  }
  return context.made(x.type, x.shape, out, [x]);
}

function reverseSequence(context: Context, x: Value, lengths: Value): Value {
  const [time, batch] = [context.int('time_axis', 0), context.int('batch_axis', 1)];
  const numbers = context.numbers(x);
  const out = copyOf(x.type, numbers);
  const strides = denseStrides(x.shape);
  const ends = context.ints(lengths);
  for (let i = 0; i < out.length; i++) {
    const at = Math.floor(i / strides[time]!) % x.shape[time]!;
    const end = ends[Math.floor(i / strides[batch]!) % x.shape[batch]!]!;
    if (at < end) out[i] = numbers[i + (end - 1 - 2 * at) * strides[time]!]!;
  }
  return context.made(x.type, x.shape, out, [x, lengths]);
}

interface Box {
  readonly index: number;
  readonly score: number;
  readonly corners: readonly [number, number, number, number];
}

/** Corners as [y1, x1, y2, x2], whichever way a box is given. */
function cornersOf(numbers: Numbers, at: number, isCentred: boolean): Box['corners'] {
  const [a, b, c, d] = [numbers[at]!, numbers[at + 1]!, numbers[at + 2]!, numbers[at + 3]!];
  if (isCentred) return [b - d / 2, a - c / 2, b + d / 2, a + c / 2];
  return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
}

function overlap(a: Box['corners'], b: Box['corners']): number {
  const height = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const width = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const area = (box: Box['corners']) => (box[2] - box[0]) * (box[3] - box[1]);
  const both = height * width;
  return both === 0 ? 0 : both / (area(a) + area(b) - both);
}

/** Of boxes that overlap too much the most certain one, for each class of each image. */
function nonMaxSuppression(
  context: Context,
  boxes: Value,
  scores: Value,
  ...limits: (Value | undefined)[]
): Value {
  const limit = (i: number, none: number) => (limits[i] ? context.numbers(limits[i]!)[0]! : none);
  const [most, most1, least] = [limit(0, 0), limit(1, 0), limit(2, Number.NEGATIVE_INFINITY)];
  const isCentred = context.int('center_point_box', 0) === 1;
  const [b, s] = [context.numbers(boxes), context.numbers(scores)];
  const [images, classes, count] = scores.shape as [number, number, number];
  const picked: number[] = [];
  for (let image = 0; image < images; image++)
    for (let name = 0; name < classes; name++) {
      const order = Array.from({ length: count }, (_, index): Box => {
        const score = s[(image * classes + name) * count + index]!;
        return { index, score, corners: cornersOf(b, (image * count + index) * 4, isCentred) };
      })
        .filter(({ score }) => score > least)
        .sort((x, y) => y.score - x.score || x.index - y.index);
      const kept: Box[] = [];
      for (const box of order) {
        if (kept.length >= most) break;
        if (kept.every((other) => overlap(box.corners, other.corners) <= most1)) kept.push(box);
      }
      for (const { index } of kept) picked.push(image, name, index);
    }
  return context.made('int64', [picked.length / 3, 3], Float64Array.from(picked), [boxes, scores]);
}

/** (x - mean) / deviation over axes. */
function meanVariance(context: Context, x: Value): Value {
  const axes = context.intList('axes') ?? [0, 2, 3];
  const options = { axes, keepDims: true };
  const mean = context.result(context.rt.reduceSync('mean', context.tensor(x), options));
  const centred = binary(context, 'sub', x, mean);
  const square = binary(context, 'mul', centred, centred);
  const variance = context.tensor(
    context.result(context.rt.reduceSync('mean', context.tensor(square), options)),
  );
  const deviation = context.result(context.rt.unarySync('sqrt', variance));
  const epsilon = context.number(1e-9);
  return binary(context, 'div', centred, binary(context, 'add', deviation, epsilon));
}

/** Zero points and scales of a tensor, of an axis, or of blocks along it: which one element i has. */
function parameterOf(context: Context, x: Value, scale: Value): (index: number) => number {
  if (scale.size === 1) return () => 0;
  const axis = context.axis(context.int('axis', 1), x.rank);
  if (scale.rank !== 1) throw context.refuse('scales of blocks');
  const inner = sizeOf(x.shape.slice(axis + 1));
  return (index) => Math.floor(index / inner) % x.shape[axis]!;
}

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  ...{ uint8: [0, 255], int8: [-128, 127], uint16: [0, 65535], int16: [-32768, 32767] },
};

function halfEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

function quantise(context: Context, x: Value, scale: Value, zero?: Value): Value {
  const type = zero?.type ?? 'uint8';
  const range = RANGES[type];
  if (!range) throw context.refuse(`to ${type}`);
  const of = parameterOf(context, x, scale);
  const [numbers, scales] = [context.numbers(x), context.numbers(scale)];
  const zeros = zero ? context.numbers(zero) : undefined;
  const out = arrayFor(type, x.size);
  for (let i = 0; i < out.length; i++) {
    const value = halfEven(Math.fround(numbers[i]! / scales[of(i)]!)) + (zeros?.[of(i)] ?? 0);
    out[i] = Math.max(range[0], Math.min(range[1], value));
  }
  return context.made(type, x.shape, out, [x, scale, zero]);
}

function dequantise(context: Context, x: Value, scale: Value, zero?: Value): Value {
  const of = parameterOf(context, x, scale);
  const [numbers, scales] = [context.numbers(x), context.numbers(scale)];
  const zeros = zero ? context.numbers(zero) : undefined;
  const out = new Float32Array(x.size);
  for (let i = 0; i < out.length; i++) out[i] = (numbers[i]! - (zeros?.[of(i)] ?? 0)) * scales[of(i)]!;
  return context.made('float32', x.shape, out, [x, scale, zero]);
}

/** New lines of keys or values written into those of before, at places of each batch's own; past the end or around it. */
function tensorScatter(context: Context, past: Value, update: Value, indices?: Value): Value {
  const axis = context.axis(context.int('axis', -2), past.rank);
  const isCircular = context.string('mode', 'linear') === 'circular';
  const [size, count] = [past.shape[axis]!, update.shape[axis]!];
  const inner = sizeOf(past.shape.slice(axis + 1));
  const perBatch = sizeOf(past.shape.slice(1, axis));
  const starts = indices ? context.ints(indices) : new Array<number>(past.shape[0]!).fill(0);
  const beyond = starts.find((start) => start < 0 || start >= size || (!isCircular && start + count > size));
  if (beyond !== undefined || count > size)
    throw context.refuse(`${count} lines from ${beyond ?? 0} on in ${size}`, { start: beyond, count, size });
  const out = copyOf(past.type, context.numbers(past));
  const numbers = context.numbers(update);
  for (let line = 0; line < numbers.length / Math.max(1, inner); line++) {
    const [outer, step] = [Math.floor(line / count), line % count];
    const place = (starts[Math.floor(outer / perBatch)]! + step) % size;
    for (let i = 0; i < inner; i++) out[(outer * size + place) * inner + i] = numbers[line * inner + i]!;
  }
  return context.made(past.type, past.shape, out, [past, update, indices]);
}

/** How often runs of numbers that are known occur, with gaps of some lengths between their members. */
function ngrams(context: Context, x: Value): Value {
  const ints = (name: string) => context.intList(name) ?? [];
  const pool = ints('pool_int64s');
  const [begins, indexes] = [ints('ngram_counts'), ints('ngram_indexes')];
  const [least, most] = [context.int('min_gram_length', 1), context.int('max_gram_length', 1)];
  const known = new Map<string, number>();
  let id = 0;
  begins.forEach((begin, i) => {
    for (let at = begin; at < (begins[i + 1] ?? pool.length); at += i + 1)
      known.set(pool.slice(at, at + i + 1).join(), indexes[id++]!);
  });
  const width = Math.max(-1, ...indexes) + 1;
  const numbers = context.numbers(x);
  const length = x.shape.at(-1) ?? 1;
  const lines = x.size / Math.max(1, length);
  const counts = new Float32Array(lines * width);
  const weights = context.floatList('weights');
  const mode = context.string('mode', 'TF');
  for (let line = 0; line < lines; line++)
    for (let n = least; n <= most; n++)
      // numbers alone have no gaps
      for (let step = 1; step <= (n === 1 ? 1 : context.int('max_skip_count', 0) + 1); step++)
        for (let start = 0; start + step * (n - 1) < length; start++) {
          const run = Array.from({ length: n }, (_, i) => numbers[line * length + start + i * step]!);
          const index = known.get(run.join());
          if (index !== undefined) counts[line * width + index]!++;
        }
  if (mode !== 'TF')
    indexes.forEach((index, i) => {
      const weight = weights?.[i] ?? 1;
      for (let line = 0; line < lines; line++) {
        const count = counts[line * width + index]!;
        counts[line * width + index] = weight * (mode === 'IDF' ? Math.min(1, count) : count);
      }
    });
  return context.made('float32', [...x.shape.slice(0, -1), width], counts, [x]);
}

function quantiseDynamic(context: Context, x: Value): readonly Value[] {
  const numbers = context.numbers(x);
  let [low, high] = [0, 0];
  for (const value of numbers) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const scale = Math.fround((high - low) / 255) || 1;
  const zero = Math.max(0, Math.min(255, halfEven(-low / scale)));
  const scaleValue = context.made('float32', [], Float32Array.of(scale), [x]);
  const zeroValue = context.made('uint8', [], Uint8Array.of(zero), [x]);
  return [quantise(context, x, scaleValue, zeroValue), scaleValue, zeroValue];
}

export const PLACES: Operators = {
  NonZero: operator(9, 1, nonZero),
  OneHot: operator(9, 3, oneHot),
  Scatter: operator(9, 3, scatterElements),
  ScatterElements: operator(11, 3, scatterElements),
  ScatterND: operator(11, 3, scatterNd),
  TensorScatter: operator(24, 2, tensorScatter),
  TfIdfVectorizer: operator(9, 1, ngrams),
  Compress: operator(9, 2, compress),
  Hardmax: operator(1, 1, hardmax),
  ReverseSequence: operator(10, 2, reverseSequence),
  NonMaxSuppression: operator(10, 2, nonMaxSuppression),
  Unique: operator(11, 1, unique),
  MeanVarianceNormalization: operator(9, 1, meanVariance),
  QuantizeLinear: operator(10, 2, quantise),
  DequantizeLinear: operator(10, 2, dequantise),
  DynamicQuantizeLinear: operator(11, 1, quantiseDynamic),
};
