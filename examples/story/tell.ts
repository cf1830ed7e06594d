/**
 * The loop that feeds each chosen token back into the network: a story. Steps are counted as in llama2.c by Andrej
 * Karpathy (MIT), so that the same number tells as much.
 */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { Network } from './network.ts';
import type { Sampler } from './sampler.ts';
import { BOS } from './tokenizer.ts';

export interface Told {
  readonly token: number;
  /** What it follows: BOS at the start. */
  readonly previous: number;
  /** Whether it was given in the prompt, not chosen. */
  readonly given: boolean;
}

/** Filled in as the story is told. */
export interface Timing {
  prefillTokens: number;
  prefillMs: number;
  decodeTokens: number;
  decodeMs: number;
}

export function noTiming(): Timing {
  return { prefillTokens: 0, prefillMs: 0, decodeTokens: 0, decodeMs: 0 };
}

export interface TellOptions {
  /** Tokens to tell at most, the prompt's (without BOS) included: `-n` of llama2.c. */
  readonly steps: number;
  readonly sampler: Sampler;
  readonly signal?: AbortSignal;
  readonly timing?: Timing;
}

/** Milliseconds of synchronous decoding after which the event loop gets a turn: for signals, timers, output. */
const LOOP_TURN_MS = 20;

/** Tells a story token by token, the prompt's own tokens first. Ends after `steps` tokens, at BOS, or when aborted. */
export async function* tell(
  network: Network,
  prompt: readonly number[],
  options: TellOptions,
): AsyncGenerator<Told> {
  const { sampler, signal, timing = noTiming() } = options;
  const steps = Math.min(options.steps, network.positions);
  let previous = prompt[0] ?? BOS;
  for (const token of prompt.slice(1, steps + 1)) {
    if (token === BOS) return;
    yield { token, previous, given: true };
    previous = token;
  }
  if (prompt.length > steps) return;

  let started = performance.now();
  let logits = await network.prefill(prompt, 0, signal === undefined ? {} : { signal });
  timing.prefillTokens = prompt.length;
  timing.prefillMs = performance.now() - started;

  let lastTurn = performance.now();
  for (let position = prompt.length; ; position++) {
    const token = sampler.next(logits);
    if (token === BOS) return;
    yield { token, previous, given: false };
    if (position >= steps) return;
    if (performance.now() - lastTurn > LOOP_TURN_MS) {
      await turnOfEventLoop();
      lastTurn = performance.now();
    }
    if (signal?.aborted) throw signal.reason;
    started = performance.now();
    logits = network.decode(token, position);
    timing.decodeTokens += 1;
    timing.decodeMs += performance.now() - started;
    previous = token;
  }
}
