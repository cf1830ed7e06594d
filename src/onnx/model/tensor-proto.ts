/** TensorProto: its fields, and the array that they describe. */
import type { BinaryReader } from '@bufbuild/protobuf/wire';
import { sizeOf } from '../../core/shape.ts';
import { LaterArray } from './later.ts';
import type { ConstantArray, ElementType, Numbers } from './types.ts';
import { corrupt, type Fields, message, repeatedFloat, repeatedInt, unsupported } from './wire.ts';

/** TensorProto.DataType; those that are not run are named, so that errors can say which it was. */
const TYPES: readonly (ElementType | { readonly refused: string })[] = [
  { refused: 'undefined' },
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  { refused: 'string' },
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  ...[
    'complex64',
    'complex128',
    'bfloat16',
    'float8e4m3fn',
    'float8e4m3fnuz',
    'float8e5m2',
    'float8e5m2fnuz',
  ].map((refused) => ({ refused })),
  ...['uint4', 'int4', 'float4e2m1'].map((refused) => ({ refused })),
];

/** The type of a number of TensorProto.DataType, or undefined for one that is not run. */
export function typeOfCode(code: number): ElementType | undefined {
  const type = TYPES[code];
  return typeof type === 'string' ? type : undefined;
}

/** @throws `E_MODEL` naming a type that is not run. */
export function elementType(code: number, where: string): ElementType {
  const type = TYPES[code];
  if (typeof type === 'string') return type;
  throw unsupported(
    `${where} holds ${type?.refused ?? `type ${code}`}`,
    { code },
    'Convert the model to a numeric type.',
  );
}

export const TYPE_BYTES: Readonly<Record<ElementType, number>> = {
  ...{ float32: 4, float64: 8, float16: 2, int64: 8, int32: 4, int16: 2, int8: 1 },
  ...{ uint64: 8, uint32: 4, uint16: 2, uint8: 1, bool: 1 },
};

/** Elements of one array at most: what one memory could hold. */
const MAX_ELEMENTS = 2 ** 30;

/** Where the widest numbers may begin. */
const ALIGN = 8;
export const SMALL = 64 * 1024;

/** Half floats (IEEE 754 binary16) to floats. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function read64(view: DataView, at: number, signed: boolean): number {
  const high = signed ? view.getInt32(at + 4, true) : view.getUint32(at + 4, true);
  return high * 2 ** 32 + view.getUint32(at, true);
}

/** Bytes before a tensor's own that have been read already: a field's tag, and its length. */
function spareBefore(length: number): number {
  return 1 + Math.ceil(Math.max(1, Math.floor(Math.log2(Math.max(1, length))) + 1) / 7);
}

/** The same bytes where numbers may begin: as they lie, moved back a little over what has been read already, or a copy. */
function placed(bytes: Uint8Array, mayMove: boolean): Uint8Array {
  const off = bytes.byteOffset % ALIGN;
  // small ones would keep the whole file, which large ones leave
  if (!mayMove || bytes.length < SMALL || off > spareBefore(bytes.length)) return bytes.slice();
  const whole = new Uint8Array(bytes.buffer);
  const start = bytes.byteOffset - off;
  if (off > 0) whole.copyWithin(start, bytes.byteOffset, bytes.byteOffset + bytes.length);
  return whole.subarray(start, start + bytes.length);
}

/** Elements from little-endian bytes, which are used as they are where they are nobody else's. */
export function fromBytes(type: ElementType, bytes: Uint8Array, count: number, isOwn = false): Numbers {
  const own = placed(bytes.subarray(0, count * TYPE_BYTES[type]), isOwn);
  const { buffer, byteOffset } = own;
  const view = new DataView(buffer, byteOffset);
  const each = (of: (at: number) => number) => Float64Array.from({ length: count }, (_, i) => of(i));
  switch (type) {
    case 'float32':
      return new Float32Array(buffer, byteOffset, count);
    case 'float64':
      return new Float64Array(buffer, byteOffset, count);
    case 'float16':
      return Float32Array.from({ length: count }, (_, i) => halfToFloat(view.getUint16(2 * i, true)));
    case 'int32':
      return new Int32Array(buffer, byteOffset, count);
    case 'int8':
      return new Int8Array(buffer, byteOffset, count);
    case 'uint8':
    case 'bool':
      return own;
    case 'int64':
      return each((i) => read64(view, 8 * i, true));
    case 'uint64':
      return each((i) => read64(view, 8 * i, false));
    case 'uint32':
      return each((i) => view.getUint32(4 * i, true));
    case 'int16':
      return each((i) => view.getInt16(2 * i, true));
    case 'uint16':
      return each((i) => view.getUint16(2 * i, true));
    default:
      throw new Error(`unknown type ${type satisfies never}`);
  }
}

/** An array of the kind that holds a type. */
export function arrayFor(type: ElementType, length: number): Numbers {
  switch (type) {
    case 'float32':
    case 'float16':
      return new Float32Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'int8':
      return new Int8Array(length);
    case 'uint8':
    case 'bool':
      return new Uint8Array(length);
    default:
      return new Float64Array(length);
  }
}

/** Where a tensor's bytes are, if not in the model itself. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
  readonly length: number | undefined;
}

/** Bytes that are there, and are read when they are wanted. */
export interface Readable {
  readonly length: number;
  /** Into bytes that are there, from the first on, or into new ones. */
  read(bytes?: Uint8Array): Uint8Array;
}

/** @throws `E_MODEL` for what is not there. */
export type ReadExternal = (place: ExternalPlace, name: string) => Readable;

