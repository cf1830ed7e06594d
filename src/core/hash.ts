/**
 * A synchronous 128-bit hash of text, the same in every process and engine. It finds torn and flipped files and
 * names configurations; it is no protection against somebody who forges them.
 *
 * MurmurHash3_x86_128 by Austin Appleby, put into the public domain (github.com/aappleby/smhasher,
 * src/MurmurHash3.cpp). Chosen because it needs 32-bit integers only: `crypto.subtle` is asynchronous and absent
 * on insecure pages, and BigInt would make the 64-bit variants slow.
 */

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;

function rotl(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

function mix(k: number, first: number, by: number, second: number): number {
  return Math.imul(rotl(Math.imul(k, first), by), second);
}

function finish(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** The 32-bit little-endian word at byte `at` of a tail block; bytes past its end count as zero. */
function tailWord(bytes: Uint8Array, at: number): number {
  let word = 0;
  for (let i = 3; i >= 0; i--) word = (word << 8) | (bytes[at + i] ?? 0);
  return word;
}

function hex(h: number): string {
  return (h >>> 0).toString(16).padStart(8, '0');
}

/** MurmurHash3_x86_128 with seed 0 of `bytes`, as 32 hexadecimal digits. */
export function hashBytes(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length & ~15;
  let h1 = 0;
  let h2 = 0;
  let h3 = 0;
  let h4 = 0;
  for (let at = 0; at < whole; at += 16) {
    h1 ^= mix(view.getUint32(at, true), C1, 15, C2);
    h1 = (Math.imul(rotl(h1, 19) + h2, 5) + 0x561ccd1b) | 0;
    h2 ^= mix(view.getUint32(at + 4, true), C2, 16, C3);
    h2 = (Math.imul(rotl(h2, 17) + h3, 5) + 0x0bcaa747) | 0;
    h3 ^= mix(view.getUint32(at + 8, true), C3, 17, C4);
    h3 = (Math.imul(rotl(h3, 15) + h4, 5) + 0x96cd1c35) | 0;
    h4 ^= mix(view.getUint32(at + 12, true), C4, 18, C1);
    h4 = (Math.imul(rotl(h4, 13) + h1, 5) + 0x32ac3b17) | 0;
  }
  // A word of zeros mixes to zero, so the reference's fall-through switch over the tail needs no cases here.
  h1 ^= mix(tailWord(bytes, whole), C1, 15, C2) ^ bytes.length;
  h2 ^= mix(tailWord(bytes, whole + 4), C2, 16, C3) ^ bytes.length;
  h3 ^= mix(tailWord(bytes, whole + 8), C3, 17, C4) ^ bytes.length;
  h4 ^= mix(tailWord(bytes, whole + 12), C4, 18, C1) ^ bytes.length;
  const sum = (h1 + h2 + h3 + h4) | 0;
  const f1 = finish(sum);
  const f2 = finish((sum + h2) | 0);
  const f3 = finish((sum + h3) | 0);
  const f4 = finish((sum + h4) | 0);
  const last = (f1 + f2 + f3 + f4) | 0;
  return hex(last) + hex(last + f2) + hex(last + f3) + hex(last + f4);
}

/** {@link hashBytes} of the text's UTF-8 form. */
export function hashText(text: string): string {
  return hashBytes(new TextEncoder().encode(text));
}
