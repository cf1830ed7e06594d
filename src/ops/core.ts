/** One runtime's parts, wired once: memory, planner, executor, wisdom, trust. Operations get this and nothing global. */

import type { Address, Owner } from '../backends/types.ts';
import type { WasmBackend } from '../backends/wasm/backend.ts';
import { checkKernel } from '../backends/wasm/check.ts';
import { type DotRange, dotRange } from '../backends/wasm/dot.ts';
import type { Host } from '../backends/wasm/host.ts';
import { noGpu } from '../backends/webgpu/open.ts';
import { systemClock } from '../core/clock.ts';
import { TesseraeError } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import type { KernelFilter } from '../kernels/select.ts';
import { kernelsUsed } from '../kernels/table.ts';
import type { MachineProfile } from '../plan/machine.ts';
import type { Effort } from '../plan/plan.ts';
import { type Planned, Planner } from '../plan/planner.ts';
import type { Wisdom } from '../plan/wisdom.ts';
import type { Problem } from '../problem/problem.ts';
import { type Execution, Executor } from '../schedule/execute.ts';
import type { Operands } from '../schedule/operands.ts';
import { Pacer } from '../schedule/pacer.ts';
import type { ApartPlace } from './apart/place.ts';
import { BudgetKeeper } from './budget.ts';
import type { GpuPlace } from './gpu/place.ts';
import type { GpuJsPlace } from './gpujs/place.ts';
import { type GpuClock, Profiling, type Timed } from './profile.ts';
import type { Sharer } from './share/protocol.ts';
import { Tape, type TapeSetting } from './tape.ts';
import type { Heap, Watched } from './tensor.ts';
import { tuneProblem } from './tuning.ts';
import type { PlacedOptions, Policy, RuntimeEvent } from './types.ts';

export interface CoreParts {
  readonly host: Host;
  readonly backend: WasmBackend;
  readonly wisdom: Wisdom;
  readonly threads: number;
  readonly exact: boolean;
  readonly policy: Policy;
  readonly effort: Effort;
  readonly onEvent: (event: RuntimeEvent) => void;
  /** Where one was asked for and found. */
  readonly gpu?: GpuPlace | undefined;
  /** The same, for pages without WebGPU. */
  readonly gpujs?: GpuJsPlace | undefined;
  /** Where threads cannot share the memory. */
  readonly apart?: ApartPlace | undefined;
  /** Makes threads with memories of their own, where there can be any. */
  readonly makeApart?: (() => ApartPlace) | undefined;
}

/** How long a call may tune a problem that it meets first, with effort `measure` and `exhaustive`. */
const FIRST_CALL_BUDGET_MS = { measure: 500, exhaustive: 5000 } as const;

/** Ten times what threads that are awake need to meet. */
const WORTH_SHARING_MS = 0.01;

