/**
 * The workers of a team: started when first wanted, given up when they do not answer, replaced when they die, get stuck or are
 * to run with another priority of the operating system. What they compute is the team's business.
 */
import type { WorkerHandle, WorkerMessage } from './host.ts';
import type { JobWords } from './job-words.ts';
import { MAX_WORKERS } from './layout.ts';
import type { TeamOptions } from './team-options.ts';

/** A worker that did not come up is not tried again before this: the reason has most likely not gone away. */
const RETRY_MS = 10_000;

interface Member {
  readonly handle: WorkerHandle;
  /** `ending`: told to end, so that it must not be counted on, but it may still be inside of a job. */
  state: 'starting' | 'ready' | 'ending' | 'gone';
  /** Ended because it was to be replaced, not because anything is wrong. */
  retired: boolean;
}

export interface CrewOptions
  extends Pick<TeamOptions, 'host' | 'modules' | 'memory' | 'timeoutMs' | 'onEvent' | 'onCalm'> {
  readonly words: JobWords;
  readonly onMessage: (message: WorkerMessage) => void;
  /** A worker has ended; `job` is what it was inside of, or 0. */
  readonly onLost: (index: number, job: number, reason: string) => void;
  /** A worker that never came up is not waited for any more. */
  readonly onGivenUp: () => void;
}

export class Crew {
  readonly #options: CrewOptions;
  readonly #members: (Member | undefined)[] = [];
  readonly #retryAt: number[] = [];
  readonly #waiting = new Set<() => void>();
  #nice = 0;
  #ending = 0;
  #kept = false;
  #closed = false;

  constructor(options: CrewOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#members.length === 0;
  }

  /** Workers that have answered. */
  get ready(): number {
    return this.count('ready');
  }

  /** False while a worker that was told to end may still write where a failed call told it to. */
  get calm(): boolean {
    return this.#ending === 0;
  }

  count(...states: readonly Member['state'][]): number {
    return this.#members.filter((member) => member && states.includes(member.state)).length;
  }

