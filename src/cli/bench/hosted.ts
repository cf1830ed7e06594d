/** Makes a contestant of a library that lives in this process. */
import type { Shape } from '../shapes/index.ts';
import { type EntryHost, LocalEntry } from './entry.ts';
import { makeOperands } from './operands.ts';
import {
  type Contestant,
  type ContestantInfo,
  type Entry,
  isUnsupported,
  type Peer,
  type Unsupported,
} from './types.ts';

export class HostedContestant implements Contestant {
  readonly #peer: Peer;
  readonly #host: EntryHost;

  constructor(peer: Peer, host: EntryHost) {
    this.#peer = peer;
    this.#host = host;
  }

  get info(): ContestantInfo {
    return this.#peer.info;
  }

  async open(shape: Shape): Promise<Entry | Unsupported> {
    const operands = makeOperands(shape);
    const prepared = await this.#peer.prepare(operands);
    return isUnsupported(prepared) ? prepared : new LocalEntry(prepared, operands, this.#host);
  }

  async close(): Promise<void> {
    await this.#peer.dispose();
  }
}
