/** Tensors: typed views of the runtime's memory whose lifetime the user ends, with a safety net that reports leaks. */

import type { Address, Owner } from '../backends/types.ts';
import { TesseraeError } from '../core/errors.ts';
import { type Shape, showShape, sizeOf } from '../core/shape.ts';
import { show } from '../core/show.ts';
import { badArgument, checkOptions } from './arguments.ts';
import type { DType, Location, SharedTensor, Storage, Tensor, ToOptions, TypedArrays } from './types.ts';

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
  /** Copies values to the GPU. @throws `E_GPU` where there is none. */
  send(values: Float32Array): Remote;
  /** Gives a tensor to another thread. */
  share(tensor: Tensor<DType>): SharedTensor;
  /** The values that lie on the GPU, kept there in another way. */
  convert(remote: Remote, storage: Storage): Promise<Remote>;
}

/** A tensor's values on a GPU. */
export interface Remote {
  readonly storage: Storage;
  /** Copies them into memory; `into` is asked for when they have come, for memory may grow meanwhile. */
  fetch(into: () => Float32Array): Promise<void>;
  /** Kept from being given back until `release`. */
  hold(): void;
  release(): void;
  dispose(): void;
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
  /** Keeps what it needs, without placing it, until the returned function is called: for calls that wait before they place. */
  hold?(): () => void;
}

/** Where a GPU gets an operand's values from. */
export interface Source {
  readonly elements: number;
  /** The values on the GPU, if they are there. */
  readonly remote: Remote | undefined;
  /** Whether the values lie on the GPU only. */
  readonly isAway: boolean;
  /** Brings values to memory that are on the GPU only; undefined if there is nothing to do. */
  fetch(): Promise<unknown> | undefined;
  /** The values in memory. @throws `E_LOCATION`. */
  values(): Float32Array;
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

/** Where a tensor's values are: in memory, on a GPU, or in both places alike. */
class Home implements Watched {
  readonly owner = 'tensors';
  readonly heap: Heap;
  readonly bytes: number;
  block: Block | undefined;
  remote: Remote | undefined;
  /** Whether what lies in the block is what the tensor holds. */
  isHere: boolean;
  #disposed = false;
  #shares = 1;