  /** Makes sure that `count` workers exist; they become ready later. */
  start(count: number): void {
    if (this.#options.host.noThreads !== undefined) return;
    for (let index = 0; index < Math.min(count, MAX_WORKERS - 1); index++) {
      if (!this.#members[index] && !(Date.now() < this.#retryAt[index]!)) this.#startMember(index);
    }
  }

  /** Resolves when `count` workers are ready, or when those that are not will not come; true if all came. */
  async whenReady(count: number): Promise<boolean> {
    this.start(count);
    const over = () => this.ready >= count || this.count('starting') === 0 || this.#closed;
    if (!over()) {
      await new Promise<void>((resolve) => {
        const look = () => {
          if (!over()) return;
          this.#waiting.delete(look);
          clearTimeout(deadline);
          resolve();
        };
        // also what keeps the process alive meanwhile; a worker that does not answer is given up after timeoutMs
        const deadline = setTimeout(look, this.#options.timeoutMs + 1000);
        this.#waiting.add(look);
      });
    }
    return this.ready >= count;
  }

  /** Workers take part by index: below which one there are `count` that are ready. All may, while there are too few. */
  reach(count: number): number {
    let ready = 0;
    for (let index = 0; index < this.#members.length; index++) {
      if (this.#members[index]?.state === 'ready' && ++ready === count) return index + 1;
    }
    return MAX_WORKERS;
  }

  /** Whether a worker is inside of a job; of any job, where none is named. */
  isInside(address?: number): boolean {
    return this.#members.some((_, index) => this.#isInside(index, address));
  }

  /** Ends the workers that are inside of a job, or of any. Returns their numbers. */
  endThoseInside(address?: number): number[] {
    const inside: number[] = [];
    this.#members.forEach((member, index) => {
      if (!member || !this.#isInside(index, address)) return;
      inside.push(index);
      member.state = 'ready';
      this.#end(index, member, `no progress within ${this.#options.timeoutMs} ms`);
    });
    return inside;
  }

  /** Whether workers keep the process alive. */
  keepAlive(on: boolean): void {
    this.#kept = on;
    for (const member of this.#members) member?.handle.keepAlive(on);
  }

  /** Replaces all workers by ones of another priority: a thread may give way to others, but not take that back. None may be inside of a job. */
  async replace(nice: number): Promise<void> {
    this.#nice = nice;
    const count = this.#members.length;
    const leaving = this.#members.filter(
      (member) => member?.state === 'ready' || member?.state === 'starting',
    );
    await Promise.all(
      leaving.map((member) => {
        member!.state = 'ending';
        member!.retired = true;
        this.#ending++;
        return member!.handle.terminate();
      }),
    );
    if (!this.#closed) this.start(count);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const look of this.#waiting) look();
    await Promise.all(
      this.#members.map((member) =>
        member && member.state !== 'gone' ? member.handle.terminate() : undefined,
      ),
    );
    this.#members.length = 0;
  }

  #isInside(index: number, address: number | undefined): boolean {
    const job = this.#members[index] ? this.#options.words.busyWith(index) : 0;
    return address === undefined ? job !== 0 : job === address;
  }

  #startMember(index: number): void {
    const { host, modules, memory, timeoutMs, words } = this.#options;
    words.setIdle(index);
    let handle: WorkerHandle;
    try {
      handle = host.startWorker({ modules, memory, index, nice: this.#nice });
    } catch (cause) {
      this.#retryAt[index] = Date.now() + RETRY_MS;
      this.#tell(index, `it could not be started: ${cause instanceof Error ? cause.message : String(cause)}`);
      return;
    }
    const member: Member = { handle, state: 'starting', retired: false };
    this.#members[index] = member;
    // its answer may lie in a queue that a busy calling thread had no time to read: one turn more before it is given up
    const giveUp = async () => {
      await host.yieldToEvents();
      if (member.state === 'starting') this.#end(index, member, `no answer within ${timeoutMs} ms`);
    };
    const deadline = setTimeout(giveUp, timeoutMs);
    // keepAlive decides what holds the process; a deadline alone must not
    deadline.unref?.();
    handle.onMessage((message) => {
      clearTimeout(deadline);
      this.#heard(member, message);
    });
    handle.onExit((reason) => {
      clearTimeout(deadline);
      this.#lost(index, member, reason);
    });
    if (this.#kept) handle.keepAlive(true);
  }

  #heard(member: Member, message: WorkerMessage): void {
    if (message.type !== 'ready') {
      this.#options.onMessage(message);
      return;
    }
    if (member.state === 'starting') member.state = 'ready';
    for (const look of this.#waiting) look();
  }

  /** Ends a worker that is not to be counted on any more; its exit brings a replacement. */
  #end(index: number, member: Member, reason: string): void {
    if (member.state === 'ending' || member.state === 'gone') return;
    const cameUp = member.state === 'ready';
    member.state = 'ending';
    this.#ending++;
    if (!cameUp) this.#retryAt[index] = Date.now() + RETRY_MS;
    void member.handle.terminate();
    if (!cameUp) this.#options.onGivenUp();
    this.#tell(index, reason);
  }

  #lost(index: number, member: Member, reason: string): void {
    const { state, retired } = member;
    if (state === 'gone') return;
    const job = this.#options.words.busyWith(index);
    member.state = 'gone';
    if (state === 'ending') this.#ending--;
    if (this.#closed) return;
    this.#members[index] = undefined;
    if (state === 'starting') this.#retryAt[index] = Date.now() + RETRY_MS;
    if (!retired) this.#options.onLost(index, job, reason);
    for (const look of this.#waiting) look();
    if (state === 'ending' && this.calm) this.#options.onCalm();
    if (state !== 'ending') this.#tell(index, reason);
  }

  /** After all else is in order, and so that a listener that throws spoils nothing here. */
  #tell(worker: number, reason: string): void {
    try {
      this.#options.onEvent({ type: 'worker-lost', worker, reason });
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
