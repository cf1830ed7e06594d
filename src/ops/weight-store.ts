/** Memory of weights that are kept for many calls. */
import type { Address } from '../backends/types.ts';
import type { Shape } from '../core/shape.ts';
import { Block, type Heap, type Held, type Remote, type Watched } from './tensor.ts';

/** The memory behind kept weights, which outlives them while calls use it or until a leak is noticed: as they were given, and in
 *  the forms that plans have asked for. */
export class WeightStore implements Watched {
  readonly owner = 'prepacked';
  readonly heap: Heap;
  readonly raw: Block;
  readonly #forms = new Map<string, Block>();
  remote: Remote | undefined;
  #uses = 0;
  #disposed = false;

  /** `bytes` of the weights as they were given. */
  constructor(heap: Heap, bytes: number) {
    this.heap = heap;
    this.raw = new Block(heap, bytes, 'prepacked');
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  get bytes(): number {
    return [...this.#forms.values()].reduce((sum, form) => sum + form.bytes, this.raw.bytes);
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
    this.raw.dispose();
    this.remote?.dispose();
    for (const form of this.#forms.values()) form.dispose();
    this.#forms.clear();
  }
}

/** Weights that a user holds: what is the same whatever their elements are. */
export abstract class KeptWeights implements Held {
  readonly shape: Shape;
  readonly store: WeightStore;

  /** Of a shape, in `bytes` of memory. */
  constructor(heap: Heap, shape: Shape, bytes: number) {
    this.shape = shape;
    this.store = new WeightStore(heap, bytes);
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

  /** The weights as they were given. */
  place(): Address {
    this.store.hold();
    return this.store.raw.address;
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
