/** What a user passed, checked and brought into memory: before any work, with an error that says what was wrong. */
import { TesseraeError } from '../core/errors.ts';
import { checkShape, type Shape, showShape, sizeOf } from '../core/shape.ts';
import { show } from '../core/show.ts';
import type { BiasKind } from '../problem/epilogue.ts';
import { Block, DenseTensor, type Heap, type Held, Panels, type Remote, type Source } from './tensor.ts';
import type { DType, Prepacked, Tensor, TensorLike } from './types.ts';

const TENSOR_HINT = 'Pass a tensor of this runtime, or { data: Float32Array, shape: [..] }.';

/** A checked operand. One class and no closures: a call on small matrices takes about as long as making a few objects. */
export class Operand implements Held, Source {
  readonly shape: Shape;
  readonly #heap: Heap;
  readonly #tensor: DenseTensor | undefined;
  readonly #data: Float32Array | undefined;
  #block: Block | undefined;

  /** Of a tensor or of a plain array. */
  constructor(heap: Heap, shape: Shape, tensor: DenseTensor | undefined, data: Float32Array | undefined) {
    this.#heap = heap;
    this.shape = shape;
    this.#tensor = tensor;
    this.#data = data;
  }

  /** Address of the elements, held until `done`; a plain array is copied into memory first. */
  place(): number {
    if (this.#data) {
      const block = new Block(this.#heap, 4 * this.#data.length, 'scratch');
      this.#heap.floats().set(this.#data, block.address >>> 2);
      this.#block = block;
      return block.address;
    }
    const { block } = this.#tensor!;
    block.hold();
    this.#block = block;
    return block.address;
  }

  /** Lets go of what `place` took. */
  done(): void {
    if (this.#data) this.#block?.dispose();
    else this.#block!.release();
  }

  get remote(): Remote | undefined {
    return this.#tensor?.remote;
  }

  hold(): () => void {
    return this.#tensor ? this.#tensor.hold() : () => undefined;
  }

  get elements(): number {
    return sizeOf(this.shape);
  }

  get isAway(): boolean {
    return this.#tensor?.location === 'gpu';
  }

  fetch(): Promise<unknown> | undefined {
    return this.isAway ? this.#tensor!.bring() : undefined;
  }

  values(): Float32Array {
    if (this.#data) return this.#data;
    const { address } = this.#tensor!.block;
    return this.#heap.floats().subarray(address >>> 2, (address >>> 2) + this.elements);
  }
}

/** Checks one operand; nothing is allocated yet. */
export function readOperand(heap: Heap, value: TensorLike, name: string): Operand {
  if (value instanceof DenseTensor) {
    checkTensor(heap, value, name);
    checkDType(value, name, 'f32');
    return new Operand(heap, value.shape, value, undefined);
  }
  const { data, shape } = checkArray(value, name);
  return new Operand(heap, shape, undefined, data);
}

function checkDType(tensor: DenseTensor<DType>, name: string, wanted: DType): void {
  if (tensor.dtype === wanted) return;
  throw new TesseraeError(
    'E_DTYPE',
    `${name} is a tensor of ${tensor.dtype}, not ${wanted}`,
    { operand: name, dtype: tensor.dtype, wanted },
    'Each operation says which types it takes; nothing is converted silently.',
  );
}

export function checkTensor(heap: Heap, tensor: DenseTensor<DType>, name: string): void {
  if (tensor.heap !== heap) {
    throw new TesseraeError(
      'E_FOREIGN',
      `${name} belongs to another runtime`,
      { operand: name, shape: tensor.shape },
      'Copy it over: rt.tensor(other.data, other.shape).',
    );
  }
  if (tensor.disposed || heap.closed) tensor.check(`use as ${name}`);
}

function checkArray(value: unknown, name: string): { data: Float32Array; shape: Shape } {
  if (value instanceof Panels) {
    throw new TesseraeError(
      'E_ARGUMENT',
      `${name} cannot be a prepacked operand`,
      { operand: name },
      'Only the right operand of matmul and the weights of convolutions are prepacked.',
    );
  }
  if (typeof value !== 'object' || value === null || !('data' in value) || !('shape' in value)) {
    throw new TesseraeError(
      'E_ARGUMENT',
      `${name} is no tensor`,
      { operand: name, type: typeof value },
      TENSOR_HINT,
    );
  }
  const shape = checkShape(value.shape, name);
  const data = checkData(value.data, shape, name);
  return { data, shape };
}

/** f32 only: silently converting another type would hide a bug or a copy. */
export function checkData(data: unknown, shape: Shape, name: string): Float32Array {
  if (!(data instanceof Float32Array)) {
    const type = Object.prototype.toString.call(data).slice(8, -1);
    throw new TesseraeError(
      'E_DTYPE',
      `${name} holds ${type}, not Float32Array`,
      { operand: name, dtype: type },
      'Convert first: Float32Array.from(data).',
    );
  }
  checkLength(data.length, shape, name);
  return data;
}

/** A plain array of numbers: anything else in it would become NaN without a word. */
export function checkNumbers(data: readonly unknown[], shape: Shape): void {
  const at = data.findIndex((value) => typeof value !== 'number');
  if (at >= 0) {
    throw new TesseraeError(
      'E_DTYPE',
      `data[${at}] is ${show(data[at])}, not a number`,
      { index: at, value: data[at] },
      'Pass numbers, or a Float32Array.',
    );
  }
  checkLength(data.length, shape, 'data');
}

function checkLength(length: number, shape: Shape, name: string): void {
  if (length === sizeOf(shape)) return;
  throw new TesseraeError(
    'E_SHAPE',
    `${name} has ${length} elements, its shape ${showShape(shape)} needs ${sizeOf(shape)}`,
    { operand: name, elements: length, shape, needed: sizeOf(shape) },
    'Data and shape must agree.',
  );
}

export function readPrepacked(heap: Heap, value: TensorLike | Prepacked): Panels | undefined {
  if (!(value instanceof Panels)) return undefined;
  checkKept(value, value.block.heap === heap, 'prepacked');
  return value;
}

/** @throws `E_FOREIGN`, `E_DISPOSED`. */
export function checkKept(
  { shape, disposed }: { readonly shape: Shape; readonly disposed: boolean },
  isOwn: boolean,
  how: 'prepacked' | 'spread',
): void {
  if (!isOwn) {
    throw new TesseraeError(
      'E_FOREIGN',
      `b was ${how} by another runtime`,
      { operand: 'b', shape },
      'Make it with this runtime.',
    );
  }
  if (disposed) {
    throw new TesseraeError(
      'E_DISPOSED',
      `b is a disposed ${how} operand`,
      { operand: 'b', shape },
      'Dispose it after its last use.',
    );
  }
}

/** [n] or [1, n] is added to every row, [m, 1] to every column. */
export function biasKind(shape: Shape, m: number, n: number): BiasKind {
  if (shape.length === 1 && shape[0] === n) return 'row';
  if (shape.length === 2 && shape[0] === 1 && shape[1] === n) return 'row';
  if (shape.length === 2 && shape[0] === m && shape[1] === 1) return 'column';
  throw new TesseraeError(
    'E_SHAPE',
    `bias has shape ${showShape(shape)}, the product is ${m} x ${n}`,
    { shape, m, n },
    `Use [${n}] for one value per column, or [${m}, 1] for one per row.`,
  );
}

/** The values of an operand that the call will overwrite. */
export class CopyOf implements Held, Source {
  readonly #heap: Heap;
  readonly #operand: Operand;
  #block: Block | undefined;

  constructor(heap: Heap, operand: Operand) {
    this.#heap = heap;
    this.#operand = operand;
  }

  place(): number {
    const from = this.#operand.place() >>> 2;
    try {
      const elements = sizeOf(this.#operand.shape);
      this.#block = new Block(this.#heap, 4 * elements, 'scratch');
      this.#heap.floats().copyWithin(this.#block.address >>> 2, from, from + elements);
      return this.#block.address;
    } finally {
      this.#operand.done();
    }
  }

  done(): void {
    this.#block?.dispose();
  }

  get remote(): Remote | undefined {
    return this.#operand.remote;
  }

  hold(): () => void {
    return this.#operand.hold();
  }

  get elements(): number {
    return this.#operand.elements;
  }

  get isAway(): boolean {
    return this.#operand.isAway;
  }

  fetch(): Promise<unknown> | undefined {
    return this.#operand.fetch();
  }

  values(): Float32Array {
    return this.#operand.values();
  }
}

/** One slope for all channels, copied out to each of them for the call. */
class SharedSlope implements Held, Source {
  readonly #heap: Heap;
  readonly #operand: Operand;
  readonly #channels: number;
  #block: Block | undefined;

  constructor(heap: Heap, operand: Operand, channels: number) {
    this.#heap = heap;
    this.#operand = operand;
    this.#channels = channels;
  }

  place(): number {
    const from = this.#operand.place();
    try {
      this.#block = new Block(this.#heap, 4 * this.#channels, 'scratch');
      const floats = this.#heap.floats();
      const first = this.#block.address >>> 2;
      floats.fill(floats[from >>> 2]!, first, first + this.#channels);
      return this.#block.address;
    } finally {
      this.#operand.done();
    }
  }

  done(): void {
    this.#block?.dispose();
  }

  /** One value is no tensor of slopes: it goes to the GPU as often as there are channels. */
  get remote(): undefined {
    return undefined;
  }

  hold(): () => void {
    return this.#operand.hold();
  }

  get elements(): number {
    return this.#channels;
  }

  get isAway(): boolean {
    return this.#operand.isAway;
  }

  fetch(): Promise<unknown> | undefined {
    return this.#operand.fetch();
  }

  values(): Float32Array {
    return new Float32Array(this.#channels).fill(this.#operand.values()[0]!);
  }
}

/** The slope of prelu: one value for each channel, or one for all. */
export function readSlope(heap: Heap, value: unknown, channels: number): Held & Source {
  const operand = readOperand(heap, value as TensorLike, 'slope');
  const size = sizeOf(operand.shape);
  if (size === channels) return operand;
  if (size === 1) return new SharedSlope(heap, operand, channels);
  throw new TesseraeError(
    'E_SHAPE',
    `slope has shape ${showShape(operand.shape)}, there are ${channels} channels`,
    { shape: operand.shape, channels },
    `Use [${channels}] for one slope a channel, or [1] for one for all.`,
  );
}

/** The user's result tensor, or undefined for a new one. */
export function readOut(
  heap: Heap,
  out: Tensor<DType> | undefined,
  shape: Shape,
  inputs: readonly unknown[],
  dtype: DType = 'f32',
): DenseTensor | undefined {
  if (out === undefined) return undefined;
  if (!(out instanceof DenseTensor))
    throw new TesseraeError(
      'E_ARGUMENT',
      'out is no tensor of this library',
      { out: typeof out },
      'Make it with rt.zeros(shape).',
    );
  checkTensor(heap, out, 'out');
  checkDType(out, 'out', dtype);
  if (out.shape.length !== shape.length || out.shape.some((extent, axis) => extent !== shape[axis])) {
    throw new TesseraeError(
      'E_SHAPE',
      `out has shape ${showShape(out.shape)}, the result ${showShape(shape)}`,
      { out: out.shape, result: shape },
      'Make out with the shape of the result.',
    );
  }
  if (inputs.includes(out)) {
    throw new TesseraeError(
      'E_ARGUMENT',
      'out is also an operand',
      { shape: out.shape },
      'The result is written while operands are read: use another tensor.',
    );
  }
  return out;
}
