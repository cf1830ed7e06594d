/**
 * Memory on the device. Blocks are handed out and taken back; those of equal size are used again. Everything that is written from
 * here is written into buffers that are new, because a write to one that waiting commands use would overtake them, and by mapping
 * them, because Node 20's Dawn crashes on views of shared memory.
 */
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import { type GpuBuffer, type GpuDevice, USAGE } from '../../core/webgpu.ts';

const STORAGE = USAGE.storage | USAGE.copySrc | USAGE.copyDst;
const READBACK = USAGE.mapRead | USAGE.copyDst;
const MiB = 1024 * 1024;
/** Bytes kept for further use; more are given back to the device. */
const KEPT_MOST = 512 * MiB;

/** Sizes come in steps of an eighth, so that buffers of about one size serve one another. */
function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** Math.floor(Math.log2(Math.max(1, bytes))) / 8);
  return roundUp(Math.max(bytes, 16), step);
}

export interface GpuBlock {
  readonly buffer: GpuBuffer;
  readonly bytes: number;
}

export class Buffers {
  readonly #device: GpuDevice;
  readonly #idle = new Map<number, GpuBuffer[]>();
  readonly #readbacks = new Map<number, GpuBuffer[]>();
  /** Given up while commands that use them wait to be submitted. */
  #doomed: GpuBuffer[] = [];
  #kept = 0;
  #used = 0;

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  /** Bytes in blocks that are handed out, and in those kept for further use. */
  get use(): { readonly used: number; readonly kept: number } {
    return { used: this.#used, kept: this.#kept };
  }

  /** Bytes of the largest buffer that the device binds. */
  get most(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  fits(bytes: number): boolean {
    return sizeClass(bytes) <= this.most;
  }

  /** @throws `E_GPU_MEMORY` for more than the device binds at once. */
  check(bytes: number): void {
    if (this.fits(bytes)) return;
    const { most } = this;
    throw new TesseraeError(
      'E_GPU_MEMORY',
      `${bytes} bytes are more than the ${most} that this GPU takes in one buffer`,
      { needed: bytes, most },
      "Use backend 'wasm', or split the tensor.",
    );
  }

  /** Contents are whatever was there. */
  take(bytes: number): GpuBlock {
    this.check(bytes);
    const size = sizeClass(bytes);
    const again = this.#idle.get(size)?.pop();
    if (again) this.#kept -= size;
    this.#used += size;
    return { buffer: again ?? this.#device.createBuffer({ size, usage: STORAGE }), bytes };
  }

  /** A block with the values of a view, of shared memory or not. */
  upload(values: Float32Array): GpuBlock {
    this.check(values.byteLength);
    const size = sizeClass(values.byteLength);
    const buffer = this.#device.createBuffer({ size, usage: STORAGE, mappedAtCreation: true });
    new Float32Array(buffer.getMappedRange()).set(values);
    buffer.unmap();
    this.#used += size;
    return { buffer, bytes: values.byteLength };
  }

  /** A small buffer for one dispatch, gone after the next submit. */
  once(words: ArrayBuffer, kind: 'uniform' | 'storage'): GpuBuffer {
    const size = roundUp(words.byteLength, 16);
    const buffer = this.#device.createBuffer({ size, usage: USAGE[kind], mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange()).set(new Uint32Array(words));
    buffer.unmap();
    this.#doomed.push(buffer);
    return buffer;
  }

  giveBack({ buffer }: GpuBlock): void {
    this.#used -= buffer.size;
    if (this.#kept + buffer.size > KEPT_MOST) {
      this.#doomed.push(buffer);
      return;
    }
    this.#kept += buffer.size;
    this.#list(this.#idle, buffer.size).push(buffer);
  }

  takeReadback(bytes: number): GpuBuffer {
    const size = sizeClass(bytes);
    return this.#readbacks.get(size)?.pop() ?? this.#device.createBuffer({ size, usage: READBACK });
  }

  giveBackReadback(buffer: GpuBuffer): void {
    const list = this.#list(this.#readbacks, buffer.size);
    if (list.length < 2) list.push(buffer);
    else buffer.destroy();
  }

  /** To be called when all commands so far have been submitted. */
  submitted(): void {
    for (const buffer of this.#doomed.splice(0)) buffer.destroy();
  }

  #list(lists: Map<number, GpuBuffer[]>, size: number): GpuBuffer[] {
    const known = lists.get(size);
    if (known) return known;
    const list: GpuBuffer[] = [];
    lists.set(size, list);
    return list;
  }
}
