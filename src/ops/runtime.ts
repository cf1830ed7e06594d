/** createRuntime and the runtime that it returns: the whole public surface, each method a line or two into its own file. */

import { WasmBackend } from '../backends/wasm/backend.ts';
import { wasmDigest } from '../backends/wasm/gen/wasm-bytes.ts';
import type { EngineReport, Host } from '../backends/wasm/host.ts';
import { nodeHost } from '../backends/wasm/host-node.ts';
import { hasRelaxedSimd } from '../backends/wasm/module.ts';
import { measureTeam, probeMachine } from '../backends/wasm/probe.ts';
import { systemClock } from '../core/clock.ts';
import { TesseraeError } from '../core/errors.ts';
import { checkShape } from '../core/shape.ts';
import { findKernel, KERNELS, kernelTableText } from '../kernels/table.ts';
import { signature } from '../plan/fingerprint.ts';
import type { MachineProfile } from '../plan/machine.ts';
import { memoryStore } from '../plan/stores/memory.ts';
import { defaultWisdomPath, nodeFileStore } from '../plan/stores/node-file.ts';
import type { WisdomStore } from '../plan/stores/types.ts';
import { WISDOM_SCHEMA, Wisdom } from '../plan/wisdom.ts';
import { matmulKey } from '../problem/matmul.ts';
import { badArgument, checkAsync, checkOptions, checkProblems } from './arguments.ts';
import { Core } from './core.ts';
import { type FeatureFacts, featureReports, hasWideVectors, version } from './info.ts';
import { matmul, matmulSync } from './matmul.ts';
import { checkData, checkNumbers } from './operands.ts';
import { readOptions, type Settings } from './options.ts';
import { prepack } from './prepack.ts';
import { readSpec } from './spec.ts';
import { DenseTensor } from './tensor.ts';
import { tuneProblem } from './tuning.ts';
import type {
  AsyncOptions,
  Explanation,
  MachineReport,
  MatmulOptions,
  MemoryReport,
  Prepacked,
  ProblemSpec,
  Runtime,
  RuntimeInfo,
  RuntimeOptions,
  Tensor,
  TensorLike,
  TuneOptions,
  TuneReport,
  WisdomAccess,
} from './types.ts';

/** A first guess of the time to wake the team, until it has been measured. */
const WAKE_GUESS_US = 200;
const MiB = 1024 * 1024;
const ASYNC_OPTIONS: ReadonlySet<string> = new Set(['signal', 'onProgress']);
const TUNE_OPTIONS: ReadonlySet<string> = new Set([...ASYNC_OPTIONS, 'effort', 'budgetMs']);

/** Parts that tests replace; users have no way to pass them. */
export interface Internals {
  readonly host?: Host;
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** Skips the probe. */
  readonly machine?: MachineProfile;
}

/**
 * Makes a runtime: its memory, its kernels, its planner. Threads start with the first call that is worth them.
 *
 * The first runtime on a machine probes it for about a third of a second and keeps the result in wisdom; later ones start
 * in a few milliseconds.
 * @throws TesseraeError `E_ARGUMENT`, `E_MEMORY`, `E_ENGINE`, or with policy `strict` `E_FALLBACK`.
 * @example
 * const rt = await createRuntime();
 * const c = await rt.matmul(rt.tensor([1, 2, 3, 4], [2, 2]), rt.tensor([5, 6, 7, 8], [2, 2]));
 * console.log(c.data); // Float32Array [19, 22, 43, 50]
 * await rt.close();
 */
export function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeWith(options, {});
}

