/** Pipelines, compiled once each without blocking, and named in the error if the device refuses one. */
import { TesseraeError } from '../../core/errors.ts';
import type { GpuDevice, GpuPipeline } from '../../core/webgpu.ts';
import type { Launch } from './launch.ts';

export class Pipelines {
  readonly #device: GpuDevice;
  readonly #compiled = new Map<string, GpuPipeline>();
  readonly #compiling = new Map<string, Promise<GpuPipeline>>();

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  get size(): number {
    return this.#compiled.size;
  }

  /** At once where it is there, so that a chain of calls stays in one turn of the event loop. */
  get(launch: Pick<Launch, 'key' | 'source'>): GpuPipeline | Promise<GpuPipeline> {
    const ready = this.#compiled.get(launch.key);
    if (ready) return ready;
    let pending = this.#compiling.get(launch.key);
    if (!pending) {
      pending = this.#compile(launch).finally(() => this.#compiling.delete(launch.key));
      this.#compiling.set(launch.key, pending);
    }
    return pending;
  }

  async #compile({ key, source }: Pick<Launch, 'key' | 'source'>): Promise<GpuPipeline> {
    const device = this.#device;
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: source() });
    const compiling = device.createComputePipelineAsync({
      layout: 'auto',
      compute: { module, entryPoint: 'main' },
    });
    const scope = device.popErrorScope();
    try {
      const pipeline = await compiling;
      const error = await scope;
      if (error) throw new Error(error.message);
      this.#compiled.set(key, pipeline);
      return pipeline;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TesseraeError(
        'E_GPU',
        `the device refuses the shader ${key}: ${reason}`,
        { kernel: key, reason },
        'Please report this with the name of the GPU; the WebAssembly backend serves meanwhile.',
        cause,
      );
    }
  }
}
