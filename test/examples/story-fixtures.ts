/** What the story's tests share: where the real model lies and what it tells, made-up files, a small shape. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  type Checkpoint,
  type Config,
  checkpointBytes,
  type Part,
  parseCheckpoint,
} from '../../examples/story/checkpoint.ts';
import { Tokenizer } from '../../examples/story/tokenizer.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const MODEL = fileURLToPath(new URL('../../../shared/data/models/stories260K.bin', import.meta.url));
export const TOKENIZER = fileURLToPath(new URL('../../../shared/data/models/tok512.bin', import.meta.url));
export const noModel =
  existsSync(MODEL) && existsSync(TOKENIZER) ? false : 'stories260K.bin and tok512.bin are not there';

/** Published in llama2.c's doc/stories260K.md for `run stories260K.bin -z tok512.bin -t 0.0`: 256 tokens. */
export const STORY =
  'Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a ' +
  'big, red ball. She wanted to play with it, but it was too high.\n' +
  'Lily\'s mom said, "Lily, let\'s go to the park." Lily was sad and didn\'t know what to do. She said, "I want to ' +
  'play with your ball, but I can\'t find it."\n' +
  "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\n" +
  "Lily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what to do.\" Her mom said, " +
  '"Don\'t worry, Lily. We can help you.';

/** Published there for `-t 1.0 -p 0.9 -s 133742`. */
export const SAMPLED_STORY =
  'Once upon a time, there was a little boy named Timmy. Timmy loved to play with his toys and eat sandwiches. One ' +
  "day, Timmy's mom told him it was time to rest for a while. Timmy's friend Billy came over and took him a down.\n" +
  "Timmy's mom saw that Timmy was sad, but Timmy said, \"I didn't understand what is it! We need to find some " +
  'leafs." Timmy thought about it and took a deep breath on a spoon. He hoped it was important to be kind and ' +
  'continued to find its image next time.\n' +
  "After they finished getting, Timmy's dad came up to his house and promised to help Timmy.";

/** Small, odd in every extent, grouped heads, its own classifier: exercised without any download. */
export const SMALL: Config = {
  dim: 36,
  hiddenDim: 53,
  layers: 3,
  heads: 6,
  kvHeads: 2,
  vocabSize: 301,
  seqLen: 300,
  sharedClassifier: false,
};

export function realCheckpoint(): Checkpoint {
  return parseCheckpoint(readFileSync(MODEL), 'stories260K.bin');
}

export function realTokenizer(): Tokenizer {
  return Tokenizer.open(TOKENIZER, 512);
}

/** The bytes of a checkpoint file with these weights. */
export function fileOf(checkpoint: Checkpoint): Uint8Array {
  const { config } = checkpoint;
  const file = new Uint8Array(checkpointBytes(config));
  const floats = new Float32Array(file.buffer, 28);
  header(file, config);
  const perLayer = [
    'attentionNorm',
    'query',
    'key',
    'value',
    'attentionOut',
    'ffnNorm',
    'gate',
    'down',
    'up',
  ] as const;
  let at = 0;
  const put = (part: Part, layer?: number) => {
    const weights = checkpoint.read(part, layer);
    floats.set(weights, at);
    at += weights.length;
  };
  put('embedding');
  for (const part of perLayer) for (let layer = 0; layer < config.layers; layer++) put(part, layer);
  for (const part of ['finalNorm', 'rotaryReal', 'rotaryImaginary'] as const) put(part);
  if (!config.sharedClassifier) put('classifier');
  return file;
}

export function header(file: Uint8Array, config: Config): void {
  const { dim, hiddenDim, layers, heads, kvHeads, vocabSize, seqLen, sharedClassifier } = config;
  const fields = [dim, hiddenDim, layers, heads, kvHeads, sharedClassifier ? vocabSize : -vocabSize, seqLen];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (const [i, field] of fields.entries()) view.setInt32(4 * i, field, true);
}

/** A tokenizer file of these pieces; later ones score better, so they merge first. */
export function tokenizerFile(pieces: readonly string[], longest?: number): Uint8Array {
  const encoded = pieces.map((piece) => new TextEncoder().encode(piece));
  const size = encoded.reduce((sum, bytes) => sum + 8 + bytes.length, 4);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setInt32(0, longest ?? Math.max(...encoded.map((bytes) => bytes.length)), true);
  let at = 4;
  for (const [i, bytes] of encoded.entries()) {
    view.setFloat32(at, i, true);
    view.setInt32(at + 4, bytes.length, true);
    file.set(bytes, at + 8);
    at += 8 + bytes.length;
  }
  return file;
}
