/**
 * Cold: from the first import of a library to its first 256 x 256 result, each time in a fresh process.
 * Contestants take turns; the first round only fills the file cache (and our wisdom) and is thrown away.
 */
import { fork } from 'node:child_process';
import { libraryModule } from '../package.ts';
import { type SelfCommand, selfCommand } from './child.ts';
import { type Summary, summarize } from './stats.ts';

/** The hidden first argument with which the command starts itself for one cold run. */
export const COLD_ARGUMENT = '__cold';

export const COLD_EXTENT = 256;

export interface ColdOptions {
  readonly threads: number;
  readonly engineFlags: 'off' | 'allow';
  readonly searchFrom: readonly string[];
  /** The wisdom file that a warm start reads; undefined for the user's own. */
  readonly wisdom: string | undefined;
  readonly rounds: number;
  readonly signal?: AbortSignal;
  readonly self?: SelfCommand;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What a child is told; `wisdom: false` starts without any. */
export interface ColdTask {
  readonly id: string;
  readonly threads: number;
  readonly engineFlags: 'off' | 'allow';
  readonly searchFrom: readonly string[];
  readonly wisdom: string | false | undefined;
  readonly libraryUrl: string;
}

export type ColdReply = { readonly ms: number } | { readonly error: string };

export type ColdOutcome =
  | {
      readonly id: string;
      readonly status: 'timed';
      readonly samples: readonly number[];
      readonly summary: Summary;
    }
  | { readonly id: string; readonly status: 'failed'; readonly reason: string };

/** Our two starts: as on every day, and as on the first one. */
export const OURS_COLD = ['tesserae', 'tesserae, no wisdom'] as const;

const PATIENCE_MS = 60_000;

export async function measureCold(
  ids: readonly string[],
  options: ColdOptions,
): Promise<readonly ColdOutcome[]> {
  const { rounds, signal, onProgress, self = selfCommand() } = options;
  const library = libraryModule();
  const samples = new Map<string, number[]>(ids.map((id) => [id, []]));
  const failures = new Map<string, string>();
  const total = ids.length * (rounds + 1);
  for (let round = 0; round <= rounds; round++) {
    for (const [turn, id] of ids.entries()) {
      signal?.throwIfAborted();
      onProgress?.(round * ids.length + turn, total);
      if (failures.has(id)) continue;
      const reply = await runCold(taskFor(id, options, library.url), self, signal);
      if ('error' in reply) failures.set(id, reply.error);
      else if (round > 0) samples.get(id)?.push(reply.ms);
    }
  }
  return ids.map((id) => {
    const reason = failures.get(id);
    if (reason !== undefined) return { id, status: 'failed', reason };
    const taken = samples.get(id) ?? [];
    return { id, status: 'timed', samples: taken, summary: summarize(taken) };
  });
}

function taskFor(
  id: string,
  { threads, engineFlags, searchFrom, wisdom }: ColdOptions,
  libraryUrl: string,
): ColdTask {
  return { id, threads, engineFlags, searchFrom, wisdom: id === OURS_COLD[1] ? false : wisdom, libraryUrl };
}

function runCold(
  task: ColdTask,
  { entry, execArgv }: SelfCommand,
  signal: AbortSignal | undefined,
): Promise<ColdReply> {
  return new Promise((resolve, reject) => {
    const child = fork(entry, [COLD_ARGUMENT, JSON.stringify(task)], {
      execArgv: [...execArgv],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    const abort = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', abort, { once: true });
    let reply: ColdReply | undefined;
    child.once('message', (message: ColdReply) => {
      reply = message;
      // Some libraries keep a process alive; the answer is here, so it need not end by itself.
      child.kill('SIGKILL');
    });
    child.once('error', reject);
    child.once('exit', (code, by) => {
      clearTimeout(patience);
      signal?.removeEventListener('abort', abort);
      if (signal?.aborted) reject(signal.reason);
      else resolve(reply ?? { error: `its process ended without an answer (${by ?? `exit ${code}`})` });
    });
  });
}
