/**
 * What this engine's 8-bit dot product does with the second operand. WebAssembly promises the product of a signed byte and one from 0 to
 * 127; beyond that it is what the processor has: pmaddubsw saturates sums of two, vpdpbusd (AVX-VNNI) takes all unsigned
 * bytes, sdot (ARM) all signed ones. Found by trying, for no engine tells; V8 11.3, where a flag brings the instruction, is wrong for all.
 */
import type { WasmBackend } from './backend.ts';

/** Bytes of the second operand that are multiplied right. */
export type DotRange = 'seven-bit' | 'unsigned' | 'signed';

/** Bytes that differ in everything that matters: both ends, next to them, small ones. */
const BYTES = [0, 1, 63, 64, 126, 127, 128, 129, 200, 254, 255];

/** The four bytes of a word of the first and of the second operand, one sum. */
type Word = readonly [number, number, number, number];

function words(): Word[] {
  const same = BYTES.map((byte): Word => [byte, byte, byte, byte]);
  const mixed = BYTES.map((byte, i): Word => [byte, BYTES[(i + 3) % 11]!, BYTES[(i + 7) % 11]!, 255 - byte]);
  return [...same, ...mixed];
}

const signed = (byte: number) => (byte << 24) >> 24;

/** Undefined where there is none, or where even what is promised is wrong. */
export function dotRange(backend: WasmBackend): DotRange | undefined {
  if (!backend.relaxed) return undefined;
  const { probe_dot: dot } = backend.relaxed;
  const at = backend.allocate(48, 'scratch');
  try {
    const { buffer } = backend.floats();
    const bytes = new Uint8Array(buffer, at, 32);
    const sums = new Int32Array(buffer, at + 32, 4);
    const right = { 'seven-bit': true, unsigned: true, signed: true };
    for (const a of words()) {
      for (const b of words()) {
        for (let i = 0; i < 16; i++) {
          bytes[i] = a[i % 4]!;
          bytes[16 + i] = b[i % 4]!;
        }
        dot(at, at + 16, at + 32);
        const sum = (read: (byte: number) => number) =>
          a.reduce((total, byte, i) => total + signed(byte) * read(b[i]!), 0);
        if (sums[0] !== sum((byte) => byte)) {
          right.unsigned = false;
          if (b.every((byte) => byte < 128)) right['seven-bit'] = false;
        }
        if (sums[0] !== sum(signed)) right.signed = false;
      }
    }
    if (!right['seven-bit']) return undefined;
    return right.unsigned ? 'unsigned' : right.signed ? 'signed' : 'seven-bit';
  } finally {
    backend.free(at);
  }
}

/** What to add to bytes of a type so that the dot product takes them, or undefined where it cannot; `low` and `high` are the smallest
 *  and the largest of them. */
export function shiftFor(range: DotRange, low: number, high: number): number | undefined {
  if (low >= 0 && high <= 127) return 0;
  if (low >= -64 && high <= 63) return 64;
  if (range === 'unsigned') return low >= 0 ? 0 : 128;
  if (range === 'signed') return low >= -128 && high <= 127 ? 0 : -128;
  return undefined;
}
