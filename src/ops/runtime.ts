/** createRuntime and the runtime that it returns: the whole public surface, each method a line or two into its own file. */

import { measureTeam, probeMachine } from '../backends/wasm/probe.ts';
import { systemClock } from '../core/clock.ts';
import { TesseraeError } from '../core/errors.ts';
import { checkShape } from '../core/shape.ts';
import type { GpuBuffer, GpuDevice } from '../core/webgpu.ts';
import type { PoolKind } from '../problem/pool.ts';
import type { Pair } from '../problem/window.ts';
import { spread } from './apart/spread.ts';
import { ASYNC_NAMES, badArgument, checkAsync, checkOptions, checkProblems } from './arguments.ts';
import { ArrayMethods } from './array/methods.ts';
import { matmulBands } from './bands.ts';
import { conv1d, conv1dSync, conv2d, conv2dSync } from './conv.ts';
import { convTranspose2d, convTranspose2dSync } from './conv-transpose.ts';
import type { Core } from './core.ts';
import { explained } from './explained.ts';
import { fromGpu, gpuBufferOf } from './gpu/from-gpu.ts';
import { gpujsReason, gpuReason, gpuReport } from './gpu/info.ts';
import { prepareOnGpu } from './gpu/tune.ts';
import { type FeatureFacts, featureReports, hasWideVectors, threadReport, version } from './info.ts';
import { endingIn, endingInSync } from './kernel/epilogue.ts';
import { makeKernel } from './kernel/kernel.ts';
import type { MapFunction } from './kernel/source.ts';
import type { KernelOptions, UserKernel, WithKernel } from './kernel/types.ts';
import { matmul, matmulSync } from './matmul.ts';
import { checkData, checkNumbers } from './operands.ts';
import type { Settings } from './options.ts';
import { globalPool2d, globalPool2dSync, pool2d, pool2dSync } from './pool.ts';
import { prepack } from './prepack.ts';
import { prepackConv } from './prepack-conv.ts';
import { integerTensor, isIntegers } from './quantized/operands.ts';
import { type Internals, probedKernels, type Setup, setUp } from './setup.ts';
import { Sharing } from './share/owner.ts';
import { readSpec } from './spec.ts';
import { DenseTensor } from './tensor.ts';
import { tuneOne } from './tune-one.ts';
import type {
  AsyncOptions,
  AveragePoolOptions,
  BandOptions,
  BudgetOptions,
  BudgetReport,
  ColumnSource,
  Conv1dOptions,
  ConvOptions,
  ConvTransposeOptions,
  DType,
  Explanation,
  GlobalPoolOptions,
  MachineReport,
  Matmul,
  MatmulOptions,
  MemoryReport,
  PlacedOptions,
  PoolOptions,
  PrepackConvOptions,
  Prepacked,
  PrepackedConv,
  PrepackOptions,
  ProblemSpec,
  Profile,
  Runtime,
  RuntimeInfo,
  RuntimeOptions,
  SharedRuntime,
  SharedTensor,
  Spread,
  SpreadOptions,
  Tensor,
  TensorLike,
  TuneOptions,
  TuneReport,
  WisdomAccess,
} from './types.ts';

const MiB = 1024 * 1024;
const ASYNC_OPTIONS: ReadonlySet<string> = new Set(ASYNC_NAMES);
const TUNE_OPTIONS: ReadonlySet<string> = new Set([...ASYNC_OPTIONS, 'effort', 'budgetMs']);

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
  return new WasmRuntime(await setUp(options, internals));
}

const cores = new WeakMap<Runtime, Core>();

/** The parts of a runtime, for what is built on it in this library. */
export function coreOf(runtime: Runtime): Core {
  const core = cores.get(runtime);
  if (core) return core;
  throw badArgument('runtime', runtime, 'What createRuntime() of this library returned.');
}

class WasmRuntime extends ArrayMethods implements Runtime {
  readonly #core: Core;
  readonly #settings: Settings;
  readonly #features: FeatureFacts;
  readonly #requested: number;

  readonly #absent: Setup['absent'];
  readonly matmul: Matmul;

