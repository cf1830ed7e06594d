/** Pipelines, compiled once each without blocking, and named in the error if the device refuses one. */
import { TesseraeError } from '../../core/errors.ts';
import type { GpuDevice, GpuPipeline } from '../../core/webgpu.ts';
import type { BindGroups } from './bind-groups.ts';
import type { Launch } from './launch.ts';

/** What a pipeline is made of. */
type Made = Pick<Launch, 'key' | 'source' | 'bindings'>;

export class Pipelines {
  readonly #device: GpuDevice;
  readonly #groups: BindGroups;
  readonly #compiled = new Map<string, GpuPipeline>();
  readonly #compiling = new Map<string, Promise<GpuPipeline>>();

  constructor(device: GpuDevice, groups: BindGroups) {
    this.#device = device;
    this.#groups = groups;
  }

  get size(): number {
    return this.#compiled.size;
  }

  /** At once where it is there, so that a chain of calls stays in one turn of the event loop. */
  get(launch: Made): GpuPipeline | Promise<GpuPipeline> {
    const ready = this.#compiled.get(launch.key);
    if (ready) return ready;
    let pending = this.#compiling.get(launch.key);
    if (!pending) {
      pending = this.#compile(launch).finally(() => this.#compiling.delete(launch.key));
      this.#compiling.set(launch.key, pending);
    }
    return pending;
  }

  async #compile({ key, source, bindings }: Made): Promise<GpuPipeline> {
    const device = this.#device;
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: source() });
    const compiling = device.createComputePipelineAsync({
      layout: this.#groups.pipelineLayout(bindings),
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
      // what is wrong with the text says more than that the pipeline has none
      const reason = (await scope)?.message ?? (cause instanceof Error ? cause.message : String(cause));
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
