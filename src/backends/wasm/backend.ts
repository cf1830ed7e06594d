/** The WebAssembly backend: one shared memory, the kernels, and the team that runs programs over it. */
import { TesseraeError } from '../../core/errors.ts';
import type { Program } from '../../plan/program.ts';
import { orderOf, type Wave } from '../../plan/waves.ts';
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
  RunControl,
  StepTime,
  Stored,
  Trace,
} from '../types.ts';
import { Arena } from './arena.ts';
import {
  encodeChain,
  encodeJob,
  encodeLinks,
  encodeProgram,
  type JobState,
  type KernelIndex,
  type LinkedChain,
  privateBytes,
  programBytes,
} from './encode.ts';
import type { Task } from './flight.ts';
import type { Host } from './host.ts';
import {
  ARENA_ADDRESS,
  CLAIM_BYTES,
  JOB_BYTES,
  LINK_BYTES,
  MAX_WORKERS,
  TRACE,
  TRACE_BYTES,
} from './layout.ts';
import {
  instantiate,
  type KernelExports,
  type ModuleName,
  type Modules,
  type RelaxedExports,
} from './module.ts';
import { Team } from './team.ts';
import type { TeamEvent } from './team-options.ts';

const PAGE = 65536;

export interface WasmBackendOptions {
  readonly host: Host;
  /** Bytes; rounded up to whole pages. */
  readonly initialMemory: number;
  readonly maximumMemory: number;
  readonly workerTimeoutMs: number;
  readonly onEvent: (event: TeamEvent) => void;
  /** As `loadModules` compiles them. */
  readonly modules: Modules;
}

interface PreparedWasm extends Prepared {
  readonly address: Address;
}

interface ChainWasm extends Chain, LinkedChain {
  readonly claimBytes: number;
}

interface TraceWasm extends Trace {
  readonly address: Address;
}

/** What errors call a job that is no single kernel's. */
const CHAIN_NAME = 'a recorded run';

export class WasmBackend implements ChainBackend {
  readonly name = 'wasm';
  /** The most that the engine's vectors can do. */
  readonly feature: ModuleName;
  readonly kernels: KernelIndex;
  readonly exports: KernelExports;
  readonly relaxed: RelaxedExports | undefined;
  readonly team: Team;
  readonly timeoutMs: number;
  readonly #memory: WebAssembly.Memory;
  readonly #modules: Modules;
  readonly #arena: Arena;
  readonly #idleJobs: Address[] = [];
  /** What waits for the team to be calm. */
  readonly #heldBlocks: Address[] = [];
  readonly #heldJobs: Address[] = [];
  #jobs = 0;
  #onWork: () => void = () => undefined;
  /** Views of the whole memory. Kept, not made per call: asking a shared memory for its buffer costs a tenth of a
   *  microsecond, and a small product takes two. Only this thread grows the memory, so it knows when they are stale. */
  #floats!: Float32Array;
  #ints!: Int32Array;
  /** Of memories that were made beside this one. */
  #apartBytes = 0;

