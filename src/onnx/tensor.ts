/** Tensors that go in and out of a session: the shape of onnxruntime-common's, so that its tensors serve as well. */
import { TesseraeError } from '../core/errors.ts';
import { showShape, sizeOf } from '../core/shape.ts';
import { halfToFloat } from './model/tensor-proto.ts';
import type { ElementType, Numbers } from './model/types.ts';

export interface TensorArrays {
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  /** Bits of half floats. */
  readonly float16: Uint16Array;
  readonly int64: BigInt64Array;
  readonly int32: Int32Array;
  readonly int16: Int16Array;
  readonly int8: Int8Array;
  readonly uint64: BigUint64Array;
  readonly uint32: Uint32Array;
  readonly uint16: Uint16Array;
  readonly uint8: Uint8Array;
  readonly bool: Uint8Array;
}

const ARRAYS: { readonly [T in ElementType]: new (length: number) => TensorArrays[T] } = {
  ...{ float32: Float32Array, float64: Float64Array, float16: Uint16Array },
  ...{ int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array },
  ...{
    uint64: BigUint64Array,
    uint32: Uint32Array,
    uint16: Uint16Array,
    uint8: Uint8Array,
    bool: Uint8Array,
  },
};

/**
 * An array of numbers with its type and extents.
 * @throws `E_DTYPE` for another array than the type has, `E_SHAPE` where elements and extents disagree.
 * @example
 * new Tensor('float32', pixels, [1, 3, 224, 224]);
 */
export class Tensor<T extends ElementType = ElementType> {
  readonly type: T;
  readonly data: TensorArrays[T];
  readonly dims: readonly number[];

  constructor(type: T, data: TensorArrays[T] | readonly number[], dims?: readonly number[]) {
    const array = ARRAYS[type];
    if (!array)
      throw new TesseraeError(
        'E_DTYPE',
        `there is no type ${String(type)}`,
        { type },
        `Use one of ${Object.keys(ARRAYS).join(', ')}.`,
      );
    this.type = type;
    this.dims = dims ?? [data.length];
    this.data = Array.isArray(data)
      ? (fromNumbers(type, data) as TensorArrays[T])
      : (data as TensorArrays[T]);
    if (!(this.data instanceof array))
      throw new TesseraeError(
        'E_DTYPE',
        `a tensor of ${type} holds a ${array.name}`,
        { type },
        `Pass a ${array.name}.`,
      );
    if (this.data.length !== sizeOf(this.dims))
      throw new TesseraeError(
        'E_SHAPE',
        `${this.data.length} elements do not make ${showShape(this.dims)}`,
        { elements: this.data.length, dims: this.dims },
        'Data and dims must agree.',
      );
  }

  get size(): number {
    return this.data.length;
  }
}

/** Half floats from floats, rounded half to even. */
function floatToHalf(value: number): number {
  const float = new Float32Array(1);
  float[0] = value;
  const bits = new Uint32Array(float.buffer)[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(float[0]);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24);
  const exponent = ((bits >>> 23) & 255) - 112;
  return sign + (exponent << 10) + roundEven((size / 2 ** (exponent - 15) - 1) * 1024);
}

function roundEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest > 0.5 || (rest === 0.5 && low % 2 === 1)) return low + 1;
  return low;
}

/** The array that a type has outside, from numbers. */
export function fromNumbers(type: ElementType, numbers: ArrayLike<number>): TensorArrays[ElementType] {
  const { length } = numbers;
  if (type === 'int64' || type === 'uint64') {
    const out = type === 'int64' ? new BigInt64Array(length) : new BigUint64Array(length);
    for (let i = 0; i < length; i++) out[i] = BigInt(Math.trunc(numbers[i]!));
    return out;
  }
  const out = new ARRAYS[type](length) as Float32Array;
  if (type === 'float16') for (let i = 0; i < length; i++) out[i] = floatToHalf(numbers[i]!);
  else for (let i = 0; i < length; i++) out[i] = numbers[i]!;
  return out;
}

/** Numbers of what was passed in. */
export function toNumbers({ type, data }: Pick<Tensor, 'type' | 'data'>): Numbers {
  switch (type) {
    case 'float32':
    case 'float64':
    case 'int32':
    case 'int8':
    case 'uint8':
    case 'bool':
      return data as Numbers;
    case 'float16':
      return Float32Array.from(data as Uint16Array, halfToFloat);
    default:
      return Float64Array.from(data as ArrayLike<number>, Number);
  }
}

/** What may be passed in: a tensor of this library or of onnxruntime-common. */
export interface TensorIn {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
}

export function readTensorIn(name: string, value: unknown, type: ElementType): Tensor {
  const hint = `Pass new Tensor('${type}', data, dims).`;
  if (
    typeof value !== 'object' ||
    value === null ||
    !('dims' in value) ||
    !('data' in value) ||
    !('type' in value)
  )
    throw new TesseraeError('E_ARGUMENT', `${name} is no tensor`, { name }, hint);
  const { type: own, data, dims } = value as TensorIn;
  if (own !== type)
    throw new TesseraeError(
      'E_DTYPE',
      `${name} holds ${own}, the model takes ${type}`,
      { name, type: own, wanted: type },
      hint,
    );
  return new Tensor(type, data as never, dims);
}
