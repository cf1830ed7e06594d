/**
 * The Llama-2-shaped network on the library's matmul. A token's vector x passes through the layers; each adds to it
 * what attention found in earlier tokens, then what a small gated network makes of it:
 *
 *     x += Wo attention(rotate(Wq n), rotate(Wk n), Wv n)      n = x / rms(x) * attentionNorm
 *     x += Wdown (silu(Wgate n) * Wup n)                       n = x / rms(x) * ffnNorm
 *
 * and the classifier scores every token of the vocabulary as the next one. What the library does:
 *
 * - all weights are prepacked once; query, key and value are one matrix, since they share their input;
 * - silu is the epilogue of the gate's product, and `x +=` is `beta: 1` with x itself as `out`;
 * - prefill takes many tokens as one product per matrix, and its attention as one batched product per layer;
 * - decode takes one token, a GEMV per matrix, with `matmulSync` into tensors that exist already.
 *
 * Normalising, rotating and the attention of a single token are short loops in TypeScript. None of it depends on the
 * number of threads. Shape and constants follow llama2.c by Andrej Karpathy (MIT); the code is our own.
 */
import type { MatmulOptions, Prepacked, Runtime, Tensor } from 'tesserae';
import type { Checkpoint, Config, Part } from './checkpoint.ts';
import {
  causalSoftmax,
  copyHeads,
  dot,
  multiplyInto,
  normRows,
  rmsNorm,
  rotaryTables,
  softmax,
  stacked,
  weightedSum,
} from './maths.ts';

/** Tokens of one prefill product: enough rows for the matmul's full speed, few enough to bound scores' memory. */
const PREFILL_ROWS = 128;

export interface NetworkOptions {
  /** Positions to keep keys and values for; at most, and by default, the checkpoint's seq_len. */
  readonly positions?: number;
}

export interface PrefillOptions {
  readonly signal?: AbortSignal;
}

interface Layer {
  readonly attentionNorm: Float32Array;
  readonly qkv: Prepacked;
  readonly attentionOut: Prepacked;
  readonly ffnNorm: Float32Array;
  readonly gate: Prepacked;
  readonly up: Prepacked;
  readonly down: Prepacked;
  /** [kvHeads, positions, headSize]: the cache. */
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** A product to run: the network says what, `decode` and `prefill` say how (at once, or awaited). */
interface Product {
  readonly a: Tensor;
  readonly b: Tensor | Prepacked;
  readonly options: MatmulOptions;
}

/** The products of one layer, with operands and options made beforehand, so that a token makes no garbage here. */
interface LayerProducts {
  readonly qkv: Product;
  readonly attentionOut: Product;
  readonly gate: Product;
  readonly up: Product;
  readonly down: Product;
}

/** Everything that so many tokens at once need between the layers. */
interface Buffers {
  readonly rows: number;
  /** [rows, dim]: the tokens' vectors. */
  readonly x: Tensor;
  readonly normed: Tensor;
  /** [rows, dim + 2 kvDim]: queries, keys, values side by side. */
  readonly qkv: Tensor;
  readonly attention: Tensor;
  /** [rows, hiddenDim]. */
  readonly gate: Tensor;
  readonly up: Tensor;
  readonly products: readonly LayerProducts[];
  /** Only for several rows. */
  readonly batched: BatchedAttention | undefined;
  readonly owned: readonly Tensor[];
}

/** Attention of several tokens as two batched products, one batch entry per key/value head. */
interface BatchedAttention {
  /** Positions that can be looked at: those before and the tokens' own. */
  readonly span: number;
  /** [kvHeads, group x rows, headSize]: the queries of all heads that share a key/value head are rows of one matrix. */
  readonly queries: Tensor;
  /** [kvHeads, span, headSize]. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** [kvHeads, group x rows, span]. */
  readonly scores: Tensor;
  readonly mixed: Tensor;
  readonly score: Product;
  readonly mix: Product;
}

export class Network {
  readonly config: Config;
  /** How many tokens can be looked back on. */
  readonly positions: number;

