/** The part of the public contract that is about 8-bit integers. */
import type { Layout } from '../../problem/conv.ts';
import type { Activation } from '../../problem/epilogue.ts';
import type { Padding, Pair } from '../../problem/window.ts';
import type { AsyncOptions, Tensor, TensorLike } from '../tensor-types.ts';

/** One value for all, or one for each row or channel. */
export type Values = number | ArrayLike<number>;

export type ByteTensor = Tensor<'u8'> | Tensor<'i8'>;
export type ByteTensorLike = TensorLike<'u8'> | TensorLike<'i8'>;

/** What the integers of an operand stand for: scale * (value - zeroPoint). */
export interface QuantizedBy {
  readonly scale: Values;
  /** Default 0. */
  readonly zeroPoint?: Values;
}

/** How a result is quantised. `dtype` is the left operand's or the image's unless given. */
export interface QuantizeTo {
  readonly scale: number;
  readonly zeroPoint?: number;
  readonly dtype?: 'u8' | 'i8';
}

export interface MatmulIntegerOptions {
  /** One value, or (for a matrix) one for each row of a and column of b. Default 0. */
  readonly aZeroPoint?: Values;
  readonly bZeroPoint?: Values;
  readonly transposeB?: boolean;
  readonly out?: Tensor<'i32'>;
}

export interface QlinearMatmulOptions {
  readonly a: QuantizedBy;
  readonly b: QuantizedBy;
  readonly y: QuantizeTo;
  readonly transposeB?: boolean;
  readonly out?: ByteTensor;
}

export interface MatmulDynamicOptions {
  /** Of the weights: one value, or one for each column. */
  readonly wScale: Values;
  readonly wZeroPoint?: Values;
  readonly transposeB?: boolean;
  /** Added to every row after the sums became floats: shape [n]. */
  readonly bias?: TensorLike;
  readonly activation?: Activation<TensorLike>;
  readonly out?: Tensor;
}

/** As in the options of `conv2d`. */
interface Geometry {
  readonly stride?: Pair;
  readonly padding?: Padding;
  readonly dilation?: Pair;
  readonly groups?: number;
  readonly layout?: Layout;
}

export interface ConvIntegerOptions extends Geometry {
  readonly xZeroPoint?: number;
  /** One value, or one for each output channel. */
  readonly wZeroPoint?: Values;
  readonly out?: Tensor<'i32'>;
}

export interface QlinearConvOptions extends Geometry {
  readonly x: { readonly scale: number; readonly zeroPoint?: number };
  /** One value, or one for each output channel. */
  readonly w: QuantizedBy;
  readonly y: QuantizeTo;
  /** Integers of scale x.scale * w.scale, shape [outC]. */
  readonly bias?: TensorLike<'i32'>;
  readonly out?: ByteTensor;
}

/** A product of 8-bit integers for `explain`, `prepare` and `tune`: types default to u8 x i8, sums to i32. */
export interface MatmulIntegerSpec {
  readonly op: 'matmulInteger';
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly batch?: number;
  readonly transposeB?: boolean;
  /** The right operand comes from `prepackInteger`; or the very one, whose bytes decide which kernels there are. */
  readonly prepacked?: boolean | PrepackedInteger;
  readonly aType?: 'u8' | 'i8';
  readonly bType?: 'u8' | 'i8';
  /** `u8` and `i8` are requantised results, `f32` dequantised ones. */
  readonly output?: 'i32' | 'u8' | 'i8' | 'f32';
}

/** A convolution of 8-bit integers; `aType` is the image's, `bType` the weights'. */
export interface ConvIntegerSpec extends Geometry {
  readonly op: 'convInteger';
  readonly input: readonly number[];
  readonly weights: readonly number[];
  /** The filters come from `prepackInteger` with `op: 'conv'`. */
  readonly prepacked?: boolean;
  /** Default 0. Where both are in the middle of their types' ranges, sums are smaller and more algorithms exact. */
  readonly xZeroPoint?: number;
  readonly wZeroPoint?: Values;
  readonly aType?: 'u8' | 'i8';
  readonly bType?: 'u8' | 'i8';
  readonly output?: 'i32' | 'u8' | 'i8' | 'f32';
}

export interface QuantizedTensor {
  readonly y: Tensor<'u8'>;
  readonly scale: number;
  readonly zeroPoint: number;
}

