/**
 * ONNX models as bytes, written by hand: protobuf is a few lines when only writing is needed.
 * Field numbers are those of onnx.proto3; the names in the comments are its messages.
 */

export type Field = Uint8Array;

/** TensorProto.DataType of the element types that models here use. */
const DATA_TYPES = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const;

export type ElementType = keyof typeof DATA_TYPES;

export type Values = Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array;

const utf8 = new TextEncoder();
/** ModelProto.ir_version 8 and opset 17: old enough for any runtime that is still in use. */
const IR_VERSION = 8;
const OPSET = 17;

/** A varint; values may exceed 2^31 (lengths of big weights), negative ones (axes from the end) are 64 bits wide. */
function varint(value: number): number[] {
  if (value < 0) {
    const wide = BigInt.asUintN(64, BigInt(value));
    return Array.from({ length: 10 }, (_, i) => Number((wide >> BigInt(7 * i)) & 127n) | (i < 9 ? 128 : 0));
  }
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

function integer(field: number, value: number): Field {
  return Uint8Array.from([...varint(field * 8), ...varint(value)]);
}

function float(field: number, value: number): Field {
  const bytes = new Uint8Array(new Float32Array([value]).buffer);
  return Uint8Array.from([...varint(field * 8 + 5), ...bytes]);
}

function bytes(field: number, content: Uint8Array): Field {
  return concat([Uint8Array.from([...varint(field * 8 + 2), ...varint(content.length)]), content]);
}

function text(field: number, content: string): Field {
  return bytes(field, utf8.encode(content));
}

function message(field: number, ...parts: readonly Field[]): Field {
  return bytes(field, concat(parts));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** What goes in or comes out of a graph. */
export interface Edge {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
}

/** The same where some extents are names. */
export interface OpenEdge extends Omit<Edge, 'dims'> {
  readonly dims: readonly (number | string)[];
}

/** ValueInfoProto: name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value = 1, dim_param = 2 } } } } */
function valueInfo(field: number, { name, type, dims }: OpenEdge): Field {
  const extent = (dim: number | string) => (typeof dim === 'number' ? integer(1, dim) : text(2, dim));
  const shape = message(2, ...dims.map((dim) => message(1, extent(dim))));
  return message(field, text(1, name), message(2, message(1, integer(1, DATA_TYPES[type]), shape)));
}

/** NodeProto: input = 1, output = 2, op_type = 4, attribute = 5. */
export function node(
  op: string,
  inputs: readonly string[],
  output: string | readonly string[],
  attributes: readonly Field[] = [],
): Field {
  const outputs = typeof output === 'string' ? [output] : output;
  const ends = [...inputs.map((name) => text(1, name)), ...outputs.map((name) => text(2, name))];
  return message(1, ...ends, text(4, op), ...attributes);
}

/** AttributeProto: name = 1, f = 2, i = 3, s = 4, floats = 7, ints = 8, strings = 9, type = 20 (FLOAT = 1, INT, STRING, then lists: 6, 7, 8). */
export function floatAttribute(name: string, value: number): Field {
  return message(5, text(1, name), float(2, value), integer(20, 1));
}

export function intAttribute(name: string, value: number): Field {
  return message(5, text(1, name), integer(3, value), integer(20, 2));
}

export function stringAttribute(name: string, value: string): Field {
  return message(5, text(1, name), text(4, value), integer(20, 3));
}

export function intsAttribute(name: string, values: readonly number[]): Field {
  return message(5, text(1, name), ...values.map((value) => integer(8, value)), integer(20, 7));
}

export function floatsAttribute(name: string, values: readonly number[]): Field {
  return message(5, text(1, name), ...values.map((value) => float(7, value)), integer(20, 6));
}

export function stringsAttribute(name: string, values: readonly string[]): Field {
  return message(5, text(1, name), ...values.map((value) => text(9, value)), integer(20, 8));
}

/** TensorProto: dims = 1, data_type = 2, name = 8, raw_data = 9. In GraphProto an initializer is field 5. */
export function initializer({ name, type, dims }: Edge, values: Values): Field {
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const extents = dims.map((dim) => integer(1, dim));
  return message(5, ...extents, integer(2, DATA_TYPES[type]), text(8, name), bytes(9, raw));
}

export interface Graph {
  readonly name: string;
  readonly nodes: readonly Field[];
  readonly constants: readonly Field[];
  readonly inputs: readonly OpenEdge[];
  readonly output: OpenEdge | readonly OpenEdge[];
  readonly opset?: number;
}

/** ModelProto: ir_version = 1, graph = 7, opset_import = 8. GraphProto: node = 1, name = 2, input = 11, output = 12. */
export function model({ name, nodes, constants, inputs, output, opset = OPSET }: Graph): Uint8Array {
  const outputs = 'name' in output ? [output] : output;
  const graph = message(
    7,
    ...nodes,
    text(2, name),
    ...constants,
    ...inputs.map((edge) => valueInfo(11, edge)),
    ...outputs.map((edge) => valueInfo(12, edge)),
  );
  return concat([integer(1, IR_VERSION), graph, message(8, text(1, ''), integer(2, opset))]);
}
