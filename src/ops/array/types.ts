/** The part of the public contract that is about elements, lines and orders. */
import type { ReduceKind } from '../../problem/lines.ts';
import type { BinaryKind, UnaryKind } from '../../problem/map.ts';
import type { PlacedOptions, Tensor, TensorLike } from '../tensor-types.ts';

/**
 * A function of one element: its name, or an object with its numbers. Defaults are ONNX's: `leakyRelu` 0.01, `hardSigmoid` 0.2 and 0.5, `elu`
 * and `celu` alpha 1, `selu` 1.67326 and 1.05070.
 */
export type Unary =
  | Exclude<UnaryKind, 'clip'>
  | { readonly kind: 'clip'; readonly min: number; readonly max: number }
  | { readonly kind: 'leakyRelu'; readonly slope?: number }
  | { readonly kind: 'hardSigmoid'; readonly alpha?: number; readonly beta?: number }
  | { readonly kind: 'elu' | 'celu'; readonly alpha?: number }
  | { readonly kind: 'selu'; readonly alpha?: number; readonly gamma?: number };

export interface ElementOptions {
  /** Where the result goes; may be an operand of its shape, which is then overwritten. */
  readonly out?: Tensor;
}

export interface ReduceOptions {
  /** Default: all. Negative ones count from the end. */
  readonly axes?: readonly number[];
  /** Whether reduced axes stay as extents of 1. Default false. */
  readonly keepDims?: boolean;
  readonly out?: Tensor;
}

export interface SoftmaxOptions {
  /** Default -1: the last. */
  readonly axis?: number;
  /** The logarithm of the result, which keeps its precision where that is small. Default false. */
  readonly log?: boolean;
  readonly out?: Tensor;
}

export interface LayerNormOptions {
  /** The first of the axes that are normalised over; all later ones are too. Default -1. */
  readonly axis?: number;
  /** Of the shape that is normalised over. */
  readonly scale?: TensorLike;
  readonly bias?: TensorLike;
  /** Default 1e-5. */
  readonly epsilon?: number;
  /** Divide by the root mean square, without taking the mean away (RMSNorm). Default false. */
  readonly rms?: boolean;
  readonly out?: Tensor;
}

export interface TransposeOptions {
  readonly out?: Tensor;
}

/** Functions of elements and lines. The same bits for any number of threads and in any browser; what is summed is summed in an order that
 *  depends on the shape alone. */
export interface ArrayRuntime {
  /**
   * A function of each element; see {@link Unary}.
   * @throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`, `E_DISPOSED`, `E_FOREIGN`, `E_MEMORY`.
   * @example
   * const y = await rt.unary({ kind: 'clip', min: 0, max: 6 }, x);
   */
  unary(fn: Unary, x: TensorLike, options?: ElementOptions & PlacedOptions): Promise<Tensor>;
  unarySync(fn: Unary, x: TensorLike, options?: ElementOptions): Tensor;

  /**
   * A function of pairs of elements; shapes broadcast as NumPy's. Comparisons and logic give 1 or 0.
   * @throws as `unary`.
   * @example
   * const scaled = await rt.binary('mul', x, { data: Float32Array.of(0.5), shape: [1] });
   */
  binary(
    fn: BinaryKind,
    a: TensorLike,
    b: TensorLike,
    options?: ElementOptions & PlacedOptions,
  ): Promise<Tensor>;
  binarySync(fn: BinaryKind, a: TensorLike, b: TensorLike, options?: ElementOptions): Tensor;

  /** `a` where `condition` is not 0, else `b`; all three broadcast. @throws as `unary`. */
  where(
    condition: TensorLike,
    a: TensorLike,
    b: TensorLike,
    options?: ElementOptions & PlacedOptions,
  ): Promise<Tensor>;
  whereSync(condition: TensorLike, a: TensorLike, b: TensorLike, options?: ElementOptions): Tensor;

  /**
   * Sums, means, extremes and norms over axes, as ONNX's Reduce operators. Of nothing: 0 for sums, 1 for products, an infinity for extremes.
   * @throws as `unary`.
   * @example
   * const means = await rt.reduce('mean', x, { axes: [2, 3], keepDims: true });
   */
  reduce(kind: ReduceKind, x: TensorLike, options?: ReduceOptions & PlacedOptions): Promise<Tensor>;
  reduceSync(kind: ReduceKind, x: TensorLike, options?: ReduceOptions): Tensor;

  /** e^x over its sum along an axis, the largest value taken away first. @throws as `unary`. */
  softmax(x: TensorLike, options?: SoftmaxOptions & PlacedOptions): Promise<Tensor>;
  softmaxSync(x: TensorLike, options?: SoftmaxOptions): Tensor;

  /**
   * (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axes (Ba, Kiros & Hinton, "Layer normalization", 2016).
   * @throws as `unary`.
   * @example
   * const y = await rt.layerNorm(x, { scale, bias });
   */
  layerNorm(x: TensorLike, options?: LayerNormOptions & PlacedOptions): Promise<Tensor>;
  layerNormSync(x: TensorLike, options?: LayerNormOptions): Tensor;

  /** The axes in another order: axis i of the result is `axes[i]` of `x`; without `axes` all are reversed. @throws as `unary`. */
  transpose(
    x: TensorLike,
    axes?: readonly number[],
    options?: TransposeOptions & PlacedOptions,
  ): Promise<Tensor>;
  transposeSync(x: TensorLike, axes?: readonly number[], options?: TransposeOptions): Tensor;
}
