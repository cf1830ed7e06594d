/**
 * One worker with a memory of its own, for places where none can be shared. This side keeps the books of that memory: it allocates there,
 * writes programs and operands for addresses there, and asks for results; the worker does what it is sent, in order.
 */
import type { TesseraeError } from '../../../core/errors.ts';
import type { Program } from '../../../plan/program.ts';
import { inSequence, orderOf } from '../../../plan/waves.ts';
import type {
  Address,
  Call,
  Chain,
  ChainBackend,
  Job,
  Linked,
  MemoryUse,
  Owner,
  Prepared,
  Trace,
} from '../../types.ts';
import { Arena } from '../arena.ts';
import {
  encodeChain,
  encodeJob,
  encodeLinks,
  encodeProgram,
  type KernelIndex,
  privateBytes,
  programBytes,
} from '../encode.ts';
import { closedError, diedError, kernelError, timeoutError } from '../flight.ts';
import type { ApartMessage, Host, WorkerHandle, WorkerMessage } from '../host.ts';
import { ARENA_ADDRESS, CLOSED, JOB, JOB_BYTES, LINK_BYTES } from '../layout.ts';
import type { Modules } from '../module.ts';
import type { TeamEvent } from '../team-options.ts';
import { BufferPool } from './buffer-pool.ts';

const PAGE = 65536;
const FIRST_PAGES = 16;

export interface ApartOptions {
  readonly host: Host;
  readonly modules: Modules;
  /** Where kernels are in the function table: every instance has them in the same places. */
  readonly kernels: KernelIndex;
  readonly index: number;
  /** Bytes. */
  readonly maximumMemory: number;
  readonly timeoutMs: number;
  readonly onEvent: (event: TeamEvent) => void;
}

interface PreparedApart extends Prepared {
  readonly address: Address;
}

interface ChainApart extends Chain {
  readonly links: Address;
}