/** What is around the bytes that are read. */
export interface Around {
  readonly external: ReadExternal;
  /** Whether the bytes are nobody else's, so that numbers may stay in them. */
  readonly ownsBytes: boolean;
  /** Reads bytes of the same file again, so that large constants need not stay in memory. */
  readonly again?: ((offset: number, bytes: Uint8Array) => Uint8Array) | undefined;
}

interface TensorFields {
  name: string;
  dims: number[];
  type: number;
  raw: Uint8Array | undefined;
  numbers: number[];
  strings: number;
  external: Map<string, string>;
  isExternal: boolean;
}

function noTensor(): TensorFields {
  return {
    name: '',
    dims: [],
    type: 0,
    raw: undefined,
    numbers: [],
    strings: 0,
    external: new Map(),
    isExternal: false,
  };
}

const ENTRY: Fields<{ key: string; value: string }> = {
  1: (entry, reader) => {
    entry.key = reader.string();
  },
  2: (entry, reader) => {
    entry.value = reader.string();
  },
};

export function readEntry(reader: BinaryReader): { key: string; value: string } {
  return message(reader, { key: '', value: '' }, ENTRY);
}

const FIELDS: Fields<TensorFields> = {
  1: (tensor, reader, wire) => {
    tensor.dims.push(...repeatedInt(reader, wire));
  },
  2: (tensor, reader) => {
    tensor.type = reader.int32();
  },
  4: (tensor, reader, wire) => {
    repeatedFloat(reader, wire, tensor.numbers, 4);
  },
  5: (tensor, reader, wire) => {
    for (const value of repeatedInt(reader, wire)) tensor.numbers.push(value);
  },
  6: (tensor, reader) => {
    reader.bytes();
    tensor.strings++;
  },
  7: (tensor, reader, wire) => {
    for (const value of repeatedInt(reader, wire)) tensor.numbers.push(value);
  },
  8: (tensor, reader) => {
    tensor.name = reader.string();
  },
  9: (tensor, reader) => {
    tensor.raw = reader.bytes();
  },
  10: (tensor, reader, wire) => {
    repeatedFloat(reader, wire, tensor.numbers, 8);
  },
  11: (tensor, reader, wire) => {
    for (const value of repeatedInt(reader, wire)) tensor.numbers.push(value);
  },
  13: (tensor, reader) => {
    const { key, value } = readEntry(reader);
    tensor.external.set(key, value);
  },
  14: (tensor, reader) => {
    tensor.isExternal = reader.int32() === 1;
  },
};

function placeOf(external: ReadonlyMap<string, string>, name: string): ExternalPlace {
  const number = (key: string) => {
    const text = external.get(key);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 0)
      throw corrupt(`${name}: external ${key} is ${text}`, { [key]: text });
    return value;
  };
  return {
    location: external.get('location') ?? '',
    offset: number('offset') ?? 0,
    length: number('length'),
  };
}

/** Small ones are taken from what is there: it will not stay. */
function readable(raw: Uint8Array, again: Around['again']): Readable {
  const { byteOffset, length } = raw;
  if (!again) return { length, read: () => raw };
  return length < SMALL ? { length, read: () => raw.slice() } : laterPart(again, byteOffset, length);
}

/** A function of its own, so that the file's bytes are not closed over. */
function laterPart(again: NonNullable<Around['again']>, offset: number, length: number): Readable {
  return { length, read: (bytes = new Uint8Array(length)) => again(offset, bytes) };
}

/** The same. */
function laterArray(type: ElementType, shape: readonly number[], bytes: Readable): LaterArray {
  const data = () => fromBytes(type, bytes.read(), sizeOf(shape), true);
  const fill = (to: Float32Array) => void bytes.read(new Uint8Array(to.buffer, to.byteOffset, to.byteLength));
  // floats in memory are as they are in a file: little-endian
  return new LaterArray(type, shape, data, type === 'float32' ? fill : undefined);
}

/** @throws `E_MODEL` where dimensions and data disagree. */
export function readTensor(
  reader: BinaryReader,
  { external, ownsBytes, again }: Around,
): { name: string; array: ConstantArray } {
  const fields = message(reader, noTensor(), FIELDS);
  const { name, dims: shape, type: code, raw, numbers } = fields;
  const type = elementType(code, `tensor ${name}`);
  const bad = shape.find((extent) => !Number.isSafeInteger(extent) || extent < 0);
  if (bad !== undefined) throw corrupt(`tensor ${name} has the extent ${bad}`, { name, shape });
  const count = sizeOf(shape);
  if (count > MAX_ELEMENTS)
    throw corrupt(`tensor ${name} has ${count} elements`, { name, shape, most: MAX_ELEMENTS });
  const bytes = fields.isExternal
    ? external(placeOf(fields.external, name), name)
    : raw && readable(raw, again);
  if (bytes) {
    const needed = count * TYPE_BYTES[type];
    if (bytes.length < needed || (!fields.isExternal && bytes.length !== needed))
      throw corrupt(`tensor ${name} has ${bytes.length} bytes, its shape needs ${needed}`, { name, shape });
    const isRead = fields.isExternal || again !== undefined;
    if (isRead && needed >= SMALL) return { name, array: laterArray(type, shape, bytes) };
    return { name, array: { type, shape, data: fromBytes(type, bytes.read(), count, isRead || ownsBytes) } };
  }
  if (numbers.length !== count)
    throw corrupt(`tensor ${name} has ${numbers.length} elements, its shape needs ${count}`, { name, shape });
  const data = arrayFor(type, count);
  data.set(type === 'float16' ? numbers.map(halfToFloat) : numbers);
  return { name, array: { type, shape, data } };
}
