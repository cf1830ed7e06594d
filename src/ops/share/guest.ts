/** A runtime of another thread, as the threads see it that have joined it. */
import { version } from '../../backends/wasm/gen/version.ts';
import { abortReason, TesseraeError } from '../../core/errors.ts';
import { checkShape, type Shape, sizeOf } from '../../core/shape.ts';
import { badArgument, checkAsync } from '../arguments.ts';
import { checkData, checkNumbers } from '../operands.ts';
import type {
  AsyncOptions,
  DType,
  Progress,
  Runtime,
  RuntimeInfo,
  SharedRuntime,
  SharedTensor,
  Tensor,
  TypedArrays,
} from '../types.ts';
import { keepAlive, live } from './port.ts';
import {
  type Answer,
  AWAITED,
  BLOCKING,
  errorFrom,
  fromText,
  isReference,
  MAILBOX,
  mapParts,
  OPERATIONS,
  ownRuntimes,
  type Reference,
  type ToGuest,
  type ToOwner,
} from './protocol.ts';

/** What a runtime can do for threads that have joined it: everything but what needs functions or the GPU of its own thread. */
export interface AttachedRuntime
  extends Omit<
    Runtime,
    'matmul' | 'kernel' | 'profile' | 'fromGpu' | 'gpuBuffer' | 'gpuDevice' | 'gpuTime' | 'share'
  > {
  matmul(...args: Parameters<Runtime['matmul']>): Promise<Tensor>;
}

const ARRAYS = { f32: Float32Array, i8: Int8Array, u8: Uint8Array, i32: Int32Array } as const;
/** How long this thread sleeps at a time while it waits for an answer, in milliseconds. */
const NAP_MS = 1000;

/** One for each runtime that this thread has joined. */
const joined = new Map<string, Guest>();

/**
 * Joins the runtime of another thread: the same memory, the same threads, the same plans. `handle` is what `rt.share()` returned there; joining
 * the same runtime again gives the same object, to be closed as often. Calls are carried out by the runtime's own thread, which must not be
 * blocked for long; blocking calls (`...Sync`, and what makes tensors) let this thread sleep meanwhile, which a page's own cannot.
 * @throws TesseraeError `E_ARGUMENT` for what is no handle, or one of another version.
 * @example
 * // in the worker; the other side: worker.postMessage(handle, [handle.port]) with handle = rt.share()
 * const rt = await attachRuntime(handle);
 * const y = await rt.matmul(rt.adopt(x), w);
 * postMessage(y.share());
 */
