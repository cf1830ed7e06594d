/**
 * The public contract of the library as types: what a user passes in and gets back.
 * Implementations live beside this file; everything here is plain data or an interface.
 */

import type { WasmSource } from '../backends/wasm/given.ts';
import type { GpuRequest } from '../backends/webgpu/open.ts';
import type { TesseraeError } from '../core/errors.ts';
import type { GpuBuffer, GpuDevice } from '../core/webgpu.ts';
import type { Effort, Plan } from '../plan/plan.ts';
import type { WisdomStore } from '../plan/stores/types.ts';
import type { ConvAlgorithm } from '../problem/conv.ts';
import type { Activation } from '../problem/epilogue.ts';
import type { PoolKind } from '../problem/pool.ts';
import type { Pair } from '../problem/window.ts';
import type { ArrayRuntime } from './array/types.ts';
import type {
  AveragePoolOptions,
  Conv1dOptions,
  ConvOptions,
  ConvTransposeOptions,
  GlobalPoolOptions,
  PoolOptions,
  PrepackConvOptions,
  PrepackedConv,
} from './conv-types.ts';
import type { MapFunction } from './kernel/source.ts';
import type { KernelOptions, UserKernel, WithKernel } from './kernel/types.ts';
import type {
  ColumnSource,
  Matmul,
  MatmulOptions,
  Prepacked,
  PrepackOptions,
  Spread,
  SpreadOptions,
} from './matmul-types.ts';
import type { ConvIntegerSpec, IntegerRuntime, MatmulIntegerSpec } from './quantized/types.ts';
import type {
  BudgetOptions,
  BudgetReport,
  Explanation,
  MachineReport,
  MemoryReport,
  Numerics,
  Policy,
  Profile,
  RuntimeInfo,
  TuneReport,
} from './report-types.ts';
import type {
  AsyncOptions,
  DType,
  PlacedOptions,
  SharedRuntime,
  SharedTensor,
  Storage,
  Tensor,
  TensorLike,
} from './tensor-types.ts';

export type * from './conv-types.ts';
export type * from './matmul-types.ts';
export type * from './report-types.ts';
export type * from './tensor-types.ts';

export type EngineFlags = 'off' | 'allow';
/** `'auto'`: each call where it is measured to be cheapest. */
export type BackendChoice = 'auto' | 'wasm' | 'webgpu' | 'gpujs';

/** Options of `createRuntime`; every one has a default. */
export interface RuntimeOptions {
  /** Threads that compute, the calling thread included in `...Sync` calls. Default: the cores available, a
   *  container's limit counted. */
  readonly threads?: number;
  /** `'exact'`: the same bytes on any machine, thread count and blocking. Default `'fast'`. */
  readonly numerics?: Numerics;
  /** `'strict'` throws `E_FALLBACK` where less than asked for would be used (threads, SIMD level). Default `'auto'`. */
  readonly policy?: Policy;
  /** How hard a problem that has no wisdom is planned at its first call. Default `'estimate'`. */
  readonly effort?: Effort;
  /** Where measured plans are kept: a file path, or in a page the name of a database (IndexedDB), a store, or `false` for this runtime's
   *  memory only. Default: a file in the user's cache folder, in a page the database `tesserae`. Where it says nothing about the machine, that
   *  is measured, for 0.2 to 0.8 s, once in a process. */
  readonly wisdom?: string | WisdomStore | false;
  /** Bytes: `initial` size of the memory and its `maximum` (at most 4 GiB). Defaults 16 MiB and 4 GiB. With `shared: false`, and in pages that
   *  are not cross-origin isolated, threads do not share it: each has its own, as large at most, and is sent what it works on. */
  readonly memory?: { readonly initial?: number; readonly maximum?: number; readonly shared?: boolean };
  /** With `'allow'` V8 flags may be set process-wide before kernels are compiled (relaxed SIMD on Node 20,
   *  256-bit revectorisation on Node 24+). `rt.info.engineFlags` says which. Default `'off'`. */
  readonly engineFlags?: EngineFlags;
  /**
   * A GPU to compute on as well: `true` for the one that the platform gives (browsers: `navigator.gpu`; Node: the npm package
   * `webgpu`), or a `device` or `gpu` object of the caller's, which is never destroyed here. A page without WebGPU computes on WebGL2 where
   * that is faster, through gpu.js, which a bundled page passes as `{ gpujs }`. Where there is none of both, `rt.info`
   * says why and everything runs in WebAssembly. Default `false`: opening it loads native code in Node.
   */
  readonly gpu?: boolean | GpuRequest;
  /** `'webgpu'` sends every call there that it has a kernel for, and implies `gpu: true`; `E_GPU` where there is none. `'gpujs'` does
   *  the same with gpu.js on WebGL2 (Node: on a WebGPU device). `'wasm'` sends none. Default `'auto'`. */
  readonly backend?: BackendChoice;
  /** The kernels as files of your own, in place of those in the code: what `embeddedWasm()` of the same version gave, both or `simd` alone. */
  readonly wasm?: WasmFiles | WasmSource;
  /** For pages whose Content-Security-Policy forbids `blob:` workers: the URL of a file with what `embeddedWorker()` of the same version gave. Not
   *  looked at in Node. */
  readonly worker?: string | URL;
  /** Milliseconds without progress after which a worker counts as stuck and is replaced. Default 30 000. */
  readonly workerTimeoutMs?: number;
  /** Hears of everything a user may want to log: see {@link RuntimeEvent}. */
  readonly onEvent?: (event: RuntimeEvent) => void;
}

