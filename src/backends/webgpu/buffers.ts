/**
 * Memory on the device. Blocks are handed out and taken back; those of equal size are used again. Values go there through staging buffers
 * whose copies are recorded among the other commands, so that no write overtakes one; they are mapped, because Node 20's Dawn crashes on
 * views of shared memory, and used again, because new ones take six times as long (H100, Dawn: 256 MiB in 29 ms and in 165 ms).
 */
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import {
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuDevice,
  type GpuError,
  USAGE,
} from '../../core/webgpu.ts';
import { Staging } from './staging.ts';

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
  readonly #encode: () => GpuCommandEncoder;
  readonly #staging: Staging;
  readonly #idle = new Map<number, GpuBuffer[]>();
  readonly #readbacks = new Map<number, GpuBuffer[]>();
  /** Given up while commands that use them wait to be submitted. */
  #doomed: GpuBuffer[] = [];
  /** While somebody watches: what was wrong with new memory. */
  #shortages: Promise<GpuError | null>[] | undefined;
  #kept = 0;
  #isClosed = false;
  #used = 0;
  /** Bytes of the largest buffer that the device binds. */
  readonly most: number;

  /** `encode` gives the commands that wait to be submitted. */
  constructor(device: GpuDevice, encode: () => GpuCommandEncoder) {
    this.#device = device;
    this.#encode = encode;
    this.#staging = new Staging(device);
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    this.most = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  /** Bytes in blocks that are handed out, and in those kept for further use. */
  get use(): { readonly used: number; readonly kept: number } {
    return { used: this.#used, kept: this.#kept };
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
    return { buffer: again ?? this.#create(size), bytes };
  }

  #create(size: number): GpuBuffer {
    const descriptor = { size, usage: STORAGE };
    if (!this.#shortages) return this.#device.createBuffer(descriptor);
    this.#device.pushErrorScope('out-of-memory');
    const buffer = this.#device.createBuffer(descriptor);
    this.#shortages.push(this.#device.popErrorScope());
    return buffer;
  }

  /** From here to `watched`, memory that was never used before is watched. */
  watch(): void {
    this.#shortages = [];
  }

  watched(): readonly Promise<GpuError | null>[] {
    const shortages = this.#shortages ?? [];
    this.#shortages = undefined;
    return shortages;
  }

  /** A block with the values of a view, of shared memory or not, behind what was recorded so far. */
  upload(values: Float32Array): GpuBlock {
    const block = this.take(values.byteLength);
    this.write(block, values);
    return block;
  }

  /** Values into a block, behind what was recorded so far. */
  write(block: GpuBlock, values: Float32Array): void {
    this.#staging.copy(values, block.buffer, this.#encode());
  }

  /** A buffer of words for one dispatch, gone after the next submit. */
  once(words: Uint32Array<ArrayBuffer>): GpuBuffer {
    const size = roundUp(words.byteLength, 16);
    const buffer = this.#device.createBuffer({ size, usage: USAGE.storage | USAGE.copyDst });
    this.#device.queue.writeBuffer(buffer, 0, words);
    this.#doomed.push(buffer);
    return buffer;
  }

  giveBack({ buffer }: GpuBlock): void {
    this.#used -= buffer.size;
    if (this.#isClosed) {
      buffer.destroy();
      return;
    }
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
    this.#staging.submitted();
  }

  /** Gives back to the device what is kept for further use, and from now on every block that comes back. */
  destroy(): void {
    this.#isClosed = true;
    for (const lists of [this.#idle, this.#readbacks])
      for (const list of lists.values()) for (const buffer of list.splice(0)) buffer.destroy();
    this.#kept = 0;
    this.#staging.destroy();
  }

  /** Resolves when nothing is being mapped any more. */
  settle(): Promise<unknown> {
    return this.#staging.settle();
  }

  #list(lists: Map<number, GpuBuffer[]>, size: number): GpuBuffer[] {
    const known = lists.get(size);
    if (known) return known;
    const list: GpuBuffer[] = [];
    lists.set(size, list);
    return list;
  }
}