  constructor({ core, settings, features, requested, absent }: Setup) {
    super(core);
    cores.set(this, core);
    this.#core = core;
    this.#settings = settings;
    this.#features = features;
    this.#requested = requested;
    this.#absent = absent;
    core.sharer = new Sharing(core, this);
    const multiply = (...[a, b, options = {}]: Parameters<Matmul>) =>
      endingIn(options, (plain) => matmul(core, a, b, plain));
    this.matmul = Object.assign(multiply, {
      tiles: (a: TensorLike, b: TensorLike | Prepacked, options?: BandOptions) =>
        matmulBands(core, a, b, options),
    });
  }

  get info(): RuntimeInfo {
    const core = this.#core;
    const { name, version: engineVersion, v8, arch } = core.host.engine;
    return {
      version,
      engine: { name, version: engineVersion, v8, arch },
      features: featureReports(this.#features),
      threads: threadReport(core, this.#requested, this.#settings.threads === undefined),
      numerics: this.#settings.numerics,
      policy: this.#settings.policy,
      backends: [
        {
          name: 'wasm',
          available: true,
          reason: `${core.backend.feature} kernels: ${core.backend.kernels.size}`,
        },
        { name: 'webgpu', available: core.gpu !== undefined, reason: gpuReason(core, this.#absent.gpu) },
        { name: 'gpujs', available: core.gpujs !== undefined, reason: gpujsReason(core, this.#absent.gpujs) },
        {
          name: 'reference',
          available: true,
          reason: 'float64 on the calling thread, only where no kernel may be trusted',
        },
      ],
      engineFlags: this.#features.flagsSet,
      gpu: gpuReport(core),
      machine: core.machine,
      wisdom: { source: core.wisdom.source, entries: core.wisdom.size, signature: core.wisdom.signature },
      budget: core.budget.report,
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

  tensor(data: Int8Array, shape: readonly number[]): Tensor<'i8'>;
  tensor(data: Uint8Array, shape: readonly number[]): Tensor<'u8'>;
  tensor(data: Int32Array, shape: readonly number[]): Tensor<'i32'>;
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor;
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor<DType> {
    this.#core.checkOpen('make a tensor');
    if (isIntegers(data)) return integerTensor(this.#core.heap, data, shape);
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

  fromGpu(buffer: GpuBuffer, shape: readonly number[]): Tensor {
    return fromGpu(this.#core, buffer, shape);
  }

  gpuBuffer(tensor: Tensor): Promise<GpuBuffer> {
    return gpuBufferOf(this.#core, tensor);
  }

  kernel(fn: MapFunction, options: KernelOptions = {}): UserKernel {
    return makeKernel(this.#core, fn, options);
  }

  async gpuTime(work: () => Promise<unknown>): Promise<number | undefined> {
    const core = this.#core;
    core.checkOpen('time the GPU');
    if (typeof work !== 'function') throw badArgument('work', work, 'A function that awaits what it begins.');
    if (core.gpu) return core.gpu.backend.stopwatch(work);
    await work();
    return undefined;
  }

  async settle(): Promise<void> {
    this.#core.checkOpen('settle');
    await this.#core.gpu?.backend.settle();
  }

  get gpuDevice(): GpuDevice {
    this.#core.checkOpen('use the GPU');
    return this.#core.needGpu().backend.device;
  }

  matmulSync(a: TensorLike, b: TensorLike | Prepacked, options: WithKernel<MatmulOptions> = {}): Tensor {
    return endingInSync(options, (plain) => matmulSync(this.#core, a, b, plain));
  }

  prepack(b: TensorLike, options?: PrepackOptions): Prepacked;
  prepack(w: TensorLike, options: PrepackConvOptions): PrepackedConv;
  prepack(x: TensorLike, options: PrepackOptions | PrepackConvOptions = {}): Prepacked | PrepackedConv {
    return options?.op === 'conv' ? prepackConv(this.#core, x, options) : prepack(this.#core, x, options);
  }

  spread(b: TensorLike | ColumnSource, options: SpreadOptions = {}): Promise<Spread> {
    return spread(this.#core, b, options);
  }

  conv2d(
    x: TensorLike,
    w: TensorLike | PrepackedConv,
    options: WithKernel<ConvOptions> & PlacedOptions = {},
  ): Promise<Tensor> {
    return endingIn(options, (plain) => conv2d(this.#core, x, w, plain));
  }

  conv2dSync(x: TensorLike, w: TensorLike | PrepackedConv, options: WithKernel<ConvOptions> = {}): Tensor {
    return endingInSync(options, (plain) => conv2dSync(this.#core, x, w, plain));
  }

  conv1d(
    x: TensorLike,
    w: TensorLike | PrepackedConv,
    options: WithKernel<Conv1dOptions> & PlacedOptions = {},
  ): Promise<Tensor> {
    return endingIn(options, (plain) => conv1d(this.#core, x, w, plain));
  }

  conv1dSync(x: TensorLike, w: TensorLike | PrepackedConv, options: WithKernel<Conv1dOptions> = {}): Tensor {
    return endingInSync(options, (plain) => conv1dSync(this.#core, x, w, plain));
  }

  convTranspose2d(
    x: TensorLike,
    w: TensorLike,
    options: ConvTransposeOptions & AsyncOptions = {},
  ): Promise<Tensor> {
    return convTranspose2d(this.#core, x, w, options);
  }

  convTranspose2dSync(x: TensorLike, w: TensorLike, options: ConvTransposeOptions = {}): Tensor {
    return convTranspose2dSync(this.#core, x, w, options);
  }

  maxPool2d(x: TensorLike, size: Pair, options: PoolOptions & PlacedOptions = {}): Promise<Tensor> {
    return pool2d(this.#core, 'max', x, size, options);
  }

  maxPool2dSync(x: TensorLike, size: Pair, options: PoolOptions = {}): Tensor {
    return pool2dSync(this.#core, 'max', x, size, options);
  }

  averagePool2d(
    x: TensorLike,
    size: Pair,
    options: AveragePoolOptions & PlacedOptions = {},
  ): Promise<Tensor> {
    return pool2d(this.#core, 'average', x, size, options);
  }

  averagePool2dSync(x: TensorLike, size: Pair, options: AveragePoolOptions = {}): Tensor {
    return pool2dSync(this.#core, 'average', x, size, options);
  }

  globalPool2d(
    x: TensorLike,
    kind: PoolKind,
    options: GlobalPoolOptions & PlacedOptions = {},
  ): Promise<Tensor> {
    return globalPool2d(this.#core, x, kind, options);
  }

  globalPool2dSync(x: TensorLike, kind: PoolKind, options: GlobalPoolOptions = {}): Tensor {
    return globalPool2dSync(this.#core, x, kind, options);
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
    return explained(core, planned);
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
      if (core.gpu) await prepareOnGpu(core, core.gpu, problem);
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
    if (core.threads > 1 && specs.length > 0) await core.backend.team.whenReady(core.threads);
    for (const [index, problem] of specs.entries()) {
      signal?.throwIfAborted();
      // what earlier problems left of the budget is shared by the later ones
      const share = (budgetMs - (systemClock.now() - started)) / (specs.length - index);
      const report = await tuneOne(core, problem, { effort, budgetMs: Math.max(1, share), signal });
      if (report) reports.push(report);
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

  async profile<T>(work: () => T | Promise<T>): Promise<Profile<Awaited<T>>> {
    this.#core.checkOpen('take a profile');
    if (typeof work !== 'function') throw badArgument('work', work, 'A function that awaits what it begins.');
    return this.#core.profiling.profile(work);
  }

  share(): SharedRuntime {
    this.#core.checkOpen('share');
    return this.#core.sharer!.share();
  }

  adopt<D extends DType = 'f32'>(handle: SharedTensor): Tensor<D> {
    this.#core.checkOpen('adopt a tensor');
    return this.#core.sharer!.adopt(handle) as Tensor<D>;
  }

  budget(options: BudgetOptions = {}): BudgetReport {
    this.#core.checkOpen('set a budget');
    return this.#core.budget.set(options);
  }

  async pause(): Promise<void> {
    const { pacer } = this.#core;
    this.#core.checkOpen('pause');
    pacer.pause('asked');
    await pacer.quiet();
  }

  resume(): void {
    this.#core.checkOpen('resume');
    this.#core.pacer.resume('asked');
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
