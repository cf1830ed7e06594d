/**
 * A one-product ONNX model as bytes, written by hand: protobuf is a few lines when only writing is needed.
 * Field numbers are those of onnx.proto3; the names in the comments are its messages.
 */
import { printExtents } from '../../shapes/index.ts';
import type { Operands } from '../operands.ts';

type Field = Uint8Array;

const utf8 = new TextEncoder();
const FLOAT = 1;
/** ModelProto.ir_version 8 and opset 17: old enough for any runtime that is still in use. */
const IR_VERSION = 8;
const OPSET = 17;

/** A varint; values here are non-negative and may exceed 2^31 (lengths of big weights). */
function varint(value: number): number[] {
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

/** ValueInfoProto: name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value = 1 } } } } */
function valueInfo(field: number, name: string, dims: readonly number[]): Field {
  const shape = message(2, ...dims.map((dim) => message(1, integer(1, dim))));
  return message(field, text(1, name), message(2, message(1, integer(1, FLOAT), shape)));
}

/** NodeProto: input = 1, output = 2, op_type = 4, attribute = 5. */
function node(op: string, inputs: readonly string[], output: string, ...attributes: readonly Field[]): Field {
  return message(1, ...inputs.map((name) => text(1, name)), text(2, output), text(4, op), ...attributes);
}

/** AttributeProto: name = 1, i = 3, ints = 8, type = 20 (INT = 2, INTS = 7). */
function intAttribute(name: string, value: number): Field {
  return message(5, text(1, name), integer(3, value), integer(20, 2));
}

function intsAttribute(name: string, values: readonly number[]): Field {
  return message(5, text(1, name), ...values.map((value) => integer(8, value)), integer(20, 7));
}

/** TensorProto: dims = 1, data_type = 2, name = 8, raw_data = 9. In GraphProto an initializer is field 5. */
function initializer(name: string, dims: readonly number[], values: Float32Array): Field {
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return message(5, ...dims.map((dim) => integer(1, dim)), integer(2, FLOAT), text(8, name), bytes(9, raw));
}

/** `[1]`-shaped constant of a Clip bound: float_data = 4 in a scalar TensorProto. */
function scalar(name: string, value: number): Field {
  return message(5, integer(2, FLOAT), float(4, value), text(8, name));
}

export interface OnnxProduct {
  readonly model: Uint8Array;
  /** Which operands are fed at each run; constants are inside the model. */
  readonly inputs: readonly ('A' | 'B')[];
  readonly dims: Readonly<Record<'A' | 'B' | 'C', readonly number[]>>;
}

/** Operators of opset 17 that do an activation in one node; the others are not offered. */
const ACTIVATIONS: Readonly<Record<string, string>> = { relu: 'Relu', tanh: 'Tanh', sigmoid: 'Sigmoid' };

export function canExpress({ shape: { activation } }: Operands): boolean {
  return (
    activation === undefined ||
    typeof activation === 'object' ||
    activation === 'none' ||
    activation in ACTIVATIONS
  );
}

export function onnxProduct(operands: Operands): OnnxProduct {
  const { shape, batch, b, bias } = operands;
  const { m, k, n, transposeB = false, prepacked = false } = shape;
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const dims = { A: stacked(m, k), B: transposeB ? stacked(n, k) : stacked(k, n), C: stacked(m, n) };
  // Constant weights are an initializer, which ONNX Runtime packs when the session is made: its form of prepacking.
  const constants: Field[] = prepacked ? [initializer('B', dims.B, b)] : [];
  const steps = productSteps(shape.batch !== undefined, transposeB);
  if (bias !== undefined) {
    constants.push(initializer('bias', shape.bias === 'column' ? [m, 1] : [n], bias));
    steps.push({ op: 'Add', extra: ['bias'], attributes: [] });
  }
  const { activation } = shape;
  if (typeof activation === 'object') {
    constants.push(scalar('min', activation.min), scalar('max', activation.max));
    steps.push({ op: 'Clip', extra: ['min', 'max'], attributes: [] });
  } else if (activation !== undefined && activation !== 'none') {
    steps.push({ op: ACTIVATIONS[activation] ?? 'Identity', extra: [], attributes: [] });
  }
  const inputs = prepacked ? (['A'] as const) : (['A', 'B'] as const);
  const graph = message(
    7,
    ...chain(steps),
    text(2, printExtents(shape)),
    ...constants,
    ...inputs.map((name) => valueInfo(11, name, dims[name])),
    valueInfo(12, 'C', dims.C),
  );
  const opset = message(8, text(1, ''), integer(2, OPSET));
  return { model: concat([integer(1, IR_VERSION), graph, opset]), inputs, dims };
}

interface Step {
  readonly op: string;
  /** Inputs besides the result of the step before. */
  readonly extra: readonly string[];
  readonly attributes: readonly Field[];
}

/** Two-dimensional transposes go into Gemm; batched ones are a Transpose that the runtime fuses into its MatMul. */
function productSteps(batched: boolean, transposeB: boolean): Step[] {
  if (!transposeB) return [{ op: 'MatMul', extra: ['B'], attributes: [] }];
  if (!batched) return [{ op: 'Gemm', extra: ['B'], attributes: [intAttribute('transB', 1)] }];
  return [{ op: 'MatMul', extra: ['Bt'], attributes: [] }];
}

/** A -> step -> step -> C. */
function chain(steps: readonly Step[]): readonly Field[] {
  const nodes: Field[] = [];
  let input = 'A';
  steps.forEach(({ op, extra, attributes }, index) => {
    if (extra[0] === 'Bt') nodes.push(node('Transpose', ['B'], 'Bt', intsAttribute('perm', [0, 2, 1])));
    const output = index === steps.length - 1 ? 'C' : `step${index}`;
    nodes.push(node(op, [input, ...extra], output, ...attributes));
    input = output;
  });
  return nodes;
}
