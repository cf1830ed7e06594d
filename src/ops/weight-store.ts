/** Memory of weights that are kept for many calls. */
import type { Address } from '../backends/types.ts';
import type { Shape } from '../core/shape.ts';
import { Block, type Heap, type Held, type Remote, viewOf, type Watched } from './tensor.ts';

/** Weights that can be written whenever they are wanted. */
export type Fill = (floats: Float32Array) => void;

/** Stores whose weights lie nowhere until something reads them as they were given, by the address that stands for them. */
const unwritten = new WeakMap<Heap, Map<Address, WeightStore>>();

/** Has what is kept at an address at hand for a moment: where it lies, or in memory that is given back after it. */
export function withKept<T>(heap: Heap, address: Address, work: (address: Address) => T): T {
  const store = unwritten.get(heap)?.get(address);
  return store ? store.borrow(work) : work(address);
}

/** Bytes of what is kept at an address; undefined for what has no other place than that. */
export function keptBytes(heap: Heap, address: Address): number | undefined {
  return unwritten.get(heap)?.get(address)?.given.bytes;
}

/** Bytes that stand for weights which lie nowhere yet. */
const NAME_BYTES = 4;

/** The memory behind kept weights, which outlives them while calls use it or until a leak is noticed: as they were given, and in
 *  the forms that plans have asked for. */
export class WeightStore implements Watched {
  readonly owner = 'prepacked';
  readonly heap: Heap;
  readonly given: { readonly bytes: number; readonly fill: Fill | undefined };
  readonly #forms = new Map<string, Block>();
  /** What stands for them. */
  readonly #name: Block;
  #raw: Block | undefined;
  remote: Remote | undefined;
  #uses = 0;
  #disposed = false;

  /** `bytes` of the weights as they were given. With `fill` nothing is kept of these until something reads them. */
  constructor(heap: Heap, bytes: number, fill?: Fill) {
    this.heap = heap;
    this.given = { bytes, fill };
    this.#name = new Block(heap, fill ? NAME_BYTES : bytes, 'prepacked');
    if (!fill) {
      this.#raw = this.#name;
      return;
    }
    const all = unwritten.get(heap) ?? new Map<Address, WeightStore>();
    unwritten.set(heap, all.set(this.#name.address, this));
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  get bytes(): number {
    const raw = this.#raw && this.#raw !== this.#name ? this.#raw.bytes : 0;
    return this.#name.bytes + raw + this.formBytes;
  }

  /** Of these what forms take that plans have asked for. */
  get formBytes(): number {
    return [...this.#forms.values()].reduce((sum, form) => sum + form.bytes, 0);
  }

  /** Address that stands for the weights as they were given: where they lie, or one that `withKept` knows. */
  get address(): Address {
    return this.#name.address;
  }

  /** Where the weights lie as they were given; from now on they do. */
  raw(): Address {
    if (this.#raw) return this.#raw.address;
    const block = new Block(this.heap, this.given.bytes, 'prepacked');
    try {
      this.#fillInto(block);
    } catch (error) {
      block.dispose();
      throw error;
    }
    this.#raw = block;
    return block.address;
  }

  /** Has the weights as they were given for a moment, if need be in memory that is given back after it. */
  borrow<T>(work: (address: Address) => T): T {
    if (this.#raw) return work(this.#raw.address);
    // scratch that is taken while a run is recorded would be the record's
    const block = new Block(this.heap, this.given.bytes, 'prepacked');
    try {
      this.#fillInto(block);
      return work(block.address);
    } finally {
      block.dispose();
    }
  }

  #fillInto({ heap, address, bytes }: Block): void {
    this.given.fill!(viewOf(heap, 'f32', address, bytes / 4));
  }

  /** Address of a form, filled now if it is asked for the first time. */
  form(name: string, bytes: number, fill: (address: Address) => void): Address {
    const known = this.#forms.get(name);
    if (known) return known.address;
    const block = new Block(this.heap, bytes, 'prepacked');
    try {
      fill(block.address);
    } catch (error) {
      block.dispose();
      throw error;
    }
    this.#forms.set(name, block);
    return block.address;
  }

  hold(): void {
    this.#uses++;
  }

  release(): void {
    this.#uses--;
    if (this.#disposed && this.#uses === 0) this.#free();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#uses === 0) this.#free();
  }

  #free(): void {
    unwritten.get(this.heap)?.delete(this.#name.address);
    this.#name.dispose();
    this.#raw?.dispose();
    this.remote?.dispose();
    for (const form of this.#forms.values()) form.dispose();
    this.#forms.clear();
  }
}

/** Weights that a user holds: what is the same whatever their elements are. */
export abstract class KeptWeights implements Held {
  readonly shape: Shape;
  readonly store: WeightStore;

  /** Of a shape, in `bytes` of memory, or written by `fill` when they are wanted. */
  constructor(heap: Heap, shape: Shape, bytes: number, fill?: Fill) {
    this.shape = shape;
    this.store = new WeightStore(heap, bytes, fill);
    heap.watch(this, this.store, shape);
  }

  get heap(): Heap {
    return this.store.heap;
  }

  get bytes(): number {
    return this.disposed ? 0 : this.store.bytes;
  }

  get disposed(): boolean {
    return this.store.disposed;
  }

  /** The weights as they were given, or what stands for them. */
  place(): Address {
    this.store.hold();
    return this.store.address;
  }

  done(): void {
    this.store.release();
  }

  dispose(): void {
    if (this.disposed) return;
    this.heap.unwatch(this.store);
    this.store.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
