/** Operators on shapes and places: what is reshaped, cut, joined, repeated, picked. */
import { broadcast, sizeOf } from '../../core/shape.ts';
import { broadcastStrides, denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import { arrayFor, typeOfCode } from '../model/tensor-proto.ts';
import { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';
import { assemble, ofInts, type Placed, read, regrouped, take } from './views.ts';

function reshape(context: Context, x: Value, shapeInput?: Value): Value {
  const wanted = shapeInput ? context.ints(shapeInput) : (context.intList('shape') ?? []);
  const allowZero = context.int('allowzero', 0) === 1;
  const shape = wanted.map((extent, axis) => (extent === 0 && !allowZero ? (x.shape[axis] ?? 0) : extent));
  const free = shape.indexOf(-1);
  if (free >= 0) {
    const known = shape.reduce((product, extent, axis) => (axis === free ? product : product * extent), 1);
    shape[free] = known === 0 ? 0 : x.size / known;
  }
  return context.reshaped(x, shape);
}

function squeeze(context: Context, x: Value, axesInput?: Value): Value {
  const axes = context.axes(axesInput, 'axes', x.rank);
  const wrong = axes?.find((axis) => x.shape[axis] !== 1);
  if (wrong !== undefined) throw context.refuse(`axis ${wrong} of [${x.shape}] is not 1`);
  const gone = axes ?? x.shape.flatMap((extent, axis) => (extent === 1 ? [axis] : []));
  return context.reshaped(
    x,
    x.shape.filter((_, axis) => !gone.includes(axis)),
  );
}

function unsqueeze(context: Context, x: Value, axesInput?: Value): Value {
  const count = axesInput ? axesInput.size : (context.intList('axes')?.length ?? 0);
  const rank = x.rank + count;
  const axes = new Set(context.axes(axesInput, 'axes', rank));
  const rest = [...x.shape];
  const shape = Array.from({ length: rank }, (_, axis) => (axes.has(axis) ? 1 : rest.shift()!));
  return context.reshaped(x, shape);
}

function flatten(context: Context, x: Value): Value {
  const given = context.int('axis', 1);
  const axis = given < 0 ? given + x.rank : given;
  return context.reshaped(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]);
}

function same(context: Context, x: Value): Value {
  return context.reshaped(x, x.shape);
}

function shapeOf(context: Context, x: Value): Value {
  const clamp = (at: number) => Math.max(0, Math.min(x.rank, at < 0 ? at + x.rank : at));
  const [start, end] = [clamp(context.int('start', 0)), clamp(context.int('end', x.rank))];
  return ofInts(x.shape.slice(start, end));
}

function size(_: Context, x: Value): Value {
  return Value.ofNumbers('int64', [], Float64Array.of(x.size), true);
}

function constant(context: Context): Value {
  for (const [name, attribute] of context.node.attributes) {
    if (attribute.kind === 'refused') throw context.refuse(attribute.reason);
    if (attribute.kind === 'tensor') {
      const { type, shape, data } = attribute.value;
      return Value.ofNumbers(type, shape, data, true);
    }
    const isFloat = name.startsWith('value_float');
    const type = isFloat ? 'float32' : 'int64';
    const numbers = (values: readonly number[]) =>
      isFloat ? Float32Array.from(values) : Float64Array.from(values);
    if (attribute.kind === 'int' || attribute.kind === 'float')
      return Value.ofNumbers(type, [], numbers([attribute.value]), true);
    if (attribute.kind === 'ints' || attribute.kind === 'floats')
      return Value.ofNumbers(type, [attribute.value.length], numbers(attribute.value), true);
  }
  throw context.refuse('there is no value of a type that is run');
}

function constantOfShape(context: Context, shapeInput: Value): Value {
  const shape = context.ints(shapeInput);
  const attribute = context.node.attributes.get('value');
  const { type, data } =
    attribute?.kind === 'tensor' ? attribute.value : { type: 'float32' as const, data: Float32Array.of(0) };
  return context.made(type, shape, arrayFor(type, sizeOf(shape)).fill(data[0]!), [shapeInput]);
}

function range(context: Context, ...inputs: Value[]): Value {
  const [start, limit, step] = inputs.map((value) => context.numbers(value)[0]!) as [number, number, number];
  const count = Math.max(0, Math.ceil((limit - start) / step));
  const { type } = inputs[0]!;
  const numbers = arrayFor(type, count);
  for (let i = 0; i < count; i++) numbers[i] = start + i * step;
  return context.made(type, [count], numbers, inputs);
}

function transpose(context: Context, x: Value): Value {
  const order = context.intList('perm') ?? x.shape.map((_, axis) => x.rank - 1 - axis);
  if (order.length !== x.rank) throw context.refuse(`perm [${order}] of [${x.shape}]`);
  const strides = denseStrides(x.shape);
  const axes = order.map((axis) => context.axis(axis, x.rank));
  // axes of 1 may go anywhere: where the others keep their order nothing is moved
  const long = axes.filter((axis) => x.shape[axis] !== 1);
  const shape = axes.map((axis) => x.shape[axis]!);
  if (long.every((axis, i) => i === 0 || axis > long[i - 1]!)) return context.reshaped(x, shape);
  return read(context, x, { shape, strides: axes.map((axis) => strides[axis]!), first: 0 });
}

/** Starts, ends and steps of some axes, clamped as NumPy does. */
function slice(context: Context, x: Value, ...inputs: (Value | undefined)[]): Value {
  const list = (input: Value | undefined, name: string) =>
    context.opset < 10 ? context.intList(name) : input && context.ints(input);
  const starts = list(inputs[0], 'starts') ?? [];
  const ends = list(inputs[1], 'ends') ?? [];
  const axes = (list(inputs[2], 'axes') ?? starts.map((_, i) => i)).map((axis) => context.axis(axis, x.rank));
  const steps = (inputs[3] && context.ints(inputs[3])) ?? starts.map(() => 1);
  const shape = [...x.shape];
  const strides = denseStrides(x.shape);
  let first = 0;
  axes.forEach((axis, i) => {
    const [extent, step] = [x.shape[axis]!, steps[i]!];
    if (step === 0) throw context.refuse('a step of 0');
    const from = (at: number) => (at < 0 ? at + extent : at);
    const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
    const clamp = (at: number) => Math.max(low, Math.min(high, at));
    const start = step > 0 ? clamp(from(starts[i]!)) : Math.max(0, clamp(from(starts[i]!)));
    const end = clamp(from(ends[i]!));
    shape[axis] = Math.max(0, Math.ceil((end - start) / step));
    first += start * strides[axis]!;
    strides[axis]! *= step;
  });
  const isWhole =
    first === 0 && shape.every((extent, axis) => extent === x.shape[axis]) && steps.every((s) => s === 1);
  if (isWhole) return context.reshaped(x, shape);
  return read(context, x, { shape, strides, first: sizeOf(shape) === 0 ? 0 : first });
}

function concat(context: Context, ...inputs: Value[]): Value {
  return concatenated(context, context.axis(context.int('axis', 1), inputs[0]!.rank), inputs);
}

/** One behind the other along an axis. */
export function concatenated(context: Context, axis: number, inputs: readonly Value[]): Value {
  const [one] = inputs as [Value];
  const odd = inputs.find((value) => value.shape.some((extent, i) => i !== axis && extent !== one.shape[i]));
  if (odd) throw context.refuse(`[${odd.shape}] does not go with [${one.shape}]`);
  if (inputs.length === 1) return context.reshaped(one, one.shape);
  let at = 0;
  const parts = inputs.map((value): Placed => {
    const place = { value, at: one.shape.map((_, i) => (i === axis ? at : 0)) };
    at += value.shape[axis]!;
    return place;
  });
  const shape = one.shape.map((extent, i) => (i === axis ? at : extent));
  return assemble(context, shape, undefined, parts);
}

function split(context: Context, x: Value, lengthsInput?: Value): readonly Value[] {
  const axis = context.axis(context.int('axis', 0), x.rank);
  const count = context.int('num_outputs', context.node.outputs.length);
  const extent = x.shape[axis]!;
  const even = Math.ceil(extent / count);
  const lengths =
    (lengthsInput ? context.ints(lengthsInput) : context.intList('split')) ??
    Array.from({ length: count }, (_, i) => Math.max(0, Math.min(even, extent - i * even)));
  const strides = denseStrides(x.shape);
  let at = 0;
  return lengths.map((length) => {
    const shape = x.shape.map((e, i) => (i === axis ? length : e));
    const part = read(context, x, { shape, strides, first: at * strides[axis]! });
    at += length;
    return part;
  });
}

function expand(context: Context, x: Value, shapeInput: Value): Value {
  const shape = broadcast(x.shape, context.ints(shapeInput));
  if (!shape) throw context.refuse(`[${x.shape}] does not broadcast to [${context.ints(shapeInput)}]`);
  if (sizeOf(shape) === x.size) return context.reshaped(x, shape);
  return read(context, x, { shape, strides: broadcastStrides(x.shape, shape), first: 0 });
}

function tile(context: Context, x: Value, repeatsInput: Value): Value {
  const repeats = context.ints(repeatsInput);
  const strides = denseStrides(x.shape);
  const shape = x.shape.flatMap((extent, axis) => [repeats[axis]!, extent]);
  const walk = strides.flatMap((stride) => [0, stride]);
  const tiled = read(context, x, { shape, strides: walk, first: 0 });
  const result = context.reshaped(
    tiled,
    x.shape.map((extent, axis) => extent * repeats[axis]!),
  );
  tiled.dispose();
  return result;
}

/** The place that a place outside of 0..extent-1 stands for. */
function padPlace(mode: string, at: number, extent: number): number {
  if (mode === 'edge') return Math.max(0, Math.min(extent - 1, at));
  if (mode === 'wrap') return ((at % extent) + extent) % extent;
  if (extent === 1) return 0;
  const period = 2 * (extent - 1);
  const inside = ((at % period) + period) % period;
  return inside < extent ? inside : period - inside;
}

function pad(context: Context, x: Value, padsInput?: Value, fillInput?: Value, axesInput?: Value): Value {
  const given = padsInput
    ? context.ints(padsInput)
    : (context.intList('pads') ?? context.intList('paddings') ?? []);
  const fill = fillInput ? context.numbers(fillInput)[0]! : context.float('value', 0);
  const axes = axesInput
    ? context.ints(axesInput).map((axis) => context.axis(axis, x.rank))
    : x.shape.map((_, i) => i);
  const before = x.shape.map(() => 0);
  const after = x.shape.map(() => 0);
  axes.forEach((axis, i) => {
    before[axis] = given[i]!;
    after[axis] = given[i + axes.length]!;
  });
  const shape = x.shape.map((extent, axis) => extent + before[axis]! + after[axis]!);
  const mode = context.string('mode', 'constant');
  if (mode === 'constant') {
    // what is cut off by negative padding is cut first
    const cut = x.shape.map((_, axis) => Math.max(0, -before[axis]!));
    const kept = x.shape.map(
      (extent, axis) => extent + Math.min(0, before[axis]!) + Math.min(0, after[axis]!),
    );
    const strides = denseStrides(x.shape);
    const first = cut.reduce((sum, place, axis) => sum + place * strides[axis]!, 0);
    const isCut = kept.some((extent, axis) => extent !== x.shape[axis]);
    const inner = isCut ? read(context, x, { shape: kept, strides, first }) : x;
    const result = assemble(context, shape, fill, [{ value: inner, at: before.map((b) => Math.max(0, b)) }]);
    if (isCut) inner.dispose();
    return result;
  }
  return x.shape.reduce((value, extent, axis) => {
    if (before[axis] === 0 && after[axis] === 0) return value;
    const places = Array.from({ length: shape[axis]! }, (_, at) =>
      padPlace(mode, at - before[axis]!, extent),
    );
    const next = value.shape.map((e, i) => (i === axis ? shape[axis]! : e));
    const padded = take(context, value, axis, places, next);
    if (value !== x) value.dispose();
    return padded;
  }, x);
}

function gather(context: Context, x: Value, indices: Value): Value {
  const axis = context.axis(context.int('axis', 0), x.rank);
  const extent = x.shape[axis]!;
  const places = context.ints(indices).map((place) => (place < 0 ? place + extent : place));
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return take(context, x, axis, places, shape);
}

/** [n, c, h, w] with c = blocks of pixels: depth first (DCR) or columns and rows first (CRD). */
function depthToSpace(context: Context, x: Value): Value {
  const block = context.int('blocksize', 1);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const depth = c / block ** 2;
  const isDcr = context.string('mode', 'DCR') === 'DCR';
  const inner = isDcr ? [n, block, block, depth, h, w] : [n, depth, block, block, h, w];
  const order = isDcr ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3];
  return regrouped(context, x, inner, order, [n, depth, h * block, w * block]);
}

