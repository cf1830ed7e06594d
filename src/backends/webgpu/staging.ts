/** Buffers through which values go to the device: written while they are mapped, copied from, and mapped again for the next. */
import {
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuDevice,
  MAP_WRITE,
  USAGE,
} from '../../core/webgpu.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** Powers of two between these, in bytes: what is larger goes in pieces. */
const LEAST = 16 * KiB;
const MOST = 64 * MiB;
/** Bytes that are kept mapped for further use. */
const KEPT_MOST = 512 * MiB;

export class Staging {
  readonly #device: GpuDevice;
  /** Mapped and ready, by size. */
  readonly #ready = new Map<number, GpuBuffer[]>();
  /** Copied from by commands that wait to be submitted. */
  #waiting: GpuBuffer[] = [];
  readonly #mapping = new Set<Promise<unknown>>();
  #kept = 0;

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  /** Records copies of a view's values to the start of a buffer. */
  copy(values: Float32Array, to: GpuBuffer, encoder: GpuCommandEncoder): void {
    for (let start = 0; start < values.length; start += MOST / 4) {
      const part = values.subarray(start, start + MOST / 4);
      const buffer = this.#take(part.byteLength);
      new Float32Array(buffer.getMappedRange(0, part.byteLength)).set(part);
      buffer.unmap();
      encoder.copyBufferToBuffer(buffer, 0, to, 4 * start, part.byteLength);
      this.#waiting.push(buffer);
    }
  }

  #take(bytes: number): GpuBuffer {
    const size = Math.max(LEAST, 2 ** Math.ceil(Math.log2(bytes)));
    const ready = this.#ready.get(size)?.pop();
    if (ready) this.#kept -= size;
    const usage = USAGE.mapWrite | USAGE.copySrc;
    return ready ?? this.#device.createBuffer({ size, usage, mappedAtCreation: true });
  }

  /** To be called when all commands so far have been submitted: their buffers come back when the device is through with them. */
  submitted(): void {
    for (const buffer of this.#waiting.splice(0)) {
      if (this.#kept + buffer.size > KEPT_MOST) {
        buffer.destroy();
        continue;
      }
      this.#kept += buffer.size;
      const mapping = buffer.mapAsync(MAP_WRITE).then(
        () => {
          const list = this.#ready.get(buffer.size);
          if (list) list.push(buffer);
          else this.#ready.set(buffer.size, [buffer]);
        },
        // the device is gone, and the buffer with it
        () => undefined,
      );
      this.#mapping.add(mapping);
      mapping.finally(() => this.#mapping.delete(mapping));
    }
  }

  settle(): Promise<unknown> {
    return Promise.all(this.#mapping);
  }

  destroy(): void {
    for (const list of this.#ready.values()) for (const buffer of list.splice(0)) buffer.destroy();
  }
}