  readonly #rt: Runtime;
  readonly #headSize: number;
  readonly #kvDim: number;
  readonly #embedding: Float32Array;
  readonly #layers: readonly Layer[];
  readonly #finalNorm: Float32Array;
  readonly #last: Tensor;
  readonly #logits: Tensor;
  readonly #classify: Product;
  readonly #one: Buffers;
  readonly #scores: Float32Array;
  readonly #cos: Float32Array;
  readonly #sin: Float32Array;
  readonly #owned: (Tensor | Prepacked)[] = [];
  #weightBytes = 0;
  #busy = false;

  /** Packs the weights; the checkpoint can be closed afterwards. Throws the runtime's E_MEMORY if they do not fit. */
  constructor(rt: Runtime, checkpoint: Checkpoint, options: NetworkOptions = {}) {
    const { config } = checkpoint;
    this.#rt = rt;
    this.config = config;
    this.positions = Math.min(options.positions ?? config.seqLen, config.seqLen);
    if (!(Number.isInteger(this.positions) && this.positions >= 1)) {
      throw new RangeError(`positions must be a whole number from 1 on, got ${options.positions}`);
    }
    this.#headSize = config.dim / config.heads;
    this.#kvDim = this.#headSize * config.kvHeads;
    try {
      this.#embedding = checkpoint.read('embedding');
      this.#layers = Array.from({ length: config.layers }, (_, index) => this.#loadLayer(checkpoint, index));
      this.#finalNorm = checkpoint.read('finalNorm');
      const classifier = this.#pack(
        config.sharedClassifier ? this.#embedding : checkpoint.read('classifier'),
        config.dim,
      );
      this.#last = this.#own(rt.zeros([1, config.dim]));
      this.#logits = this.#own(rt.zeros([1, config.vocabSize]));
      this.#classify = { a: this.#last, b: classifier, options: { out: this.#logits } };
      this.#one = this.#buffers(1, 0);
      this.#owned.push(...this.#one.owned);
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.#scores = new Float32Array(this.positions);
    [this.#cos, this.#sin] = rotaryTables(this.positions, this.#headSize);
  }

  /** Bytes of the matrices, each of which a decoded token reads once. */
  get weightBytes(): number {
    return this.#weightBytes;
  }

  /** Scores of the next token after `token` at `position`: a live view, good until the next call. */
  decode(token: number, position: number): Float32Array {
    this.#begin([token], position);
    try {
      for (const { a, b, options } of this.#forward(this.#one, [token], position)) {
        this.#rt.matmulSync(a, b, options);
      }
    } finally {
      this.#busy = false;
    }
    return this.#logits.data;
  }

  /** The same after several tokens, the first of them at `position`, without blocking the event loop. */
  async prefill(
    tokens: readonly number[],
    position: number,
    { signal }: PrefillOptions = {},
  ): Promise<Float32Array> {
    this.#begin(tokens, position);
    try {
      for (let from = 0; from < tokens.length; from += PREFILL_ROWS) {
        await this.#prefillChunk(tokens.slice(from, from + PREFILL_ROWS), position + from, signal);
      }
    } finally {
      this.#busy = false;
    }
    return this.#logits.data;
  }

  async #prefillChunk(
    tokens: readonly number[],
    position: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const buffers = tokens.length === 1 ? this.#one : this.#buffers(tokens.length, position + tokens.length);
    try {
      for (const { a, b, options } of this.#forward(buffers, tokens, position)) {
        await this.#rt.matmul(a, b, signal === undefined ? options : { ...options, signal });
      }
    } finally {
      if (buffers !== this.#one) for (const tensor of buffers.owned) tensor.dispose();
    }
  }

  /** Gives weights and buffers back to the runtime. */
  dispose(): void {
    for (const each of this.#owned) each.dispose();
  }

  #begin(tokens: readonly number[], position: number): void {
    if (this.#busy) throw new Error('the network is busy: await the running prefill before the next call');
    const { vocabSize } = this.config;
    for (const token of tokens) {
      if (!(Number.isInteger(token) && token >= 0 && token < vocabSize)) {
        throw new RangeError(`token ${token} is not in the vocabulary of ${vocabSize}`);
      }
    }
    if (!(Number.isInteger(position) && position >= 0 && position + tokens.length <= this.positions)) {
      throw new RangeError(
        `positions ${position} to ${position + tokens.length - 1} exceed the ${this.positions} kept`,
      );
    }
    if (tokens.length === 0) throw new RangeError('no tokens: begin with BOS');
    this.#busy = true;
  }

  /**
   * The network itself. Yields each product for the caller to run, and goes on when it is done; views of tensors are
   * asked for anew after each, since a product may grow the memory.
   */
  *#forward(buffers: Buffers, tokens: readonly number[], position: number): Generator<Product, void, void> {
    const { dim } = this.config;
    const { x, normed, gate, up, rows } = buffers;
    const vectors = x.data;
    for (const [row, token] of tokens.entries()) {
      vectors.set(this.#embedding.subarray(token * dim, (token + 1) * dim), row * dim);
    }
    for (const [index, layer] of this.#layers.entries()) {
      const products = buffers.products[index]!;
      normRows(x.data, normed.data, rows, layer.attentionNorm);
      yield products.qkv;
      this.#rotateAndKeep(layer, buffers, position);
      if (buffers.batched === undefined) this.#attendOne(layer, buffers, position);
      else yield* this.#attendMany(layer, buffers, buffers.batched, position);
      yield products.attentionOut;
      normRows(x.data, normed.data, rows, layer.ffnNorm);
      yield products.gate;
      yield products.up;
      multiplyInto(gate.data, up.data);
      yield products.down;
    }
    // Only the last token's successor is wanted.
    rmsNorm(x.data, this.#last.data, (rows - 1) * dim, 0, this.#finalNorm);
    yield this.#classify;
  }

  /** Turns queries and keys by their position, and puts keys and values into the cache. */
  #rotateAndKeep(layer: Layer, { qkv, rows }: Buffers, position: number): void {
    const { dim, heads, kvHeads } = this.config;
    const size = this.#headSize;
    const kvDim = this.#kvDim;
    const data = qkv.data;
    for (let row = 0; row < rows; row++) {
      const query = row * (dim + 2 * kvDim);
      const key = query + dim;
      // Queries and keys lie side by side: their heads are rotated in one sweep.
      this.#rotate(data, query, heads + kvHeads, position + row);
      for (let head = 0; head < kvHeads; head++) {
        const slot = (head * this.positions + position + row) * size;
        const from = key + head * size;
        for (let i = 0; i < size; i++) layer.keys[slot + i] = data[from + i]!;
        for (let i = 0; i < size; i++) layer.values[slot + i] = data[from + kvDim + i]!;
      }
    }
  }

  /** Rotary embedding: each pair of neighbours in a head is turned by an angle that grows with the position. */
  #rotate(data: Float32Array, start: number, heads: number, position: number): void {
    const half = this.#headSize / 2;
    const angle = position * half;
    for (let head = 0; head < heads; head++) {
      const at = start + head * this.#headSize;
      for (let pair = 0; pair < half; pair++) {
        const cos = this.#cos[angle + pair]!;
        const sin = this.#sin[angle + pair]!;
        const re = data[at + 2 * pair]!;
        const im = data[at + 2 * pair + 1]!;
        data[at + 2 * pair] = re * cos - im * sin;
        data[at + 2 * pair + 1] = re * sin + im * cos;
      }
    }
  }

  /** Attention of one token straight from the cache: too little work for a product, and its extents never repeat. */
  #attendOne(layer: Layer, { qkv, attention }: Buffers, position: number): void {
    const { heads, kvHeads } = this.config;
    const size = this.#headSize;
    const group = heads / kvHeads;
    const scale = 1 / Math.sqrt(size);
    const queries = qkv.data;
    const out = attention.data;
    const scores = this.#scores;
    const { keys, values } = layer;
    const seen = position + 1;
    for (let head = 0; head < heads; head++) {
      const cache = Math.floor(head / group) * this.positions * size;
      const at = head * size;
      for (let t = 0; t < seen; t++) scores[t] = scale * dot(queries, at, keys, cache + t * size, size);
      softmax(scores, 0, seen);
      weightedSum(scores, seen, values, cache, out, at, size);
    }
  }

