/** The story example's files and choices: formats read and refused in words, text to tokens and back, sampling. */
import test, { type Test } from 'tape';
import {
  CheckpointError,
  type Config,
  checkpointBytes,
  GPT2_SMALL_LIKE,
  madeUpCheckpoint,
  parseCheckpoint,
} from '../../examples/story/checkpoint.ts';
import { argmax, Sampler, type SamplerOptions } from '../../examples/story/sampler.ts';
import { BOS, Tokenizer, TokenizerError } from '../../examples/story/tokenizer.ts';
import {
  fileOf,
  header,
  noModel,
  realTokenizer,
  SAMPLED_STORY,
  SMALL,
  STORY,
  tokenizerFile,
} from './story-fixtures.ts';

const BYTE_TOKENS = Array.from(
  { length: 256 },
  (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`,
);
const PIECES = [
  '<unk>',
  '\n<s>\n',
  '\n</s>\n',
  ...BYTE_TOKENS,
  ' ',
  'a',
  'b',
  'c',
  'é',
  'ab',
  ' a',
  'bc',
  ' ab',
];

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

function refused(t: Test, run: () => unknown, code: string, words: RegExp, what: string): void {
  const error = thrown(run);
  const ours = error instanceof CheckpointError || error instanceof TokenizerError;
  t.ok(ours, `${what}: refused with a typed error`);
  if (!ours) return;
  t.equal(error.code, code, `${what}: ${code}`);
  t.match(error.message, words, `${what}: ${error.message}`);
  t.ok(Object.keys(error.values).length > 0 && error.hint !== '', `${what}: names values and a hint`);
}

test('checkpoint: reads what was written', (t) => {
  const made = madeUpCheckpoint(SMALL, 5);
  const read = parseCheckpoint(fileOf(made));
  t.deepEqual(read.config, SMALL);
  t.deepEqual(read.read('down', 2), made.read('down', 2), 'a layer in the middle');
  t.deepEqual(read.read('classifier'), made.read('classifier'), 'the last part');
  t.deepEqual(
    made.read('gate', 1),
    madeUpCheckpoint(SMALL, 5).read('gate', 1),
    'the same seed, the same weights',
  );
  t.notDeepEqual(
    made.read('gate', 1),
    madeUpCheckpoint(SMALL, 6).read('gate', 1),
    'another seed, other weights',
  );
  const shared = madeUpCheckpoint({ ...SMALL, sharedClassifier: true }, 5);
  t.deepEqual(shared.read('classifier'), shared.read('embedding'), 'a shared classifier is the embedding');
  t.throws(() => made.read('gate', 3), RangeError);
  const millions = checkpointBytes(GPT2_SMALL_LIKE) / 4e6;
  t.ok(millions > 120 && millions < 130, `GPT-2-small-like: ${millions.toFixed(0)} million weights`);
  t.end();
});

test('checkpoint: wrong files are refused in words', (t) => {
  const good = fileOf(madeUpCheckpoint(SMALL, 5));
  const changed = (fields: Partial<Config>) => {
    const file = good.slice();
    header(file, { ...SMALL, ...fields });
    return () => parseCheckpoint(file, 'model.bin');
  };
  const text = (start: string) => () =>
    parseCheckpoint(new TextEncoder().encode(start.padEnd(64, ' ')), 'model.bin');
  refused(t, () => parseCheckpoint(good.subarray(0, 10)), 'E_TRUNCATED', /not even the header/, 'ten bytes');
  refused(t, () => parseCheckpoint(new Uint8Array(0)), 'E_TRUNCATED', /0 bytes/, 'an empty file');
  refused(t, () => parseCheckpoint(good.subarray(0, -1)), 'E_TRUNCATED', /cut short/, 'one byte short');
  const longer = new Uint8Array(good.length + 1);
  longer.set(good);
  refused(t, () => parseCheckpoint(longer), 'E_TOO_LONG', /longer/, 'one byte too many');
  refused(t, text('GGUF'), 'E_FOREIGN', /llama\.cpp/, 'GGUF');
  refused(t, text('24ka'), 'E_FOREIGN', /version 1/, 'a newer export');
  refused(t, text('<!doctype html>'), 'E_FOREIGN', /web page/, 'a web page');
  refused(t, text('version https://git-lfs.github.com/spec/v1'), 'E_FOREIGN', /LFS/, 'an LFS pointer');
  refused(t, text('Once upon a time'), 'E_HEADER', /absurd/, 'a text');
  refused(t, () => parseCheckpoint(new Uint8Array(64)), 'E_HEADER', /dim = 0/, 'zeros');
  refused(t, changed({ layers: -1 }), 'E_HEADER', /n_layers = -1/, 'negative layers');
  refused(t, changed({ dim: 2 ** 30 }), 'E_HEADER', /dim = 1073741824/, 'a giant dim');
  refused(t, changed({ heads: 5 }), 'E_HEADER', /does not divide/, 'heads that do not divide dim');
  refused(t, changed({ heads: 12 }), 'E_HEADER', /no pairs/, 'heads of an odd size');
  refused(t, changed({ kvHeads: 4 }), 'E_HEADER', /evenly/, 'key/value heads that do not divide heads');
  refused(
    t,
    changed({ dim: 65520, hiddenDim: 1 << 20, layers: 1024 }),
    'E_TRUNCATED',
    /promises/,
    'terabytes',
  );
  t.end();
});

test('tokenizer: encodes and decodes', (t) => {
  const tokenizer = new Tokenizer(tokenizerFile(PIECES), PIECES.length);
  const id = (piece: string) => PIECES.indexOf(piece);
  t.deepEqual(tokenizer.encode(''), [BOS], 'nothing: BOS alone, no space');
  t.deepEqual(tokenizer.encode('abc'), [BOS, id(' a'), id('bc')], 'the best score merges first');
  t.deepEqual(tokenizer.encode('ab'), [BOS, id(' ab')], 'what merged goes on merging');
  t.deepEqual(tokenizer.encode('é'), [BOS, id(' '), id('é')], 'a character of two bytes with its own token');
  t.deepEqual(
    tokenizer.encode('z…'),
    [BOS, id(' '), id('<0x7A>'), id('<0xE2>'), id('<0x80>'), id('<0xA6>')],
    'characters without a token become bytes',
  );
  for (const text of ['', 'abc', 'ab bc', ' a', 'é…🦊', 'Zoë\n\ttab', '\ufeffx', 'e\u0301', '日本語']) {
    t.equal(tokenizer.decode(tokenizer.encode(text)), text, `round trip of ${JSON.stringify(text)}`);
  }
  const stream = tokenizer.stream();
  const fox = [...new TextEncoder().encode('🦊')].map((byte) => stream.next(byte + 3));
  t.deepEqual([...fox, stream.end()], ['', '', '', '🦊', ''], 'a character appears with its last byte');
  t.equal(tokenizer.decode([id('<0xE2>'), id('a')]), '\ufffda', 'bytes that are no character show as U+FFFD');
  t.throws(() => tokenizer.bytesOf(PIECES.length), RangeError);
  t.end();
});

test('tokenizer: the real one', { skip: noModel }, (t) => {
  const tokenizer = realTokenizer();
  for (const text of [STORY, SAMPLED_STORY, 'Wörter — “quoted” 🦊\r\n\0']) {
    t.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }
  const tokens = tokenizer.encode('Once upon a time');
  t.deepEqual(tokens, [BOS, 403, 407, 261, 378], 'as llama2.c encodes it');
  t.end();
});

test('tokenizer: wrong files are refused in words', (t) => {
  const good = tokenizerFile(PIECES);
  const open =
    (bytes: Uint8Array, size = PIECES.length) =>
    () =>
      new Tokenizer(bytes, size, 'tok.bin');
  const badScore = good.slice();
  new DataView(badScore.buffer).setFloat32(4, Number.NaN, true);
  refused(t, open(good, 512), 'E_VOCABULARY', /has 268 tokens, the model wants 512/, 'of another model');
  refused(t, open(good.subarray(0, -1)), 'E_TRUNCATED', /token 267/, 'one byte short');
  refused(t, open(good.subarray(0, -5)), 'E_TRUNCATED', /token 267/, 'short in the middle of a head');
  refused(t, open(new Uint8Array(0)), 'E_FOREIGN', /longest token/, 'empty');
  refused(t, open(new TextEncoder().encode('{"model": "bpe"}')), 'E_FOREIGN', /longest token/, 'a text');
  refused(
    t,
    open(tokenizerFile(PIECES, 2)),
    'E_FOREIGN',
    /5 of at most 2 bytes/,
    'a token longer than the longest',
  );
  refused(t, open(badScore), 'E_FOREIGN', /score NaN/, 'a score that is no number');
  refused(t, () => Tokenizer.open('/nowhere/tok.bin', 512), 'E_READ', /ENOENT/, 'not there');
  t.end();
});

test('sampler: temperature, top-p and seed', (t) => {
  const logits = Float32Array.from([0, 3, 1, 2.9, -5]);
  const draw = (options: SamplerOptions, count = 200) => {
    const sampler = new Sampler(options);
    return Array.from({ length: count }, () => sampler.next(logits));
  };
  t.deepEqual(new Set(draw({})), new Set([1]), 'greedy takes the likeliest');
  t.equal(argmax(Float32Array.from([1, 2, 2])), 1, 'the first of equals');
  t.deepEqual(draw({ temperature: 1, seed: 5 }), draw({ temperature: 1, seed: 5 }), 'a seed repeats itself');
  t.notDeepEqual(
    draw({ temperature: 1, seed: 5 }),
    draw({ temperature: 1, seed: 6 }),
    'another seed differs',
  );
  t.deepEqual(
    new Set(draw({ temperature: 1, topP: 0.5 })),
    new Set([1, 3]),
    'top-p keeps the fewest that suffice',
  );
  t.ok(new Set(draw({ temperature: 2, topP: 1 }, 2000)).size >= 4, 'without top-p the unlikely come too');
  t.deepEqual(
    Array.from(logits),
    Array.from(Float32Array.from([0, 3, 1, 2.9, -5])),
    'the scores stay as they were',
  );
  for (const bad of [
    { temperature: -1 },
    { temperature: Number.NaN },
    { topP: 1.5 },
    { seed: 0 },
    { seed: 0.5 },
  ]) {
    t.throws(() => new Sampler(bad), RangeError, `refused: ${JSON.stringify(bad)}`);
  }
  t.end();
});
