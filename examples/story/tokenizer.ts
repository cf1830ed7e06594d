/**
 * The tokenizer file of llama2.c and byte-pair encoding with it: int32 max_token_length, then for each token its
 * score (f32), length (int32) and bytes. The file does not say how many tokens it has; the checkpoint does.
 * Format and rules are those of llama2.c by Andrej Karpathy (MIT); the code here is our own.
 *
 * Tokens are bytes, not text: one character may be spread over several. A token's bytes are kept as a string of
 * characters 0 to 255, which a Map finds quickly.
 */
import { readFileSync } from 'node:fs';
import { StoryFileError } from './checkpoint.ts';

export type TokenizerErrorCode = 'E_READ' | 'E_FOREIGN' | 'E_TRUNCATED' | 'E_VOCABULARY';

export class TokenizerError extends StoryFileError {
  declare readonly code: TokenizerErrorCode;
}

/** Begins a story; met again, the story is over. */
export const BOS = 1;
/** Stands for what a vocabulary has no token for; only vocabularies without the 256 byte tokens need it. */
const UNKNOWN = 0;
/** Far beyond any token; a bigger length in the file means that it is no tokenizer. */
const MAX_TOKEN_BYTES = 4096;
/** Tokens are at least 9 bytes of file: a bigger file is no tokenizer and is not worth parsing. */
const MAX_TOKENS = 1 << 22;

interface Token {
  readonly piece: string;
  readonly score: number;
}

export class Tokenizer {
  readonly #tokens: readonly Token[];
  readonly #ids = new Map<string, number>();
  /** What each token prints. */
  readonly #bytes: readonly Uint8Array[];

  /** `vocabSize` is the checkpoint's: a tokenizer of another size belongs to another model. */
  constructor(bytes: Uint8Array, vocabSize: number, name = 'tokenizer') {
    this.#tokens = parseTokens(bytes, name);
    const count = this.#tokens.length;
    if (count !== vocabSize) {
      const message = `${name} has ${count} tokens, the model wants ${vocabSize}`;
      const hint = 'Model and tokenizer files come in pairs: name the one that was made with the model.';
      throw new TokenizerError('E_VOCABULARY', message, { file: name, tokens: count, vocabSize }, hint);
    }
    for (const [id, { piece }] of this.#tokens.entries()) {
      if (!this.#ids.has(piece)) this.#ids.set(piece, id);
    }
    this.#bytes = this.#tokens.map(({ piece }) => Uint8Array.from(printed(piece), (c) => c.charCodeAt(0)));
  }

  static open(path: string, vocabSize: number): Tokenizer {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const hint = 'Name the tokenizer that belongs to the model, for instance tokenizer.bin of llama2.c.';
      throw new TokenizerError('E_READ', `cannot read the tokenizer file: ${reason}`, { path }, hint, error);
    }
    return new Tokenizer(bytes, vocabSize, path);
  }

  get size(): number {
    return this.#tokens.length;
  }

  /** The tokens of a text, BOS first. A text that is not empty gets a space before it, as in training. */
  encode(text: string): number[] {
    if (text === '') return [BOS];
    return [BOS, ...this.#merge(this.#characters(` ${text}`))];
  }

  /** One token per character; a character without a token becomes its UTF-8 bytes. */
  #characters(text: string): number[] {
    const ids: number[] = [];
    const encoder = new TextEncoder();
    for (const character of text) {
      const utf8 = encoder.encode(character);
      const id = this.#ids.get(String.fromCharCode(...utf8));
      if (id !== undefined) ids.push(id);
      else for (const byte of utf8) ids.push(this.#ids.get(byteName(byte)) ?? UNKNOWN);
    }
    return ids;
  }

  /** Joins the neighbours whose union has the best score (the leftmost of equals) until no union is a token. */
  #merge(ids: number[]): number[] {
    const union = (left: number) => this.#union(ids[left], ids[left + 1]);
    // unions[i] is the token that ids[i] and ids[i + 1] make together; only two change with each merge.
    const unions = ids.map((_, i) => union(i));
    for (;;) {
      let best = -1;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (let i = 0; i < unions.length; i++) {
        const id = unions[i];
        if (id !== undefined && this.#tokens[id]!.score > bestScore) {
          best = i;
          bestScore = this.#tokens[id]!.score;
        }
      }
      if (best < 0) return ids;
      ids.splice(best, 2, unions[best]!);
      unions.splice(best, 2, union(best));
      if (best > 0) unions[best - 1] = union(best - 1);
    }
  }

