/** Products: what a call takes and gives. Part of the public contract in types.ts. */
import type { Activation } from '../problem/epilogue.ts';
import type { WithKernel } from './kernel/types.ts';
import type { AsyncOptions, PlacedOptions, Tensor, TensorLike } from './tensor-types.ts';

export interface PrepackOptions {
  readonly op?: 'matmul';
  readonly transposeB?: boolean;
  /** Usual number of rows of the left operand; default: few. */
  readonly m?: number;
}

/** A right operand packed once for many calls; made by `rt.prepack`. */
export interface Prepacked {
  /** Extents of the matrix as multiplied: [k, n]. */
  readonly shape: readonly [number, number];
  readonly bytes: number;
  readonly disposed: boolean;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A matrix that is handed over piece by piece, from a file say, and never whole. */
export interface ColumnSource {
  /** [k, n], or with `transposeB` [n, k]. */
  readonly shape: readonly number[];
  /** `count` columns of the product, from the `first` on: k x count floats, or with `transposeB` count x k, which lie together in the file of
   *  a linear layer. Several may be asked for at once, and again when a thread is lost. */
  columns(first: number, count: number): Float32Array | Promise<Float32Array>;
}

export interface SpreadOptions extends Omit<PrepackOptions, 'op'>, AsyncOptions {}

/** A right operand in strips of columns on several threads, for many calls; made by `rt.spread`. */
export interface Spread extends Prepacked {
  readonly parts: readonly { readonly first: number; readonly columns: number; readonly thread: number }[];
}

export interface MatmulOptions {
  /** Multiply by the transpose of the last two dimensions of `a` / `b`. Default false. */
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Shape [n]: added to every row; shape [m, 1]: added to every column. */
  readonly bias?: TensorLike;
  readonly activation?: Activation<TensorLike>;
  /** out = activation(alpha * (a x b) + beta * out + bias). Defaults 1 and 0; with beta 0 `out` is never read. */
  readonly alpha?: number;
  readonly beta?: number;
  /** Result tensor to write into; needed when beta is not 0. Must not overlap the operands. */
  readonly out?: Tensor;
}

export interface BandOptions
  extends Pick<MatmulOptions, 'transposeB' | 'bias' | 'activation' | 'alpha'>,
    AsyncOptions {
  /** Height of a band. Default: about 20 milliseconds' worth. */
  readonly rows?: number;
  /** Bands that are computed before they are asked for. Default 1: the threads do not wait for whoever takes the bands. */
  readonly ahead?: number;
}

/** Some rows of a product, finished. */
export interface Band {
  /** Which matrix of a batch. */
  readonly member: number;
  readonly row: number;
  readonly rows: number;
  readonly columns: number;
  /** rows x columns; the receiver's own. */
  readonly data: Float32Array;
}

/** `rt.matmul`, which can also hand out its result in parts. */
export interface Matmul {
  (
    a: TensorLike,
    b: TensorLike | Prepacked,
    options?: WithKernel<MatmulOptions> & PlacedOptions,
  ): Promise<Tensor>;

  /**
   * The product in bands of rows, from the first to the last, each as soon as it is done. `a` is [..., m, k], `b` one matrix, or one for
   * each of `a`; tensors are held until the loop ends (panels must live as long),
   * the whole result never is. Leaving the loop stops the computing. On the
   * threads; in exact mode the same bytes as `rt.matmul`.
   * @throws as `matmul`, before anything is computed.
   * @example
   * for await (const { row, rows, data } of rt.matmul.tiles(a, b)) file.write(data, row * n * 4);
   */
  tiles(a: TensorLike, b: TensorLike | Prepacked, options?: BandOptions): AsyncIterable<Band>;
}