function spaceToDepth(context: Context, x: Value): Value {
  const block = context.int('blocksize', 1);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const inner = [n, c, h / block, block, w / block, block];
  return regrouped(context, x, inner, [0, 3, 5, 1, 2, 4], [n, c * block ** 2, h / block, w / block]);
}

/** Arrays whose every element is picked by itself are worked on where they are known. */
function gatherElements(context: Context, x: Value, indices: Value): Value {
  const axis = context.axis(context.int('axis', 0), x.rank);
  const [numbers, places] = [context.numbers(x), context.numbers(indices)];
  const out = arrayFor(x.type, indices.size);
  const strides = denseStrides(x.shape);
  const own = denseStrides(indices.shape);
  for (let i = 0; i < out.length; i++) {
    let at = 0;
    for (let a = 0; a < x.rank; a++) {
      const place = Math.floor(i / own[a]!) % indices.shape[a]!;
      const picked = places[i]! < 0 ? places[i]! + x.shape[axis]! : places[i]!;
      at += (a === axis ? picked : place) * strides[a]!;
    }
    out[i] = numbers[at]!;
  }
  return context.made(x.type, indices.shape, out, [x, indices]);
}

function gatherNd(context: Context, x: Value, indices: Value): Value {
  const batch = context.int('batch_dims', 0);
  const depth = indices.shape.at(-1)!;
  const [numbers, places] = [context.numbers(x), context.numbers(indices)];
  const inner = x.shape.slice(batch + depth);
  const strides = denseStrides(x.shape);
  const length = sizeOf(inner);
  const tuples = indices.size / depth;
  const perBatch = tuples / sizeOf(x.shape.slice(0, batch));
  const out = arrayFor(x.type, tuples * length);
  for (let t = 0; t < tuples; t++) {
    let at = batch > 0 ? Math.floor(t / perBatch) * strides[batch - 1]! : 0;
    for (let d = 0; d < depth; d++) {
      const place = places[t * depth + d]!;
      const extent = x.shape[batch + d]!;
      at += (place < 0 ? place + extent : place) * strides[batch + d]!;
    }
    for (let i = 0; i < length; i++) out[t * length + i] = numbers[at + i]!;
  }
  return context.made(x.type, [...indices.shape.slice(0, -1), ...inner], out, [x, indices]);
}

