/** A model's file, parts of which are read when they are wanted: large constants need not be in memory twice. */
import { TesseraeError } from '../core/errors.ts';
import { node } from '../core/node.ts';

/** Bytes of one reading. */
const MOST_AT_ONCE = 2 ** 30;

export class PartFile {
  readonly size: number;
  readonly #path: string;
  readonly #file: number;
  readonly #changed: number;
  #isOpen = true;

  constructor(path: string) {
    const { openSync, fstatSync } = node('node:fs');
    this.#path = path;
    this.#file = openSync(path, 'r');
    const { size, mtimeMs } = fstatSync(this.#file);
    this.size = size;
    this.#changed = mtimeMs;
  }

  /** Fills `bytes` from `offset` on. @throws `E_MODEL` where the file is not the one any more that was opened. */
  read<Bytes extends Uint8Array>(offset: number, bytes: Bytes): Bytes {
    const { fstatSync, readSync } = node('node:fs');
    if (!this.#isOpen) throw this.#wrong('was closed');
    const { size, mtimeMs } = fstatSync(this.#file);
    if (size !== this.size || mtimeMs !== this.#changed) throw this.#wrong('changed after it was opened');
    const { length } = bytes;
    for (let at = 0; at < length; ) {
      const count = readSync(this.#file, bytes, at, Math.min(MOST_AT_ONCE, length - at), offset + at);
      if (count === 0) throw this.#wrong(`ends before ${offset + length}`);
      at += count;
    }
    return bytes;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    node('node:fs').closeSync(this.#file);
  }

  #wrong(what: string): TesseraeError {
    return new TesseraeError(
      'E_MODEL',
      `the model's file ${what}`,
      { path: this.#path },
      'Keep it as it is until the session has run once, or pass its bytes.',
    );
  }
}