export async function attachRuntime(handle: SharedRuntime): Promise<AttachedRuntime> {
  if (typeof handle !== 'object' || handle === null || !(handle.port instanceof MessagePort))
    throw badArgument(
      'handle',
      handle,
      'What rt.share() returned, posted with its port in the transfer list.',
    );
  if (handle.tesserae !== version)
    throw badArgument(
      'handle',
      handle.tesserae,
      `Both threads need the same version; this one has ${version}.`,
    );
  if (ownRuntimes.has(handle.id))
    throw badArgument('handle', 'one of this thread', 'The runtime is here: use it as it is.');
  const known = joined.get(handle.id);
  if (known && !known.closed) {
    handle.port.postMessage({ type: 'close' } satisfies ToOwner);
    handle.port.close();
    const again = known.again();
    await known.ready;
    return again;
  }
  const guest = new Guest(handle);
  joined.set(handle.id, guest);
  await guest.ready;
  return guest as unknown as AttachedRuntime;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

class GuestTensor<D extends DType = DType> implements Tensor<D> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly size: number;
  readonly location = 'wasm';
  readonly storage = 'f32';
  readonly id: number;
  readonly guest: Guest;
  readonly #address: number;
  #disposed = false;

  constructor(guest: Guest, { id, address, shape, dtype }: Reference & { readonly $: 'tensor' }) {
    this.guest = guest;
    this.id = id;
    this.#address = address;
    this.shape = shape;
    this.dtype = dtype as D;
    this.size = sizeOf(shape);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  get data(): TypedArrays[D] {
    this.check('read');
    return new ARRAYS[this.dtype](
      this.guest.buffer as ArrayBuffer,
      this.#address,
      this.size,
    ) as TypedArrays[D];
  }

  async read(): Promise<TypedArrays[D]> {
    return this.data;
  }

  async to(where: 'gpu' | 'wasm'): Promise<this> {
    this.check('move');
    if (where === 'wasm') return this;
    throw new TesseraeError(
      'E_GPU',
      'the GPU is the business of the runtime’s own thread',
      {},
      'Move tensors there.',
    );
  }

  share(): SharedTensor {
    this.check('share');
    return this.guest.call('send', [this]) as SharedTensor;
  }

  check(what: string): void {
    this.guest.checkOpen(`${what} a tensor`);
    if (this.#disposed)
      throw new TesseraeError(
        'E_DISPOSED',
        `cannot ${what} a disposed tensor`,
        { shape: this.shape },
        'Dispose a tensor after its last use.',
      );
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.guest.release(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

class GuestPrepacked {
  readonly shape: Shape;
  readonly bytes: number;
  readonly id: number;
  readonly guest: Guest;
  #disposed = false;

  constructor(guest: Guest, { id, shape, bytes }: Reference & { readonly $: 'prepacked' }) {
    this.guest = guest;
    this.id = id;
    this.shape = shape;
    this.bytes = bytes;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.guest.release(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

type Thing = GuestTensor | GuestPrepacked;

class Guest {
  /** Resolves when the other side will hear of this thread's end, however it comes. */
  readonly ready: Promise<void>;
  readonly #handle: SharedRuntime;
  readonly #waiting = new Map<number, Waiting>();
  readonly #things = new Map<number, WeakRef<Thing>>();
  readonly #leaks: FinalizationRegistry<number>;
  #uses = 1;
  #sent = 0;
  #closed = false;

  constructor(handle: SharedRuntime) {
    this.#handle = handle;
    const { id, client } = handle;
    const port = handle.port as MessagePort;
    port.onmessage = ({ data }: MessageEvent<ToGuest>) => this.#heard(data);
    keepAlive(port, false);
    this.ready = live(port, `${id} ${client}`).then((held) => {
      if (held) this.#post({ type: 'alive' });
    });
    this.#leaks = new FinalizationRegistry((thing) => {
      if (!this.#closed) this.#post({ type: 'release', ids: [thing] });
    });
    this.#define();
  }

  get closed(): boolean {
    return this.#closed;
  }

  get buffer(): ArrayBufferLike {
    return (this.#handle.memory as WebAssembly.Memory).buffer;
  }

  get info(): RuntimeInfo {
    return this.call('info', []) as RuntimeInfo;
  }

  readonly wisdom = {
    list: () => this.call('wisdom.list', []),
    export: () => this.call('wisdom.export', []),
    import: (text: string) => this.call('wisdom.import', [text]),
    clear: () => this.call('wisdom.clear', []),
  };

  /** The same, for one more user in this thread. */
  again(): AttachedRuntime {
    this.#uses++;
    return this as unknown as AttachedRuntime;
  }

  tensor(data: ArrayLike<number>, shape: readonly number[]): GuestTensor {
    const checked = checkShape(shape, 'tensor');
    const dtype = (Object.keys(ARRAYS) as DType[]).find((name) => data instanceof ARRAYS[name]) ?? 'f32';
    if (Array.isArray(data)) checkNumbers(data, checked);
    else if (dtype === 'f32') checkData(data, checked, 'data');
    else if (data.length !== sizeOf(checked))
      throw new TesseraeError(
        'E_SHAPE',
        `data has ${data.length} elements`,
        { shape: checked },
        'As many as the shape says.',
      );
    const made = this.call('make', [checked, dtype]) as GuestTensor;
    made.data.set(data);
    return made;
  }

  zeros(shape: readonly number[]): GuestTensor {
    const made = this.call('make', [checkShape(shape, 'zeros'), 'f32']) as GuestTensor;
    made.data.fill(0);
    return made;
  }

  adopt(handle: SharedTensor): GuestTensor {
    return this.call('adopt', [handle]) as GuestTensor;
  }

  checkOpen(what: string): void {
    if (this.#closed)
      throw new TesseraeError(
        'E_CLOSED',
        `cannot ${what}: the runtime is closed, or this thread has left it`,
        {},
        'Join one with attachRuntime().',
      );
  }

  release({ id }: Thing): void {
    this.#things.delete(id);
    if (!this.#closed) this.#post({ type: 'release', ids: [id] });
  }

  /** Leaves the runtime, which goes on: what this thread had of it is given back, but tensors that were shared. */
  async close(): Promise<void> {
    if (this.#closed || --this.#uses > 0) return;
    this.#post({ type: 'close' });
    this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Sleeps until the answer has come. */
  call(method: string, args: readonly unknown[]): unknown {
    this.checkOpen(method);
    const id = ++this.#sent;
    this.#post({ type: 'call', id, method, args: this.#toNumbers(args), blocks: true, wantsProgress: false });
    return this.#read(this.#sleep(id));
  }

  /** `at` is the place of options, whose signal and listener stay here. */
  async later(method: string, args: readonly unknown[], at?: number): Promise<unknown> {
    this.checkOpen(method);
    const plain = [...args];
    const given = (at === undefined ? {} : (args[at] ?? {})) as AsyncOptions;
    checkAsync(given);
    const { signal, onProgress, ...options } = given;
    signal?.throwIfAborted();
    if (at !== undefined) plain[at] = options;
    const id = ++this.#sent;
    const message = {
      ...({ type: 'call', id, method, args: this.#toNumbers(plain), blocks: false } as const),
      wantsProgress: onProgress !== undefined,
    };
    const stop = () => this.#post({ type: 'abort', id });
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const answer = new Promise<unknown>((resolve, reject) =>
        this.#waiting.set(id, { resolve, reject, onProgress }),
      );
      keepAlive(this.#handle.port, true);
      this.#post(message);
      return await answer;
    } catch (error) {
      throw signal?.aborted ? abortReason(signal) : error;
    } finally {
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) keepAlive(this.#handle.port, false);
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Methods by the lists that the other side goes by. */
  #define(): void {
    const put = (name: string, value: unknown) => Object.defineProperty(this, name, { value });
    for (const [name, at] of Object.entries(OPERATIONS)) {
      put(name, (...args: unknown[]) => this.later(name, args, at));
      put(`${name}Sync`, (...args: unknown[]) => this.call(name, args));
    }
    for (const name of AWAITED) put(name, (...args: unknown[]) => this.later(name, args));
    for (const name of BLOCKING)
      if (name !== 'info' && !name.includes('.')) put(name, (...args: unknown[]) => this.call(name, args));
  }

  #post(message: ToOwner): void {
    try {
      this.#handle.port.postMessage(message);
    } catch (cause) {
      throw new TesseraeError(
        'E_ARGUMENT',
        'an argument cannot go to another thread',
        {},
        'Functions and kernels stay with the runtime’s own thread.',
        cause,
      );
    }
  }

  #heard(message: ToGuest): void {
    if (message.type === 'closed') {
      this.#end();
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (message.type === 'progress') waiting?.onProgress?.(message.progress);
    else if (waiting) this.#settle(waiting, message.answer);
    // an answer that nobody waits for: what it brings is given back
    else if ('value' in message.answer) mapParts(message.answer.value, (part) => this.#toThing(part, true));
  }

  #settle(waiting: Waiting, answer: Answer): void {
    try {
      waiting.resolve(this.#read(answer));
    } catch (error) {
      waiting.reject(error);
    }
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    joined.delete(this.#handle.id);
    const closed = new TesseraeError(
      'E_CLOSED',
      'the runtime was closed while the call was running',
      {},
      'Await calls before close().',
    );
    for (const { reject } of this.#waiting.values()) reject(closed);
    this.#handle.port.close();
  }

  #sleep(id: number): Answer {
    const { mailbox, timeoutMs } = this.#handle;
    const at = (word: number) => (mailbox + word) >>> 2;
    const words = new Int32Array(this.buffer);
    let beat = -1;
    let silentMs = 0;
    for (;;) {
      const seen = Atomics.load(words, at(MAILBOX.SEQUENCE));
      if (seen === id) break;
      if (seen === -1) {
        this.#end();
        this.checkOpen('go on');
      }
      if (nap(words, at(MAILBOX.SEQUENCE), seen) !== 'timed-out') continue;
      const now = Atomics.load(words, at(MAILBOX.BEAT));
      silentMs = now === beat ? silentMs + NAP_MS : 0;
      beat = now;
      if (silentMs >= timeoutMs)
        throw new TesseraeError(
          'E_WORKER_TIMEOUT',
          `the runtime’s own thread did not answer within ${timeoutMs} ms`,
          { timeoutMs },
          'It is blocked, or gone.',
        );
    }
    const fresh = new Int32Array(this.buffer);
    const [address, bytes] = [fresh[at(MAILBOX.ADDRESS)]! >>> 0, fresh[at(MAILBOX.BYTES)]!];
    // decoders take no shared memory
    const text = new TextDecoder().decode(new Uint8Array(this.buffer, address, bytes).slice());
    return fromText(text) as Answer;
  }

  #read(answer: Answer): unknown {
    if ('error' in answer) throw errorFrom(answer.error);
    return mapParts(answer.value, (part) => this.#toThing(part, false));
  }

  #toThing(part: unknown, unwanted: boolean): unknown {
    if (!isReference(part)) return part;
    const known = this.#things.get(part.id)?.deref();
    if (known) return known;
    const thing = part.$ === 'tensor' ? new GuestTensor(this, part) : new GuestPrepacked(this, part);
    if (unwanted) thing.dispose();
    else {
      this.#things.set(part.id, new WeakRef(thing));
      this.#leaks.register(thing, part.id);
    }
    return thing;
  }

  #toNumbers(args: readonly unknown[]): unknown[] {
    return mapParts(args, (part) => {
      if (!(part instanceof GuestTensor || part instanceof GuestPrepacked)) return part;
      if (part.guest !== this)
        throw new TesseraeError(
          'E_FOREIGN',
          'a tensor belongs to another runtime',
          { shape: part.shape },
          'Adopt it first.',
        );
      if (part.disposed)
        throw new TesseraeError(
          'E_DISPOSED',
          'a tensor was disposed',
          { shape: part.shape },
          'Dispose a tensor after its last use.',
        );
      return { $: part instanceof GuestTensor ? 'tensor' : 'prepacked', id: part.id };
    }) as unknown[];
  }
}

/** @throws `E_ENGINE` in a page's own thread. */
function nap(words: Int32Array, at: number, seen: number): 'ok' | 'not-equal' | 'timed-out' {
  try {
    return Atomics.wait(words, at, seen, NAP_MS);
  } catch (cause) {
    throw new TesseraeError(
      'E_ENGINE',
      'this thread may not sleep until an answer comes',
      {},
      'Join from a worker, or await the calls that return promises.',
      cause,
    );
  }
}
