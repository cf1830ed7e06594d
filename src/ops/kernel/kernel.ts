/** rt.kernel: a user's function over elements, on the processor or, through gpu.js, on the GPU, by what was measured. */

import { MOST_ELEMENTS } from '../../backends/gpujs/library.ts';
import { deviceLost, isLoss } from '../../backends/webgpu/backend.ts';
import { systemClock } from '../../core/clock.ts';
import { abortReason, TesseraeError } from '../../core/errors.ts';
import { type Shape, showShape, sizeOf } from '../../core/shape.ts';
import { show } from '../../core/show.ts';
import { movingMs } from '../../plan/gpu.ts';
import { badArgument, checkAsync, checkOptions, PLACED_NAMES } from '../arguments.ts';
import type { Core } from '../core.ts';
import type { GpuPlace } from '../gpu/place.ts';
import { type GpuValues, valuesOn } from '../gpu/remote.ts';
import type { GpuJsPlace } from '../gpujs/place.ts';
import { type Operand, readOperand, readOut } from '../operands.ts';
import type { Timed } from '../profile.ts';
import { DenseTensor } from '../tensor.ts';
import type { BackendName, PlacedOptions, Tensor, TensorLike } from '../types.ts';
import { MapOnGpu } from './on-gpu.ts';
import { MapOnGpuJs } from './on-gpujs.ts';
import type { MapParts } from './parts.ts';
import { type MapFunction, readFunction } from './source.ts';
import type { KernelOptions, KernelRunOptions, UserKernel } from './types.ts';

const OPTIONS: ReadonlySet<string> = new Set(['name', 'constants']);
const SYNC: ReadonlySet<string> = new Set(['out']);
const ASYNC: ReadonlySet<string> = new Set(['out', ...PLACED_NAMES]);

/** Nanoseconds an element until it has been measured. */
const GUESS_NS = 3;
/** Shorter runs say little. */
const MEASURED_FROM = 1024;

interface MapCall {
  readonly operands: readonly Operand[];
  readonly shape: Shape;
  readonly elements: number;
  readonly out: DenseTensor | undefined;
}

export function makeKernel(core: Core, fn: unknown, options: KernelOptions): UserKernel {
  core.checkOpen('make a kernel');
  checkOptions(options, OPTIONS);
  const { constants = {}, name } = options;
  if (typeof constants !== 'object' || constants === null)
    throw badArgument('constants', constants, 'An object of numbers.');
  for (const [key, value] of Object.entries(constants))
    if (typeof value !== 'number') throw badArgument(`constants.${key}`, value, 'A number.');
  if (name !== undefined && typeof name !== 'string') throw badArgument('name', name, 'A string.');
  const source = readFunction(fn, constants);
  const map = fn as MapFunction;
  const tried = map.apply({ constants }, new Array(source.arity).fill(0.5));
  if (typeof tried !== 'number')
    throw new TesseraeError(
      'E_ARGUMENT',
      `the kernel's function returns ${show(tried)}`,
      { returned: tried },
      'It must return a number.',
    );
  return new Kernel(core, name ?? (map.name || 'kernel'), { source, fn: map, constants: { ...constants } });
}

/** How many inputs a kernel of this library takes; undefined for anything else. */
export function arityOf(value: unknown): number | undefined {
  return value instanceof Kernel ? value.arity : undefined;
}

class Kernel implements UserKernel {
  readonly name: string;
  readonly #core: Core;
  readonly #parts: MapParts;
  #onGpu: Promise<MapOnGpu> | undefined;
  #onGpuJs: Promise<MapOnGpuJs> | undefined;
  #noGpu: string | undefined;
  #cpuNs: number | undefined;
  #gpuNs: number | undefined;

  constructor(core: Core, name: string, parts: MapParts) {
    this.#core = core;
    this.name = name;
    this.#parts = parts;
  }

  get arity(): number {
    return this.#parts.source.arity;
  }