  constructor(heap: Heap, bytes: number, remote: Remote | undefined) {
    this.heap = heap;
    this.bytes = bytes;
    this.remote = remote;
    this.isHere = remote === undefined;
    if (!remote) this.block = new Block(heap, bytes, 'tensors');
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** For one more tensor over the same values. */
  share(): this {
    this.#shares++;
    return this;
  }

  /** True when the last of the tensors is gone. */
  release(): boolean {
    this.#shares--;
    if (this.#shares > 0) return false;
    this.dispose();
    return true;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.block?.dispose();
    this.remote?.dispose();
  }
}

function readStorage(options: ToOptions, where: unknown): Storage | undefined {
  checkOptions(options, TO_FIELDS);
  const { storage } = options;
  if (storage === undefined) return undefined;
  if (storage !== 'f32' && storage !== 'f16') throw badArgument('storage', storage, "Use 'f32' or 'f16'.");
  if (where !== 'gpu') throw badArgument('storage', storage, "It is for to('gpu'): memory holds floats.");
  return storage;
}

const TO_FIELDS: ReadonlySet<string> = new Set(['storage']);

export class DenseTensor<D extends DType = 'f32'> implements Tensor<D> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly size: number;
  readonly #home: Home;
  /** Whose values these are, kept as long as this is used. */
  readonly origin: DenseTensor<D> | undefined;
  #isGone = false;
  #view: TypedArrays[D] | undefined;

  /** With values in memory, which are made here, with those that lie on a GPU, or with those of another tensor. */
  constructor(heap: Heap, shape: Shape, dtype: D = 'f32' as D, remote?: Remote | DenseTensor<D>) {
    this.dtype = dtype;
    this.shape = shape;
    this.size = sizeOf(shape);
    if (remote instanceof DenseTensor) {
      this.#home = remote.#home.share();
      this.origin = remote;
      return;
    }
    this.#home = new Home(heap, ARRAYS[dtype].BYTES_PER_ELEMENT * this.size, remote);
    heap.watch(this, this.#home, shape);
  }

  /** Another tensor over the same values, with another shape of as many elements; both must be disposed. */
  reshaped(shape: Shape): DenseTensor<D> {
    return new DenseTensor<D>(this.heap, shape, this.dtype, this);
  }

  get heap(): Heap {
    return this.#home.heap;
  }

  get disposed(): boolean {
    return this.#isGone || this.#home.disposed;
  }

  get location(): Location {
    if (!this.#home.isHere) return 'gpu';
    return this.#home.remote ? 'both' : 'wasm';
  }

  get storage(): Storage {
    return this.#home.remote?.storage ?? 'f32';
  }

  /** The values on a GPU, if they are there. */
  get remote(): Remote | undefined {
    return this.#home.remote;
  }

  /** The values in memory. @throws `E_LOCATION` where they lie on a GPU only. */
  get block(): Block {
    const { block, isHere } = this.#home;
    if (block && isHere) return block;
    throw new TesseraeError(
      'E_LOCATION',
      `the values of a tensor of shape ${showShape(this.shape)} lie on the GPU only`,
      { shape: this.shape, location: 'gpu' },
      'Use await tensor.read(), or await calls instead of the ...Sync ones.',
    );
  }

  get data(): TypedArrays[D] {
    this.check('read');
    const { block } = this;
    this.changedHere();
    return this.#viewOf(block);
  }

  async read(): Promise<TypedArrays[D]> {
    await this.bring();
    this.check('read');
    return this.#viewOf(this.block);
  }

  /** Brings the values to memory. Its block is there when this returns, so that whoever holds the tensor then holds that as well. */
  async bring(): Promise<void> {
    this.check('read');
    const home = this.#home;
    const { remote } = home;
    if (home.isHere || !remote) return;
    const block = this.ensureBlock();
    block.hold();
    try {
      await remote.fetch(() => viewOf(home.heap, 'f32', block.address, this.size));
    } finally {
      block.release();
    }
    // a call that wrote here meanwhile is newer
    if (home.remote === remote) home.isHere = true;
  }

  async to(where: 'gpu' | 'wasm', options: ToOptions = {}): Promise<this> {
    this.check('move');
    const storage = readStorage(options, where);
    if (where === 'wasm') {
      await this.read();
      this.changedHere();
    } else if (where !== 'gpu') {
      throw new TesseraeError(
        'E_ARGUMENT',
        `there is no place ${show(where)}`,
        { where },
        "Use 'gpu' or 'wasm'.",
      );
    } else if (!this.#home.remote) {
      if (this.dtype !== 'f32')
        throw new TesseraeError(
          'E_DTYPE',
          `tensors of ${this.dtype} do not go to the GPU`,
          { dtype: this.dtype },
          'Only f32 does, so far.',
        );
      const values = this.#viewOf(this.block) as Float32Array;
      this.#home.remote = this.heap.send(values);
    }
    if (storage !== undefined) await this.#store(storage);
    return this;
  }

  share(): SharedTensor {
    this.check('share');
    return this.heap.share(this as Tensor<DType>);
  }

  /** Keeps the values on the GPU as floats or as halves. What is rounded is so everywhere. */
  async #store(storage: Storage): Promise<void> {
    const home = this.#home;
    const { remote } = home;
    if (!remote || remote.storage === storage) return;
    const converted = await this.heap.convert(remote, storage);
    // a call that wrote meanwhile is newer
    if (this.disposed || home.remote !== remote) converted.dispose();
    else if (storage === 'f16') this.changedThere(converted);
    else {
      home.remote = converted;
      remote.dispose();
    }
  }

  /** Keeps the values, wherever they are, until the returned function is called. */
  hold(): () => void {
    const { block, remote } = this.#home;
    block?.hold();
    remote?.hold();
    return () => {
      block?.release();
      remote?.release();
    };
  }

  /** Memory for the values, whatever lies there now. */
  ensureBlock(): Block {
    const home = this.#home;
    home.block ??= new Block(home.heap, home.bytes, 'tensors');
    return home.block;
  }

  /** Memory for values that are about to be written. */
  overwrite(): Block {
    const block = this.ensureBlock();
    this.changedHere();
    return block;
  }

  /** What lies in memory is the newest: a copy elsewhere is none any more. */
  changedHere(): void {
    const home = this.#home;
    home.isHere = true;
    if (!home.remote) return;
    home.remote.dispose();
    home.remote = undefined;
  }

  /** The values are now those that lie on a GPU. */
  changedThere(remote: Remote): void {
    const home = this.#home;
    home.remote?.dispose();
    home.remote = remote;
    home.isHere = false;
  }

  /** Throws if the tensor may not be used any more. */
  check(what: string): void {
    if (this.heap.closed) {
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
    this.#isGone = true;
    if (this.#home.release()) this.heap.unwatch(this.#home);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #viewOf({ address }: Block): TypedArrays[D] {
    if (this.#view?.buffer !== this.heap.floats().buffer || this.#view.byteOffset !== address)
      this.#view = viewOf(this.heap, this.dtype, address, this.size);
    return this.#view!;
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

  hold(): () => void {
    this.block.hold();
    return () => this.block.release();
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
