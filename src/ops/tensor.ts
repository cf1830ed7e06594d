/** Tensors: typed views of the runtime's memory whose lifetime the user ends, with a safety net that reports leaks. */

import type { Address, Owner } from '../backends/types.ts';
import { TesseraeError } from '../core/errors.ts';
import { type Shape, showShape, sizeOf } from '../core/shape.ts';
import type { DType, Tensor, TypedArrays } from './types.ts';

/** What a block of memory needs of its runtime. */
export interface Heap {
  readonly closed: boolean;
  allocate(bytes: number, owner: Owner): Address;
  free(address: Address): void;
  /** The whole memory as floats; rebuilt after growth. */
  floats(): Float32Array;
  /** Reports and frees the block if `owner` is collected without having been disposed. */
  watch(owner: object, block: Watched, shape: Shape): void;
  unwatch(block: Watched): void;
}

/** Memory that is freed, and reported, if whoever owns it is collected. */
export interface Watched {
  readonly disposed: boolean;
  readonly owner: Owner;
  readonly bytes: number;
  dispose(): void;
}

/** Something that must be in memory, and stay there, while a call runs. */
export interface Held {
  /** Its address, held until `done`. */
  place(): Address;
  done(): void;
}

/** A block of memory that calls in flight keep alive: freed when disposed and no longer in use. */
export class Block {
  readonly heap: Heap;
  readonly address: Address;
  readonly bytes: number;
  readonly owner: Owner;
  #uses = 0;
  #disposed = false;

  constructor(heap: Heap, bytes: number, owner: Owner) {
    this.heap = heap;
    this.bytes = bytes;
    this.owner = owner;
    this.address = heap.allocate(bytes, owner);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  hold(): void {
    this.#uses++;
  }

  release(): void {
    this.#uses--;
    if (this.#disposed && this.#uses === 0) this.heap.free(this.address);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#uses === 0) this.heap.free(this.address);
  }
}

const ARRAYS = { f32: Float32Array, i8: Int8Array, u8: Uint8Array, i32: Int32Array } as const;

/** A live view of memory as elements of a type. */
export function viewOf<D extends DType>(
  heap: Heap,
  dtype: D,
  address: Address,
  count: number,
): TypedArrays[D] {
  const buffer = heap.floats().buffer as ArrayBuffer;
  return new ARRAYS[dtype](buffer, address, count) as TypedArrays[D];
}

export class DenseTensor<D extends DType = 'f32'> implements Tensor<D> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly size: number;
  readonly block: Block;
  #view: TypedArrays[D] | undefined;

  constructor(heap: Heap, shape: Shape, dtype: D = 'f32' as D) {
    this.dtype = dtype;
    this.shape = shape;
    this.size = sizeOf(shape);
    this.block = new Block(heap, ARRAYS[dtype].BYTES_PER_ELEMENT * this.size, 'tensors');
    heap.watch(this, this.block, shape);
  }

  get disposed(): boolean {
    return this.block.disposed;
  }

  get data(): TypedArrays[D] {
    this.check('read');
    const { heap, address } = this.block;
    if (this.#view?.buffer !== heap.floats().buffer)
      this.#view = viewOf(heap, this.dtype, address, this.size);
    return this.#view!;
  }

  /** Throws if the tensor may not be used any more. */
  check(what: string): void {
    if (this.block.heap.closed) {
      throw new TesseraeError(
        'E_CLOSED',
        `cannot ${what} a tensor of a closed runtime`,
        { shape: this.shape },
        'Copy results out before close().',
      );
    }
    if (this.disposed) {
      throw new TesseraeError(
        'E_DISPOSED',
        `cannot ${what} a disposed tensor of shape ${showShape(this.shape)}`,
        { shape: this.shape },
        'Dispose a tensor after its last use.',
      );
    }
  }

  dispose(): void {
    if (this.disposed) return;
    this.block.heap.unwatch(this.block);
    this.block.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Panels of a right operand. */
export class Panels implements Held {
  readonly shape: readonly [number, number];
  readonly panel: { readonly nr: number; readonly kc: number };
  readonly block: Block;

  /** `more` elements follow the panels. */
  constructor(
    heap: Heap,
    shape: readonly [number, number],
    panel: { readonly nr: number; readonly kc: number },
    more = 0,
  ) {
    this.shape = shape;
    this.panel = panel;
    const [k, n] = shape;
    this.block = new Block(heap, 4 * (k * Math.ceil(n / panel.nr) * panel.nr + more), 'prepacked');
    heap.watch(this, this.block, shape);
  }

  get bytes(): number {
    return this.block.bytes;
  }

  place(): Address {
    this.block.hold();
    return this.block.address;
  }

  done(): void {
    this.block.release();
  }

  get disposed(): boolean {
    return this.block.disposed;
  }

  dispose(): void {
    if (this.disposed) return;
    this.block.heap.unwatch(this.block);
    this.block.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
