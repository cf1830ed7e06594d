/** A user's kernel on the GPU: made for one device, compared with the processor's answers before it is trusted. */
import { type GpuMap, makeMap } from '../../backends/gpujs/map.ts';
import type { WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import { fillRandom } from '../../core/random.ts';
import { GpuValues, valuesOn } from '../gpu/remote.ts';
import type { Source } from '../tensor.ts';
import { CHECKED, type MapParts, mapFault } from './parts.ts';

export class MapOnGpu {
  readonly backend: WebGpuBackend;
  readonly #map: GpuMap;

  private constructor(backend: WebGpuBackend, map: GpuMap) {
    this.backend = backend;
    this.#map = map;
  }

  /** @throws an error that says why it cannot run there, or gives wrong answers. */
  static async make(backend: WebGpuBackend, parts: MapParts, gpujs?: unknown): Promise<MapOnGpu> {
    const { source, constants } = parts;
    const map = await makeMap(backend.device, { ...source, constants }, gpujs);
    const made = new MapOnGpu(backend, map);
    const fault = await made.#check(parts).catch((error) => String(error));
    if (fault === undefined) return made;
    await map.close();
    throw new Error(fault);
  }

  /** The result, which lies on the device. */
  async run(sources: readonly Source[], elements: number): Promise<GpuValues> {
    const { backend } = this;
    const temporary: GpuBlock[] = [];
    const inputs = sources.map((source) => {
      const there = valuesOn(backend, source.remote)?.floats();
      const block = there?.block ?? backend.buffers.upload(source.values());
      if (!there?.isOwn) temporary.push(block);
      return { buffer: block.buffer, elements: source.elements };
    });
    // gpu.js submits for itself: what was recorded before comes first
    backend.flush();
    const output = await this.#map.run(inputs, elements);
    if (!backend.lost) for (const block of temporary) backend.buffers.giveBack(block);
    const giveBack = () => {
      backend.flush();
      output.delete();
    };
    return new GpuValues(backend, { buffer: output.buffer, bytes: 4 * elements }, { giveBack });
  }

  async close(): Promise<void> {
    if (!this.backend.lost) await this.#map.close();
  }

  /** Random operands on both sides; what is not finite on the processor is not compared. */
  async #check(parts: MapParts): Promise<string | undefined> {
    const inputs = Array.from({ length: parts.source.arity }, (_, i) => {
      const values = fillRandom(new Float32Array(CHECKED), i + 1);
      return values.map((value) => 4 * value);
    });
    const sources = inputs.map(
      (values): Source => ({
        elements: CHECKED,
        remote: undefined,
        isAway: false,
        fetch: () => undefined,
        values: () => values,
      }),
    );
    const result = await this.run(sources, CHECKED);
    const got = new Float32Array(CHECKED);
    try {
      await result.fetch(() => got);
    } finally {
      result.dispose();
    }
    return mapFault(parts, inputs, got);
  }
}
