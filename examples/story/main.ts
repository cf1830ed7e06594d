/**
 * `npm run story -- --model FILE --tokenizer FILE`: tells a story with a checkpoint of llama2.c. The text goes to
 * standard output as it comes, everything else to standard error.
 */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { createRuntime, type Runtime, type RuntimeEvent, TesseraeError } from 'tesserae';
import { openCheckpoint, StoryFileError } from './checkpoint.ts';
import { Network } from './network.ts';
import { Sampler } from './sampler.ts';
import { noTiming, type Timing, tell } from './tell.ts';
import { Tokenizer } from './tokenizer.ts';

const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;
type Exit = (typeof EXIT)[keyof typeof EXIT];

interface Arguments {
  readonly model: string;
  readonly tokenizer: string;
  readonly prompt: string;
  readonly steps: number;
  readonly temperature: number;
  readonly topp: number;
  readonly seed: number;
  readonly threads?: number;
  readonly exact: boolean;
  readonly engineFlags: boolean;
}

/** Why the telling stopped early, as the reason of the abort signal. */
type Stop = 'interrupted' | 'output closed';

function numberFrom(min: number, max: number, whole: boolean): (text: string) => number {
  const range = max === Number.POSITIVE_INFINITY ? `from ${min} on` : `from ${min} to ${max}`;
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    const fits =
      Number.isFinite(value) && value >= min && value <= max && (!whole || Number.isSafeInteger(value));
    if (!fits) throw new InvalidArgumentError(`It must be a ${whole ? 'whole ' : ''}number ${range}.`);
    return value;
  };
}

function parseArguments(argv: readonly string[]): Arguments {
  const any = Number.POSITIVE_INFINITY;
  const program = new Command('story')
    .description('Tells a story with a llama2.c checkpoint, computed by tesserae.')
    .requiredOption('--model <file>', 'checkpoint in the llama2.c format, f32')
    .requiredOption('--tokenizer <file>', 'tokenizer that belongs to the model')
    .option('--prompt <text>', 'how the story begins', '')
    .option(
      '--steps <n>',
      "tokens to tell, the prompt's included; 0: as many as the model can",
      numberFrom(0, any, true),
      256,
    )
    .option(
      '--temperature <t>',
      '0: always the likeliest token; higher: bolder',
      numberFrom(0, any, false),
      0,
    )
    .option('--topp <p>', 'choose among the fewest tokens this likely together', numberFrom(0, 1, false), 0.9)
    .option(
      '--seed <s>',
      'of the chance, with a temperature (default: from the clock)',
      numberFrom(1, any, true),
    )
    .option('--threads <n>', 'threads that compute (default: all cores)', numberFrom(1, any, true))
    .option('--exact', 'the same bits on any machine and thread count', false)
    .option('--engine-flags', 'let the library set V8 flags', false)
    .addHelpText('after', '\nExit codes: 0 told, 1 failure, 2 wrong arguments, 130 interrupted.')
    .allowExcessArguments(false)
    .exitOverride()
    .parse([...argv], { from: 'user' });
  const given = program.opts<Omit<Arguments, 'seed'> & { readonly seed?: number }>();
  return { ...given, seed: given.seed ?? Math.max(1, Date.now() % 2 ** 31) };
}

async function run(args: Arguments, signal: AbortSignal): Promise<void> {
  // Files first: a wrong one should be named before anything is started.
  const checkpoint = openCheckpoint(args.model);
  let runtime: Runtime | undefined;
  try {
    const { vocabSize, seqLen } = checkpoint.config;
    const tokenizer = Tokenizer.open(args.tokenizer, vocabSize);
    const positions = args.steps === 0 ? seqLen : Math.min(args.steps, seqLen);
    runtime = await createRuntime({
      ...(args.threads === undefined ? {} : { threads: args.threads }),
      numerics: args.exact ? 'exact' : 'fast',
      engineFlags: args.engineFlags ? 'allow' : 'off',
      onEvent: report,
    });
    const network = new Network(runtime, checkpoint, { positions });
    checkpoint.close();
    await print(network, tokenizer, args, signal);
  } finally {
    checkpoint.close();
    await runtime?.close();
  }
}

async function print(
  network: Network,
  tokenizer: Tokenizer,
  args: Arguments,
  signal: AbortSignal,
): Promise<void> {
  const prompt = tokenizer.encode(args.prompt);
  if (prompt.length > network.positions) {
    note(`the prompt has ${prompt.length - 1} tokens, only ${network.positions} are told; see --steps`);
  }
  const timing = noTiming();
  const text = tokenizer.stream();
  const options = {
    steps: network.positions,
    sampler: new Sampler({ ...args, topP: args.topp }),
    signal,
    timing,
  };
  try {
    for await (const { token, previous } of tell(network, prompt, options)) {
      process.stdout.write(printable(text.next(token, previous)));
    }
  } finally {
    process.stdout.write(`${printable(text.end())}\n`);
    summary(network, timing, args);
  }
}

/** Without control characters: a model may make up any bytes, and a terminal obeys some. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t\n\r]/gu, '');
}

function summary(network: Network, timing: Timing, args: Arguments): void {
  const rate = (tokens: number, ms: number) =>
    `${tokens} tokens, ${((tokens / ms) * 1000).toFixed(1)} tokens/s`;
  if (args.temperature > 0) note(`seed ${args.seed}`);
  if (timing.prefillTokens > 0) note(`prefill ${rate(timing.prefillTokens, timing.prefillMs)}`);
  if (timing.decodeTokens === 0) return;
  const bandwidth = (network.weightBytes * timing.decodeTokens) / timing.decodeMs / 1e6;
  note(`decode ${rate(timing.decodeTokens, timing.decodeMs)}, weights read at ${bandwidth.toFixed(2)} GB/s`);
}

function report(event: RuntimeEvent): void {
  if (event.type === 'quarantine') note(`kernel ${event.kernel} is not used: ${event.reason}`);
  if (event.type === 'threads') note(`${event.actual} of ${event.requested} threads: ${event.reason}`);
  if (event.type === 'worker-lost') note(`thread ${event.worker} was lost: ${event.reason}`);
}

function note(line: string): void {
  process.stderr.write(`story: ${line}\n`);
}

async function main(argv: readonly string[]): Promise<Exit> {
  const stop = new AbortController();
  const interrupt = () => stop.abort('interrupted' satisfies Stop);
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  // `npm run story | head` closes the pipe before the end: nobody listens any more, and that is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    stop.abort(error.code === 'EPIPE' ? ('output closed' satisfies Stop) : error);
  });
  try {
    await run(parseArguments(argv), stop.signal);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error === 'interrupted') return EXIT.interrupted;
    if (error === 'output closed') return EXIT.ok;
    const known = error instanceof StoryFileError || error instanceof TesseraeError;
    note(known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error));
    return EXIT.failure;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

process.exitCode = await main(process.argv.slice(2));
