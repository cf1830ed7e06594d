/**
 * The story example: real weights tell the published story on any thread count and in exact mode, and an independent
 * float64 network agrees. What needs the real model is skipped where it is absent.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test, { type Test } from 'tape';
import { type Checkpoint, madeUpCheckpoint, parseCheckpoint } from '../../examples/story/checkpoint.ts';
import { Network } from '../../examples/story/network.ts';
import { argmax, Sampler, type SamplerOptions } from '../../examples/story/sampler.ts';
import { tell } from '../../examples/story/tell.ts';
import { BOS } from '../../examples/story/tokenizer.ts';
import { createRuntime, type Runtime, type RuntimeOptions } from '../../src/index.ts';
import { referenceGreedy, referenceNetwork } from './reference-story.ts';
import {
  fileOf,
  MODEL,
  noModel,
  ROOT,
  realCheckpoint,
  realTokenizer,
  SAMPLED_STORY,
  SMALL,
  STORY,
  TOKENIZER,
} from './story-fixtures.ts';

/** f32 against double precision over a few layers of at most 172 terms; scores are of magnitude 1 to 20. */
const TOLERANCE = 5e-5;

async function withNetwork<T>(
  checkpoint: Checkpoint,
  options: RuntimeOptions,
  use: (network: Network, rt: Runtime) => Promise<T> | T,
): Promise<T> {
  const rt = await createRuntime({ wisdom: false, ...options });
  try {
    const network = new Network(rt, checkpoint);
    try {
      return await use(network, rt);
    } finally {
      network.dispose();
    }
  } finally {
    await rt.close();
  }
}

async function story(
  network: Network,
  prompt: string,
  steps: number,
  options: SamplerOptions = {},
): Promise<string> {
  const tokenizer = realTokenizer();
  const text = tokenizer.stream();
  let told = '';
  for await (const { token, previous } of tell(network, tokenizer.encode(prompt), {
    steps,
    sampler: new Sampler(options),
  })) {
    told += text.next(token, previous);
  }
  return told + text.end();
}

function greatestDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let greatest = got.length === want.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs(got[i]! - want[i]!);
    // Written so that NaN counts as the worst.
    if (!(difference <= greatest))
      greatest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return greatest;
}

function close(t: Test, got: ArrayLike<number>, want: ArrayLike<number>, what: string): void {
  const difference = greatestDifference(got, want);
  t.ok(difference <= TOLERANCE, `${what}: differs by ${difference.toExponential(1)}`);
}

test('story: greedy, empty prompt, 256 steps', { skip: noModel }, async (t) => {
  const cases: readonly RuntimeOptions[] = [
    { threads: 1 },
    { threads: 2 },
    { threads: 1, numerics: 'exact' },
    { threads: 2, numerics: 'exact' },
  ];
  for (const options of cases) {
    const told = await withNetwork(realCheckpoint(), options, (network) => story(network, '', 256));
    t.equal(told, STORY, `the published story with ${JSON.stringify(options)}`);
  }
});

test('story: a seed tells the published sampled story, twice', { skip: noModel }, async (t) => {
  const options = { temperature: 1, topP: 0.9, seed: 133742 };
  await withNetwork(realCheckpoint(), { threads: 1 }, async (network) => {
    t.equal(await story(network, '', 256, options), SAMPLED_STORY);
    t.equal(await story(network, '', 256, options), SAMPLED_STORY, 'the same seed again');
    t.notEqual(
      await story(network, '', 256, { ...options, seed: 1 }),
      SAMPLED_STORY,
      'another seed, another story',
    );
  });
});

test('story: the independent network prints the same, and its scores agree', { skip: noModel }, async (t) => {
  const { tokens, logits } = referenceGreedy(referenceNetwork(readFileSync(MODEL)), 256);
  t.equal(realTokenizer().decode([BOS, ...tokens]), STORY, 'the reference tells the published story');
  await withNetwork(realCheckpoint(), { threads: 1 }, (network) => {
    const fed = [BOS, ...tokens];
    for (let i = 0; i < 16; i++) close(t, network.decode(fed[i]!, i), logits[i]!, `scores after token ${i}`);
    for (let i = 16; i < 256; i++) network.decode(fed[i]!, i);
    close(t, network.decode(fed[255]!, 255), logits[255]!, 'scores after token 255');
  });
});

test('story: a prompt is continued, and its steps are counted as in llama2.c', {
  skip: noModel,
}, async (t) => {
  const prompt = 'Once upon a time, there was a little girl named Lily. She loved';
  await withNetwork(realCheckpoint(), { threads: 2 }, async (network) => {
    t.equal(await story(network, prompt, 256), STORY, 'a prompt from the story goes on as the story');
    const tokens = realTokenizer().encode(prompt).length - 1;
    t.equal(await story(network, prompt, tokens), prompt, 'as many steps as the prompt: nothing is added');
    t.equal(
      await story(network, prompt, 3),
      realTokenizer().decode(realTokenizer().encode(prompt).slice(0, 4)),
    );
    t.ok((await story(network, prompt, tokens + 1)).length > prompt.length, 'one step more adds one token');
  });
});

