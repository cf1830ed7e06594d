/** Steps that are run in two memories, one after the other: what has to be moved between them, and when. Arithmetic only. */

/** What names a block of memory: its address. */
type Block = number;

/** A step, with the blocks of memory that it reads and the one that it writes. */
export interface Traveller {
  readonly isThere: boolean;
  readonly reads: readonly Block[];
  readonly writes: Block;
  /** Whether the block keeps values that the step does not write. */
  readonly keeps: boolean;
}

/** Blocks that are brought here together, then steps that are run one after the other, or what is done there one by one. */
export type Leg =
  | { readonly kind: 'here'; readonly down: readonly Block[]; readonly steps: readonly number[] }
  | { readonly kind: 'there'; readonly up: readonly Block[]; readonly step: number };

interface Validity {
  here: boolean;
  there: boolean;
}

/**
 * Legs of a journey that begins with the blocks `given` here and ends with those `wanted` here, too. What is nowhere (nobody has written
 * it yet) is not moved. `isLasting` blocks are in both memories all the time.
 */
export function legsOf(
  steps: readonly Traveller[],
  given: readonly Block[],
  wanted: readonly Block[],
  isLasting: (block: Block) => boolean,
): readonly Leg[] {
  const valid = new Map<Block, Validity>(given.map((block) => [block, { here: true, there: false }]));
  const validity = (block: Block): Validity => {
    let found = valid.get(block);
    if (!found) {
      found = { here: isLasting(block), there: isLasting(block) };
      valid.set(block, found);
    }
    return found;
  };
  /** Those of the blocks that are on the other side only; from now on they are on both. */
  const missing = (blocks: readonly Block[], side: keyof Validity): Block[] =>
    [...new Set(blocks)].filter((block) => {
      const at = validity(block);
      if (at[side] || !(at.here || at.there)) return false;
      at[side] = true;
      return true;
    });
  const legs: Leg[] = [];
  let here: { kind: 'here'; down: Block[]; steps: number[] } | undefined;
  steps.forEach(({ isThere, reads, writes, keeps }, step) => {
    const needed = keeps ? [...reads, writes] : reads;
    if (isThere) {
      here = undefined;
      legs.push({ kind: 'there', up: missing(needed, 'there'), step });
    } else {
      if (!here) {
        here = { kind: 'here', down: [], steps: [] };
        legs.push(here);
      }
      // what was there when the leg began has not changed since
      here.down.push(...missing(needed, 'here'));
      here.steps.push(step);
    }
    valid.set(writes, { here: !isThere, there: isThere });
  });
  const down = missing(wanted, 'here');
  if (down.length > 0) legs.push({ kind: 'here', down, steps: [] });
  return legs;
}