/** Each a URL, a Response or a promise of one, bytes or a WebAssembly.Module; without `relaxed` engines that have relaxed SIMD do without it. */
export interface WasmFiles {
  readonly simd: WasmSource;
  readonly relaxed?: WasmSource;
}

export type RuntimeEvent =
  | { readonly type: 'quarantine'; readonly kernel: string; readonly reason: string }
  | { readonly type: 'wisdom-refused'; readonly reason: string; readonly source: string }
  | { readonly type: 'threads'; readonly requested: number; readonly actual: number; readonly reason: string }
  | { readonly type: 'worker-lost'; readonly worker: number; readonly reason: string }
  | { readonly type: 'gpu-lost'; readonly reason: string }
  | { readonly type: 'leak'; readonly bytes: number; readonly shape: readonly number[] }
  | { readonly type: 'planned'; readonly key: string; readonly plan: Plan; readonly effort: Effort };

export interface TuneOptions extends AsyncOptions {
  /** Default `'measure'`. */
  readonly effort?: Exclude<Effort, 'estimate'>;
  /** For all problems together. Default 10 000. */
  readonly budgetMs?: number;
}

/**
 * A runtime: one memory, one team of threads, one planner. Made by `createRuntime`. Calls may overlap freely. Every method
 * checks its arguments before any work and throws (or rejects with) `TesseraeError`; after `close()` with code `E_CLOSED`.
 */
export interface Runtime extends AsyncDisposable, ArrayRuntime, IntegerRuntime {
  /** What was asked for, what was got, and why. A fresh snapshot at each read. */
  readonly info: RuntimeInfo;

  /**
   * A tensor with a copy of `data`, row-major: of floats from a Float32Array or an array of numbers, of integers from their arrays.
   * @throws `E_SHAPE` where data and shape disagree, `E_DTYPE` for other types, `E_MEMORY`.
   */
  tensor(data: Int8Array, shape: readonly number[]): Tensor<'i8'>;
  tensor(data: Uint8Array, shape: readonly number[]): Tensor<'u8'>;
  tensor(data: Int32Array, shape: readonly number[]): Tensor<'i32'>;
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor;

  /** A tensor of zeros. @throws `E_SHAPE`, `E_MEMORY`. */
  zeros(shape: readonly number[]): Tensor;

  /**
   * A tensor over a buffer of the caller's on the runtime's GPU, without a copy: floats, row-major, made with the usages STORAGE,
   * COPY_SRC and COPY_DST. The buffer stays the caller's; `disposing` the tensor lets go of it.
   * @throws `E_GPU` without a GPU, `E_SHAPE` where the buffer is too small.
   */
  fromGpu(buffer: GpuBuffer, shape: readonly number[]): Tensor;