export async function createRuntimeWith(options: RuntimeOptions, internals: Internals): Promise<Runtime> {
  const settings = readOptions(options);
  const host = internals.host ?? nodeHost;
  const features = readFeatures(host, settings);
  const { engine } = host;
  const requested = settings.threads ?? engine.cores;
  const threads = host.noThreads === undefined ? requested : 1;
  checkStrict(settings, features, threads, requested);
  if (threads < requested)
    settings.onEvent({ type: 'threads', requested, actual: threads, reason: host.noThreads ?? '' });
  const backend = new WasmBackend({
    host,
    initialMemory: settings.memory.initial,
    maximumMemory: settings.memory.maximum,
    workerTimeoutMs: settings.workerTimeoutMs,
    onEvent: (event) => settings.onEvent({ type: 'worker-lost', worker: event.worker, reason: event.reason }),
    ...(internals.bytes ? { bytes: internals.bytes } : {}),
  });
  const wisdom = openWisdom(settings, backend, engine, features.flagsSet, threads);
  const parts = {
    host,
    backend,
    wisdom,
    threads,
    exact: settings.numerics === 'exact',
    policy: settings.policy,
    effort: settings.effort,
    onEvent: settings.onEvent,
  };
  const known = internals.machine ?? knownMachine(wisdom, backend, parts.exact);
  const core = new Core(parts, known ?? (await shortProbe(backend, host, threads, parts.exact, features)));
  if (!known) core.setMachine(core.machine);
  return new WasmRuntime(core, settings, features, { requested, actual: threads });
}

function readFeatures(host: Host, settings: Settings): FeatureFacts {
  const asked = settings.engineFlags === 'allow';
  const flags = asked ? host.setEngineFlags({ relaxedSimd: !hasRelaxedSimd() }) : { set: [], reason: '' };
  return {
    relaxed: hasRelaxedSimd(),
    flagsAsked: asked,
    flagsSet: flags.set,
    flagsReason: flags.reason,
    engine: host.engine,
    noThreads: host.noThreads,
  };
}

function checkStrict(settings: Settings, features: FeatureFacts, threads: number, requested: number): void {
  if (settings.policy !== 'strict') return;
  if (threads < requested) {
    throw new TesseraeError(
      'E_FALLBACK',
      `${requested} threads were asked for, ${threads} can be had: ${features.noThreads}`,
      { requested, actual: threads },
      "Use policy 'auto', or ask for one thread.",
    );
  }
  if (settings.engineFlags === 'allow' && features.flagsSet.length === 0) {
    throw new TesseraeError(
      'E_FALLBACK',
      `engine flags were allowed but none applies: ${features.flagsReason}`,
      { engine: features.engine.v8 },
      "Use policy 'auto', or engineFlags 'off'.",
    );
  }
}

function openWisdom(
  settings: Settings,
  backend: WasmBackend,
  engine: EngineReport,
  flags: readonly string[],
  threads: number,
): Wisdom {
  const sign = signature({
    schema: WISDOM_SCHEMA,
    kernelTable: `${wasmDigest}\n${kernelTableText()}`,
    engine: { name: engine.name, version: engine.version, v8: engine.v8, arch: engine.arch },
    features: [backend.moduleName],
    engineFlags: flags,
    cpu: { model: engine.cpu, cores: engine.cores },
    threadCap: threads,
  });
  const isPlanValid = (plan: { kernel: string; threads: number }) => {
    if (!findKernel(plan.kernel)) return `there is no kernel ${plan.kernel}`;
    return plan.threads > threads ? `it wants ${plan.threads} threads, there are ${threads}` : undefined;
  };
  const wisdom = new Wisdom(
    openStore(settings, sign),
    sign,
    (reason, source) => settings.onEvent({ type: 'wisdom-refused', reason, source }),
    isPlanValid,
  );
  wisdom.load();
  return wisdom;
}

/** One default file per signature: engines and thread counts that alternate would otherwise refuse each other's wisdom. */
function openStore({ wisdom }: Settings, sign: string): WisdomStore {
  if (wisdom === false) return memoryStore();
  if (typeof wisdom === 'object') return wisdom;
  const path = wisdom ?? defaultWisdomPath(sign);
  return path === undefined ? memoryStore() : nodeFileStore(path);
}

/** Kernels whose speed the planner needs: those that it may choose from. */
function probedKernels(backend: WasmBackend, exact: boolean): string[] {
  const fast = KERNELS.filter((kernel) => backend.kernels.has(kernel.name));
  const wanted = exact
    ? fast.filter((kernel) => kernel.deterministic)
    : fast.filter((kernel) => kernel.feature === backend.moduleName);
  return wanted.map((kernel) => kernel.name);
}

function knownMachine(wisdom: Wisdom, backend: WasmBackend, exact: boolean): MachineProfile | undefined {
  const machine = wisdom.machine;
  return machine && probedKernels(backend, exact).every((name) => name in machine.kernelGflops)
    ? machine
    : undefined;
}

