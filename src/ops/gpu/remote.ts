/** Values of a tensor on the GPU. */
import { deviceLost, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import type { Remote } from '../tensor.ts';

export class GpuValues implements Remote {
  readonly backend: WebGpuBackend;
  readonly block: GpuBlock;
  /** Rejects with what was wrong with the work that made the values; whoever reads them hears of it. */
  readonly #made: Promise<unknown> | undefined;
  readonly #return: (() => void) | undefined;
  #uses = 0;
  #disposed = false;

  /** Blocks that are not the backend's own are given back by a function of whoever has made them. */
  constructor(backend: WebGpuBackend, block: GpuBlock, made?: Promise<unknown>, giveBack?: () => void) {
    this.backend = backend;
    this.block = block;
    this.#made = made;
    this.#return = giveBack;
    made?.catch(() => undefined);
  }

  get lost(): boolean {
    return this.backend.lost;
  }

  async fetch(into: () => Float32Array): Promise<void> {
    if (this.lost) throw deviceLost('its values went with it');
    this.hold();
    try {
      await this.backend.download(this.block, into, this.#made);
    } finally {
      this.release();
    }
  }

  /** Kept from being given back until `release`. */
  hold(): void {
    this.#uses++;
  }

  release(): void {
    this.#uses--;
    if (this.#disposed && this.#uses === 0) this.#giveBack();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#uses === 0) this.#giveBack();
  }

  #giveBack(): void {
    if (this.lost) return;
    if (this.#return) this.#return();
    else this.backend.buffers.giveBack(this.block);
  }
}

/** The values of an operand where they lie on this device. */
export function valuesOn(backend: WebGpuBackend, remote: Remote | undefined): GpuValues | undefined {
  return remote instanceof GpuValues && remote.backend === backend && !remote.lost ? remote : undefined;
}