  /**
   * The buffer that a tensor's values lie in, to be read by kernels of yours on {@link Runtime.gpuDevice}: elements side by side from its start,
   * floats, or halves where `tensor.storage` says so. Values that are in memory go there first; everything recorded so far is submitted
   * before this resolves. The buffer stays the tensor's: it is used again for others once the tensor is disposed of or written to.
   * @throws `E_GPU` without a GPU, `E_GPU_LOST`, `E_ARGUMENT`, `E_DTYPE`, `E_FOREIGN`, `E_DISPOSED`.
   * @example
   * const buffer = await rt.gpuBuffer(await rt.matmul(x, w, { result: 'gpu' }));
   */
  gpuBuffer(tensor: Tensor): Promise<GpuBuffer>;

  /**
   * A function of yours over the elements of tensors: `function (x, y) { return ...; }`, with Math and `this.constants` and nothing
   * else from outside. It runs on the GPU through the npm package gpu.js, where there is a GPU and that is faster, else on the
   * calling thread; on the GPU its results can go straight into the next call.
   * @throws `E_ARGUMENT` for arrow functions and captured variables, which have no text that could be translated.
   * @example
   * const gate = rt.kernel(function (x, g) { return x * Math.max(0, g); });
   * const y = await gate.run([x, await rt.matmul(x, w)]);
   */
  kernel(fn: MapFunction, options?: KernelOptions): UserKernel;

  /** Submits what was recorded for the GPU and resolves when it has run; at once without one. */
  settle(): Promise<void>;

  /**
   * Milliseconds by the GPU's own clock from the beginning to the end of what `work` sends there, moves included, and of whatever else is sent
   * meanwhile; undefined without a GPU, or without its feature `timestamp-query`. Browsers round to 0.1 ms: time many calls.
   * @example
   * const ms = await rt.gpuTime(async () => { for (let i = 0; i < 100; i++) (await rt.matmul(a, b)).dispose(); });
   */
  gpuTime(work: () => Promise<unknown>): Promise<number | undefined>;

  /** The device that the runtime computes on, for kernels of the caller's own. @throws `E_GPU` without a GPU. */
  readonly gpuDevice: GpuDevice;

  /**
   * out = activation(alpha * (a x b) + beta * out + bias). `a` is [..., m, k], `b` [..., k, n] (after transposition),
   * leading extents broadcast as NumPy's matmul does, the result is [..., m, n]. Runs on the team, or at once where that
   * takes less than about 5 ms. Blocked as in Goto & van de Geijn, "Anatomy of high-performance matrix multiplication"
   * (2008), with the micro-kernels of the kernel table.
   * @throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`, `E_DISPOSED`, `E_FOREIGN`, `E_MEMORY`; `E_KERNEL`, `E_WORKER_DIED`,
   * `E_WORKER_TIMEOUT` if a thread fails; the signal's reason when aborted (between tiles).
   * @example
   * const y = await rt.matmul(x, weights, { transposeB: true, bias, activation: 'relu', signal: AbortSignal.timeout(1000) });
   */
  readonly matmul: Matmul;

  /** The same, computed before it returns, on the calling thread with the team's help. The same bytes as `matmul` where the
   *  plan is the same. */
  matmulSync(a: TensorLike, b: TensorLike | Prepacked, options?: WithKernel<MatmulOptions>): Tensor;

  /**
   * Packs a right operand once for many products: `b` is [k, n], or [n, k] with `transposeB`. `m` is the usual number of
   * rows of the left operand (default: few). The copy is independent of `b`.
   * @throws `E_SHAPE` unless `b` is a matrix, `E_MEMORY`.
   * @example
   * const w = rt.prepack(weights, { transposeB: true });
   * for (const x of tokens) rt.matmulSync(x, w, { out });
   */
  prepack(b: TensorLike, options?: PrepackOptions): Prepacked;

  /**
   * Keeps a convolution's weights for many calls: [outC, inC / groups, kH, kW] ([outC, inC / groups, k] for conv1d). Whatever
   * form a planned algorithm wants (panels, Winograd's transform, Strassen's sums) is made at its first use and kept. Calls use the `algorithm`
   * that is named here, if any. The copy is independent of `w`.
   * @throws `E_SHAPE`, `E_ARGUMENT`, `E_MEMORY`.
   * @example
   * const w = rt.prepack(weights, { op: 'conv' });
   * for (const frame of frames) rt.conv2dSync(frame, w, { padding: 1, bias, out });
   */
  prepack(w: TensorLike, options: PrepackConvOptions): PrepackedConv;