  #union(left: number | undefined, right: number | undefined): number | undefined {
    if (left === undefined || right === undefined) return undefined;
    return this.#ids.get(this.#tokens[left]!.piece + this.#tokens[right]!.piece);
  }

  /** What `token` prints after `previous`: the space that opens a story is not printed. */
  bytesOf(token: number, previous?: number): Uint8Array {
    const bytes = this.#bytes[token];
    if (bytes === undefined) throw new RangeError(`no token ${token} in a vocabulary of ${this.size}`);
    return previous === BOS && bytes[0] === 0x20 ? bytes.subarray(1) : bytes;
  }

  /** Turns tokens into text as they come: a character that is spread over tokens appears with its last byte. */
  stream(): TokenStream {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    return {
      next: (token, previous) => decoder.decode(this.bytesOf(token, previous), { stream: true }),
      end: () => decoder.decode(),
    };
  }

  /** The text of whole tokens; BOS itself prints nothing. */
  decode(tokens: readonly number[]): string {
    const stream = this.stream();
    let text = '';
    for (const [i, token] of tokens.entries()) {
      if (token !== BOS) text += stream.next(token, tokens[i - 1]);
    }
    return text + stream.end();
  }
}

export interface TokenStream {
  next(token: number, previous?: number): string;
  /** What is left over; bytes that never became a character show as U+FFFD. */
  end(): string;
}

function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** `<0x0A>` stands for one byte, everything else for itself. */
function printed(piece: string): string {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1];
  return byte === undefined ? piece : String.fromCharCode(Number.parseInt(byte, 16));
}

function parseTokens(bytes: Uint8Array, name: string): readonly Token[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const longest = bytes.byteLength >= 4 ? view.getInt32(0, true) : 0;
  if (longest < 1 || longest > MAX_TOKEN_BYTES) {
    throw foreign(name, `its longest token would have ${longest} bytes`, {
      longest,
      bytes: bytes.byteLength,
    });
  }
  const tokens: Token[] = [];
  for (let at = 4; at < bytes.byteLength; ) {
    const token = tokens.length;
    if (at + 8 > bytes.byteLength) throw truncated(name, token, bytes.byteLength);
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    if (!Number.isFinite(score) || length < 1 || length > longest || token >= MAX_TOKENS) {
      const message = `token ${token} would have the score ${score} and ${length} of at most ${longest} bytes`;
      throw foreign(name, message, { token, score, length, longest });
    }
    at += 8 + length;
    if (at > bytes.byteLength) throw truncated(name, token, bytes.byteLength);
    tokens.push({ piece: String.fromCharCode(...bytes.subarray(at - length, at)), score });
  }
  return tokens;
}

function foreign(name: string, why: string, values: Readonly<Record<string, unknown>>): TokenizerError {
  const hint = 'Name a tokenizer file of llama2.c: tokenizer.bin, or one made by its tokenizer.py.';
  return new TokenizerError(
    'E_FOREIGN',
    `${name} is no llama2.c tokenizer: ${why}`,
    { file: name, ...values },
    hint,
  );
}

function truncated(name: string, token: number, bytes: number): TokenizerError {
  const message = `${name} is cut short in token ${token}`;
  return new TokenizerError('E_TRUNCATED', message, { file: name, token, bytes }, 'Fetch the file again.');
}
