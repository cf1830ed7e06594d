/** Values of a tensor on the GPU. */
import { deviceLost, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import { bytesOf, convert, type Storage } from '../../backends/webgpu/halves.ts';
import type { Remote } from '../tensor.ts';

export interface GpuValuesOptions {
  /** Rejects with what was wrong with the work that makes the values; whoever reads them hears of it. */
  readonly made?: Promise<unknown> | undefined;
  /** Blocks that are not the backend's own are given back by a function of whoever has made them. */
  readonly giveBack?: () => void;
  /** Default `'f32'`. */
  readonly storage?: Storage;
}

export class GpuValues implements Remote {
  readonly backend: WebGpuBackend;
  readonly block: GpuBlock;
  readonly storage: Storage;
  readonly #made: Promise<unknown> | undefined;
  readonly #return: (() => void) | undefined;
  #uses = 0;
  #disposed = false;

  constructor(backend: WebGpuBackend, block: GpuBlock, options: GpuValuesOptions = {}) {
    const { made, giveBack, storage = 'f32' } = options;
    this.backend = backend;
    this.block = block;
    this.storage = storage;
    this.#made = made;
    this.#return = giveBack;
    made?.catch(() => undefined);
  }

  get lost(): boolean {
    return this.backend.lost;
  }

  async fetch(into: () => Float32Array): Promise<void> {
    if (this.lost) throw deviceLost('its values went with it');
    const { block, isOwn } = this.floats();
    this.hold();
    try {
      await this.backend.download(block, into, this.#made);
    } finally {
      if (!isOwn && !this.lost) this.backend.buffers.giveBack(block);
      this.release();
    }
  }

  /** The values as floats: where they are kept as halves, widened into a block that the caller gives back. */
  floats(): { readonly block: GpuBlock; readonly isOwn: boolean } {
    const { backend, block, storage } = this;
    if (storage === 'f32') return { block, isOwn: true };
    return { block: convert(backend, block, block.bytes / bytesOf(1, storage), 'f32'), isOwn: false };
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
