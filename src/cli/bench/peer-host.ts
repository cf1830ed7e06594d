/** The other side of remote.ts: hosts one peer in this process and answers requests one after another. */

import { answerAll } from './child.ts';
import { processHost } from './entry.ts';
import { HostedContestant } from './hosted.ts';
import { peerAdapter } from './peers/index.ts';
import type { PeerRequest } from './remote.ts';
import { type Contestant, type Entry, isAbsent, isUnsupported } from './types.ts';

export function hostPeer(): void {
  const host = new PeerHost();
  answerAll((message: PeerRequest) => host.answer(message));
}

class PeerHost {
  #contestant: Contestant | undefined;
  #entry: Entry | undefined;

  async answer(message: PeerRequest): Promise<unknown> {
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
