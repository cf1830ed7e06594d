/**
 * Chooses the next token from the network's scores. The ways of choosing and the generator of chance are those of
 * llama2.c by Andrej Karpathy (MIT), so that the same seed tells the same story; the code here is our own.
 */
import { softmax } from './maths.ts';

export interface SamplerOptions {
  /** 0: always the likeliest token. Above: the higher, the bolder. Default 0. */
  readonly temperature?: number;
  /** Choose among the fewest tokens that are this likely together. 0 or 1: among all. Default 0.9. */
  readonly topP?: number;
  /** A whole number from 1 on. Default 1. */
  readonly seed?: number;
}

export class Sampler {
  readonly #temperature: number;
  readonly #topP: number;
  readonly #random: () => number;
  #probabilities = new Float32Array(0);

  constructor({ temperature = 0, topP = 0.9, seed = 1 }: SamplerOptions = {}) {
    if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY)) {
      throw new RangeError(`temperature must be a number from 0 on, got ${temperature}`);
    }
    if (!(topP >= 0 && topP <= 1)) throw new RangeError(`topP must be between 0 and 1, got ${topP}`);
    this.#temperature = temperature;
    this.#topP = topP;
    this.#random = xorshift(seed);
  }

  next(logits: Float32Array): number {
    if (this.#temperature === 0) return argmax(logits);
    if (this.#probabilities.length !== logits.length) this.#probabilities = new Float32Array(logits.length);
    const probabilities = this.#probabilities;
    for (let i = 0; i < logits.length; i++) probabilities[i] = logits[i]! / this.#temperature;
    softmax(probabilities, 0, probabilities.length);
    const coin = this.#random();
    const all = this.#topP <= 0 || this.#topP >= 1;
    return all ? pick(probabilities, coin) : pickTop(probabilities, this.#topP, coin);
  }
}

/** The place of the greatest value, the first of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** `coin` in [0, 1) falls into one of the probabilities laid end to end. */
function pick(probabilities: Float32Array, coin: number): number {
  let reached = 0;
  for (let i = 0; i < probabilities.length; i++) {
    reached += probabilities[i]!;
    if (coin < reached) return i;
  }
  return probabilities.length - 1; // rounding: they sum to a hair less than 1
}

/** The same among the likeliest tokens that together exceed `topP`. */
function pickTop(probabilities: Float32Array, topP: number, coin: number): number {
  // Whatever is less likely than this cannot be among them: the tokens before it leave at least that much each.
  const cutoff = (1 - topP) / (probabilities.length - 1);
  const likely: number[] = [];
  for (let i = 0; i < probabilities.length; i++) if (probabilities[i]! >= cutoff) likely.push(i);
  likely.sort((a, b) => probabilities[b]! - probabilities[a]!);
  let together = 0;
  let count = 0;
  while (count < likely.length && together <= topP) together += probabilities[likely[count++]!]!;
  let reached = 0;
  for (let i = 0; i < count; i++) {
    reached += probabilities[likely[i]!]!;
    if (coin * together < reached) return likely[i]!;
  }
  return likely[count - 1] ?? argmax(probabilities);
}

/** xorshift64* as in llama2.c: numbers in [0, 1) with 24 bits. */
function xorshift(seed: number): () => number {
  // The state must not be 0, or it stays there.
  if (!Number.isSafeInteger(seed) || seed < 1)
    throw new RangeError(`seed must be a whole number from 1 on, got ${seed}`);
  let state = BigInt(seed);
  return () => {
    state ^= state >> 12n;
    state ^= BigInt.asUintN(64, state << 25n);
    state ^= state >> 27n;
    const high = BigInt.asUintN(64, state * 0x2545f4914f6cdd1dn) >> 32n;
    return Number(high >> 8n) / 2 ** 24;
  };
}
