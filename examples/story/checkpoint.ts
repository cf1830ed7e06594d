/**
 * Reads the llama2.c checkpoint: seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len),
 * then f32 weights in one published order, all little-endian. The format is that of llama2.c by Andrej Karpathy
 * (MIT), "version 0" of its export.py; the code here is our own.
 *
 * The header says exactly how long the file must be, so a wrong file is refused before any weight is read, and
 * weights are read part by part: the network packs one matrix and lets go of it before it asks for the next.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Something is wrong with a file that the user named. A person reads the message, a program `code` and `values`. */
export class StoryFileError extends Error {
  readonly code: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly hint: string;

  constructor(
    code: string,
    message: string,
    values: Readonly<Record<string, unknown>>,
    hint: string,
    cause?: unknown,
  ) {
    super(`${message} (${code}). ${hint}`, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.values = values;
    this.hint = hint;
  }
}

export type CheckpointErrorCode = 'E_READ' | 'E_FOREIGN' | 'E_HEADER' | 'E_TRUNCATED' | 'E_TOO_LONG';

export class CheckpointError extends StoryFileError {
  declare readonly code: CheckpointErrorCode;
}

export interface Config {
  /** Length of a token's vector. */
  readonly dim: number;
  readonly hiddenDim: number;
  readonly layers: number;
  readonly heads: number;
  /** Heads of keys and values: each serves `heads / kvHeads` query heads. */
  readonly kvHeads: number;
  readonly vocabSize: number;
  /** Positions that the network was trained for. */
  readonly seqLen: number;
  /** Whether the classifier is the embedding table itself; in the file: the sign of vocab_size. */
  readonly sharedClassifier: boolean;
}

/** The parts of the file. Matrices are [out, in] row-major: y = x W^T. */
export type Part =
  | 'embedding'
  | 'attentionNorm'
  | 'query'
  | 'key'
  | 'value'
  | 'attentionOut'
  | 'ffnNorm'
  | 'gate'
  | 'down'
  | 'up'
  | 'finalNorm'
  | 'rotaryReal'
  | 'rotaryImaginary'
  | 'classifier';

export interface Checkpoint {
  readonly config: Config;
  /** A fresh copy of one part's weights, of one layer where there is one per layer. */
  read(part: Part, layer?: number): Float32Array;
  /** Lets go of the file. */
  close(): void;
}

interface Section {
  readonly part: Part;
  /** How many times it comes, one after the other: the layers, or 1. */
  readonly copies: number;
  readonly rows: number;
  readonly cols: number;
}

const HEADER_BYTES = 28;
/** JavaScript numbers hold the byte counts exactly far beyond these; they only keep absurd headers out. */
const LIMITS = {
  dim: 1 << 16,
  hiddenDim: 1 << 20,
  layers: 1 << 10,
  heads: 1 << 12,
  vocabSize: 1 << 22,
  seqLen: 1 << 22,
};

/** A Llama-shaped network of the size of GPT-2 small: 12 layers of 768, 124 million weights. */
export const GPT2_SMALL_LIKE: Config = {
  dim: 768,
  hiddenDim: 2048, // three matrices of 2048 weigh as much as GPT-2's two of 3072
  layers: 12,
  heads: 12,
  kvHeads: 12,
  vocabSize: 50257,
  seqLen: 1024,
  sharedClassifier: true,
};

/** The file after its header, in the order in which llama2.c maps it. */
function sections(config: Config): readonly Section[] {
  const { dim, hiddenDim, layers, heads, kvHeads, vocabSize, seqLen } = config;
  const kvDim = (dim / heads) * kvHeads;
  const perLayer = (part: Part, rows: number, cols: number): Section => ({
    part,
    copies: layers,
    rows,
    cols,
  });
  const once = (part: Part, rows: number, cols: number): Section => ({ part, copies: 1, rows, cols });
  const inOrder = [
    once('embedding', vocabSize, dim),
    perLayer('attentionNorm', 1, dim),
    perLayer('query', dim, dim),
    perLayer('key', kvDim, dim),
    perLayer('value', kvDim, dim),
    perLayer('attentionOut', dim, dim),
    perLayer('ffnNorm', 1, dim),
    perLayer('gate', hiddenDim, dim), // w1, w2, w3 in llama2.c
    perLayer('down', dim, hiddenDim),
    perLayer('up', hiddenDim, dim),
    once('finalNorm', 1, dim),
    // Tables of the rotary embedding that early exports carried; kept in the format, computed afresh by every reader.
    once('rotaryReal', seqLen, dim / heads / 2),
    once('rotaryImaginary', seqLen, dim / heads / 2),
  ];
  return config.sharedClassifier ? inOrder : [...inOrder, once('classifier', vocabSize, dim)];
}

/** Where a part's copy starts, in floats after the header, and how many floats it has. */
function locate(
  config: Config,
  part: Part,
  layer: number,
): { readonly start: number; readonly length: number } {
  // A shared classifier is the embedding table under its other name.
  const wanted = part === 'classifier' && config.sharedClassifier ? 'embedding' : part;
  let start = 0;
  for (const { part: name, copies, rows, cols } of sections(config)) {
    const length = rows * cols;
    if (name === wanted) {
      if (!Number.isInteger(layer) || layer < 0 || layer >= copies) {
        throw new RangeError(`${part} has ${copies} copies, there is no copy ${layer}`);
      }
      return { start: start + layer * length, length };
    }
    start += copies * length;
  }
  throw new RangeError(`no part '${part}' in the checkpoint`);
}

/** How many bytes a checkpoint file of this shape has. */
export function checkpointBytes(config: Config): number {
  return sections(config).reduce((sum, s) => sum + 4 * s.copies * s.rows * s.cols, HEADER_BYTES);
}

/** Where bytes come from: a file, or memory in the tests. */
interface ByteSource {
  readonly name: string;
  readonly size: number;
  /** Fills `into` from `offset` on; answers how many bytes there were. */
  readInto(into: Uint8Array, offset: number): number;
  close(): void;
}

/** Opens a checkpoint file and checks its header against its length. Weights are read later, part by part. */
export function openCheckpoint(path: string): Checkpoint {
  const source = openFile(path);
  try {
    return fromSource(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

/** The same from bytes in memory. */
export function parseCheckpoint(bytes: Uint8Array, name = 'checkpoint'): Checkpoint {
  return fromSource({
    name,
    size: bytes.byteLength,
    readInto(into, offset) {
      const part = bytes.subarray(offset, offset + into.byteLength);
      into.set(part);
      return part.byteLength;
    },
    close() {},
  });
}

function openFile(path: string): ByteSource {
  let fd = -1;
  try {
    fd = openSync(path, 'r');
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error('it is not a plain file');
    return {
      name: path,
      size: stat.size,
      readInto: (into, offset) => readFully(fd, into, offset),
      close() {
        if (fd >= 0) closeSync(fd);
        fd = -1;
      },
    };
  } catch (error) {
    if (fd >= 0) closeSync(fd);
    const reason = error instanceof Error ? error.message : String(error);
    const hint = 'Name a llama2.c checkpoint, for instance stories15M.bin.';
    throw new CheckpointError('E_READ', `cannot read the model file: ${reason}`, { path }, hint, error);
  }
}

function readFully(fd: number, into: Uint8Array, offset: number): number {
  let done = 0;
  while (done < into.byteLength) {
    // Node refuses to read more than 2 GiB at once.
    const step = Math.min(into.byteLength - done, 1 << 30);
    const count = readSync(fd, into, done, step, offset + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

function fromSource(source: ByteSource): Checkpoint {
  const config = readHeader(source);
  const expected = checkpointBytes(config);
  const values = { file: source.name, bytes: source.size, expected, ...config };
  if (source.size < expected) {
    const message = `${source.name} is cut short: its header promises ${expected} bytes, it has ${source.size}`;
    throw new CheckpointError(
      'E_TRUNCATED',
      message,
      values,
      'Fetch the file again, or it is no llama2.c checkpoint.',
    );
  }
  if (source.size > expected) {
    const message = `${source.name} is longer than its header says: ${source.size} bytes instead of ${expected}`;
    throw new CheckpointError(
      'E_TOO_LONG',
      message,
      values,
      'Two files in one, or no llama2.c checkpoint (version 0).',
    );
  }
  return {
    config,
    read(part, layer = 0) {
      const { start, length } = locate(config, part, layer);
      const weights = new Float32Array(length);
      const got = source.readInto(new Uint8Array(weights.buffer), HEADER_BYTES + 4 * start);
      if (got !== 4 * length) {
        const lost = { file: source.name, part, layer, bytes: got, expected: 4 * length };
        const message = `${source.name} ended in the middle of ${part}`;
        throw new CheckpointError('E_TRUNCATED', message, lost, 'Did it change while it was being read?');
      }
      return weights;
    },
    close: () => source.close(),
  };
}

function readHeader(source: ByteSource): Config {
  const bytes = new Uint8Array(HEADER_BYTES);
  const got = source.readInto(bytes, 0);
  refuseKnownFormats(source.name, bytes.subarray(0, got));
  if (got < HEADER_BYTES) {
    const message = `${source.name} is cut short: ${got} bytes, not even the header of ${HEADER_BYTES}`;
    throw new CheckpointError(
      'E_TRUNCATED',
      message,
      { file: source.name, bytes: got },
      'Fetch the file again.',
    );
  }
  const view = new DataView(bytes.buffer);
  const int = (index: number) => view.getInt32(4 * index, true);
  const vocab = int(5);
  const config: Config = {
    dim: int(0),
    hiddenDim: int(1),
    layers: int(2),
    heads: int(3),
    kvHeads: int(4),
    vocabSize: Math.abs(vocab),
    seqLen: int(6),
    sharedClassifier: vocab > 0,
  };
  const wrong = headerFault(config);
  if (wrong !== undefined) {
    const hint = 'Is it a checkpoint of llama2.c (export.py --version 0)?';
    throw new CheckpointError('E_HEADER', `${source.name}: ${wrong}`, { file: source.name, ...config }, hint);
  }
  return config;
}

/** What no network can have, in words; undefined where the header makes sense. */
export function headerFault(config: Config): string | undefined {
  const { dim, heads, kvHeads } = config;
  const bounds = [
    ['dim', dim, LIMITS.dim],
    ['hidden_dim', config.hiddenDim, LIMITS.hiddenDim],
    ['n_layers', config.layers, LIMITS.layers],
    ['n_heads', heads, LIMITS.heads],
    ['n_kv_heads', kvHeads, LIMITS.heads],
    ['vocab_size', config.vocabSize, LIMITS.vocabSize],
    ['seq_len', config.seqLen, LIMITS.seqLen],
  ] as const;
  for (const [name, value, limit] of bounds) {
    if (!Number.isInteger(value) || value < 1 || value > limit) {
      return `the header is absurd: ${name} = ${value}, possible are 1 to ${limit}`;
    }
  }
  if (dim % heads !== 0) return `the header is absurd: dim ${dim} does not divide into ${heads} heads`;
  if ((dim / heads) % 2 !== 0) return `the header is absurd: heads of ${dim / heads} have no pairs to rotate`;
  if (heads % kvHeads !== 0)
    return `the header is absurd: ${heads} heads do not share ${kvHeads} key/value heads evenly`;
  return undefined;
}

/** First bytes of files that people mistake for a checkpoint, and what to do about each. */
const MAGICS: readonly (readonly [magic: string, what: string, hint: string])[] = [
  ['24ka', 'a llama2.c export of version 1 or 2', 'Export it again with `export.py --version 0`.'],
  [
    'GGUF',
    'a GGUF file (llama.cpp)',
    'Convert it to the llama2.c format (f32), or fetch a .bin of llama2.c.',
  ],
  ['PK\x03\x04', 'a zip or PyTorch file', "Export it with llama2.c's export.py --version 0."],
  ['\x80\x02', 'a Python pickle', "Export it with llama2.c's export.py --version 0."],
  [
    'version https://git-lfs',
    'a Git LFS pointer, not the file itself',
    'Fetch the file with `git lfs pull`.',
  ],
  ['<', 'a web page', 'Fetch the raw file, not the page about it.'],
];

function refuseKnownFormats(name: string, start: Uint8Array): void {
  const text = String.fromCharCode(...start);
  for (const [magic, what, hint] of MAGICS) {
    // A header can begin with these too ('<' is dim = 60, a pickle dim = 640), but then its fourth byte is zero.
    if (text.startsWith(magic) && start[3] !== 0)
      throw new CheckpointError('E_FOREIGN', `${name} is ${what}`, { file: name, what }, hint);
  }
}

/**
 * A checkpoint of any shape with made-up weights, for measuring without a download: the same seed gives the same
 * weights. Matrices are uniform with deviation 1/sqrt(columns), so that values neither die out nor blow up from
 * layer to layer; norms are 1.
 */
export function madeUpCheckpoint(config: Config, seed: number): Checkpoint {
  const wrong = headerFault(config);
  if (wrong !== undefined)
    throw new CheckpointError('E_HEADER', wrong, { ...config }, 'Choose another shape.');
  const isNorm = (part: Part) => part === 'attentionNorm' || part === 'ffnNorm' || part === 'finalNorm';
  return {
    config,
    read(part, layer = 0) {
      const { start, length } = locate(config, part, layer);
      const columns = part === 'down' ? config.hiddenDim : config.dim;
      return isNorm(part)
        ? new Float32Array(length).fill(1)
        : uniform(length, start, seed, Math.sqrt(12 / columns));
    },
    close() {},
  };
}

/** Numbers in [-width/2, width/2), each made from its own place in the file, so that parts come in any order. */
function uniform(length: number, start: number, seed: number, width: number): Float32Array {
  const out = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    // Two rounds of the 32-bit mixer "lowbias32" (Chris Wellons, public domain) over the place and the seed.
    let h = (Math.imul(start + i, 0x9e3779b1) ^ seed) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    out[i] = (((h ^ (h >>> 16)) >>> 0) / 2 ** 32 - 0.5) * width;
  }
  return out;
}