  /** Attention of several tokens: scores = Q K^T, masked softmax, mixed = scores V, for all heads at once. */
  *#attendMany(
    layer: Layer,
    { qkv, attention, rows }: Buffers,
    batched: BatchedAttention,
    position: number,
  ): Generator<Product, void, void> {
    const { dim, heads, kvHeads } = this.config;
    const size = this.#headSize;
    const { queries, keys, values, scores, mixed, span } = batched;
    copyHeads(qkv.data, dim + 2 * this.#kvDim, queries.data, rows, heads, size, 'gather');
    for (let head = 0; head < kvHeads; head++) {
      const from = head * this.positions * size;
      keys.data.set(layer.keys.subarray(from, from + span * size), head * span * size);
      values.data.set(layer.values.subarray(from, from + span * size), head * span * size);
    }
    yield batched.score;
    causalSoftmax(scores.data, heads, rows, span, position);
    yield batched.mix;
    copyHeads(attention.data, dim, mixed.data, rows, heads, size, 'scatter');
  }

  #loadLayer(checkpoint: Checkpoint, index: number): Layer {
    const { dim, hiddenDim } = this.config;
    const read = (part: Part) => checkpoint.read(part, index);
    return {
      attentionNorm: read('attentionNorm'),
      qkv: this.#pack(stacked([read('query'), read('key'), read('value')]), dim),
      attentionOut: this.#pack(read('attentionOut'), dim),
      ffnNorm: read('ffnNorm'),
      gate: this.#pack(read('gate'), dim),
      up: this.#pack(read('up'), dim),
      down: this.#pack(read('down'), hiddenDim),
      keys: new Float32Array(this.positions * this.#kvDim),
      values: new Float32Array(this.positions * this.#kvDim),
    };
  }

  /** Weights are [out, in] in the file and are multiplied as their transpose. */
  #pack(weights: Float32Array, inputs: number): Prepacked {
    this.#weightBytes += weights.byteLength;
    const shape = [weights.length / inputs, inputs];
    return this.#own(this.#rt.prepack({ data: weights, shape }, { transposeB: true }));
  }

  #own<T extends Tensor | Prepacked>(it: T): T {
    this.#owned.push(it);
    return it;
  }