  /**
   * `prepack` for a matrix that is larger than a memory (4 GiB) may be: each thread gets strips of its columns into a memory of its own, and
   * `matmul` computes each strip where it lies, the same bytes as anywhere else in exact mode. A function that reads columns, from a file
   * say, is asked for a strip at a time, so that the matrix is never whole in one place; an array must stay as it is. Strips of a thread that
   * was lost are brought anew by the next call.
   * @throws `E_SHAPE`, `E_ARGUMENT`, `E_DISPOSED`; `E_MEMORY` where all threads together cannot hold it, `E_FALLBACK` where there are no threads.
   * @example
   * const w = await rt.spread({ shape: [n, k], columns: (first, count) => readRows(file, first, count) }, { transposeB: true });
   * const y = await rt.matmul(x, w, { bias });
   */
  spread(b: TensorLike | ColumnSource, options?: SpreadOptions): Promise<Spread>;

  /**
   * Cross-correlation as ONNX Conv defines it: `x` [n, inC, h, w] ([n, h, w, inC] with layout `'nhwc'`), `w` [outC, inC / groups,
   * kH, kW] in both layouts. out = activation(conv(x, w) + bias + residual). The algorithm is the planner's choice, see
   * {@link ConvAlgorithm}; Winograd's and Strassen's methods are left out in exact mode.
   * @throws as `matmul`.
   * @example
   * const y = await rt.conv2d(x, w, { stride: 2, padding: 'same', bias, activation: 'relu' });
   */
  conv2d(
    x: TensorLike,
    w: TensorLike | PrepackedConv,
    options?: WithKernel<ConvOptions> & PlacedOptions,
  ): Promise<Tensor>;
  conv2dSync(x: TensorLike, w: TensorLike | PrepackedConv, options?: WithKernel<ConvOptions>): Tensor;

  /** The same over one extent: `x` [n, inC, length], `w` [outC, inC / groups, k]; pairs have one number, padding at most two
   *  sides ([before, after]). */
  conv1d(
    x: TensorLike,
    w: TensorLike | PrepackedConv,
    options?: WithKernel<Conv1dOptions> & PlacedOptions,
  ): Promise<Tensor>;
  conv1dSync(x: TensorLike, w: TensorLike | PrepackedConv, options?: WithKernel<Conv1dOptions>): Tensor;

  /**
   * The transpose of a convolution (ONNX ConvTranspose): `w` is [inC, outC / groups, kH, kW]. The result has
   * (in - 1) * stride + (k - 1) * dilation + 1 + outputPadding - padding rows; with `'same'` in * stride.
   * @throws as `matmul`.
   */
  convTranspose2d(
    x: TensorLike,
    w: TensorLike,
    options?: ConvTransposeOptions & AsyncOptions,
  ): Promise<Tensor>;
  convTranspose2dSync(x: TensorLike, w: TensorLike, options?: ConvTransposeOptions): Tensor;

  /** The largest value under each window of `size`; padding never wins. A NaN under the window is the result. */
  maxPool2d(x: TensorLike, size: Pair, options?: PoolOptions & PlacedOptions): Promise<Tensor>;
  maxPool2dSync(x: TensorLike, size: Pair, options?: PoolOptions): Tensor;

  /** The mean under each window of `size`. */
  averagePool2d(x: TensorLike, size: Pair, options?: AveragePoolOptions & PlacedOptions): Promise<Tensor>;
  averagePool2dSync(x: TensorLike, size: Pair, options?: AveragePoolOptions): Tensor;

  /** Over the whole image: [n, c, h, w] becomes [n, c, 1, 1] ([n, 1, 1, c] with `'nhwc'`). */
  globalPool2d(x: TensorLike, kind: PoolKind, options?: GlobalPoolOptions & PlacedOptions): Promise<Tensor>;
  globalPool2dSync(x: TensorLike, kind: PoolKind, options?: GlobalPoolOptions): Tensor;

  /** Which plan a problem gets, where it comes from, and every candidate that was considered. Measures nothing. */
  explain(problem: ProblemSpec): Explanation;

  /** Plans, checks and encodes ahead of the first calls, and starts the threads they want. */
  prepare(problems: readonly ProblemSpec[], options?: AsyncOptions): Promise<void>;

  /** Races plans for the problems within the budget and keeps the winners as wisdom; reports one entry for each problem. */
  tune(problems: readonly ProblemSpec[], options?: TuneOptions): Promise<readonly TuneReport[]>;

