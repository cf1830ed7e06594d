/**
 * The side of a runtime that others have joined. All books are kept here: who has which tensor, which calls are under way. So whatever becomes of
 * a guest, what was its can be given back, and nobody waits for it.
 */
import type { Address } from '../../backends/types.ts';
import { version } from '../../backends/wasm/gen/version.ts';
import { TesseraeError } from '../../core/errors.ts';
import { checkShape } from '../../core/shape.ts';
import { badArgument } from '../arguments.ts';
import type { Core } from '../core.ts';
import { DenseTensor } from '../tensor.ts';
import type { DType, Progress, Runtime, SharedRuntime, SharedTensor, Tensor } from '../types.ts';
import { keepAlive, whenClosed, whenLockIsFree } from './port.ts';
import {
  type Answer,
  AWAITED,
  BLOCKING,
  type CallMessage,
  isReference,
  MAILBOX,
  MAILBOX_BYTES,
  mapParts,
  OPERATIONS,
  ownRuntimes,
  plainError,
  type Reference,
  type Sharer,
  type ToGuest,
  type ToOwner,
  toText,
} from './protocol.ts';

/** Weights that a runtime keeps for a client. */
interface Prepacked extends Disposable {
  readonly shape: readonly number[];
  readonly bytes: number;
}

type Thing = DenseTensor<DType> | Prepacked;

const CALLABLE: ReadonlySet<string> = new Set([...Object.keys(OPERATIONS), ...AWAITED, ...BLOCKING]);
/** How often a guest that sleeps is told that its call is still under way, in milliseconds. */
const BEAT_MS = 200;

/** All that a runtime shares. */
export class Sharing implements Sharer {
  readonly #core: Core;
  readonly #runtime: Runtime;
  readonly #id = [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(36)).join('');
  readonly #clients = new Set<Client>();
  /** Tensors on their way from one thread to another, and who sent them. */
  readonly tickets = new Map<
    number,
    { readonly tensor: DenseTensor<DType>; readonly from: Client | undefined }
  >();
  #count = 0;
  #ticket = 0;

