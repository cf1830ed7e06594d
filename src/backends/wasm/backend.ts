/** The WebAssembly backend: one shared memory, the kernels, and the team that runs programs over it. */
import { TesseraeError } from '../../core/errors.ts';
import type { Program } from '../../plan/program.ts';
import type { Address, Backend, Call, Job, MemoryUse, Owner, Prepared } from '../types.ts';
import { Arena } from './arena.ts';
import { encodeJob, encodeProgram, type KernelIndex, programBytes } from './encode.ts';
import { wasmBase64 } from './gen/wasm-bytes.ts';
import type { Host } from './host.ts';
import {
  ARENA_ADDRESS,
  JOB_BYTES,
  MAX_WORKERS,
  SCRATCH_ADDRESS,
  SCRATCH_BYTES,
  WORKER_BYTES,
  WORKERS_ADDRESS,
} from './layout.ts';
import {
  compile,
  hasRelaxedSimd,
  hasSimd,
  instantiate,
  type KernelExports,
  type ModuleName,
} from './module.ts';
import { Team, type TeamEvent } from './team.ts';

const PAGE = 65536;
/** The calling thread's own words and scratch are those of the index that no worker has. */
const CALLER_WORDS = WORKERS_ADDRESS + (MAX_WORKERS - 1) * WORKER_BYTES;
const CALLER_SCRATCH = SCRATCH_ADDRESS + (MAX_WORKERS - 1) * SCRATCH_BYTES;

export interface WasmBackendOptions {
  readonly host: Host;
  /** Bytes; rounded up to whole pages. */
  readonly initialMemory: number;
  readonly maximumMemory: number;
  readonly workerTimeoutMs: number;
  readonly onEvent: (event: TeamEvent) => void;
  /** Instead of the embedded bytes: tests pass modules with a planted fault. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

interface PreparedWasm extends Prepared {
  readonly address: Address;
}

export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export class WasmBackend implements Backend {
  readonly name = 'wasm';
  readonly moduleName: ModuleName;
  readonly kernels: KernelIndex;
  readonly exports: KernelExports;
  readonly team: Team;
  readonly #memory: WebAssembly.Memory;
  readonly #arena: Arena;
  readonly #idleJobs: Address[] = [];
  #jobs = 0;
  /** Views of the whole memory. Kept, not made per call: asking a shared memory for its buffer costs a tenth of a
   *  microsecond, and a small product takes two. Only this thread grows the memory, so it knows when they are stale. */
  #floats!: Float32Array;
  #ints!: Int32Array;

  constructor(options: WasmBackendOptions) {
    if (!hasSimd()) {
      throw new TesseraeError(
        'E_ENGINE',
        'this engine has no WebAssembly SIMD',
        {},
        'Node 20 or later is needed; --jitless turns WebAssembly off.',
      );
    }
    this.moduleName = hasRelaxedSimd() ? 'relaxed' : 'simd';
    const initial = Math.max(2, Math.ceil(options.initialMemory / PAGE));
    const maximum = Math.max(initial, Math.floor(options.maximumMemory / PAGE));
    this.#memory = makeMemory(initial, maximum);
    const module = compile(options.bytes ?? decodeBase64(wasmBase64[this.moduleName]!));
    const { exports, kernels } = instantiate(module, this.#memory);
    this.exports = exports;
    this.kernels = kernels;
    this.#arena = new Arena(this.#memory, ARENA_ADDRESS, maximum * PAGE, () => this.#renewViews());
    this.#renewViews();
    this.team = new Team({
      host: options.host,
      module,
      memory: this.#memory,
      words: () => this.#ints,
      exports,
      timeoutMs: options.workerTimeoutMs,
      onEvent: options.onEvent,
    });
  }

  allocate(bytes: number, owner: Owner): Address {
    return this.#arena.allocate(bytes, owner);
  }

  free(address: Address): void {
    this.#arena.free(address);
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

  prepare(program: Program): PreparedWasm {
    const address = this.allocate(programBytes(program), 'runtime');
    encodeProgram(this.#ints, address, program, this.kernels);
    return { program, address, release: () => this.free(address) };
  }

  runSync(prepared: Prepared, call: Call, threads: number): void {
    const job = this.#job(prepared as PreparedWasm, call);
    try {
      this.team.runHere(job, threads - 1, CALLER_SCRATCH, CALLER_WORDS);
    } finally {
      this.#idleJobs.push(job);
    }
  }

  run(prepared: Prepared, call: Call, threads: number): Job {
    const address = this.#job(prepared as PreparedWasm, call);
    const job = this.team.post(address, threads);
    const finished = job.finished.finally(() => this.#idleJobs.push(address));
    return { ...job, finished };
  }

  async close(): Promise<void> {
    await this.team.close();
  }

  /** Job words that nobody uses, filled for this call. */
  #job(prepared: PreparedWasm, call: Call): Address {
    const address = this.#idleJobs.pop() ?? this.allocate(JOB_BYTES, 'runtime');
    this.#jobs = (this.#jobs + 1) & 0x3fffffff;
    encodeJob(this.#ints, address, this.#jobs, prepared.address, prepared.program.steps.length, call);
    return address;
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
