/** 8-bit operands, zero points and scales as a caller gave them: checked, then brought into memory. */
import type { Quantization } from '../../backends/reference/quantized.ts';
import { QUANTIZED, QUANTIZED_BYTES } from '../../backends/wasm/layout.ts';
import { TesseraeError } from '../../core/errors.ts';
import { checkShape, type Shape, showShape, sizeOf } from '../../core/shape.ts';
import type { IntegerType } from '../../problem/quantized.ts';
import { badArgument } from '../arguments.ts';
import { checkTensor } from '../operands.ts';
import { Block, DenseTensor, type Heap, type Held } from '../tensor.ts';
import type { DType } from '../types.ts';
import type { Values } from './types.ts';

const ARRAYS = { u8: Uint8Array, i8: Int8Array, i32: Int32Array } as const;

type IntegerArray = Uint8Array | Int8Array | Int32Array;

/** A checked operand of integers. */
export class IntegerOperand implements Held {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly #heap: Heap;
  readonly #data: IntegerArray | undefined;
  #block: Block | undefined;

  constructor(
    heap: Heap,
    shape: Shape,
    dtype: DType,
    block: Block | undefined,
    data: IntegerArray | undefined,
  ) {
    this.#heap = heap;
    this.shape = shape;
    this.dtype = dtype;
    this.#block = block;
    this.#data = data;
  }

