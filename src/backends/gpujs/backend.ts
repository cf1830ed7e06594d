/**
 * The compatibility backend: products, convolutions and pooling through gpu.js, from memory to memory, on WebGL2 where a page has no WebGPU
 * (or on a WebGPU device of ours). Kernels are made once for each text.
 */
import { TesseraeError } from '../../core/errors.ts';
import type { GpuDevice } from '../../core/webgpu.ts';
import {
  checkMode,
  type GpuJs,
  type GpuJsGpu,
  type GpuJsKernel,
  type GpuJsMode,
  inTurn,
  loadGpuJs,
  MOST_ELEMENTS,
  MOST_TURNS,
  shareDevice,
  withNavigator,
} from './library.ts';
import type { Gather } from './texts.ts';

export interface GpuJsRequest {
  /** The package, where the caller has loaded it. */
  readonly gpujs?: unknown;
  /** To compute on instead of WebGL2. */
  readonly device?:
    | { readonly device: GpuDevice; readonly name: string; readonly software: boolean }
    | undefined;
  /** Tests compute on the processor. */
  readonly mode?: GpuJsMode;
}

export interface GpuJsReport {
  readonly name: string;
  readonly software: boolean;
  readonly mode: GpuJsMode;
}

const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

function noGpuJs(reason: string, cause?: unknown): TesseraeError {
  return new TesseraeError(
    'E_GPU',
    `gpu.js cannot be used: ${reason}`,
    { reason },
    "Install it (npm install gpu.js), pass it as { gpu: { gpujs } } in a page, or use backend 'wasm'.",
    cause,
  );
}

/** Who draws, in the driver's own words (WEBGL_debug_renderer_info). */
function rendererOf(gl: WebGL2RenderingContext | undefined): string {
  const extension = gl?.getExtension('WEBGL_debug_renderer_info');
  const name = extension && gl?.getParameter(extension.UNMASKED_RENDERER_WEBGL);
  return typeof name === 'string' && name !== '' ? name : 'a WebGL2 that does not tell its name';
}

export class GpuJsBackend {
  readonly name = 'gpujs';
  readonly #mode: GpuJsMode;
  readonly #named: { readonly name: string; readonly software: boolean } | undefined;
  readonly #library: GpuJs;
  readonly #gpu: GpuJsGpu;
  readonly #device: GpuDevice | undefined;
  readonly #kernels = new Map<string, Promise<GpuJsKernel>>();
  /** One call at a time: kernels keep the sizes of the call that they run. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(library: GpuJs, gpu: GpuJsGpu, mode: GpuJsMode, device: GpuJsRequest['device']) {
    this.#library = library;
    this.#gpu = gpu;
    this.#mode = mode;
    this.#device = device?.device;
    this.#named = mode === 'cpu' ? { name: 'the processor', software: true } : device;
  }

  /** Of WebGL, what is known once a kernel has run. */
  get report(): GpuJsReport {
    const { name = rendererOf(this.#gpu.context), software = SOFTWARE.test(name) } = this.#named ?? {};
    return { name, software, mode: this.#mode };
  }

  /** @throws `E_GPU`. */
  static async open({ gpujs, device, mode: asked }: GpuJsRequest): Promise<GpuJsBackend> {
    let library: GpuJs;
    try {
      library = await loadGpuJs(gpujs);
    } catch (cause) {
      throw noGpuJs(cause instanceof Error ? cause.message : String(cause), cause);
    }
    const mode = asked ?? (device ? 'webgpu' : 'webgl2');
    if (mode === 'webgl2' && !library.GPU.isWebGL2Supported) throw noGpuJs('there is no WebGL2 here');
    const gpu = await inTurn(() => withNavigator(async () => new library.GPU({ mode })));
    return new GpuJsBackend(library, gpu, mode, device);
  }

  /** Whether operands and result can be indexed with floats. */
  fits(elements: readonly number[]): boolean {
    return elements.every((count) => count < MOST_ELEMENTS);
  }

  /** The result, a copy of its own. @throws whatever gpu.js throws; `E_GPU_LOST` where the context is gone. */
  run(gather: Gather, arrays: readonly Float32Array[]): Promise<Float32Array> {
    const turn = this.#turn.then(() => this.#run(gather, arrays));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#gpu.destroy();
  }

  async #run(gather: Gather, arrays: readonly Float32Array[]): Promise<Float32Array> {
    let making = this.#kernels.get(gather.key);
    const isNew = making === undefined;
    if (!making) {
      making = this.#make(gather);
      this.#kernels.set(gather.key, making);
      making.catch(() => this.#kernels.delete(gather.key));
    }
    const kernel = await making;
    const { extents } = gather;
    kernel.setOutput(extents);
    const inputs = [...arrays, Float32Array.from(gather.numbers)].map((values) =>
      this.#library.input(values, [values.length]),
    );
    const run = async () => flat(await kernel(...inputs), extents);
    // the first run builds the kernel, and looks at globals
    const values = await (isNew ? inTurn(() => withNavigator(run)) : run());
    if (isNew) checkMode(kernel, this.#mode);
    if (this.#gpu.context?.isContextLost())
      throw new TesseraeError(
        'E_GPU_LOST',
        'the WebGL context was lost',
        {},
        'The call is computed in memory instead.',
      );
    return values;
  }

  async #make(gather: Gather): Promise<GpuJsKernel> {
    if (this.#device) shareDevice(this.#library, this.#device);
    const isGl = this.#mode === 'webgl2';
    return this.#gpu.createKernel(gather.source(), {
      output: [1, 1, 1],
      dynamicOutput: true,
      dynamicArguments: true,
      loopMaxIterations: MOST_TURNS,
      ...(gather.functions
        ? { functions: gather.functions.map((source) => ({ source, settings: {} })) }
        : {}),
      ...(gather.constants ? { constants: gather.constants } : {}),
      ...(isGl ? { precision: 'single', tactic: 'precision' } : {}),
    });
  }
}

/** Results are arrays of arrays of rows; rows share one buffer in some modes and not in others. */
function flat(result: unknown, [x, y, z]: readonly [number, number, number]): Float32Array {
  const values = new Float32Array(x * y * z);
  const planes = result as readonly (readonly Float32Array[])[];
  let at = 0;
  for (const plane of planes) {
    for (const row of plane) {
      values.set(row, at);
      at += x;
    }
  }
  return values;
}