  constructor(options: WasmBackendOptions) {
    const initial = Math.max(2, Math.ceil(options.initialMemory / PAGE));
    const maximum = Math.max(initial, Math.floor(options.maximumMemory / PAGE));
    this.#memory = makeMemory(initial, maximum);
    const { modules } = options;
    this.timeoutMs = options.workerTimeoutMs;
    this.#modules = modules;
    const { exports, relaxed, kernels } = instantiate(modules, this.#memory);
    this.exports = exports;
    this.relaxed = relaxed;
    this.kernels = kernels;
    this.feature = relaxed ? 'relaxed' : 'simd';
    this.#arena = new Arena(this.#memory, ARENA_ADDRESS, maximum * PAGE, () => this.#renewViews());
    this.#renewViews();
    this.team = new Team({
      host: options.host,
      modules,
      memory: this.#memory,
      words: () => this.#ints,
      exports,
      timeoutMs: options.workerTimeoutMs,
      onEvent: options.onEvent,
      onCalm: () => this.#giveBack(),
      onWork: () => this.#onWork(),
    });
  }

  /** Calls the listener when a job has begun, or the last one has ended. */
  whenWorkChanges(listener: () => void): void {
    this.#onWork = listener;
  }

  /** To be shared with threads that are to see what lies in it. */
  get memory(): WebAssembly.Memory {
    return this.#memory;
  }

  /** The whole memory as words. */
  ints(): Int32Array {
    return this.#ints;
  }

  /** The same code over a memory of its own, for measurements that need much of it for a moment. */
  instantiateApart(bytes: number): { exports: KernelExports; memory: WebAssembly.Memory } {
    const memory = makeMemory(Math.ceil(bytes / PAGE), Math.ceil(bytes / PAGE));
    this.#apartBytes += bytes;
    return { exports: instantiate(this.#modules, memory).exports, memory };
  }

  allocate(bytes: number, owner: Owner): Address {
    return this.#arena.allocate(bytes, owner);
  }

  /** Memory that a stuck thread may still write to is given back when that thread has ended. */
  free(address: Address): void {
    if (this.team.calm) this.#arena.free(address);
    else this.#heldBlocks.push(address);
  }

  /** The block that an address lies in, or undefined where there is none. */
  blockAt(address: Address): Stored | undefined {
    return this.#arena.blockAt(address);
  }

  view(address: Address, elements: number): Float32Array {
    return new Float32Array(this.#floats.buffer, address, elements);
  }

  /** The whole memory as floats, for hot paths that index by address / 4. */
  floats(): Float32Array {
    return this.#floats;
  }

  memoryUse(): MemoryUse {
    return this.#arena.use();
  }

  /** The calling thread has the first place, workers follow in the order of their indices. */
  ownBytes(program: Program, threads: number): number {
    return privateBytes(program) * (threads + 1);
  }

  prepare(program: Program): PreparedWasm {
    const address = this.allocate(programBytes(program), 'runtime');
    encodeProgram(this.#ints, address, program, this.kernels);
    return { program, address, release: () => this.free(address) };
  }

  runSync(prepared: Prepared, call: Call, threads: number, control: RunControl = {}): void {
    const job = this.#job(prepared as PreparedWasm, call, control);
    this.#runHere(job, taskOf(prepared.program.plan.kernel, threads - 1, control));
  }

  run(prepared: Prepared, call: Call, threads: number, control: RunControl = {}): Job {
    const job = this.#job(prepared as PreparedWasm, call, control);
    return this.#post(job, taskOf(prepared.program.plan.kernel, threads, control));
  }

  link(calls: readonly Linked[], waves: readonly Wave[], parts: number): ChainWasm {
    const programs = calls.map(({ prepared }) => prepared.program);
    const order = orderOf(programs, waves);
    const befores = calls.filter(({ before }) => before).length;
    const words = (calls.length + befores) * JOB_BYTES;
    const tableBytes = order.length * LINK_BYTES;
    const claimBytes = parts > 1 ? order.length * parts * CLAIM_BYTES : 0;
    const at = this.allocate(words + tableBytes + claimBytes, 'runtime');
    let job = at;
    const encode = ({ prepared, call }: Omit<Linked, 'before'>, before = 0) => {
      const { address: program, program: of } = prepared as PreparedWasm;
      const here = job;
      encodeJob(this.#ints, here, { id: 0, records: of.steps.length, trace: 0 }, program, call, before);
      job += JOB_BYTES;
      return { job: here, program };
    };
    const linked = calls.map((one) => encode(one, one.before && encode(one.before).job));
    const links = at + words;
    encodeLinks(this.#ints, links, linked, order);
    const claims = links + tableBytes;
    const release = () => this.free(at);
    return { steps: order.length, order, links, parts, claims, claimBytes, release };
  }

  rouse(threads: number): void {
    this.team.rouse(threads);
  }

  runChainSync(chain: Chain, threads: number, control: RunControl = {}): void {
    this.#runHere(this.#chainJob(chain as ChainWasm, control), taskOf(CHAIN_NAME, threads - 1, control));
  }

  runChain(chain: Chain, threads: number, control: RunControl = {}): Job {
    return this.#post(this.#chainJob(chain as ChainWasm, control), taskOf(CHAIN_NAME, threads, control));
  }

  async close(): Promise<void> {
    await this.team.close();
    hintGarbage(this.#memory.buffer.byteLength + this.#apartBytes);
  }

  trace(steps: number): TraceWasm {
    const address = this.allocate(steps * TRACE_BYTES, 'runtime');
    this.#ints.fill(0, address >>> 2, (address + steps * TRACE_BYTES) >>> 2);
    const at = (step: number): StepTime | undefined => {
      const entry = address + step * TRACE_BYTES;
      // written last: whoever sees it sees the rest, and what the step has computed
      const thread = Atomics.load(this.#ints, (entry + TRACE.THREAD) >>> 2);
      if (thread === 0) return undefined;
      const [start, end] = new Float64Array(this.#ints.buffer, entry, 2) as unknown as [number, number];
      return { thread: thread === MAX_WORKERS ? 0 : thread, start, end };
    };
    return { steps, address, at, release: () => this.free(address) };
  }

  #runHere(address: Address, task: Task): void {
    try {
      this.team.runHere(address, task);
    } finally {
      this.#leaveJob(address);
    }
  }

  #post(address: Address, task: Task): Job {
    const job = this.team.post(address, task);
    const finished = job.finished.finally(() => this.#leaveJob(address));
    return { ...job, finished };
  }

  /** Job words that nobody uses, filled for this call. */
  #job({ address: program, program: { steps } }: PreparedWasm, call: Call, control: RunControl): Address {
    const address = this.#jobWords();
    encodeJob(this.#ints, address, this.#state(steps.length, control), program, call);
    return address;
  }

  #chainJob(chain: ChainWasm, control: RunControl): Address {
    const { steps, claims, claimBytes } = chain;
    const address = this.#jobWords();
    this.#ints.fill(0, claims >>> 2, (claims + claimBytes) >>> 2);
    encodeChain(this.#ints, address, this.#state(steps, control), chain);
    return address;
  }

  #state(records: number, { trace }: RunControl): JobState {
    return { id: this.#jobs, records, trace: (trace as TraceWasm | undefined)?.address ?? 0 };
  }

  /** And a number that no other job of late has. */
  #jobWords(): Address {
    this.#jobs = (this.#jobs + 1) & 0x3fffffff;
    return this.#idleJobs.pop() ?? this.allocate(JOB_BYTES, 'runtime');
  }

  #leaveJob(address: Address): void {
    (this.team.calm ? this.#idleJobs : this.#heldJobs).push(address);
  }

  #giveBack(): void {
    for (const address of this.#heldBlocks.splice(0)) this.#arena.free(address);
    this.#idleJobs.push(...this.#heldJobs.splice(0));
  }

  #renewViews(): void {
    this.#floats = new Float32Array(this.#memory.buffer);
    this.#ints = new Int32Array(this.#memory.buffer);
  }
}

function makeMemory(initial: number, maximum: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial, maximum, shared: true });
  } catch (cause) {
    throw new TesseraeError(
      'E_MEMORY',
      `no shared memory of ${initial * PAGE} bytes (at most ${maximum * PAGE}) can be had`,
      { needed: initial * PAGE, available: 0, maximum: maximum * PAGE },
      'Ask for less with the memory option, or close runtimes that are no longer used.',
      cause,
    );
  }
}

const HINT_BYTES = 64 * 1024 * 1024;
/** Whoever closes a runtime may be about to make the next one, which a collection would hold up by 5 to 20 ms. */
const HINT_LATER_MS = 500;
let unseenBytes = 0;

/** V8 does not count a shared memory when it decides whether to collect garbage: runtimes that were made and closed in turn
 *  grew by all that they had touched (250 of them by 180 MB on Node 20). An ordinary buffer, made and dropped untouched, takes
 *  no memory and does count; one that is large enough to make the collector look is made where as many bytes have been left. */
function hintGarbage(bytes: number): void {
  unseenBytes += bytes;
  if (unseenBytes < HINT_BYTES) return;
  unseenBytes = 0;
  const timer: { unref?(): void } = setTimeout(() => {
    try {
      new ArrayBuffer(HINT_BYTES);
    } catch {
      // it was only a hint
    }
  }, HINT_LATER_MS);
  // in Node a process that has nothing else to do ends without it
  timer.unref?.();
}

function taskOf(kernel: string, threads: number, { priority, client }: RunControl): Task {
  return { threads, kernel, priority, client };
}
