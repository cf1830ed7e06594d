/**
 * A contestant in a process of its own. Why: V8 flags are process-wide and also reach modules that were compiled
 * before (when V8 recompiles them as hot), so with --engine-flags a peer beside us would not be the peer that its
 * users have; pools that spin, leaks, crashes and changed globals of one library stay away from the others (beside
 * onnxruntime-web 1.30, jax-js 0.1.25 cannot instantiate its kernels); and a long synchronous call cannot hold up
 * Ctrl-C. The child times itself, so no message is part of a time; the samples are
 * still taken in turn, one process at work and the others asleep.
 */
import type { Shape } from '../shapes/index.ts';
import { Child, type SelfCommand, selfCommand } from './child.ts';
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

class RemoteEntry implements Entry {
  readonly #process: Child<PeerRequest>;

  constructor(process: Child<PeerRequest>) {
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
  const child = new Child<PeerRequest>(PEER_ARGUMENT, self);
  const kill = () => child.kill();
  signal?.addEventListener('abort', kill, { once: true });
  const close = async () => {
    signal?.removeEventListener('abort', kill);
    await child.close({ op: 'close' });
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
  child: Child<PeerRequest>,
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
