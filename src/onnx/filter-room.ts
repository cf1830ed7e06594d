/** How much memory the forms of filters may take that are larger than the filters: those of Winograd's method, which for 3x3 filters is
 *  often two to three times as fast as others (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015), and those of Strassen's. */
import { sizeOf } from '../core/shape.ts';
import type { Graph } from './model/types.ts';

/** `fast`: whatever is expected to be fastest. `small`: nothing larger than the filters. `auto`: the fastest within a room. */
export const FILTER_FORMS = ['auto', 'fast', 'small'] as const;
export type FilterForms = (typeof FILTER_FORMS)[number];

/** Of all weights, so that a model takes at most 1.2 times their bytes with what else a run needs. */
const ROOM_SHARE = 0.1;
/** What a process hardly feels. */
const LEAST_ROOM = 64 * 2 ** 20;
/** Of what is left: filters of later layers, which may be smaller and go over larger images, find room as well. */
const LARGEST_SHARE = 0.5;

/** Room for the larger forms of a session's filters, given away as layers ask for it. */
export class FilterRoom {
  #left: number;
  readonly #taken = new Map<object, number>();

  /** For `weights` bytes of constants. */
  constructor(forms: FilterForms, weights: number) {
    const room = Math.max(ROOM_SHARE * weights, LEAST_ROOM);
    this.#left = forms === 'fast' ? Number.POSITIVE_INFINITY : forms === 'small' ? 0 : room;
  }

  /** Whether filters may take so many bytes beyond their own. */
  fits(key: object, beyond: number): boolean {
    const more = beyond - (this.#taken.get(key) ?? 0);
    return more <= 0 || more <= LARGEST_SHARE * this.#left;
  }

  /** Notes how many bytes beyond their own filters take by now. */
  note(key: object, beyond: number): void {
    this.#left -= Math.max(0, beyond) - (this.#taken.get(key) ?? 0);
    this.#taken.set(key, Math.max(0, beyond));
  }
}

/** Bytes that a graph's constants are as floats. */
export function weightBytes({ constants }: Graph): number {
  return [...constants.values()].reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
}