interface Waiting {
  readonly kernel: string;
  readonly resolve: (data: ArrayBuffer | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class ApartBackend implements ChainBackend {
  readonly name = 'apart';
  readonly #options: ApartOptions;
  readonly #arena: Arena;
  readonly #handle: WorkerHandle;
  /** What was sent and not answered, in order. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #jobWords: Address;
  readonly #buffers = new BufferPool();
  #bytes = FIRST_PAGES * PAGE;
  #sent = 0;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #lost: TesseraeError | undefined;

  constructor(options: ApartOptions) {
    this.#options = options;
    const { host, modules, index, maximumMemory } = options;
    const maximum = Math.max(FIRST_PAGES, Math.floor(maximumMemory / PAGE));
    const backend = this;
    const memory = {
      buffer: {
        get byteLength() {
          return backend.#bytes;
        },
      },
      grow: (pages: number) => {
        this.#post({ type: 'grow', pages });
        this.#bytes += pages * PAGE;
      },
    };
    this.#handle = host.startWorker({ modules, memory: { initial: FIRST_PAGES, maximum }, index, nice: 0 });
    this.#handle.onMessage((message) => this.#heard(message));
    this.#handle.onExit((reason) => this.#end(diedError(index, reason), reason));
    this.#arena = new Arena(memory, ARENA_ADDRESS, maximum * PAGE, () => undefined);
    this.#jobWords = this.allocate(JOB_BYTES, 'runtime');
  }

  /** Why nothing can be sent any more, or undefined. */
  get lost(): TesseraeError | undefined {
    return this.#lost;
  }

  allocate(bytes: number, owner: Owner): Address {
    if (this.#lost) throw this.#lost;
    return this.#arena.allocate(bytes, owner);
  }

  free(address: Address): void {
    this.#arena.free(address);
  }

  /** The memory is elsewhere: `read` and `write`. */
  view(): Float32Array {
    throw new Error('the memory of another thread cannot be looked at');
  }

  memoryUse(): MemoryUse {
    return this.#arena.use();
  }

  /** One thread takes part, whoever is asked for. */
  ownBytes(program: Program): number {
    return privateBytes(program);
  }

  prepare(program: Program): PreparedApart {
    const bytes = programBytes(program);
    const address = this.allocate(bytes, 'runtime');
    const words = new Int32Array(Math.ceil(bytes / 4));
    encodeProgram(words, address, program, this.#options.kernels, 0);
    this.write(address, words);
    return { program, address, release: () => this.free(address) };
  }

  runSync(): void {
    throw new Error('another thread cannot be waited for');
  }

  run(prepared: Prepared, call: Call): Job {
    const { address, program } = prepared as PreparedApart;
    const { length: records } = program.steps;
    const words = new Int32Array(JOB_BYTES / 4);
    encodeJob(words, 0, { id: 0, records, trace: 0 }, address, call);
    return this.#run(words, records, program.plan.kernel);
  }

  /** There is one thread over there: it takes them one by one. */
  link(calls: readonly Linked[]): ChainApart {
    const programs = calls.map(({ prepared }) => prepared.program);
    const order = orderOf(programs, inSequence(calls.length));
    const bytes = calls.length * JOB_BYTES + order.length * LINK_BYTES;
    const at = this.allocate(bytes, 'runtime');
    const words = new Int32Array(bytes / 4);
    const linked = (calls as readonly (Linked & { prepared: PreparedApart })[]).map(
      ({ prepared: { address: program, program: of }, call }, index) => {
        const job = index * JOB_BYTES;
        encodeJob(words, job, { id: 0, records: of.steps.length, trace: 0 }, program, call);
        return { job: at + job, program };
      },
    );
    encodeLinks(words, calls.length * JOB_BYTES, linked, order);
    this.write(at, words);
    return { steps: order.length, order, links: at + calls.length * JOB_BYTES, release: () => this.free(at) };
  }

  runChainSync(): void {
    this.runSync();
  }

  runChain(chain: Chain): Job {
    const { links, steps } = chain as ChainApart;
    const words = new Int32Array(JOB_BYTES / 4);
    encodeChain(words, 0, { id: 0, records: steps, trace: 0 }, { links, parts: 1, claims: 0 });
    return this.#run(words, steps, 'a recorded run');
  }

  /** Its times stay over there. */
  trace(steps: number): Trace {
    return { steps, at: () => undefined, release: () => undefined };
  }

  #run(words: Int32Array<ArrayBuffer>, records: number, kernel: string): Job {
    words[JOB.NEXT >>> 2] = CLOSED - records;
    this.write(this.#jobWords, words);
    let failure: { readonly reason: unknown } | undefined;
    let isDone = false;
    const finished = this.#ask((id) => ({ type: 'run', job: this.#jobWords, id }), kernel).then(() => {
      isDone = true;
      if (failure) throw failure.reason;
    });
    return {
      finished,
      total: records,
      done: () => (isDone ? records : 0),
      stop: (reason) => {
        failure ??= { reason };
      },
    };
  }

  write(at: Address, values: ArrayBufferView): void {
    const { byteLength: bytes } = values;
    const data = this.#buffers.take(bytes);
    new Uint8Array(data).set(new Uint8Array(values.buffer, values.byteOffset, bytes));
    this.#post({ type: 'write', at, bytes, data }, [data]);
  }

  /** Hands what lies there to `use`, which must not keep it. */
  async read(at: Address, bytes: number, use: (values: Float32Array) => void): Promise<void> {
    const data = (await this.#ask((id) => ({ type: 'read', at, bytes, id }), 'reading a result'))!;
    use(new Float32Array(data, 0, bytes >>> 2));
    this.#buffers.put(data);
  }

  async close(): Promise<void> {
    this.#end(closedError());
    await this.#handle.terminate();
  }

  #ask(message: (id: number) => ApartMessage, kernel: string): Promise<ArrayBuffer | undefined> {
    const id = ++this.#sent;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { kernel, resolve, reject });
      this.#watch();
      this.#post(message(id));
    });
  }

  #post(message: ApartMessage, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#lost) {
      if ('id' in message) this.#waiting.get(message.id)?.reject(this.#lost);
      return;
    }
    this.#handle.post(message, transfer);
  }

  #heard(message: WorkerMessage): void {
    // one that is being ended keeps the process alive until it has
    if (message.type === 'ready' || this.#lost) return;
    const id = message.type === 'data' ? message.id : message.job;
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#watch();
    if (message.type === 'fault') waiting?.reject(kernelError(waiting, new Error(message.message)));
    else if (message.type === 'data') {
      for (const buffer of message.spent) this.#buffers.put(buffer);
      waiting?.resolve(message.data);
    } else waiting?.resolve(undefined);
  }

  /** While an answer is awaited, the worker keeps the process alive, and has a time in which to give the next one. */
  #watch(): void {
    clearTimeout(this.#deadline);
    const isAwaited = this.#waiting.size > 0 && !this.#lost;
    this.#handle.keepAlive(isAwaited);
    if (!isAwaited) return;
    const { index, timeoutMs } = this.#options;
    this.#deadline = setTimeout(() => {
      this.#end(timeoutError([index], timeoutMs), `no answer within ${timeoutMs} ms`);
      void this.#handle.terminate();
    }, timeoutMs);
  }

  /** Everything that was asked for is answered with the error; told, unless it was wanted. */
  #end(error: TesseraeError, reason?: string): void {
    if (this.#lost) return;
    this.#lost = error;
    this.#watch();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    if (reason !== undefined)
      this.#options.onEvent({ type: 'worker-lost', worker: this.#options.index, reason });
  }
}
