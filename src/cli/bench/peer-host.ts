/** The other side of remote.ts: hosts one peer in this process and answers requests one after another. */

import { processHost } from './entry.ts';
import { HostedContestant } from './hosted.ts';
import { peerAdapter } from './peers/index.ts';
import type { PeerReply, PeerRequest } from './remote.ts';
import { type Contestant, type Entry, isAbsent, isUnsupported } from './types.ts';

export function hostPeer(): void {
  const host = new PeerHost();
  // Answers keep the order of the requests; a parent that is gone leaves nothing to do.
  let queue = Promise.resolve();
  process.on('message', (message: PeerRequest & { readonly id: number }) => {
    queue = queue.then(async () => {
      const reply = await host.answer(message);
      if (process.connected) process.send?.(reply);
    });
  });
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole group; the parent decides what it means.
  process.on('SIGINT', () => undefined);
}

class PeerHost {
  #contestant: Contestant | undefined;
  #entry: Entry | undefined;

  async answer(message: PeerRequest & { readonly id: number }): Promise<PeerReply> {
    try {
      return { id: message.id, value: await this.#do(message) };
    } catch (error) {
      return { id: message.id, error: describe(error) };
    }
  }

  async #do(message: PeerRequest): Promise<unknown> {
    switch (message.op) {
      case 'load': {
        const adapter = peerAdapter(message.peer);
        if (!adapter) return { absent: `there is no adapter called ${message.peer}` };
        const peer = await adapter.load(message.options);
        if (isAbsent(peer)) return peer;
        this.#contestant = new HostedContestant(peer, processHost());
        return peer.info;
      }
      case 'open': {
        const opened = await must(this.#contestant).open(message.shape);
        if (isUnsupported(opened)) return opened;
        this.#entry = opened;
        return undefined;
      }
      case 'first':
        return must(this.#entry).first(message.slowMs);
      case 'warmUp':
        return must(this.#entry).warmUp(message.ms);
      case 'sample':
        return must(this.#entry).sample(message.iterations);
      case 'verify':
        return must(this.#entry).verify();
      case 'plan':
        return must(this.#entry).plan();
      case 'release':
        return must(this.#entry).release();
      case 'close':
        return this.#contestant?.close();
      default:
        return message satisfies never;
    }
  }
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('asked for a step before the one that it needs');
  return value;
}

/** Some libraries throw numbers and strings. */
function describe(error: unknown): string {
  return error instanceof Error
    ? (error.message.split('\n')[0] ?? error.name)
    : `threw ${JSON.stringify(error)}`;
}