test('network: made-up weights agree with the reference, decoded and prefilled', async (t) => {
  const file = fileOf(madeUpCheckpoint(SMALL, 7));
  const forward = referenceNetwork(file);
  // A fixed walk through the vocabulary, longer than one prefill chunk.
  const tokens = Array.from({ length: 150 }, (_, i) => (i * 97 + 1) % SMALL.vocabSize);
  const want = tokens.map((token, i) => forward(token, i));
  for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 2, numerics: 'exact' }] as const) {
    await withNetwork(parseCheckpoint(file), options, async (network) => {
      const label = JSON.stringify(options);
      const worst = Math.max(
        ...tokens.map((token, i) => greatestDifference(network.decode(token, i), want[i]!)),
      );
      t.ok(worst <= TOLERANCE, `${label}: decoding one by one differs by ${worst.toExponential(1)}`);
      for (const count of [1, 2, 3, 17, 128, 129, 150]) {
        close(
          t,
          await network.prefill(tokens.slice(0, count), 0),
          want[count - 1]!,
          `${label}: prefill of ${count}`,
        );
      }
      await network.prefill(tokens.slice(0, 20), 0);
      close(t, await network.prefill(tokens.slice(20, 50), 20), want[49]!, `${label}: prefill in two parts`);
      close(t, network.decode(tokens[50]!, 50), want[50]!, `${label}: decode after prefill`);
    });
  }
});

test('network: the same bits on 1 and 2 threads in exact mode', async (t) => {
  const tokens = Array.from({ length: 40 }, (_, i) => (i * 31 + 1) % SMALL.vocabSize);
  const bits = (threads: number) =>
    withNetwork(madeUpCheckpoint(SMALL, 11), { threads, numerics: 'exact' }, async (network) => {
      const prefilled = (await network.prefill(tokens, 0)).slice();
      return [prefilled, network.decode(argmax(prefilled), tokens.length).slice()];
    });
  t.deepEqual(await bits(1), await bits(2));
});

test('network: decoding allocates nothing, and disposing gives all back', async (t) => {
  const rt = await createRuntime({ wisdom: false, threads: 1 });
  const before = rt.memory();
  const network = new Network(rt, madeUpCheckpoint(SMALL, 3));
  network.decode(BOS, 0);
  const warm = rt.memory();
  for (let i = 1; i < 50; i++) network.decode(i, i);
  t.equal(rt.memory().used, warm.used, 'no bytes more after 49 tokens');
  t.equal(rt.memory().tensors, warm.tensors, 'no tensor more');
  await network.prefill([1, 2, 3, 4, 5], 0);
  t.equal(rt.memory().byOwner.tensors, warm.byOwner.tensors, "prefill's own tensors are given back");
  network.dispose();
  t.equal(rt.memory().byOwner.tensors, before.byOwner.tensors, 'tensors are back');
  t.equal(rt.memory().byOwner.prepacked, before.byOwner.prepacked, 'weights are back');
  await rt.close();
});

test('network: impossible calls are refused before any work', async (t) => {
  await withNetwork(madeUpCheckpoint(SMALL, 3), { threads: 1 }, async (network) => {
    t.throws(() => network.decode(SMALL.vocabSize, 0), /not in the vocabulary/);
    t.throws(() => network.decode(1, SMALL.seqLen), /exceed/);
    t.throws(() => network.decode(1, -1), /exceed/);
    const prefill = network.prefill([1, 2, 3], 0);
    t.throws(() => network.decode(1, 3), /busy/, 'no decode while a prefill runs');
    await prefill;
    t.doesNotThrow(() => network.decode(1, 3), 'afterwards it decodes');
    const signal = AbortSignal.abort(new Error('enough'));
    const failed = await network.prefill([1, 2, 3], 0, { signal }).catch((error: unknown) => error);
    t.match(String(failed), /enough/, 'an aborted prefill rejects with the reason');
    t.doesNotThrow(() => network.decode(1, 3), 'and the network still works');
  });
});

function command(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const node = ['--import', 'tsx', 'examples/story/main.ts', ...args];
  return spawnSync(process.execPath, node, { cwd: ROOT, encoding: 'utf8', timeout: 60_000 });
}

test('story command: help, wrong arguments, wrong files', (t) => {
  const help = command('--help');
  t.equal(help.status, 0, 'help is no failure');
  t.match(help.stdout, /--temperature <t>/);
  const usage: readonly (readonly [string[], RegExp])[] = [
    [[], /required option '--model/],
    [['--model', 'm', '--tokenizer', 't', '--steps', 'many'], /whole number/],
    [['--model', 'm', '--tokenizer', 't', '--topp', '2'], /from 0 to 1/],
    [['--model', 'm', '--tokenizer', 't', '--colour'], /unknown option/],
  ];
  for (const [args, words] of usage) {
    const { status, stderr } = command(...args);
    t.equal(status, 2, `usage: ${args.join(' ') || 'no arguments'}`);
    t.match(stderr, words);
  }
  const missing = command('--model', '/nowhere/model.bin', '--tokenizer', 't');
  t.equal(missing.status, 1, 'a missing model');
  t.match(missing.stderr, /cannot read the model file.*\/nowhere\/model\.bin/);
  t.doesNotMatch(missing.stderr, /\n\s+at /, 'no stack trace for a wrong file');
  t.end();
});

test('story command: tells the story', { skip: noModel }, (t) => {
  const { status, stdout, stderr } = command('--model', MODEL, '--tokenizer', TOKENIZER, '--threads', '2');
  t.equal(status, 0, stderr);
  t.equal(stdout, `${STORY}\n`, 'the text alone on standard output');
  t.match(stderr, /prefill 1 tokens[\s\S]*decode 255 tokens, [\d.]+ tokens\/s/, 'speeds on standard error');
  t.end();
});
