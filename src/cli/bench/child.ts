/** Processes of this program's own: one side asks, the other answers, one request after the other. */
import { type ChildProcess, fork } from 'node:child_process';

/** How this program is started again; the tests name another one. */
export interface SelfCommand {
  readonly entry: string;
  readonly execArgv: readonly string[];
}

export function selfCommand(): SelfCommand {
  return { entry: process.argv[1] ?? '', execArgv: process.execArgv };
}

/** A throw travels as `error`. */
export type ChildReply = { readonly id: number } & (
  | { readonly value: unknown }
  | { readonly error: string; readonly hint?: string }
);

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** What a crashed child printed last is the only explanation there is; this much of it is kept. */
const STDERR_KEPT = 2000;
const CLOSE_PATIENCE_MS = 2000;

/** What went wrong on the other side. */
export class ChildError extends Error {
  /** What the user can do about it, where the fault is theirs. */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** A process of this program's own that answers requests in their order. */
export class Child<Request extends object> {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  #stderr = '';
  #gone: Error | undefined;

  /** `argument` says what it is for. */
  constructor(argument: string, { entry, execArgv }: SelfCommand = selfCommand()) {
    // Libraries print greetings and warnings; stdout belongs to our tables and JSON.
    this.#child = fork(entry, [argument], {
      execArgv: [...execArgv],
      // arrays travel as they are
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-STDERR_KEPT);
    });
    this.#child.on('message', (reply: ChildReply) => this.#settle(reply));
    this.#child.on('error', (error) => this.#fail(error));
    this.#child.on('exit', (code, signal) => {
      const last = this.#stderr.trim().split('\n').at(-1) ?? '';
      this.#fail(
        new Error(`its process ended (${signal ?? `exit ${code}`})${last === '' ? '' : `: ${last}`}`),
      );
    });
  }

  request(message: Request): Promise<unknown> {
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

  /** Lets it end in order, if it does so soon. */
  async close(last: Request): Promise<void> {
    if (this.#gone) return;
    const patience = setTimeout(() => this.kill(), CLOSE_PATIENCE_MS);
    await this.request(last).catch(() => undefined);
    clearTimeout(patience);
    this.kill();
  }

  #settle(reply: ChildReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ('error' in reply) pending?.reject(new ChildError(reply.error, reply.hint));
    else pending?.resolve(reply.value);
  }

  #fail(error: Error): void {
    this.#gone ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#gone);
    this.#pending.clear();
  }
}

/** The other side: answers what it is asked, in that order, until the one that asks is gone. */
export function answerAll<Request>(answer: (request: Request) => unknown): void {
  let queue = Promise.resolve();
  process.on('message', ({ id, ...request }: Request & { readonly id: number }) => {
    queue = queue.then(async () => {
      const reply = await replyTo(id, () => answer(request as Request));
      if (process.connected) process.send?.(reply);
    });
  });
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole group; the parent decides what it means.
  process.on('SIGINT', () => undefined);
}

async function replyTo(id: number, work: () => unknown): Promise<ChildReply> {
  try {
    return { id, value: await work() };
  } catch (error) {
    const hint = error instanceof Error && 'hint' in error ? String(error.hint) : undefined;
    return { id, error: describe(error), ...(hint === undefined ? {} : { hint }) };
  }
}

/** Some libraries throw numbers and strings. */
function describe(error: unknown): string {
  return error instanceof Error
    ? (error.message.split('\n')[0] ?? error.name)
    : `threw ${JSON.stringify(error)}`;
}
