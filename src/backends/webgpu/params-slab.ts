/**
 * The uniforms of dispatches that are submitted together, in one buffer that is written once before they are: a buffer of its own for each
 * took 0.7 ms a call (H100, Dawn). A write in the queue comes after what was submitted before, so the buffer serves all submits.
 */
import { type GpuBinding, type GpuBuffer, type GpuDevice, USAGE } from '../../core/webgpu.ts';
import { PARAMS_BYTES } from './wgsl/params.ts';

/** Dispatches that are gathered before they are submitted, so that the device does not wait for a long chain to be written down. */
const SLOTS = 32;
/** What WebGPU guarantees for offsets of uniforms. */
const ALIGNMENT = 256;

export class ParamsSlab {
  readonly #device: GpuDevice;
  readonly #words = new Uint8Array(SLOTS * ALIGNMENT);
  #buffer: GpuBuffer | undefined;
  #used = 0;

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  get isFull(): boolean {
    return this.#used === SLOTS;
  }

  put(words: ArrayBuffer): GpuBinding {
    const usage = USAGE.uniform | USAGE.copyDst;
    this.#buffer ??= this.#device.createBuffer({ size: this.#words.byteLength, usage });
    const offset = ALIGNMENT * this.#used;
    this.#used++;
    this.#words.set(new Uint8Array(words), offset);
    return { buffer: this.#buffer, offset, size: PARAMS_BYTES };
  }

  destroy(): void {
    this.#buffer?.destroy();
  }

  /** To be called before the dispatches are submitted. */
  send(): void {
    if (this.#buffer && this.#used > 0)
      this.#device.queue.writeBuffer(this.#buffer, 0, this.#words.subarray(0, ALIGNMENT * this.#used));
    this.#used = 0;
  }
}
