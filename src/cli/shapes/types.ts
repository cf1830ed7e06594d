/** A shape to measure, as data: what a named list, a user's file and a line of text all become. */

/** Activations as a line of text can name them: those of the library, less the ones that need a tensor. */
export type ShapeActivation =
  | 'none'
  | 'relu'
  | 'gelu'
  | 'silu'
  | 'tanh'
  | 'sigmoid'
  | 'hardSwish'
  | 'hardSigmoid'
  | { readonly kind: 'clip'; readonly min: number; readonly max: number }
  | { readonly kind: 'leakyRelu'; readonly slope: number };

interface Named {
  /** Unique inside its list; shown beside the extents. */
  readonly name: string;
  /** Where the shape comes from: a model and layer, or why the size is interesting. */
  readonly source: string;
}

/** Computed in floats, which may go through an activation at the end. */
interface Floats extends Named {
  readonly activation?: ShapeActivation;
}

/** A matrix product; the only kind without a `kind` field of its own, as in reports from before there were others. */
export interface MatmulShape extends Floats {
  readonly kind?: 'matmul';
  /** Independent products; absent for plain matrices. */
  readonly batch?: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** The right operand is stored [n, k]. */
  readonly transposeB?: boolean;
  /** The right operand is constant (weights): whoever can pack it ahead of time may do so, peers included. */
  readonly prepacked?: boolean;
  readonly bias?: 'row' | 'column';
  /** Operands are values that halves hold, and a GPU keeps them so. */
  readonly half?: boolean;
  /** So many products behind one another, each of the result before and the same square right operand; only the last is looked at. */
  readonly chain?: number;
}

/** A convolution of NCHW images, as a layer of a network: its weights are always constant, so everybody may pack them. */
export interface ConvShape extends Floats {
  readonly kind: 'conv';
  readonly batch: number;
  readonly inC: number;
  readonly inH: number;
  readonly inW: number;
  readonly outC: number;
  readonly kH: number;
  readonly kW: number;
  /** [vertical, horizontal], as `dilation`. */
  readonly stride: readonly [number, number];
  /** [top, left, bottom, right]. */
  readonly padding: readonly [number, number, number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  /** One value for each output channel. */
  readonly bias: boolean;
}

/** A product of unsigned 8-bit activations and constant signed 8-bit weights, less their zero points; the result is 32-bit sums. */
export interface QmatmulShape extends Named {
  readonly kind: 'qmatmul';
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly aZeroPoint: number;
  readonly bZeroPoint: number;
}

export type Shape = MatmulShape | ConvShape | QmatmulShape;

/** A named list; `about` is the line that `bench --help` prints. */
export interface ShapeList {
  readonly name: string;
  readonly about: string;
  readonly shapes: readonly Shape[];
}