  /** Measures the machine afresh at length (about two seconds): what `doctor` prints. */
  measureMachine(options?: AsyncOptions): Promise<MachineReport>;

  /** The plans that were measured: to look at, to carry to a machine of the same kind, to forget. */
  readonly wisdom: WisdomAccess;

  /**
   * Runs `work` and says what the runtime did meanwhile, for whomever: operations with their problems and kernels, and of those on the
   * threads every step with its thread. Calls on a GPU are waited for, one after the other, while a profile is taken.
   * @throws what `work` throws, and `E_ARGUMENT`, `E_CLOSED`.
   * @example
   * const { chromeTrace } = await rt.profile(() => session.run(feeds));
   * writeFileSync('trace.json', JSON.stringify(chromeTrace())); // for ui.perfetto.dev
   */
  profile<T>(work: () => T | Promise<T>): Promise<Profile<Awaited<T>>>;

  /**
   * A way in for one other thread, which joins with `attachRuntime`: it then uses the same memory, threads and plans. Post the handle with its
   * port in the transfer list; each thread needs one of its own. What the thread had is given back when it ends, however it does.
   * @throws `E_FALLBACK` where memory cannot be shared.
   * @example
   * const handle = rt.share();
   * worker.postMessage({ handle, x: x.share() }, [handle.port]);
   */
  share(): SharedRuntime;

  /** The tensor that another thread has shared: the same values, not a copy. Disposed here and there by itself. @throws `E_FOREIGN`, `E_DISPOSED`. */
  adopt<D extends DType = 'f32'>(handle: SharedTensor): Tensor<D>;

  /**
   * Says how much of the machine the runtime may take, at once and also for calls under way; returns what holds now. Threads and
   * duty cycle bind the team: calls that block (`...Sync`) compute on their own thread all the time, with helpers as the budget allows.
   * With a duty cycle below 1 calls compute in turns of about 10 ms, and rest between them as long as is due; interactive
   * calls do not rest. On battery, where that can be known, everything stands aside.
   * @throws `E_ARGUMENT`; nothing is changed then.
   * @example
   * rt.budget({ threads: 2, dutyCycle: 0.1, nice: 10, pauseOnBattery: true });
   */
  budget(options?: BudgetOptions): BudgetReport;

  /**
   * Lets all calls that return promises stand aside, after the tiles that are under way; resolves when no thread computes. They
   * go on where they were with `resume`, and give the same bytes. Calls that block are not kept waiting; a GPU finishes what it was sent.
   * While all calls stand aside, nothing of the runtime keeps the process alive.
   */
  pause(): Promise<void>;
  resume(): void;

  /** Bytes of the memory, by owner. */
  memory(): MemoryReport;

  /** Ends the workers and lets go of the memory; calls in flight reject with `E_CLOSED`. Closing twice is harmless. */
  close(): Promise<void>;
}

/**
 * A problem as a user writes it: extents, or the text form `1x4096x4096` (m x k x n, an optional batch first). A convolution is
 * an object with `op: 'conv'`, the shapes of its operands and the options of the call, true in place of tensors.
 */
export type ProblemSpec = string | MatmulSpec | ConvSpec | MatmulIntegerSpec | ConvIntegerSpec;

export interface ConvSpec extends Omit<ConvOptions, 'bias' | 'residual' | 'out'> {
  readonly op: 'conv';
  readonly input: readonly number[];
  readonly weights: readonly number[];
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly prepacked?: boolean;
  /** How a GPU keeps both operands. Default `'f32'`. */
  readonly storage?: Storage;
}

export type MatmulSpec = {
  readonly op?: 'matmul';
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly batch?: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: 'none' | 'row' | 'column';
  readonly activation?: Activation<TensorLike>;
  readonly prepacked?: boolean;
  /** How a GPU keeps both operands. Default `'f32'`. */
  readonly storage?: Storage;
};

export interface WisdomAccess {
  list(): readonly {
    readonly key: string;
    readonly effort: Effort;
    readonly ms: number;
    readonly plan: Plan;
  }[];
  /** The store's text, signed: what `import` takes. */
  export(): string;
  /** All or nothing; merges with what is there, better effort wins. Throws `E_WISDOM` and changes nothing if refused. */
  import(text: string): number;
  clear(): void;
}

export type { TesseraeError };
