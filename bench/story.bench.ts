/**
 * A language model of GPT-2 small's size with made-up weights: tokens per second reading a prompt and writing, and
 * the share of the measured read bandwidth that writing reaches (each token reads every weight once).
 *
 *     npm run bench -- story [threads]
 */
import b from 'benny';
import { checkpointBytes, GPT2_SMALL_LIKE, madeUpCheckpoint } from '../examples/story/checkpoint.ts';
import { Network } from '../examples/story/network.ts';
import { createRuntime, type Runtime } from '../src/index.ts';
import { conclude } from './support.ts';

/** Positions kept: enough for the prompt and for a conversation of some length to write over. */
const POSITIONS = 256;
const PROMPT = 64;
const SEED = 7;

/** Writing goes on from here, so that every call attends to about as many tokens. */
const WRITE_FROM = 128;

export async function main([threads]: readonly string[]): Promise<void> {
  const runtime = await createRuntime(threads === undefined ? {} : { threads: Number(threads) });
  const network = new Network(runtime, madeUpCheckpoint(GPT2_SMALL_LIKE, SEED), { positions: POSITIONS });
  try {
    await suite(runtime, network);
  } finally {
    network.dispose();
    await runtime.close();
  }
}

async function suite(runtime: Runtime, network: Network): Promise<void> {
  const machine = await runtime.measureMachine();
  const { threads } = runtime.info;
  const prompt = Array.from({ length: PROMPT }, (_, i) => (i * 7919) % GPT2_SMALL_LIKE.vocabSize);
  await checkAgreement(network, prompt);
  let position = WRITE_FROM;
  const write = () => {
    network.decode(position, position);
    position = position + 1 < POSITIONS ? position + 1 : WRITE_FROM;
  };
  // benny calls every case once beforehand without awaiting it, and the network takes one call at a time.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => unknown) => () => () => {
    last = last.then(work);
    return last;
  };
  const options = { minSamples: 15, maxTime: 5 };
  const title = `story, ${(checkpointBytes(GPT2_SMALL_LIKE) / 1e6).toFixed(0)} MB of weights, ${threads.actual} threads`;
  const memory = threads.actual === 1 ? machine.readGBs : machine.readGBsAllThreads;
  await b.suite(
    title,
    b.add(
      `read ${PROMPT} tokens`,
      inTurn(() => network.prefill(prompt, 0)),
      options,
    ),
    b.add('write one token', inTurn(write), options),
    ...conclude('story', ({ results }) => {
      // benny rounds its ops to whole numbers; the details are exact, in seconds.
      const [read, written] = results.map(({ details }) => 1 / details.median);
      const gbs = ((written ?? 0) * network.weightBytes) / 1e9;
      console.log(`  read   ${((read ?? 0) * PROMPT).toFixed(1)} tokens/s`);
      console.log(
        `  write  ${(written ?? 0).toFixed(1)} tokens/s, reading weights at ${gbs.toFixed(1)} GB/s`,
      );
      console.log(
        `         ${((100 * gbs) / memory).toFixed(0)} % of the ${memory.toFixed(1)} GB/s measured here`,
      );
    }),
  );
}

/** Reading a prompt at once and token by token must end in the same scores: the check before any timing. */
async function checkAgreement(network: Network, prompt: readonly number[]): Promise<void> {
  const atOnce = (await network.prefill(prompt, 0)).slice();
  let oneByOne = new Float32Array(0);
  for (const [position, token] of prompt.entries()) oneByOne = network.decode(token, position).slice();
  const scale = atOnce.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const worst = atOnce.reduce((most, x, i) => Math.max(most, Math.abs(x - (oneByOne[i] ?? Number.NaN))), 0);
  if (!(worst <= 1e-3 * scale))
    throw new Error(`reading at once and one by one disagree by ${worst} (scores up to ${scale})`);
}
