/**
 * Reading protobuf messages field by field. The wire format is @bufbuild/protobuf's business (small, kept by the authors of the standard's
 * tools, no dependencies); what fields mean is said where they are read.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { TesseraeError } from '../../core/errors.ts';

/** Readers by field number; what is not named is skipped. */
export type Fields<T> = Readonly<Record<number, (into: T, reader: BinaryReader, wire: WireType) => void>>;

/** Graphs in graphs, at most. */
const MAX_DEPTH = 32;
let depth = 0;

export function corrupt(what: string, values: Readonly<Record<string, unknown>> = {}): TesseraeError {
  return new TesseraeError(
    'E_MODEL',
    `not a valid model: ${what}`,
    values,
    'The file is damaged or no ONNX model.',
  );
}

export function unsupported(
  what: string,
  values: Readonly<Record<string, unknown>>,
  hint: string,
): TesseraeError {
  return new TesseraeError('E_MODEL', what, values, hint);
}

/** The fields of the message that follows, its length first. */
export function message<T>(reader: BinaryReader, into: T, fields: Fields<T>): T {
  const length = reader.uint32();
  if (reader.pos + length > reader.len) throw corrupt('a part is longer than the whole', { length });
  if (++depth > MAX_DEPTH) {
    depth = 0;
    throw corrupt(`graphs are nested more than ${MAX_DEPTH} deep`);
  }
  try {
    return fieldsUntil(reader, reader.pos + length, into, fields);
  } finally {
    depth = Math.max(0, depth - 1);
  }
}

function fieldsUntil<T>(reader: BinaryReader, end: number, into: T, fields: Fields<T>): T {
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    const read = fields[field];
    if (read) read(into, reader, wire);
    else reader.skip(wire, field);
  }
  if (reader.pos !== end) throw corrupt('a part ends beyond its own end', { end, at: reader.pos });
  return into;
}

/** A whole file as one message. Whatever is wrong with it comes as `E_MODEL`. */
export function wholeMessage<T>(bytes: Uint8Array, into: T, fields: Fields<T>): T {
  depth = 0;
  try {
    const reader = new BinaryReader(bytes);
    return fieldsUntil(reader, reader.len, into, fields);
  } catch (error) {
    if (error instanceof TesseraeError) throw error;
    throw corrupt(error instanceof Error ? error.message : String(error), { bytes: bytes.length });
  }
}

function toNumber(value: bigint | string | number): number {
  return Number(value);
}

/** A repeated integer, packed or not. */
export function repeatedInt(reader: BinaryReader, wire: WireType): number[] {
  if (wire !== WireType.LengthDelimited) return [toNumber(reader.int64())];
  const values: number[] = [];
  const end = reader.uint32() + reader.pos;
  if (end > reader.len) throw corrupt('a list is longer than the file', { end });
  while (reader.pos < end) values.push(toNumber(reader.int64()));
  return values;
}

export function oneInt(reader: BinaryReader): number {
  return toNumber(reader.int64());
}

/** A repeated float or double, packed or not, into a list. */
export function repeatedFloat(reader: BinaryReader, wire: WireType, into: number[], bytes: 4 | 8): void {
  const one = () => (bytes === 4 ? reader.float() : reader.double());
  if (wire !== WireType.LengthDelimited) {
    into.push(one());
    return;
  }
  const end = reader.uint32() + reader.pos;
  if (end > reader.len) throw corrupt('a list is longer than the file', { end });
  while (reader.pos < end) into.push(one());
}
