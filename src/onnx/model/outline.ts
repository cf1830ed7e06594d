/**
 * A model's file without its large constants: their bytes are neither read nor touched, so that memory for them is reserved but not taken.
 * Whoever reads the model finds all else at its place (https://protobuf.dev/programming-guides/encoding/).
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { TesseraeError } from '../../core/errors.ts';
import { SMALL } from './tensor-proto.ts';

/** Messages on the way to the bytes of a tensor, and where each field leads. */
const WAYS = {
  model: { 7: 'graph' },
  graph: { 1: 'node', 5: 'tensor' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph' },
  tensor: { 9: 'raw' },
} as const;
type Message = keyof typeof WAYS;

/** Bytes of one reading: most messages between two large constants are shorter. */
const AT_ONCE = 16 * 1024;
/** A field's tag and what it says of itself: two numbers of ten bytes at most. */
const LONGEST_HEAD = 20;
/** Subgraphs within subgraphs that are looked into; what lies deeper is read like anything else. */
const MOST_DEPTH = 64;

/** Reads the file from its start on, but for what is skipped. */
class Walk {
  readonly bytes: Uint8Array;
  readonly #reader: BinaryReader;
  readonly #read: (offset: number, bytes: Uint8Array) => unknown;
  /** How far bytes are there; all before, but for what was skipped. */
  #known = 0;

  constructor(size: number, read: (offset: number, bytes: Uint8Array) => unknown) {
    this.bytes = new Uint8Array(size);
    this.#reader = new BinaryReader(this.bytes);
    this.#read = read;
  }

  /** Reads up to `end`, at least. */
  need(end: number): void {
    const { length } = this.bytes;
    if (Math.min(end, length) <= this.#known) return;
    const until = Math.min(length, Math.max(end, this.#known + AT_ONCE));
    this.#read(this.#known, this.bytes.subarray(this.#known, until));
    this.#known = until;
  }

  /** Fields up to `end`; false where they make no sense. @throws what the library says of other nonsense. */
  message(kind: Message, end: number, depth = 0): boolean {
    const reader = this.#reader;
    const ways: Readonly<Record<number, Message | 'raw'>> = WAYS[kind];
    while (reader.pos < end) {
      this.need(reader.pos + LONGEST_HEAD);
      const [field, wire] = reader.tag();
      if (wire === WireType.Varint) reader.int64();
      else if (wire === WireType.Bit32 || wire === WireType.Bit64) reader.skip(wire);
      else if (wire !== WireType.LengthDelimited) return false;
      else {
        const length = reader.uint32();
        const after = reader.pos + length;
        const way = ways[field];
        if (after > end) return false;
        if (way === undefined || way === 'raw' || depth > MOST_DEPTH) {
          // a reading before may have got some of it
          if (way === 'raw' && length >= SMALL) this.#known = Math.max(this.#known, after);
          reader.pos = after;
        } else if (!this.message(way, after, depth + 1)) return false;
      }
    }
    return reader.pos === end;
  }
}

/** The bytes of a file of `size` bytes; `read` fills bytes from an offset on. What is no model is there up to where that shows, and all that follows. */
export function readOutline(size: number, read: (offset: number, bytes: Uint8Array) => unknown): Uint8Array {
  const walk = new Walk(size, read);
  try {
    walk.message('model', size);
  } catch (error) {
    // whoever reads the model says what is wrong with it; what is wrong with the file is said here
    if (error instanceof TesseraeError) throw error;
  }
  walk.need(size);
  return walk.bytes;
}
