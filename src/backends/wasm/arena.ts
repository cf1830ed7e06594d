/**
 * The allocator over the shared memory: small blocks from lists per size class, larger ones best fit from a list of free
 * stretches that merge with their neighbours. Only the thread that owns the runtime allocates.
 */
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import type { Address, MemoryUse, Owner, Stored } from '../types.ts';

const PAGE = 65536;
const ALIGN = 64;
/** Readable bytes behind every block: a kernel may load a whole vector strip at a matrix's edge. */
const SLACK = 128;
/** Blocks up to this size come from classes: they are many, short-lived and alike. */
const SMALL = 16 * 1024;
/** Grow by at least this, so that a sequence of allocations does not grow the memory each time. */
const GROW_AT_LEAST = 4 * 1024 * 1024;

interface Block {
  readonly size: number;
  readonly bytes: number;
  readonly owner: Owner;
}

interface Stretch {
  start: number;
  size: number;
}

/** Memory that grows by pages: of WebAssembly, or what stands for one of another thread. */
export interface GrowableMemory {
  readonly buffer: { readonly byteLength: number };
  /** By so many pages; throws where that cannot be. */
  grow(pages: number): unknown;
}

export class Arena {
  readonly #memory: GrowableMemory;
  readonly #maximum: number;
  readonly #live = new Map<Address, Block>();
  readonly #small = new Map<number, Address[]>();
  /** Free stretches in address order. */
  readonly #free: Stretch[] = [];
  readonly #owners: Record<Owner, number> = { tensors: 0, prepacked: 0, scratch: 0, runtime: 0 };
  readonly #onGrow: () => void;
  #end: number;

  /** `onGrow` is called after the memory has grown: views on it must be made anew. */
  constructor(memory: GrowableMemory, start: Address, maximum: number, onGrow: () => void) {
    this.#onGrow = onGrow;
    this.#memory = memory;
    this.#maximum = maximum;
    this.#end = memory.buffer.byteLength;
    if (this.#end > start) this.#free.push({ start, size: this.#end - start });
  }

  allocate(bytes: number, owner: Owner): Address {
    const size = sizeClass(bytes + SLACK);
    const address =
      (size <= SMALL ? this.#small.get(size)?.pop() : undefined) ??
      this.#carve(size) ??
      this.#grow(size, bytes);
    this.#live.set(address, { size, bytes, owner });
    this.#owners[owner] += bytes;
    return address;
  }

  free(address: Address): void {
    const block = this.#live.get(address);
    if (!block) throw new Error(`free of ${address}, which is not allocated`);
    this.#live.delete(address);
    this.#owners[block.owner] -= block.bytes;
    if (block.size <= SMALL) {
      const list = this.#small.get(block.size);
      if (list) list.push(address);
      else this.#small.set(block.size, [address]);
    } else this.#merge(address, block.size);
  }

  /** The block that an address lies in, or undefined where there is none. */
  blockAt(address: Address): Stored | undefined {
    const own = this.#live.get(address);
    if (own) return { base: address, bytes: own.bytes };
    for (const [base, { bytes }] of this.#live)
      if (address > base && address < base + bytes) return { base, bytes };
    return undefined;
  }

  use(): MemoryUse {
    const byOwner = { ...this.#owners };
    return {
      capacity: this.#end,
      maximum: this.#maximum,
      used: byOwner.tensors + byOwner.prepacked + byOwner.scratch + byOwner.runtime,
      byOwner,
    };
  }

  /** The smallest free stretch that is large enough, its front cut off. */
  #carve(size: number): Address | undefined {
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      const stretch = this.#free[i]!;
      if (stretch.size >= size && (best < 0 || stretch.size < this.#free[best]!.size)) best = i;
    }
    if (best < 0) return undefined;
    const stretch = this.#free[best]!;
    const address = stretch.start;
    if (stretch.size === size) this.#free.splice(best, 1);
    else {
      stretch.start += size;
      stretch.size -= size;
    }
    return address;
  }

  /** Grows the memory so that a block of `size` fits, joining a free stretch at the end if there is one. */
  #grow(size: number, asked: number): Address {
    const tail = this.#free.at(-1);
    const spare = tail && tail.start + tail.size === this.#end ? tail.size : 0;
    const needed = size - spare;
    const room = this.#maximum - this.#end;
    if (needed > room) throw this.#outOfMemory(asked);
    const bytes = roundUp(Math.min(Math.max(needed, GROW_AT_LEAST), room), PAGE);
    try {
      this.#memory.grow(bytes / PAGE);
    } catch (cause) {
      throw this.#outOfMemory(asked, cause);
    }
    this.#merge(this.#end, bytes);
    this.#end += bytes;
    this.#onGrow();
    return this.#carve(size)!;
  }

  #outOfMemory(needed: number, cause?: unknown): TesseraeError {
    const largest = this.#free.reduce((most, stretch) => Math.max(most, stretch.size), 0);
    const available = Math.max(0, this.#maximum - this.#end + largest - SLACK);
    return new TesseraeError(
      'E_MEMORY',
      `out of memory: ${needed} bytes needed, at most ${available} available in one piece`,
      { needed, available, maximum: this.#maximum, used: this.use().used },
      'Dispose tensors that are no longer needed, or raise memory.maximum (at most 4 GiB).',
      cause,
    );
  }

  #merge(start: number, size: number): void {
    let at = 0;
    let high = this.#free.length;
    while (at < high) {
      const middle = (at + high) >>> 1;
      if (this.#free[middle]!.start < start) at = middle + 1;
      else high = middle;
    }
    const before = this.#free[at - 1];
    const after = this.#free[at];
    const joinsBefore = before !== undefined && before.start + before.size === start;
    const joinsAfter = after !== undefined && start + size === after.start;
    if (joinsBefore && joinsAfter) {
      before.size += size + after.size;
      this.#free.splice(at, 1);
    } else if (joinsBefore) before.size += size;
    else if (joinsAfter) {
      after.start = start;
      after.size += size;
    } else this.#free.splice(at, 0, { start, size });
  }
}

/** Small sizes round up to a quarter of their power of two (at most 25 % waste), large ones to the alignment. */
function sizeClass(bytes: number): number {
  if (bytes > SMALL) return roundUp(bytes, ALIGN);
  const power = 2 ** Math.ceil(Math.log2(Math.max(bytes, 256)));
  return roundUp(bytes, Math.max(ALIGN, power / 8));
}
