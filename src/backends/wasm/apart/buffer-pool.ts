/** Buffers that go to and fro between two threads. The system gives new ones page by page, at the first touch of each, which takes several times
 *  as long as copying into them. */

/** More than this is given up. */
const MOST_BYTES = 64 * 1024 * 1024;
/** A buffer that is so much larger than what is wanted is left for others. */
const WASTE = 2;
/** Smaller ones are made as quickly as they are found. */
const FEWEST_BYTES = 64 * 1024;

export class BufferPool {
  #buffers: ArrayBuffer[] = [];
  #bytes = 0;

  put(buffer: ArrayBuffer): void {
    if (buffer.byteLength < FEWEST_BYTES) return;
    this.#buffers.push(buffer);
    this.#bytes += buffer.byteLength;
    while (this.#bytes > MOST_BYTES) this.#bytes -= this.#buffers.shift()!.byteLength;
  }

  /** At least so many bytes; whatever was in them is still there. */
  take(bytes: number): ArrayBuffer {
    let best = -1;
    for (const [i, { byteLength }] of this.#buffers.entries())
      if (byteLength >= bytes && (best < 0 || byteLength < this.#buffers[best]!.byteLength)) best = i;
    const found = this.#buffers[best];
    if (!found || bytes < FEWEST_BYTES || found.byteLength > WASTE * bytes) return new ArrayBuffer(bytes);
    this.#buffers.splice(best, 1);
    this.#bytes -= found.byteLength;
    return found;
  }

  takeAll(): ArrayBuffer[] {
    const all = this.#buffers;
    this.#buffers = [];
    this.#bytes = 0;
    return all;
  }
}
