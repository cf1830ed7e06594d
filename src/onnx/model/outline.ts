/**
 * A model's file without its large constants: their bytes are neither read nor touched, so that memory for them is reserved but not taken.
 * Whoever reads the model finds all else at its place (https://protobuf.dev/programming-guides/encoding/).
 */
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
/** Subgraphs within subgraphs that are looked into; what lies deeper is read like anything else. */
const MOST_DEPTH = 64;

/** Reads the file from its start on, but for what is skipped. */
class Walk {
  readonly bytes: Uint8Array;
  readonly #read: (offset: number, bytes: Uint8Array) => unknown;
  #at = 0;
  /** How far bytes are there; all before, but for what was skipped. */
  #known = 0;

  constructor(size: number, read: (offset: number, bytes: Uint8Array) => unknown) {
    this.bytes = new Uint8Array(size);
    this.#read = read;
  }

  /** Reads up to `end`, at least. */
  need(end: number): void {
    if (end <= this.#known) return;
    const until = Math.min(this.bytes.length, Math.max(end, this.#known + AT_ONCE));
    this.#read(this.#known, this.bytes.subarray(this.#known, until));
    this.#known = until;
  }

  /** NaN for what is no number of ten bytes within `end`. */
  #varint(end: number): number {
    let value = 0;
    for (let scale = 1; this.#at < end && scale < 2 ** 70; scale *= 128) {
      this.need(this.#at + 1);
      const byte = this.bytes[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    return Number.NaN;
  }

  /** Fields up to `end`; false where they make no sense, which is for the reader of the model to say. */
  message(kind: Message, end: number, depth = 0): boolean {
    while (this.#at < end) {
      const tag = this.#varint(end);
      const length = this.#lengthOf(tag % 8, end);
      const after = this.#at + length;
      if (!(after <= end)) return false;
      const way = (WAYS[kind] as Readonly<Record<number, Message | 'raw'>>)[Math.floor(tag / 8)];
      if (tag % 8 !== 2 || way === undefined || depth > MOST_DEPTH) this.#at = after;
      else if (way !== 'raw') {
        if (!this.message(way, after, depth + 1)) return false;
      } else {
        // a reading before may have got some of it
        if (length >= SMALL) this.#known = Math.max(this.#known, after);
        this.#at = after;
      }
      this.need(Math.min(this.#at, end));
    }
    return this.#at === end;
  }

  /** Bytes of a field's value behind its tag; of one that has a length behind that. */
  #lengthOf(wire: number, end: number): number {
    switch (wire) {
      case 0:
        return Number.isNaN(this.#varint(end)) ? Number.NaN : 0;
      case 1:
        return 8;
      case 2:
        return this.#varint(end);
      case 5:
        return 4;
      default:
        return Number.NaN;
    }
  }
}

/** The bytes of a file of `size` bytes; `read` fills bytes from an offset on. What is no model is there up to where that shows, and all that follows. */
export function readOutline(size: number, read: (offset: number, bytes: Uint8Array) => unknown): Uint8Array {
  const walk = new Walk(size, read);
  walk.message('model', size);
  walk.need(size);
  return walk.bytes;
}