  place(): number {
    if (this.#data) {
      const { byteLength } = this.#data;
      this.#block = new Block(this.#heap, byteLength, 'scratch');
      const bytes = new Uint8Array(this.#heap.floats().buffer, this.#block.address, byteLength);
      bytes.set(new Uint8Array(this.#data.buffer, this.#data.byteOffset, byteLength));
    } else this.#block!.hold();
    return this.#block!.address;
  }

  done(): void {
    if (this.#data) this.#block?.dispose();
    else this.#block!.release();
  }
}

/** An operand of one of the types; nothing is allocated yet. */
export function readIntegers(
  heap: Heap,
  value: unknown,
  name: string,
  types: readonly (keyof typeof ARRAYS)[],
): IntegerOperand {
  const wanted = types.join(' or ');
  const fail = (is: string) =>
    new TesseraeError(
      'E_DTYPE',
      `${name} holds ${is}, not ${wanted}`,
      { operand: name, dtype: is },
      `Pass a tensor of ${wanted}, or { data, shape } with such an array.`,
    );
  if (value instanceof DenseTensor) {
    const tensor: DenseTensor<DType> = value;
    checkTensor(heap, tensor, name);
    if (!types.some((type) => type === tensor.dtype)) throw fail(tensor.dtype);
    return new IntegerOperand(heap, tensor.shape, tensor.dtype, tensor.block, undefined);
  }
  if (typeof value !== 'object' || value === null || !('data' in value) || !('shape' in value))
    throw badArgument(name, value, 'Pass a tensor of this runtime, or { data: Uint8Array, shape: [..] }.');
  const { data } = value;
  const dtype = types.find((type) => data instanceof ARRAYS[type]);
  if (dtype === undefined) throw fail(Object.prototype.toString.call(data).slice(8, -1));
  const shape = checkShape(value.shape, name);
  const array = data as IntegerArray;
  if (array.length !== sizeOf(shape))
    throw new TesseraeError(
      'E_SHAPE',
      `${name} has ${array.length} elements, its shape ${showShape(shape)} needs ${sizeOf(shape)}`,
      { operand: name, elements: array.length, shape },
      'Data and shape must agree.',
    );
  return new IntegerOperand(heap, shape, dtype, undefined, array);
}

export function readBytes(
  heap: Heap,
  value: unknown,
  name: string,
): IntegerOperand & { readonly dtype: IntegerType } {
  return readIntegers(heap, value, name, ['u8', 'i8']) as IntegerOperand & { readonly dtype: IntegerType };
}

function readList(values: unknown, name: string, lines: number, what: string): number[] {
  if (typeof values === 'number') return [values];
  if (typeof values !== 'object' || values === null || !('length' in values))
    throw badArgument(name, values, `A number, or one for each ${what}.`);
  const list = Array.from(values as ArrayLike<number>);
  if (list.length === 1 || list.length === lines) return list;
  throw new TesseraeError(
    'E_SHAPE',
    `${name} has ${list.length} values, there are ${lines} ${what}s`,
    { [name]: list.length, lines },
    `Give one value, or one for each ${what}.`,
  );
}

/** Zero points: whole numbers in the range of their type. */
export function readZeros(
  values: Values | undefined,
  type: IntegerType,
  name: string,
  lines: number,
  what: string,
): readonly number[] {
  if (values === undefined) return [0];
  const [low, high] = type === 'u8' ? [0, 255] : [-128, 127];
  const list = readList(values, name, lines, what);
  for (const zero of list)
    if (!Number.isInteger(zero) || zero < low || zero > high)
      throw badArgument(name, zero, `Whole numbers from ${low} to ${high}, as ${type} holds them.`);
  return list;
}

/** Scales: positive numbers. */
export function readScales(
  values: Values | undefined,
  name: string,
  lines: number,
  what: string,
): readonly number[] {
  const list = readList(values, name, lines, what);
  for (const scale of list)
    if (!(typeof scale === 'number' && Number.isFinite(scale) && Math.fround(scale) > 0))
      throw badArgument(name, scale, 'Scales are positive numbers.');
  return list;
}

/** Which side of the product runs down the rows of the result. */
export interface Sides {
  /** True where weights are the left operand (NCHW convolution). */
  readonly swapped: boolean;
}

/** Kernels may read three values beyond the last. */
const SLACK = 4;

/** Zero points, scales and the integer bias of a call, as kernels read them; `quantization` is asked when the call begins. */
export class Parameters implements Held {
  readonly #heap: Heap;
  readonly #quantization: () => Quantization;
  readonly #swapped: boolean;
  readonly #bias: Held | undefined;
  #block: Block | undefined;

  constructor(heap: Heap, quantization: () => Quantization, { swapped }: Sides, bias?: Held) {
    this.#heap = heap;
    this.#quantization = quantization;
    this.#swapped = swapped;
    this.#bias = bias;
  }

  place(): number {
    const { zeroA, zeroB, scaleA, scaleB, scaleY, zeroY } = this.#quantization();
    const [rowZeros, columnZeros] = this.#swapped ? [zeroB, zeroA] : [zeroA, zeroB];
    const [rowScales, columnScales] = this.#swapped ? [scaleB, scaleA] : [scaleA, scaleB];
    const lists = [rowZeros, columnZeros, rowScales, columnScales];
    const bytes = lists.reduce((sum, list) => sum + 4 * (list.length + SLACK), QUANTIZED_BYTES);
    const bias = this.#bias?.place() ?? 0;
    try {
      this.#block = new Block(this.#heap, bytes, 'scratch');
    } catch (error) {
      this.#bias?.done();
      throw error;
    }
    const { address } = this.#block;
    const { buffer } = this.#heap.floats();
    const words = new Int32Array(buffer, address, bytes / 4);
    const floats = new Float32Array(buffer, address, bytes / 4);
    let at = QUANTIZED_BYTES / 4;
    const put = (list: ArrayLike<number>, to: Int32Array | Float32Array, field: number) => {
      to.set(list, at);
      words[field >>> 2] = address + 4 * at;
      // the word after an address says how far its values are apart
      words[(field >>> 2) + 1] = list.length > 1 ? 4 : 0;
      at += list.length + SLACK;
    };
    put(rowZeros, words, QUANTIZED.ZERO_A);
    put(columnZeros, words, QUANTIZED.ZERO_B);
    put(rowScales, floats, QUANTIZED.ROW_SCALE);
    put(columnScales, floats, QUANTIZED.COL_SCALE);
    floats[QUANTIZED.OUT_SCALE >>> 2] = scaleY;
    words[QUANTIZED.OUT_ZERO >>> 2] = zeroY;
    words[QUANTIZED.BIAS >>> 2] = bias;
    words[QUANTIZED.BIAS_BY_ROW >>> 2] = this.#swapped ? 1 : 0;
    return address;
  }

  done(): void {
    this.#bias?.done();
    this.#block?.dispose();
  }
}

/** A tensor with a copy of an array of integers. */
export function integerTensor(heap: Heap, data: IntegerArray, shape: Shape): DenseTensor<DType> {
  const dtype = INTEGER_TYPES.find((type) => data instanceof ARRAYS[type])!;
  const operand = readIntegers(heap, { data, shape }, 'data', INTEGER_TYPES);
  const tensor: DenseTensor<DType> = new DenseTensor<DType>(heap, operand.shape, dtype);
  tensor.data.set(data);
  return tensor;
}

const INTEGER_TYPES = ['u8', 'i8', 'i32'] as const;

export function isIntegers(data: unknown): data is IntegerArray {
  return INTEGER_TYPES.some((type) => data instanceof ARRAYS[type]);
}
