/** A user's kernel on WebGL2, for pages without WebGPU: from memory to memory, compared with the processor's answers before it is trusted. */
import type { Gather } from '../../backends/gpujs/texts.ts';
import { fillRandom } from '../../core/random.ts';
import type { GpuJsPlace } from '../gpujs/place.ts';
import { CHECKED, type MapParts, mapFault } from './parts.ts';

let made = 0;

export class MapOnGpuJs {
  readonly #place: GpuJsPlace;
  readonly #parts: MapParts;
  /** No other kernel has it: two functions of one name are two kernels. */
  readonly #key = `map ${++made}`;

  private constructor(place: GpuJsPlace, parts: MapParts) {
    this.#place = place;
    this.#parts = parts;
  }

  /** @throws an error that says why it cannot run there, or gives wrong answers. */
  static async make(place: GpuJsPlace, parts: MapParts): Promise<MapOnGpuJs> {
    const map = new MapOnGpuJs(place, parts);
    const inputs = Array.from({ length: parts.source.arity }, (_, i) =>
      fillRandom(new Float32Array(CHECKED), i + 1).map((value) => 4 * value),
    );
    const fault = mapFault(parts, inputs, await map.run(inputs, CHECKED));
    if (fault !== undefined) throw new Error(fault);
    return map;
  }

  /** `inputs` have as many floats as the result, or one that goes with all. */
  run(inputs: readonly Float32Array[], elements: number): Promise<Float32Array> {
    const { text, arity } = this.#parts.source;
    const names = Array.from({ length: arity }, (_, i) => `x${i}`);
    const gather: Gather = {
      key: this.#key,
      source: () => `function (${names.join(', ')}, s) {
  return user(${names.map((name, i) => `${name}[Math.floor(this.thread.x * s[${i}])]`).join(', ')});
}`,
      functions: [text],
      constants: this.#parts.constants,
      numbers: inputs.map(({ length }) => (length === 1 && elements !== 1 ? 0 : 1)),
      extents: [elements, 1, 1],
    };
    return this.#place.compute(gather, inputs);
  }
}