async function shortProbe(
  backend: WasmBackend,
  host: Host,
  threads: number,
  exact: boolean,
  features: FeatureFacts,
): Promise<MachineProfile> {
  return probeMachine(
    backend,
    {
      clock: systemClock,
      peakMs: 40,
      kernelMs: 240,
      readBytes: 64 * MiB,
      readMs: 15,
      kernels: probedKernels(backend, exact),
      wideVectors: hasWideVectors(features),
      pause: () => host.yieldToEvents(),
    },
    { wakeUs: threads > 1 ? WAKE_GUESS_US : 0 },
  );
}

class WasmRuntime implements Runtime {
  readonly #core: Core;
  readonly #settings: Settings;
  readonly #features: FeatureFacts;
  readonly #threads: { readonly requested: number; readonly actual: number };

  constructor(
    core: Core,
    settings: Settings,
    features: FeatureFacts,
    threads: { requested: number; actual: number },
  ) {
    this.#core = core;
    this.#settings = settings;
    this.#features = features;
    this.#threads = threads;
  }

  get info(): RuntimeInfo {
    const core = this.#core;
    const { name, version: engineVersion, v8, arch } = core.host.engine;
    const { requested, actual } = this.#threads;
    const reason =
      core.host.noThreads ??
      (this.#settings.threads === undefined ? 'one for each available core' : 'as asked');
    return {
      version,
      engine: { name, version: engineVersion, v8, arch },
      features: featureReports(this.#features),
      threads: { requested, actual, reason },
      numerics: this.#settings.numerics,
      policy: this.#settings.policy,
      backends: [
        {
          name: 'wasm',
          available: true,
          reason: `${core.backend.moduleName} kernels: ${core.backend.kernels.size}`,
        },
        {
          name: 'reference',
          available: true,
          reason: 'float64 on the calling thread, only where no kernel may be trusted',
        },
      ],
      engineFlags: this.#features.flagsSet,
      machine: core.machine,
      wisdom: { source: core.wisdom.source, entries: core.wisdom.size, signature: core.wisdom.signature },
      closed: core.closed,
    };
  }

  get wisdom(): WisdomAccess {
    const { wisdom, planner } = this.#core;
    return {
      list: () =>
        wisdom.list().map(({ key, plan, effort, ms }) => ({ key, plan, effort, ms: ms ?? Number.NaN })),
      export: () => wisdom.export(),
      import: (text) => {
        if (typeof text !== 'string') throw badArgument('text', text, 'What export() returned.');
        const changed = wisdom.import(text);
        planner.reconsider();
        this.#core.saveSoon();
        return changed;
      },
      clear: () => {
        const { machine } = this.#core;
        wisdom.clear();
        // the machine has not changed: its profile stays, or the next start would have to probe again
        this.#core.setMachine(machine);
      },
    };
  }

  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    this.#core.checkOpen('make a tensor');
    const checked = checkShape(shape, 'tensor');
    if (Array.isArray(data)) checkNumbers(data, checked);
    else checkData(data, checked, 'data');
    const tensor = new DenseTensor(this.#core.heap, checked);
    tensor.data.set(data);
    return tensor;
  }

  zeros(shape: readonly number[]): Tensor {
    this.#core.checkOpen('make a tensor');
    const tensor = new DenseTensor(this.#core.heap, checkShape(shape, 'zeros'));
    tensor.data.fill(0);
    return tensor;
  }

  matmul(
    a: TensorLike,
    b: TensorLike | Prepacked,
    options: MatmulOptions & AsyncOptions = {},
  ): Promise<Tensor> {
    return matmul(this.#core, a, b, options);
  }

  matmulSync(a: TensorLike, b: TensorLike | Prepacked, options: MatmulOptions = {}): Tensor {
    return matmulSync(this.#core, a, b, options);
  }

  prepack(b: TensorLike, options: { readonly transposeB?: boolean; readonly m?: number } = {}): Prepacked {
    return prepack(this.#core, b, options);
  }

  explain(spec: ProblemSpec): Explanation {
    const core = this.#core;
    core.checkOpen('explain');
    const problem = readSpec(core, spec);
    const planned = core.plan(problem);
    if (!planned)
      throw new TesseraeError(
        'E_KERNEL',
        'every kernel for this problem is quarantined',
        { quarantined: core.quarantined },
        'Calls use the slow reference; please report this.',
      );
    const { key, plan, source, effort } = planned;
    return {
      key,
      problem,
      plan,
      source,
      effort,
      candidates: core.planner.measured(key) ?? core.planner.candidates(problem),
      quarantined: core.quarantined,
    };
  }

  async prepare(problems: readonly ProblemSpec[], options: AsyncOptions = {}): Promise<void> {
    const core = this.#core;
    core.checkOpen('prepare');
    checkOptions(options, ASYNC_OPTIONS);
    checkAsync(options);
    const specs = checkProblems(problems).map((spec) => readSpec(core, spec));
    let done = 0;
    let threads = 1;
    for (const problem of specs) {
      options.signal?.throwIfAborted();
      const planned = core.plan(problem);
      if (planned) {
        core.executor.prepare(planned);
        threads = Math.max(threads, planned.plan.threads);
      }
      options.onProgress?.({ phase: 'prepare', done: ++done, total: specs.length });
      await core.host.yieldToEvents();
      core.checkOpen('prepare');
    }
    if (threads > 1) await core.backend.team.whenReady(threads);
    core.checkOpen('prepare');
  }

  async tune(problems: readonly ProblemSpec[], options: TuneOptions = {}): Promise<readonly TuneReport[]> {
    const core = this.#core;
    core.checkOpen('tune');
    checkOptions(options, TUNE_OPTIONS);
    checkAsync(options);
    const { effort = 'measure', budgetMs = 10_000, signal, onProgress } = options;
    if (effort !== 'measure' && effort !== 'exhaustive') {
      throw badArgument('effort', effort, 'Use measure or exhaustive.');
    }
    if (typeof budgetMs !== 'number' || !(budgetMs > 0)) {
      throw badArgument('budgetMs', budgetMs, 'A number of milliseconds above 0.');
    }
    const specs = checkProblems(problems).map((spec) => readSpec(core, spec));
    const started = systemClock.now();
    const reports: TuneReport[] = [];
    if (this.#threads.actual > 1 && specs.length > 0) await core.backend.team.whenReady(this.#threads.actual);
    for (const [index, problem] of specs.entries()) {
      signal?.throwIfAborted();
      // what earlier problems left of the budget is shared by the later ones
      const share = (budgetMs - (systemClock.now() - started)) / (specs.length - index);
      const tuned = await tuneProblem(core, problem, {
        effort,
        budgetMs: Math.max(1, share),
        ...(signal ? { signal } : {}),
      });
      if (tuned) {
        const { plan, ms, defaultMs, measured, candidates } = tuned;
        reports.push({
          key: matmulKey(problem),
          plan,
          ms,
          estimateMs: defaultMs,
          measured,
          candidates: candidates.length,
        });
      }
      onProgress?.({ phase: 'tune', done: index + 1, total: specs.length });
    }
    core.save();
    return reports;
  }

  async measureMachine(options: AsyncOptions = {}): Promise<MachineReport> {
    const core = this.#core;
    core.checkOpen('measure');
    checkOptions(options, ASYNC_OPTIONS);
    checkAsync(options);
    const { signal, onProgress } = options;
    const bytes = Math.min(192 * MiB, Math.floor(this.#settings.memory.maximum / 4));
    onProgress?.({ phase: 'prepare', done: 0, total: 2 });
    const team = await measureTeam(core.backend, core.threads, bytes, systemClock);
    onProgress?.({ phase: 'prepare', done: 1, total: 2 });
    const machine = await probeMachine(
      core.backend,
      {
        clock: systemClock,
        peakMs: 250,
        kernelMs: 1000,
        readBytes: bytes,
        readMs: 300,
        kernels: probedKernels(core.backend, core.exact),
        wideVectors: hasWideVectors(this.#features),
        pause: async () => {
          await core.host.yieldToEvents();
          core.checkOpen('measure');
        },
        ...(signal ? { signal } : {}),
      },
      team,
    );
    core.checkOpen('measure');
    onProgress?.({ phase: 'prepare', done: 2, total: 2 });
    core.setMachine(machine);
    return machine;
  }

  memory(): MemoryReport {
    const use = this.#core.backend.memoryUse();
    return { ...use, tensors: this.#core.tensors };
  }

  close(): Promise<void> {
    return this.#core.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
