/**
 * The uniforms of dispatches that are submitted together, in one buffer that is written once before they are: a buffer of its own for each
 * took 0.7 ms a call (H100, Dawn). A write in the queue comes after what was submitted before, so the buffer serves all submits.
 */
import { type GpuBuffer, type GpuDevice, USAGE } from '../../core/webgpu.ts';
import { encodeParams, type Params, type Scalars } from './wgsl/params.ts';

/** Dispatches that are gathered before they are submitted, so that the device does not wait for a long chain to be written down. */
const SLOTS = 32;
/** What WebGPU guarantees for offsets of uniforms. */
const ALIGNMENT = 256;

export class ParamsSlab {
  readonly #device: GpuDevice;
  readonly #words = new Uint8Array(SLOTS * ALIGNMENT);
  readonly #view = new DataView(this.#words.buffer);
  #buffer: GpuBuffer | undefined;
  #used = 0;

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  get isFull(): boolean {
    return this.#used === SLOTS;
  }

  get buffer(): GpuBuffer {
    const usage = USAGE.uniform | USAGE.copyDst;
    this.#buffer ??= this.#device.createBuffer({ size: this.#words.byteLength, usage });
    return this.#buffer;
  }

  /** Where they lie in the buffer. */
  put(params: Params, scalars: Scalars): number {
    const offset = ALIGNMENT * this.#used;
    this.#used++;
    encodeParams(this.#view, offset, params, scalars);
    return offset;
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