  constructor(core: Core, runtime: Runtime) {
    this.#core = core;
    this.#runtime = runtime;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** A way in for one thread. */
  share(): SharedRuntime {
    const core = this.#core;
    if (core.host.noThreads !== undefined)
      throw new TesseraeError(
        'E_FALLBACK',
        `the memory of this runtime cannot be shared: ${core.host.noThreads}`,
        { reason: core.host.noThreads },
        'Make a runtime in each thread.',
      );
    ownRuntimes.add(this.#id);
    const { port1, port2 } = new MessageChannel();
    const client = new Client(this, core, this.#runtime, port1, ++this.#count);
    this.#clients.add(client);
    whenClosed(port1, () => this.forget(client, false));
    return {
      tesserae: version,
      id: this.#id,
      client: client.number,
      port: port2,
      memory: core.backend.memory,
      mailbox: client.mailbox,
      timeoutMs: core.backend.timeoutMs,
    };
  }

  /** Gives a tensor away, to be adopted once by any thread. */
  send(shared: Tensor<DType>, from?: Client): SharedTensor {
    const tensor = shared as DenseTensor<DType>;
    tensor.check('share');
    const ticket = ++this.#ticket;
    this.tickets.set(ticket, { tensor: tensor.reshaped(tensor.shape), from });
    return { runtime: this.#id, ticket, shape: tensor.shape, dtype: tensor.dtype };
  }

  adopt(handle: SharedTensor): DenseTensor<DType> {
    if (typeof handle !== 'object' || handle === null || typeof handle.ticket !== 'number')
      throw badArgument('handle', handle, 'What tensor.share() returned.');
    if (handle.runtime !== this.#id)
      throw new TesseraeError(
        'E_FOREIGN',
        'the tensor belongs to another runtime',
        { shape: handle.shape },
        'A tensor is adopted by threads that have joined its runtime.',
      );
    const found = this.tickets.get(handle.ticket);
    this.tickets.delete(handle.ticket);
    if (found) return found.tensor;
    throw new TesseraeError(
      'E_DISPOSED',
      'the tensor was adopted before, or is gone with the thread that sent it',
      { shape: handle.shape },
      'Each share() is for one adopt().',
    );
  }

  /** Of the lock that a client holds where ports do not tell of their end. */
  lockOf(client: Client): string {
    return `${this.#id} ${client.number}`;
  }

  /** A client has left, in order or not: one that just ended takes along what it had sent and nobody has adopted. */
  forget(client: Client, inOrder: boolean): void {
    if (!this.#clients.delete(client)) return;
    client.leave();
    if (inOrder) return;
    for (const [ticket, { tensor, from }] of this.tickets)
      if (from === client) {
        this.tickets.delete(ticket);
        tensor.dispose();
      }
  }

  /** The runtime is closing. */
  close(): void {
    ownRuntimes.delete(this.#id);
    for (const client of this.#clients) client.close();
    this.#clients.clear();
    this.tickets.clear();
  }
}

class Client {
  readonly number: number;
  readonly mailbox: Address;
  readonly #sharing: Sharing;
  readonly #core: Core;
  readonly #runtime: Runtime;
  readonly #port: MessagePort;
  readonly #things = new Map<number, Thing>();
  readonly #ids = new WeakMap<Thing, number>();
  readonly #calls = new Map<number, AbortController>();
  #named = 0;
  #reply: Address = 0;
  #isGone = false;

  constructor(sharing: Sharing, core: Core, runtime: Runtime, port: MessagePort, number: number) {
    this.#sharing = sharing;
    this.#core = core;
    this.#runtime = runtime;
    this.#port = port;
    this.number = number;
    this.mailbox = core.backend.allocate(MAILBOX_BYTES, 'runtime');
    this.#words().fill(0, this.mailbox >>> 2, (this.mailbox + MAILBOX_BYTES) >>> 2);
    port.onmessage = ({ data }: MessageEvent<ToOwner>) => this.#heard(data);
    keepAlive(port, false);
  }

  /** Gives back everything that was the client's; its calls are stopped. */
  leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    const gone = new TesseraeError(
      'E_CLOSED',
      'the thread that called is gone',
      {},
      'Nobody waits for this.',
    );
    for (const control of this.#calls.values()) control.abort(gone);
    this.#port.close();
    if (this.#core.closed) return;
    for (const thing of this.#things.values()) thing[Symbol.dispose]();
    this.#things.clear();
    if (this.#reply) this.#core.backend.free(this.#reply);
    this.#core.backend.free(this.mailbox);
  }

  /** The runtime is closing: whoever waits hears of it. */
  close(): void {
    this.#post({ type: 'closed' });
    Atomics.store(this.#words(), (this.mailbox + MAILBOX.SEQUENCE) >>> 2, -1);
    Atomics.notify(this.#words(), (this.mailbox + MAILBOX.SEQUENCE) >>> 2);
    this.#isGone = true;
    this.#port.close();
  }

  #words(): Int32Array {
    return this.#core.backend.ints();
  }

  #post(message: ToGuest): void {
    if (!this.#isGone) this.#port.postMessage(message);
  }

  #heard(message: ToOwner): void {
    if (this.#isGone) return;
    if (message.type === 'call') void this.#call(message);
    else if (message.type === 'abort') this.#calls.get(message.id)?.abort();
    else if (message.type === 'close') this.#sharing.forget(this, true);
    else if (message.type === 'alive')
      whenLockIsFree(this.#sharing.lockOf(this), () => this.#sharing.forget(this, false));
    else
      for (const id of message.ids) {
        this.#things.get(id)?.[Symbol.dispose]();
        this.#things.delete(id);
      }
  }

  async #call(message: CallMessage): Promise<void> {
    const { id, blocks } = message;
    const control = new AbortController();
    this.#calls.set(id, control);
    const beat = blocks ? setInterval(() => this.#beat(), BEAT_MS) : undefined;
    let answer: Answer;
    try {
      answer = { value: await this.#toNumbers(await this.#run(message, control.signal)) };
    } catch (error) {
      answer = { error: plainError(error) };
    }
    clearInterval(beat);
    this.#calls.delete(id);
    if (this.#isGone) return this.#drop(answer);
    if (blocks) this.#deliver(id, answer);
    else this.#post({ type: 'answer', id, answer });
  }

  /** A result that nobody is there to take. */
  #drop(answer: Answer): void {
    if (this.#core.closed || !('value' in answer)) return;
    mapParts(answer.value, (part) => {
      if (isReference(part)) this.#things.get(part.id)?.[Symbol.dispose]();
      return part;
    });
  }

  /** Begins before it returns, in the name of the client: jobs of several clients take turns. */
  #run({ method, args, wantsProgress, id }: CallMessage, signal: AbortSignal): unknown {
    const core = this.#core;
    const given = args.map((arg) => mapParts(arg, (part) => (isReference(part) ? this.#thing(part) : part)));
    if (method === 'make')
      return new DenseTensor(core.heap, checkShape(given[0] as number[], 'make'), given[1] as DType);
    if (method === 'adopt') return this.#sharing.adopt(given[0] as SharedTensor);
    if (method === 'send') return this.#sharing.send(given[0] as DenseTensor<DType>, this);
    if (!CALLABLE.has(method)) throw badArgument('method', method, 'Guests cannot call this.');
    const [name, inner] = method.split('.') as [string, string | undefined];
    const whole = this.#runtime as unknown as Readonly<Record<string, unknown>>;
    const on = inner ? (whole[name] as Readonly<Record<string, unknown>>) : whole;
    const called = on[inner ?? name];
    if (typeof called !== 'function') return called;
    if (method in OPERATIONS) {
      const at = OPERATIONS[method as keyof typeof OPERATIONS];
      const onProgress = (progress: Progress) => this.#post({ type: 'progress', id, progress });
      given[at] = { ...(given[at] as object), signal, ...(wantsProgress ? { onProgress } : {}) };
    }
    return core.inNameOf(this.number, () => called.apply(on, given));
  }

  #thing({ id }: Reference): Thing {
    const thing = this.#things.get(id);
    if (thing) return thing;
    throw new TesseraeError(
      'E_DISPOSED',
      'a tensor of this thread was disposed',
      { id },
      'Dispose a tensor after its last use.',
    );
  }

  /** Tensors and weights in a result by their numbers. A guest sees what lies in memory, and may write there: so the values are brought, and
   *  no copy on a GPU is kept. */
  async #toNumbers(value: unknown): Promise<unknown> {
    const tensors: DenseTensor<DType>[] = [];
    mapParts(value, (part) => {
      if (part instanceof DenseTensor) tensors.push(part);
      return part;
    });
    for (const tensor of tensors) {
      await tensor.bring();
      tensor.changedHere();
    }
    return mapParts(value, (part) => {
      if (part instanceof DenseTensor) {
        const { shape, dtype, block } = part;
        return {
          $: 'tensor',
          id: this.#idOf(part),
          address: block.address,
          shape,
          dtype,
        } satisfies Reference;
      }
      if (!isPrepacked(part)) return part;
      const { shape, bytes } = part;
      return { $: 'prepacked', id: this.#idOf(part), shape, bytes } satisfies Reference;
    });
  }

  #idOf(thing: Thing): number {
    const known = this.#ids.get(thing);
    if (known !== undefined && this.#things.has(known)) return known;
    this.#things.set(++this.#named, thing);
    this.#ids.set(thing, this.#named);
    return this.#named;
  }

  #beat(): void {
    if (this.#isGone) return;
    Atomics.add(this.#words(), (this.mailbox + MAILBOX.BEAT) >>> 2, 1);
  }

  /** In the mailbox, or where there is more. */
  #roomFor(bytes: number): Address {
    const { backend } = this.#core;
    if (this.#reply) backend.free(this.#reply);
    this.#reply = 0;
    if (bytes <= MAILBOX_BYTES - MAILBOX.TEXT) return this.mailbox + MAILBOX.TEXT;
    this.#reply = backend.allocate(bytes, 'runtime');
    return this.#reply;
  }

  /** Into the mailbox of a guest that sleeps. The text stays until the next one. */
  #deliver(id: number, answer: Answer): void {
    let bytes = new TextEncoder().encode(toText(answer));
    let at: Address;
    try {
      at = this.#roomFor(bytes.length);
    } catch (error) {
      bytes = new TextEncoder().encode(toText({ error: plainError(error) }));
      at = this.#roomFor(bytes.length);
    }
    const words = this.#words();
    new Uint8Array(words.buffer).set(bytes, at);
    words[(this.mailbox + MAILBOX.ADDRESS) >>> 2] = at;
    words[(this.mailbox + MAILBOX.BYTES) >>> 2] = bytes.length;
    Atomics.store(words, (this.mailbox + MAILBOX.SEQUENCE) >>> 2, id);
    Atomics.notify(words, (this.mailbox + MAILBOX.SEQUENCE) >>> 2);
  }
}

function isPrepacked(value: unknown): value is Prepacked {
  return (
    typeof value === 'object' &&
    value !== null &&
    Symbol.dispose in value &&
    'shape' in value &&
    'bytes' in value
  );
}