  /** Buffers for `rows` tokens that look back on `span` positions (one token looks into the cache itself). */
  #buffers(rows: number, span: number): Buffers {
    const { dim, hiddenDim } = this.config;
    const owned: Tensor[] = [];
    const make = (...shape: number[]): Tensor => {
      const tensor = this.#rt.zeros(shape);
      owned.push(tensor);
      return tensor;
    };
    try {
      const x = make(rows, dim);
      const normed = make(rows, dim);
      const qkv = make(rows, dim + 2 * this.#kvDim);
      const attention = make(rows, dim);
      const gate = make(rows, hiddenDim);
      const up = make(rows, hiddenDim);
      const products = this.#layers.map(
        (layer): LayerProducts => ({
          qkv: { a: normed, b: layer.qkv, options: { out: qkv } },
          attentionOut: { a: attention, b: layer.attentionOut, options: { out: x, beta: 1 } },
          gate: { a: normed, b: layer.gate, options: { out: gate, activation: 'silu' } },
          up: { a: normed, b: layer.up, options: { out: up } },
          down: { a: gate, b: layer.down, options: { out: x, beta: 1 } },
        }),
      );
      const batched = rows === 1 ? undefined : this.#batchedAttention(make, rows, span);
      return { rows, x, normed, qkv, attention, gate, up, products, batched, owned };
    } catch (error) {
      for (const tensor of owned) tensor.dispose();
      throw error;
    }
  }

  #batchedAttention(make: (...shape: number[]) => Tensor, rows: number, span: number): BatchedAttention {
    const { heads, kvHeads } = this.config;
    const size = this.#headSize;
    const rowsPerHead = (heads / kvHeads) * rows;
    const queries = make(kvHeads, rowsPerHead, size);
    const keys = make(kvHeads, span, size);
    const values = make(kvHeads, span, size);
    const scores = make(kvHeads, rowsPerHead, span);
    const mixed = make(kvHeads, rowsPerHead, size);
    const alpha = 1 / Math.sqrt(size);
    const score = { a: queries, b: keys, options: { transposeB: true, alpha, out: scores } };
    const mix = { a: scores, b: values, options: { out: mixed } };
    return { span, queries, keys, values, scores, mixed, score, mix };
  }
}
