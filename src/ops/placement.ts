/** What a call holds of the runtime's memory while it runs. */
import type { Core } from './core.ts';
import type { Placed } from './request.ts';
import { DenseTensor } from './tensor.ts';
import type { DType } from './types.ts';

/** A call's memory: inputs in place, the result made. `release` gives back whatever was taken, after a failure also a
 *  result that nobody will see. */
export class Placement {
  readonly #request: Placed;
  readonly at: number[] = [];
  #made: DenseTensor | undefined;
  #out: DenseTensor | undefined;

  constructor(core: Core, request: Placed) {
    this.#request = request;
    try {
      for (const input of request.inputs) this.at.push(input ? input.place() : 0);
      if (!request.out)
        this.#made = new DenseTensor<DType>(core.heap, request.shape, request.dtype) as DenseTensor;
      const result = request.out ?? this.#made!;
      result.overwrite().hold();
      this.#out = result;
    } catch (error) {
      this.release(true);
      throw error;
    }
  }

  get out(): DenseTensor {
    return this.#out!;
  }

  release(failed: boolean): void {
    const { inputs } = this.#request;
    for (let i = 0; i < this.at.length; i++) inputs[i]?.done();
    this.#out?.block.release();
    if (failed) this.#made?.dispose();
  }
}
