/**
 * A program: a plan applied to a problem, as the list of steps that a team claims one by one. Plain data; any backend can
 * interpret it. Steps come in phases: a step may start when the `needs` first steps of the list are complete.
 */
import type { ActivationKind } from '../problem/epilogue.ts';
import type { Problem } from '../problem/problem.ts';
import type { Plan } from './plan.ts';

/**
 * - `packA`, `packB`: lines of an operand into panels; `tile`: a tile of the result from panels or operands in place;
 *   `vector`: a stretch of a matrix-vector product.
 * - `pad`: planes (NCHW) or rows (NHWC) of the image, with zeros around, split by the phases of the horizontal stride.
 * - `patchTile`: a tile of an implicit product: packs its patches, or the rows of a depthwise convolution of image K0 of the batch, then multiplies.
 * - `offsetTile`: output rows of a direct convolution, taps found through the table of offsets (NCHW).
 * - `segmentTile`: the same for NHWC, where a row of taps is contiguous and A is read in place.
 * - `packFilters`: weights into panels of B in the order (kh, kw, ic) (NHWC).
 * - `depthwise`: output rows of some channels. `filtersByTap`: depthwise weights as [tap][channel] (NHWC).
 * - `winogradWeights`, `winogradInput`, `winogradTile`: the transforms; the last multiplies and transforms back. `winogradSlice`: the
 *   last two for whole rows of tiles, on matrices of the thread's own.
 * - `strassenFilters`: sums of quarters of the filters; `strassenTile`: a tile by seven products of halves, all output channels of a group.
 * - `pool`: output rows of some channels.
 * - `integerVector`: as `vector`, with the matrix as 8-bit integers in place. `integerDepthwise`: as `depthwise`, with such an image.
 * - `packBytes`: 8-bit columns of B into panels of bytes. `widen...`: 8-bit operands to 32-bit elements: rows of k, lines of k (B), filters, planes (NCHW) or rows (NHWC) of images.
 * - `fold`: output rows of a transposed convolution, gathered from the columns of its product. `tapFilters`: its weights as the
 *   filters of a 1x1 convolution (NHWC).
 * - `map`: rows of a function of elements. `lines`: lines to values or lines. `move`: elements in another order. `take`: parts by a list.
 */
export type StepOp =
  | 'packA'
  | 'packB'
  | 'tile'
  | 'vector'
  | 'pad'
  | 'patchTile'
  | 'offsetTile'
  | 'segmentTile'
  | 'packFilters'
  | 'depthwise'
  | 'filtersByTap'
  | 'winogradWeights'
  | 'winogradInput'
  | 'winogradTile'
  | 'winogradSlice'
  | 'strassenFilters'
  | 'strassenTile'
  | 'pool'
  | 'fold'
  | 'tapFilters'
  | 'map'
  | 'lines'
  | 'move'
  | 'take'
  | 'integerVector'
  | 'integerDepthwise'
  | 'packBytes'
  | 'widenRowsA'
  | 'widenRowsB'
  | 'widenColumns'
  | 'widenFiltersA'
  | 'widenFiltersB'
  | 'widenPlanes'
  | 'widenPixels';

export interface Step {
  readonly op: StepOp;
  readonly needs: number;
  /** Member of the batch: element offsets of its matrices or images. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Rows and columns of the result (tile), lines of A (packA) or of B (packB), elements (vector). In tiles of images m is the
   *  output channel within the group and n the pixel, output row or row of Winograd tiles. */
  readonly m0: number;
  readonly rows: number;
  readonly n0: number;
  readonly cols: number;
  /** The slice of k, or of channels. `first` and `last` mark the slices at its ends. */
  readonly k0: number;
  readonly ks: number;
  readonly first: boolean;
  readonly last: boolean;
  /** Element offsets of this member's panels. */
  readonly packedA: number;
  readonly packedB: number;
  /** The first of this member's output channels among all: where its bias begins. */
  readonly channel: number;
}

/**
 * What is the same in all steps of a program, as numbers: extents and distances in elements, flags as 0 and 1. A field that
 * a program's steps do not read is 0.
 */