/** Upper or lower triangle of matrices: the other is 0. */
function trilu(context: Context, x: Value, k?: Value): Value {
  const diagonal = k ? context.numbers(k)[0]! : 0;
  const upper = context.int('upper', 1) === 1;
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const mask = Float32Array.from({ length: rows * columns }, (_, i) => {
    const offset = (i % columns) - Math.floor(i / columns);
    return (upper ? offset >= diagonal : offset <= diagonal) ? 1 : 0;
  });
  if (context.isHost(x)) {
    const out = arrayFor(x.type, x.size);
    for (let i = 0; i < out.length; i++) out[i] = mask[i % mask.length] ? x.numbers![i]! : 0;
    return context.made(x.type, x.shape, out, [x]);
  }
  const kept = context.tensor(context.made('float32', [rows, columns], mask, []));
  const zero = context.tensor(context.made('float32', [1], Float32Array.of(0), []));
  return context.result(context.rt.whereSync(kept, context.tensor(x), zero), x.type);
}

/** Cut or filled with zeros around the middle of some extents. */
function centerCropPad(context: Context, x: Value, shapeInput: Value): Value {
  const wanted = context.ints(shapeInput);
  const axes = context.intList('axes')?.map((axis) => context.axis(axis, x.rank)) ?? x.shape.map((_, i) => i);
  const shape = [...x.shape];
  axes.forEach((axis, i) => {
    shape[axis] = wanted[i] ?? shape[axis]!;
  });
  const over = shape.map((extent, axis) => Math.floor(Math.abs(extent - x.shape[axis]!) / 2));
  const cut = x.shape.map((extent, axis) => (extent > shape[axis]! ? over[axis]! : 0));
  const kept = x.shape.map((extent, axis) => Math.min(extent, shape[axis]!));
  const strides = denseStrides(x.shape);
  const first = cut.reduce((sum, place, axis) => sum + place * strides[axis]!, 0);
  const inner = read(context, x, { shape: kept, strides, first });
  const at = x.shape.map((extent, axis) => (extent < shape[axis]! ? over[axis]! : 0));
  return assemble(context, shape, 0, [{ value: inner, at }]);
}

