/**
 * A contestant in a process of its own. Why: V8 flags are process-wide and also reach modules that were compiled
 * before (when V8 recompiles them as hot), so with --engine-flags a peer beside us would not be the peer that its
 * users have; pools that spin, leaks, crashes and changed globals of one library stay away from the others (beside
 * onnxruntime-web 1.30, jax-js 0.1.25 cannot instantiate its kernels); and a long synchronous call cannot hold up
 * Ctrl-C. The child times itself, so no message is part of a time; the samples are
 * still taken in turn, one process at work and the others asleep.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Shape } from '../shapes/index.ts';
import type {
  Absent,
  Contestant,
  ContestantInfo,
  Entry,
  FirstRun,
  PeerOptions,
  Unsupported,
} from './types.ts';
import type { Verdict } from './verify.ts';

/** The hidden first argument with which the command starts itself as a host of one peer. */
export const PEER_ARGUMENT = '__peer';

export type PeerRequest =
  | { readonly op: 'load'; readonly peer: string; readonly options: PeerOptions }
  | { readonly op: 'open'; readonly shape: Shape }
  | { readonly op: 'first'; readonly slowMs: number }
  | { readonly op: 'warmUp'; readonly ms: number }
  | { readonly op: 'sample'; readonly iterations: number }
  | { readonly op: 'verify' }
  | { readonly op: 'plan' }
  | { readonly op: 'release' }
  | { readonly op: 'close' };

/** `Unsupported` and `Absent` travel as values; a throw travels as `error`. */
export type PeerReply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

/** How this program is started again; the tests name another one. */
export interface SelfCommand {
  readonly entry: string;
  readonly execArgv: readonly string[];
}

export function selfCommand(): SelfCommand {
  return { entry: process.argv[1] ?? '', execArgv: process.execArgv };
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** What a crashed child printed last is the only explanation there is; this much of it is kept. */
const STDERR_KEPT = 2000;
const CLOSE_PATIENCE_MS = 2000;

class PeerProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  #stderr = '';
  #gone: Error | undefined;

  constructor({ entry, execArgv }: SelfCommand) {
    // Libraries print greetings and warnings; stdout belongs to our tables and JSON.
    this.#child = fork(entry, [PEER_ARGUMENT], {
      execArgv: [...execArgv],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-STDERR_KEPT);
    });
    this.#child.on('message', (reply: PeerReply) => this.#settle(reply));
    this.#child.on('error', (error) => this.#fail(error));
    this.#child.on('exit', (code, signal) => {
      const last = this.#stderr.trim().split('\n').at(-1) ?? '';
      this.#fail(
        new Error(`its process ended (${signal ?? `exit ${code}`})${last === '' ? '' : `: ${last}`}`),
      );
    });
  }

  request(message: PeerRequest): Promise<unknown> {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#child.send({ id, ...message }, (error) => error && this.#fail(error));
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    if (this.#gone) return;
    const patience = setTimeout(() => this.kill(), CLOSE_PATIENCE_MS);
    await this.request({ op: 'close' }).catch(() => undefined);
    clearTimeout(patience);
    this.kill();
  }

  #settle(reply: PeerReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ('error' in reply) pending?.reject(new Error(reply.error));
    else pending?.resolve(reply.value);
  }

  #fail(error: Error): void {
    this.#gone ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#gone);
    this.#pending.clear();
  }
}

class RemoteEntry implements Entry {
  readonly #process: PeerProcess;

  constructor(process: PeerProcess) {
    this.#process = process;
  }

  first(slowMs: number): Promise<FirstRun> {
    return this.#process.request({ op: 'first', slowMs }) as Promise<FirstRun>;
  }

  async warmUp(ms: number): Promise<void> {
    await this.#process.request({ op: 'warmUp', ms });
  }

  sample(iterations: number): Promise<number> {
    return this.#process.request({ op: 'sample', iterations }) as Promise<number>;
  }

  verify(): Promise<Verdict> {
    return this.#process.request({ op: 'verify' }) as Promise<Verdict>;
  }

  /** Peers have no such clock. */
  async deviceMs(): Promise<undefined> {
    return undefined;
  }

  plan(): Promise<string | undefined> {
    return this.#process.request({ op: 'plan' }) as Promise<string | undefined>;
  }

  async release(): Promise<void> {
    await this.#process.request({ op: 'release' });
  }
}

/** Starts a process for the peer; resolves to why not, if the library is not installed. */
export async function startPeer(
  peer: string,
  options: PeerOptions,
  { self = selfCommand(), signal }: { readonly self?: SelfCommand; readonly signal?: AbortSignal } = {},
): Promise<Contestant | Absent> {
  const child = new PeerProcess(self);
  const kill = () => child.kill();
  signal?.addEventListener('abort', kill, { once: true });
  const close = async () => {
    signal?.removeEventListener('abort', kill);
    await child.close();
  };
  const loaded = await loadPeer(child, peer, options, signal);
  if ('absent' in loaded) {
    await close();
    return loaded;
  }
  const open = async (shape: Shape): Promise<Entry | Unsupported> => {
    const reply = (await child.request({ op: 'open', shape })) as Unsupported | undefined;
    return reply ?? new RemoteEntry(child);
  };
  return { info: loaded, open, close };
}

async function loadPeer(
  child: PeerProcess,
  peer: string,
  options: PeerOptions,
  signal: AbortSignal | undefined,
): Promise<ContestantInfo | Absent> {
  try {
    return (await child.request({ op: 'load', peer, options })) as ContestantInfo | Absent;
  } catch (error) {
    signal?.throwIfAborted();
    return { absent: (error as Error).message };
  }
}