/** A right operand of 8-bit integers, widened and packed once for many calls; made by `rt.prepackInteger`. */
export interface PrepackedInteger {
  /** Extents of the matrix as multiplied: [k, n]. */
  readonly shape: readonly [number, number];
  readonly bytes: number;
  readonly disposed: boolean;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Filters of a convolution of 8-bit integers, kept for many calls; made by `rt.prepackInteger` with `op: 'conv'`. */
export interface PrepackedFilters {
  readonly shape: readonly number[];
  /** Of the filters and all forms that calls have asked for. */
  readonly bytes: number;
  readonly disposed: boolean;
  dispose(): void;
  [Symbol.dispose](): void;
}

export interface PrepackIntegerOptions {
  readonly op?: 'matmul';
  /** One value, or one for each column. Default 0. */
  readonly zeroPoint?: Values;
  readonly transposeB?: boolean;
  /** The usual number of rows of the left operand. Default: few. */
  readonly m?: number;
}

export interface PrepackFiltersOptions {
  readonly op: 'conv';
  /** One value, or one for each output channel. Default 0. */
  readonly zeroPoint?: Values;
}

/**
 * Products and convolutions of 8-bit integers. Sums are exact 32-bit integers (they wrap around beyond 2^31, as ONNX's do) with the same
 * bits on every machine; scales are applied in f32, rounded at each operation.
 */
export interface IntegerRuntime {
  /**
   * (a - aZeroPoint) x (b - bZeroPoint) in 32-bit integers, as ONNX MatMulInteger defines it; shapes as in `matmul`.
   * @throws as `matmul`.
   * @example
   * const c = await rt.matmulInteger(x, w, { aZeroPoint: 128 });
   */
  matmulInteger(
    a: ByteTensorLike,
    b: ByteTensorLike | PrepackedInteger,
    options?: MatmulIntegerOptions & AsyncOptions,
  ): Promise<Tensor<'i32'>>;
  matmulIntegerSync(
    a: ByteTensorLike,
    b: ByteTensorLike | PrepackedInteger,
    options?: MatmulIntegerOptions,
  ): Tensor<'i32'>;

  /** The same, requantised as ONNX QLinearMatMul defines it: saturate(round(sum * (a.scale * b.scale / y.scale)) + y.zeroPoint), half to
   *  even. */
  qlinearMatmul(
    a: ByteTensorLike,
    b: ByteTensorLike | PrepackedInteger,
    options: QlinearMatmulOptions & AsyncOptions,
  ): Promise<ByteTensor>;
  qlinearMatmulSync(
    a: ByteTensorLike,
    b: ByteTensorLike | PrepackedInteger,
    options: QlinearMatmulOptions,
  ): ByteTensor;

  /** Floats times 8-bit weights: `a` is quantised as a whole (`quantizeDynamic`), multiplied exactly, and made floats again. What ONNX
   *  DynamicQuantizeMatMul does. */
  matmulDynamic(
    a: TensorLike,
    w: ByteTensorLike | PrepackedInteger,
    options: MatmulDynamicOptions & AsyncOptions,
  ): Promise<Tensor>;
  matmulDynamicSync(
    a: TensorLike,
    w: ByteTensorLike | PrepackedInteger,
    options: MatmulDynamicOptions,
  ): Tensor;

  /** Convolution in 32-bit integers, as ONNX ConvInteger defines it; shapes as in `conv2d`. Padding stands for real zeros: xZeroPoint. */
  convInteger(
    x: ByteTensorLike,
    w: ByteTensorLike | PrepackedFilters,
    options?: ConvIntegerOptions & AsyncOptions,
  ): Promise<Tensor<'i32'>>;
  convIntegerSync(
    x: ByteTensorLike,
    w: ByteTensorLike | PrepackedFilters,
    options?: ConvIntegerOptions,
  ): Tensor<'i32'>;

  /** The same, requantised as ONNX QLinearConv defines it. */
  qlinearConv(
    x: ByteTensorLike,
    w: ByteTensorLike | PrepackedFilters,
    options: QlinearConvOptions & AsyncOptions,
  ): Promise<ByteTensor>;
  qlinearConvSync(
    x: ByteTensorLike,
    w: ByteTensorLike | PrepackedFilters,
    options: QlinearConvOptions,
  ): ByteTensor;

  /** Floats as 8-bit integers over the range that they have, 0 included: ONNX DynamicQuantizeLinear. */
  quantizeDynamic(x: TensorLike): QuantizedTensor;

  /**
   * Widens and packs a right operand once for many products: `b` is [k, n], or [n, k] with `transposeB`. `m` is the usual number of rows of
   * the left operand (default: few). Calls take the zero points that are given here, and no others.
   */
  prepackInteger(b: ByteTensorLike, options?: PrepackIntegerOptions): PrepackedInteger;

  /**
   * Keeps the filters of a convolution, [outC, inC / groups, kH, kW], for many calls: whatever form the algorithm of a call wants them in
   * (widened, packed, transformed by Winograd) is made once. Calls take the zero points that are given here, and no others.
   * @throws E_SHAPE, E_DTYPE, E_ARGUMENT.
   * @example
   * const w = rt.prepackInteger(filters, { op: 'conv' });
   * const y = await rt.qlinearConv(x, w, { x: { scale: 0.02 }, w: { scale: 0.01 }, y: { scale: 0.1 } });
   */
  prepackInteger(w: ByteTensorLike, options: PrepackFiltersOptions): PrepackedFilters;
}
