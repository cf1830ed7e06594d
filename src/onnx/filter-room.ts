/** How much memory the forms of filters may take that are larger than the filters: those of Winograd's method, which for 3x3 filters is
 *  often two to three times as fast as others (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015), and those of Strassen's. */
import { sizeOf } from '../core/shape.ts';
import type { ConstantArray, Graph, GraphNode } from './model/types.ts';

/** `fast`: whatever is expected to be fastest. `small`: nothing larger than the filters. `auto`: the fastest within a room. */
export const FILTER_FORMS = ['auto', 'fast', 'small'] as const;
export type FilterForms = (typeof FILTER_FORMS)[number];

/** Of all weights, so that a model takes at most 1.2 times their bytes with what else a run needs. */
const ROOM_SHARE = 0.06;
/** Small models have more, which a process hardly feels: so much less a quarter of their weights, until both are the same (206 MiB). */
const SMALL_ROOM = 64 * 2 ** 20;
const SMALL_SHARE = 0.25;
/** Of what is left, for filters that a run works out: later ones, which may be smaller and go over larger images, find room as well. */
const LARGEST_SHARE = 0.5;
/** Forms are panels of whole blocks of filters, which have so many at most. */
const PANEL_ROWS = 8;
/** Bytes of whatever form. */
const ANY = Number.POSITIVE_INFINITY;

/** A form in parts of the filters as they are: its size, and the products that are left with it. */
interface Form {
  readonly size: number;
  readonly products: number;
}

/** From the smallest on, by the taps of a filter: F(2, .) and F(4, .) of Winograd's, for pixels Strassen's. */
const FORMS: ReadonlyMap<number, readonly Form[]> = new Map([
  [1, [{ size: 7 / 4, products: 7 / 8 }]],
  [
    9,
    [
      { size: 16 / 9, products: 4 / 9 },
      { size: 36 / 9, products: 4 / 16 },
    ],
  ],
  [
    25,
    [
      { size: 36 / 25, products: 9 / 25 },
      { size: 64 / 25, products: 4 / 25 },
    ],
  ],
]);

/** A form that filters would take in place of the next smaller one. */
interface Step {
  readonly filters: ConstantArray;
  /** Bytes beyond the filters' own that they may take then. */
  readonly beyond: number;
  /** Bytes beyond those of the smaller form. */
  readonly more: number;
  readonly price: number;
}

/**
 * The forms of a convolution's filters. A byte of a form saves products at each pixel of the image, and images have about as many pixels fewer as
 * filters are larger, for networks that halve an image's sides double its channels: so a byte costs as much as there are filters, for what of
 * the products it saves.
 */
function stepsOf(filters: ConstantArray): Step[] {
  const [outC, , ...sides] = filters.shape as [number, number, ...number[]];
  const [taps, bytes] = [sizeOf(sides), 4 * sizeOf(filters.shape)];
  const isSquare = sides.length === 2 && sides[0] === sides[1];
  const forms = bytes > 0 && (isSquare || taps === 1) ? (FORMS.get(taps) ?? []) : [];
  const beyond = ({ size }: Form) => Math.ceil((1 + PANEL_ROWS / outC) * size * bytes - bytes);
  return forms.map((form, i) => {
    const before = forms[i - 1] ?? { size: 1, products: 1 };
    const saved = (before.products - form.products) / (form.size - before.size);
    const more = beyond(form) - (i > 0 ? beyond(before) : 0);
    return { filters, more, price: bytes / saved, beyond: i < forms.length - 1 ? beyond(form) : ANY };
  });
}

/** Whether one of the methods may serve a convolution by such filters: at every pixel, and more than one filter for each channel. */
function multipliesLess(node: GraphNode, { shape }: ConstantArray): boolean {
  const ones = (name: string) => {
    const all = node.attributes.get(name);
    return all?.kind !== 'ints' || all.value.every((one) => one === 1);
  };
  return shape[1]! > 1 && ones('strides') && ones('dilations');
}

/** Bytes for the larger forms of a model with so many bytes of weights. */
function roomFor(weights: number): number {
  return Math.max(ROOM_SHARE * weights, SMALL_ROOM - SMALL_SHARE * weights);
}

interface Allotment {
  /** Bytes beyond their own that filters may take, by the constant that they are. */
  readonly allotted: ReadonlyMap<object, number>;
  /** Bytes of the room that are left. */
  readonly left: number;
}

/** Gives a graph's filters their forms, the cheapest first, as long as there is room. */
function allot(graph: Graph, room: number): Allotment {
  const steps: Step[] = [];
  const allotted = new Map<object, number>();
  for (const node of graph.nodes) {
    const filters = node.op === 'Conv' ? graph.constants.get(node.inputs[1] ?? '') : undefined;
    if (!filters || allotted.has(filters)) continue;
    const own = multipliesLess(node, filters) ? stepsOf(filters) : [];
    allotted.set(filters, own.length > 0 ? 0 : ANY);
    steps.push(...own);
  }
  let left = room;
  for (const { filters, beyond, more } of steps.sort((a, b) => a.price - b.price)) {
    // where a form finds no room, neither does the next larger one, which is dearer and takes more
    if (more > left) continue;
    allotted.set(filters, beyond);
    left -= more;
  }
  return { allotted, left };
}

/** Room for the larger forms of a session's filters. */
export class FilterRoom {
  readonly #allotted: ReadonlyMap<object, number>;
  /** For filters that are none of the model's constants, given away as layers ask for it. */
  #left: number;
  readonly #taken = new Map<object, number>();

  /** For the filters of a graph. Without one there is no limit. */
  constructor(forms: FilterForms, graph?: Graph) {
    const { allotted, left } =
      forms === 'auto' && graph
        ? allot(graph, roomFor(weightBytes(graph)))
        : { allotted: new Map(), left: forms === 'small' ? 0 : ANY };
    this.#allotted = allotted;
    this.#left = left;
  }

  /** Whether filters may take so many bytes beyond their own; `Infinity` for whatever is fastest. */
  fits(key: object, beyond: number): boolean {
    const own = this.#allotted.get(key);
    if (own !== undefined) return beyond <= own;
    const more = beyond - (this.#taken.get(key) ?? 0);
    return more <= 0 || more <= LARGEST_SHARE * this.#left;
  }

  /** Notes how many bytes beyond their own filters take by now. */
  note(key: object, beyond: number): void {
    if (this.#allotted.has(key)) return;
    this.#left -= Math.max(0, beyond) - (this.#taken.get(key) ?? 0);
    this.#taken.set(key, Math.max(0, beyond));
  }
}

/** Bytes that a graph's constants are as floats. */
export function weightBytes({ constants }: Graph): number {
  return [...constants.values()].reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
}