export class Core {
  readonly host: Host;
  readonly backend: WasmBackend;
  readonly wisdom: Wisdom;
  readonly planner: Planner;
  readonly executor: Executor;
  readonly pacer: Pacer;
  readonly budget: BudgetKeeper;
  readonly profiling: Profiling;
  readonly threads: number;
  readonly exact: boolean;
  readonly effort: Effort;
  readonly heap: Heap;
  readonly gpu: GpuPlace | undefined;
  readonly gpujs: GpuJsPlace | undefined;
  readonly apart: ApartPlace | undefined;
  readonly filter: KernelFilter;
  readonly onEvent: (event: RuntimeEvent) => void;
  readonly #policy: Policy;
  readonly #checked = new Set<string>();
  /** Plans whose kernels have all passed. */
  readonly #trusted = new WeakSet<Planned>();
  #dotRange: { readonly found: DotRange | undefined } | undefined;
  readonly #quarantined = new Map<string, string>();
  readonly #leaks: FinalizationRegistry<{ block: Watched; shape: Shape }>;
  readonly #tuning = new Map<string, Promise<unknown>>();
  readonly #tapes = new Set<Tape>();
  #tape: Tape | undefined;
  #tensors = 0;
  #client = 0;
  /** Set once the runtime is made. */
  sharer: Sharer | undefined;
  #machine: MachineProfile;
  readonly #makeApart: CoreParts['makeApart'];
  #threadsApart: ApartPlace | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;
  #saving: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: CoreParts, machine: MachineProfile) {
    this.host = parts.host;
    this.backend = parts.backend;
    this.wisdom = parts.wisdom;
    this.threads = parts.threads;
    this.exact = parts.exact;
    this.effort = parts.effort;
    this.onEvent = parts.onEvent;
    this.gpu = parts.gpu;
    this.gpujs = parts.gpujs;
    this.apart = parts.apart;
    this.#makeApart = parts.makeApart;
    this.#policy = parts.policy;
    this.#machine = machine;
    this.filter = { present: new Set(this.backend.kernels.keys()), quarantined: this.#quarantined };
    this.planner = new Planner({
      filter: this.filter,
      wisdom: this.wisdom,
      threads: this.threads,
      machine: () => this.#machine,
    });
    this.pacer = new Pacer(this.backend.team);
    this.backend.whenWorkChanges(() => this.pacer.workChanged());
    this.executor = new Executor(this.backend, {
      yieldToEvents: this.host.yieldToEvents,
      now: () => systemClock.now(),
      mostThreads: this.threads,
      isPaced: (priority) => this.pacer.isPaced(priority),
      mayWait: this.host.mayWait,
    });
    this.profiling = new Profiling(this.executor, parts.gpu && clockOf(parts.gpu));
    this.budget = new BudgetKeeper({
      threads: parts.apart?.threads ?? this.threads,
      host: this.host,
      pacer: this.pacer,
      team: this.backend.team,
      limit: (threads) => {
        if (parts.apart) parts.apart.limit(threads);
        else this.backend.team.limit(threads);
        this.#threadsApart?.limit(threads);
      },
    });
    this.heap = this.#makeHeap();
    this.#leaks = new FinalizationRegistry(({ block, shape }) => {
      if (block.disposed || this.#closed) return;
      if (block.owner === 'tensors') this.#tensors--;
      block.dispose();
      this.onEvent({ type: 'leak', bytes: block.bytes, shape });
    });
  }

  get machine(): MachineProfile {
    return this.#machine;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Live tensors; prepacked operands are counted in bytes only. */
  get tensors(): number {
    return this.#tensors;
  }

  checkOpen(what: string): void {
    if (this.#closed)
      throw new TesseraeError(
        'E_CLOSED',
        `cannot ${what}: the runtime is closed`,
        {},
        'Create another with createRuntime().',
      );
  }

  /** @throws `E_GPU` where there is none. */
  needGpu(): GpuPlace {
    if (this.gpu) return this.gpu;
    throw noGpu('this runtime was made without one; createRuntime({ gpu: true }) asks for it');
  }

  /** Threads with memories of their own, for what one memory cannot hold: those that compute everything, where there are such. */
  threadsApart(): ApartPlace | undefined {
    if (this.apart) return this.apart;
    if (!this.#threadsApart && this.#makeApart) {
      this.#threadsApart = this.#makeApart();
      this.#threadsApart.limit(this.budget.report.threads);
    }
    return this.#threadsApart;
  }

  setMachine(machine: MachineProfile): void {
    this.#machine = machine;
    this.wisdom.setMachine(machine);
    this.planner.reconsider();
    this.saveSoon();
  }

  /** A plan whose kernels have passed their check here, or undefined if none is left. */
  plan(problem: Problem): Planned | undefined {
    for (;;) {
      const planned = this.#planOrNone(problem);
      if (!planned || this.#trusted.has(planned)) return planned;
      if (kernelsUsed(planned.plan.kernel).every((name) => this.trust(name))) this.#trusted.add(planned);
    }
  }

  /** Threads for work that one of them does in `ms`: all where it is worth waking them (`worthMs`), and sooner in a recorded run, where
   *  they are awake. */
  threadsFor(ms: number, worthMs: number): number {
    if (this.#tape?.setting === 'short chain') return 1;
    return ms > (this.#tape ? Math.min(worthMs, WORTH_SHARING_MS) : worthMs) ? this.threads : 1;
  }

  /** Runs what a call has planned, or puts it on the tape that is being recorded. */
  runSync(execution: Execution, operands: Operands): void {
    if (this.#tape) this.#tape.add(execution, operands);
    else this.executor.runSync(execution, operands);
  }

  /** The tape that is being recorded. */
  get tape(): Tape | undefined {
    return this.#tape;
  }

  /** Work that the threads do not do: it begins when the budget allows it. */
  elsewhere<T>(timed: () => Timed, options: PlacedOptions, work: () => Promise<T>): Promise<T> {
    return this.pacer.during(options, () => this.profiling.around(timed, work));
  }

  /** Who calls: 0 is the runtime's own thread. */
  get client(): number {
    return this.#client;
  }

  /** Begins work in the name of a thread that has joined the runtime. */
  inNameOf<T>(client: number, work: () => T): T {
    this.#client = client;
    try {
      return work();
    } finally {
      this.#client = 0;
    }
  }

  /** A tape that is recorded by `record` and lives until `forget`. */
  makeTape(setting?: TapeSetting): Tape {
    const memory = {
      allocate: (bytes: number, owner: Owner) => this.backend.allocate(bytes, owner),
      free: (address: Address) => {
        if (!this.#closed) this.backend.free(address);
      },
    };
    const tape = new Tape(memory, this.executor, setting);
    this.#tapes.add(tape);
    return tape;
  }

  /** Does synchronous work with a tape running, or with none (for what outlives every tape). */
  record<T>(tape: Tape | undefined, work: () => T): T {
    const before = this.#tape;
    this.#tape = tape;
    try {
      return work();
    } finally {
      this.#tape = before;
    }
  }

  forget(tape: Tape): void {
    this.#tapes.delete(tape);
    tape.dispose();
  }

  /** What the engine's 8-bit dot product can do; found at the first question. */
  get dotRange(): DotRange | undefined {
    this.#dotRange ??= { found: dotRange(this.backend) };
    return this.#dotRange.found;
  }

  /** Checks a kernel at its first use; one that fails is named, put aside, and planned around. */
  trust(name: string): boolean {
    if (this.#checked.has(name)) return !this.#quarantined.has(name);
    this.#checked.add(name);
    const reason = checkKernel(this.backend, name);
    if (reason === undefined) return true;
    this.#quarantined.set(name, reason);
    this.planner.reconsider();
    this.onEvent({ type: 'quarantine', kernel: name, reason });
    return false;
  }

  get quarantined(): { kernel: string; reason: string }[] {
    return [...this.#quarantined].map(([kernel, reason]) => ({ kernel, reason }));
  }

  /** Tunes a problem that has no measured plan yet; calls that meet the same problem meanwhile wait for the same result. */
  async tuneFirst(problem: Problem, signal: AbortSignal | undefined): Promise<void> {
    const planned = this.plan(problem);
    if (this.effort === 'estimate' || !planned || planned.effort !== 'estimate') return;
    const running = this.#tuning.get(planned.key);
    if (running) {
      // whoever began it may give it up: that is not this call's end
      await running.catch(() => undefined);
      signal?.throwIfAborted();
      return this.tuneFirst(problem, signal);
    }
    const tuning = tuneProblem(this, problem, {
      effort: this.effort,
      budgetMs: FIRST_CALL_BUDGET_MS[this.effort],
      ...(signal ? { signal } : {}),
    }).finally(() => this.#tuning.delete(planned.key));
    this.#tuning.set(planned.key, tuning);
    await tuning;
  }

  /** Writes wisdom a moment later, once for many changes; failure is an event, not an error of whatever call came last. */
  saveSoon(): void {
    if (this.#saving !== undefined || this.#closed) return;
    this.#saving = setTimeout(() => this.save(), 200);
    this.#saving.unref?.();
  }

  save(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    try {
      this.wisdom.save();
    } catch (error) {
      this.onEvent({
        type: 'wisdom-refused',
        reason: error instanceof Error ? error.message : String(error),
        source: this.wisdom.source,
      });
    }
  }

  /** Closing again waits for the first. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.save();
      this.#closed = true;
      this.sharer?.close();
      this.budget.close();
      this.pacer.close();
      const parts = [
        this.backend.close(),
        this.gpu?.close(),
        this.gpujs?.close(),
        this.apart?.close(),
        this.#threadsApart?.close(),
        this.wisdom.settle(),
      ];
      this.#closing = Promise.all(parts).then(() => undefined);
    }
    return this.#closing;
  }

  #planOrNone(problem: Problem): Planned | undefined {
    try {
      return this.planner.plan(problem, this.#tape?.setting);
    } catch (cause) {
      if (this.#policy !== 'strict') return undefined;
      throw new TesseraeError(
        'E_FALLBACK',
        'no kernel for this problem may be trusted on this device',
        { quarantined: this.quarantined },
        "Use policy 'auto' to fall back to the slow reference, and please report this.",
        cause,
      );
    }
  }

  #makeHeap(): Heap {
    const core = this;
    return {
      get closed() {
        return core.#closed;
      },
      // kept weights outlive every tape
      allocate: (bytes: number, owner: Owner): Address =>
        core.#tape && owner !== 'prepacked'
          ? core.#tape.allocate(bytes)
          : core.backend.allocate(bytes, owner),
      free: (address: Address) => {
        if (core.#closed) return;
        for (const tape of core.#tapes)
          if (tape.owns(address)) {
            tape.free(address);
            return;
          }
        core.backend.free(address);
      },
      floats: () => core.backend.floats(),
      send: (values) => core.needGpu().send(values),
      share: (tensor) => core.sharer!.send(tensor),
      convert: (remote, storage) => core.needGpu().convert(remote, storage),
      watch(owner, block, shape) {
        if (block.owner === 'tensors') core.#tensors++;
        core.#leaks.register(owner, { block, shape }, block);
      },
      unwatch(block) {
        if (block.owner === 'tensors') core.#tensors--;
        core.#leaks.unregister(block);
      },
    };
  }
}

/** The backend is another one after a loss. */
function clockOf(gpu: GpuPlace): GpuClock {
  return {
    stopwatch: (work) => gpu.backend.stopwatch(work),
    settle: () => gpu.backend.settle(),
  };
}