function eyeLike(context: Context, x: Value): Value {
  const [rows, columns] = x.shape as [number, number];
  const k = context.int('k', 0);
  const code = context.int('dtype', 0);
  const type = code === 0 ? x.type : typeOfCode(code);
  if (!type) throw context.refuse(`of type ${code}`);
  const out = arrayFor(type, rows * columns);
  for (let r = 0; r < rows; r++) if (r + k >= 0 && r + k < columns) out[r * columns + r + k] = 1;
  return Value.ofNumbers(type, x.shape, out, true);
}

export const TENSOR: Operators = {
  Constant: operator(1, 0, constant),
  ConstantOfShape: operator(9, 1, constantOfShape),
  Identity: operator(1, 1, same),
  Reshape: operator(1, 1, reshape),
  Squeeze: operator(1, 1, squeeze),
  Unsqueeze: operator(1, 1, unsqueeze),
  Flatten: operator(1, 1, flatten),
  Shape: operator(1, 1, shapeOf),
  Size: operator(1, 1, size),
  Range: operator(11, 3, range),
  Transpose: operator(1, 1, transpose),
  Slice: operator(1, 1, slice),
  Concat: operator(1, 1, concat),
  Split: operator(1, 1, split),
  Expand: operator(8, 2, expand),
  Tile: operator(6, 2, tile),
  Pad: operator(1, 1, pad),
  Gather: operator(1, 2, gather),
  GatherElements: operator(11, 2, gatherElements),
  GatherND: operator(11, 2, gatherNd),
  DepthToSpace: operator(1, 1, depthToSpace),
  SpaceToDepth: operator(1, 1, spaceToDepth),
  CenterCropPad: operator(18, 2, centerCropPad),
  Trilu: operator(14, 1, trilu),
  EyeLike: operator(9, 1, eyeLike),
};