  get measured() {
    return { cpu: this.#cpuNs, gpu: this.#gpuNs };
  }

  get noGpu(): string | undefined {
    return this.#noGpu ?? (this.#core.gpu || this.#core.gpujs ? undefined : 'this runtime has no GPU');
  }

  runSync(inputs: readonly TensorLike[], options: KernelRunOptions = {}): Tensor {
    checkOptions(options, SYNC);
    const call = this.#read(inputs, options);
    return this.#core.profiling.here(this.#timed(call, 'host'), () => this.#here(call));
  }

  async run(inputs: readonly TensorLike[], options: KernelRunOptions & PlacedOptions = {}): Promise<Tensor> {
    checkOptions(options, ASYNC);
    checkAsync(options);
    options.signal?.throwIfAborted();
    if (options.result === 'gpu') this.#core.needGpu();
    const call = this.#read(inputs, options);
    const releases = [
      ...call.operands.map((operand) => operand.hold()),
      ...(call.out ? [call.out.hold()] : []),
    ];
    try {
      return await this.#core.pacer.during(options, () => this.#run(call, options));
    } finally {
      for (const release of releases) release();
    }
  }

  dispose(): void {
    this.#onGpu?.then((map) => map.close()).catch(() => undefined);
    this.#onGpu = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #run(call: MapCall, options: PlacedOptions): Promise<Tensor> {
    const { gpu, gpujs, profiling } = this.#core;
    const there =
      gpu && this.#goesThere(gpu, call, options)
        ? await profiling.around(this.#timed(call, 'webgpu'), () => this.#there(gpu, call, options))
        : undefined;
    const drawn =
      gpujs && this.#goesToGpuJs(gpujs, call)
        ? await profiling.around(this.#timed(call, 'gpujs'), () => this.#byGpuJs(gpujs, call, options))
        : undefined;
    if (there ?? drawn) return (there ?? drawn)!;
    await Promise.all(call.operands.map((operand) => operand.fetch()));
    if (options.signal?.aborted) throw abortReason(options.signal);
    const result = profiling.here(this.#timed(call, 'host'), () => this.#here(call));
    return options.result === 'gpu' ? result.to('gpu') : result;
  }

  #timed({ shape }: MapCall, backend: BackendName): () => Timed {
    return () => ({ name: 'kernel', problem: showShape(shape), backend, kernel: this.name });
  }

  #read(inputs: readonly TensorLike[], { out }: KernelRunOptions): MapCall {
    const { heap } = this.#core;
    this.#core.checkOpen('run a kernel');
    const { arity } = this.#parts.source;
    if (!Array.isArray(inputs) || inputs.length !== arity)
      throw badArgument(
        'inputs',
        inputs,
        `An array of ${arity}: one tensor for each parameter of ${this.name}.`,
      );
    const operands = inputs.map((input, i) => readOperand(heap, input, `inputs[${i}]`));
    const { shape } = operands.find(({ elements }) => elements !== 1) ?? operands[0]!;
    const odd = operands.find(
      (operand) => operand.elements !== 1 && showShape(operand.shape) !== showShape(shape),
    );
    if (odd)
      throw new TesseraeError(
        'E_SHAPE',
        `${this.name} was given ${showShape(shape)} and ${showShape(odd.shape)}`,
        { shapes: operands.map((operand) => operand.shape) },
        'Shapes must be equal; an input of one element goes with all.',
      );
    return { operands, shape, elements: sizeOf(shape), out: readOut(heap, out, shape, []) };
  }

  #here({ operands, shape, elements, out }: MapCall): Tensor {
    const { heap, tape } = this.#core;
    tape?.spoil('a function of the caller runs on the way');
    const made = out ? undefined : new DenseTensor(heap, shape);
    const tensor = out ?? made!;
    const placed: Operand[] = [];
    try {
      const at = operands.map((operand) => {
        const address = operand.place() >>> 2;
        placed.push(operand);
        return address;
      });
      const to = tensor.ensureBlock().address >>> 2;
      const start = systemClock.now();
      const steps = operands.map((operand) => (operand.elements === 1 ? 0 : 1));
      apply(this.#parts, heap.floats(), at, steps, to, elements);
      if (elements >= MEASURED_FROM) this.#cpuNs = (1e6 * (systemClock.now() - start)) / elements;
      tensor.changedHere();
      return tensor;
    } catch (error) {
      made?.dispose();
      throw error;
    } finally {
      for (const operand of placed) operand.done();
    }
  }

  #goesThere(gpu: GpuPlace, { operands, elements }: MapCall, { result }: PlacedOptions): boolean {
    if (this.#noGpu !== undefined || !gpu.isWelcome || elements === 0 || elements > MOST_ELEMENTS)
      return false;
    if (gpu.forced) return true;
    const upload = operands.reduce((sum, operand) => (operand.remote ? sum : sum + 4 * operand.elements), 0);
    const download = (result ?? this.#place(gpu, operands)) === 'wasm' ? 4 * elements : 0;
    const away = operands.reduce((sum, operand) => (operand.isAway ? sum + 4 * operand.elements : sum), 0);
    const there =
      gpu.profile.launchMs +
      movingMs({ upload, download }, gpu.profile) +
      ((this.#gpuNs ?? 0) * elements) / 1e6;
    const here =
      movingMs({ upload: 0, download: away }, gpu.profile) + ((this.#cpuNs ?? GUESS_NS) * elements) / 1e6;
    return there < here;
  }

  #goesToGpuJs(gpujs: GpuJsPlace, { operands, elements }: MapCall): boolean {
    const bytes = operands.reduce((sum, operand) => sum + 4 * operand.elements, 4 * elements);
    if (this.#noGpu !== undefined || elements === 0 || bytes / 4 > MOST_ELEMENTS) return false;
    const { callMs, moveGBs } = gpujs.profile;
    const there = callMs + bytes / moveGBs / 1e6 + ((this.#gpuNs ?? 0) * elements) / 1e6;
    return gpujs.isBetter(there, () => ((this.#cpuNs ?? GUESS_NS) * elements) / 1e6);
  }

  /** Undefined where it does not run there after all. */
  async #byGpuJs(
    gpujs: GpuJsPlace,
    { operands, shape, elements, out }: MapCall,
    { signal }: PlacedOptions,
  ): Promise<Tensor | undefined> {
    this.#onGpuJs ??= MapOnGpuJs.make(gpujs, this.#parts);
    let values: Float32Array;
    try {
      const map = await this.#onGpuJs;
      const start = systemClock.now();
      values = await map.run(
        operands.map((operand) => operand.values().slice()),
        elements,
      );
      if (elements >= MEASURED_FROM) this.#gpuNs = (1e6 * (systemClock.now() - start)) / elements;
    } catch (error) {
      this.#refuseGpu(error);
      return undefined;
    }
    if (signal?.aborted) throw abortReason(signal);
    this.#core.checkOpen('run a kernel');
    const tensor = out ?? new DenseTensor(this.#core.heap, shape);
    tensor.data.set(values);
    return tensor;
  }

  #place(gpu: GpuPlace, operands: readonly Operand[]): 'wasm' | 'gpu' {
    return operands.some((operand) => valuesOn(gpu.backend, operand.remote)) ? 'gpu' : 'wasm';
  }

  /** Undefined where it does not run there after all. */
  async #there(gpu: GpuPlace, call: MapCall, options: PlacedOptions): Promise<Tensor | undefined> {
    const map = await this.#mapOn(gpu);
    if (!map) return undefined;
    const { operands, elements } = call;
    const { signal } = options;
    if (signal?.aborted) throw abortReason(signal);
    if (operands.some((operand) => operand.isAway && !valuesOn(gpu.backend, operand.remote)))
      throw deviceLost('an input went with it');
    const place = options.result ?? this.#place(gpu, operands);
    try {
      const start = systemClock.now();
      const values = await map.run(operands, elements);
      await gpu.backend.settle();
      if (elements >= MEASURED_FROM) this.#gpuNs = (1e6 * (systemClock.now() - start)) / elements;
      return await this.#deliver(values, call, place);
    } catch (error) {
      if (!isLoss(error) || operands.some((operand) => operand.isAway)) throw error;
      this.#core.checkOpen('run a kernel');
      return undefined;
    }
  }

  async #deliver(values: GpuValues, { shape, out }: MapCall, place: 'wasm' | 'gpu'): Promise<Tensor> {
    const tensor = out ?? new DenseTensor(this.#core.heap, shape, 'f32', values);
    if (out) out.changedThere(values);
    if (place === 'gpu') return tensor;
    try {
      return await tensor.to('wasm');
    } catch (error) {
      if (!out) tensor.dispose();
      throw error;
    }
  }

  /** The kernel on the device that is there now. */
  async #mapOn(gpu: GpuPlace): Promise<MapOnGpu | undefined> {
    if (!(await gpu.reopen())) return undefined;
    const known = await this.#onGpu?.catch(() => undefined);
    if (known && known.backend === gpu.backend) return known;
    const making = MapOnGpu.make(gpu.backend, this.#parts, gpu.gpujs);
    this.#onGpu = making;
    try {
      return await making;
    } catch (error) {
      this.#refuseGpu(error);
      return undefined;
    }
  }

  #refuseGpu(error: unknown): void {
    this.#noGpu = error instanceof Error ? error.message : String(error);
    this.#core.onEvent({ type: 'quarantine', kernel: this.name, reason: this.#noGpu });
  }
}

/** Element by element; the usual numbers of inputs without a list for each element. */
function apply(
  { fn, constants }: MapParts,
  floats: Float32Array,
  at: readonly number[],
  steps: readonly number[],
  to: number,
  elements: number,
): void {
  const self = { constants };
  const [a = 0, b = 0] = at;
  const [stepA = 0, stepB = 0] = steps;
  if (at.length === 1)
    for (let i = 0; i < elements; i++) floats[to + i] = fn.call(self, floats[a + i * stepA]!);
  else if (at.length === 2)
    for (let i = 0; i < elements; i++)
      floats[to + i] = fn.call(self, floats[a + i * stepA]!, floats[b + i * stepB]!);
  else
    for (let i = 0; i < elements; i++)
      floats[to + i] = fn.apply(
        self,
        at.map((first, input) => floats[first + i * steps[input]!]!),
      );
}