export const CONSTANT_FIELDS = [
  'mr',
  'nr',
  'kc',
  'k',
  'directA', // A is read in place
  'directB',
  'transposeA',
  'transposeB',
  'matrixA', // the matrix of a vector product is A and the vector is B
  'lda',
  'ldb',
  'ldc', // from row to row as stored
  'mPadded',
  'nPadded', // whole panels: extents rounded up to mr and nr
  'channels', // of the input in one group, and all output channels (the distance between pixels in NHWC)
  'outChannels',
  'inH',
  'inW',
  'outH',
  'outW',
  'kH',
  'kW',
  'strideH',
  'strideW',
  'dilationH',
  'dilationW',
  'padTop',
  'padLeft',
  'padBottom',
  'padRight',
  'rowPitch', // of the image that tiles read: from row to row, from phase to phase, from plane to plane
  'phasePitch',
  'planePitch',
  'paddedH',
  'nhwc', // channels of the whole image where they are the last extent, else 0
  'segment', // contiguous taps of one stretch of k (NHWC)
  'tilesX', // Winograd tiles in a row, side of their outputs, and elements of one matrix of each transformed operand (stepA: of sums of filters)
  'tileSide',
  'stepA',
  'stepB',
  'ownB', // where the transformed image lies in a thread's own space, and output channels of one product of a slice (0: shared)
  'blockRows',
  'multiplier', // output channels for each input channel (depthwise), or in each group (folding)
  'inPlace', // rows are read where they lie (depthwise)
  'interleaved', // four channels at once, one a lane (depthwise)
  'stripRows', // output rows whose input rows fit one strip (depthwise, pooling)
  'maximum', // the largest value, not the mean (pooling)
  'countPadding',
  'outKind', // what becomes of integer sums; 0 where they are no integers
  'wordSteps', // 8-bit operands: steps of k in an element, steps of k in a row or channels in a group
  'depth',
  'signedA',
  'signedB',
  'taps',
  'rawH', // the image as given: extents, padding around it, all channels (NHWC)
  'rawW',
  'rawTop',
  'rawLeft',
  'rawChannels',
  'rawRows', // rows of a padded plane, or of one matrix of B; elements of a padded row
  'rawPitch',
  'rowSums', // words of four bytes: where A's sums begin, from A on, and B's corrections, from its panels on
  'columnSums',
  'byteShift', // what is added to bytes of B in their panels
  'kind', // of elements, lines and moves: the function; axes outside of the innermost; its extent
  'rank',
  'inner',
  'scaleKind', // of norms: what factors and summands are given for, and lines until they repeat
  'shiftKind',
  'lineChannels',
] as const;

export type Constants = Readonly<Record<(typeof CONSTANT_FIELDS)[number], number>>;

/** The last pass over a result. */
export interface Epilogue {
  readonly bias: 'none' | 'row' | 'column';
  readonly activation: ActivationKind;
  /** Along which extent a slope varies (prelu). */
  readonly slope: 'none' | 'row' | 'column';
  /** Multiply by alpha. */
  readonly scaled: boolean;
  /** Add beta times C0; `keepOld`: C0 is a copy of the result before the first pass, which tiles make. */
  readonly accumulate: boolean;
  readonly keepOld: boolean;
  /** Rows of the result that C0 has; 0: all of them. */
  readonly oldRows: number;
  /** NaN gets its canonical bits. */
  readonly exact: boolean;
}

/** A result that is left as it is. */
export const NO_EPILOGUE: Epilogue = {
  bias: 'none',
  activation: 'none',
  slope: 'none',
  scaled: false,
  accumulate: false,
  keepOld: false,
  oldRows: 0,
  exact: false,
};

export interface Program {
  readonly problem: Problem;
  readonly plan: Plan;
  readonly constants: Constants;
  readonly epilogue: Epilogue;
  /** Element offsets: of each k step (offset kernels, patches), of each segment, of each tap. */
  readonly offsets: readonly number[];
  readonly steps: readonly Step[];
  /** Elements of packing space that a call needs; 0 where an operand is read in place or comes packed. */
  readonly packedAElements: number;
  readonly packedBElements: number;
  /** Elements that each thread needs for itself. */
  readonly privateElements: number;
  /** Space in which 8-bit operands are widened and sums are made before they are what was asked for. */
  readonly staging?: Staging;
}

/** Element offsets in that space of what stands in for the call's own operands and result, where something does. */
export interface Staging {
  readonly elements: number;
  readonly a: number | undefined;
  readonly b: number | undefined;
  readonly c: number | undefined;
}

const NO_CONSTANTS = Object.fromEntries(CONSTANT_FIELDS.map((name) => [name, 0])) as Constants;

/** All constants, from those that are not 0. */
export function constantsOf(some: Partial<Constants>): Constants {
  return { ...NO_CONSTANTS, ...some };
}
