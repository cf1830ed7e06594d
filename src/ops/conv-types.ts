/** Convolutions and pooling: what a call takes and gives. Part of the public contract in types.ts. */
import type { ConvAlgorithm, Layout } from '../problem/conv.ts';
import type { Activation } from '../problem/epilogue.ts';
import type { Padding, Pair } from '../problem/window.ts';
import type { Tensor, TensorLike } from './tensor-types.ts';

export interface PrepackConvOptions {
  readonly op: 'conv';
  /** What calls with these weights use, instead of what is planned. */
  readonly algorithm?: ConvAlgorithm;
}

export interface ConvOptions {
  /** Step of the window: a number, or [vertical, horizontal]. Default 1. */
  readonly stride?: Pair;
  /** See {@link Padding}. Default 0. */
  readonly padding?: Padding;
  /** Distance between taps. Default 1. */
  readonly dilation?: Pair;
  /** Channels are cut into so many groups that do not see each other; as many as channels is depthwise. Default 1. */
  readonly groups?: number;
  /** One value for each output channel, shape [outC]. */
  readonly bias?: TensorLike;
  readonly activation?: Activation<TensorLike>;
  /**
   * A tensor of the result's shape, added before the activation. For one image of several pixels in NCHW it may have fewer channels, which are
   * the first ones: to the others nothing is added.
   */
  readonly residual?: TensorLike;
  /** Where channels stand in the input and in the result. Default `'nchw'`. */
  readonly layout?: Layout;
  /** The one algorithm to use instead of the planner's choice; `E_ARGUMENT` where it does not apply. */
  readonly algorithm?: ConvAlgorithm;
  /** Result tensor to write into. Must not overlap the operands; `residual` may be the same tensor. */
  readonly out?: Tensor;
}

/** As {@link ConvOptions}, over one extent. */
export interface Conv1dOptions extends Omit<ConvOptions, 'stride' | 'dilation' | 'padding' | 'layout'> {
  readonly stride?: number;
  readonly dilation?: number;
  readonly padding?: number | readonly [before: number, after: number] | 'same' | 'same-lower' | 'valid';
}

export interface ConvTransposeOptions extends Omit<ConvOptions, 'algorithm'> {
  /** Rows and columns added at the end of the result, less than the stride. Default 0. */
  readonly outputPadding?: Pair;
}

export interface PoolOptions {
  readonly stride?: Pair;
  readonly padding?: Padding;
  readonly dilation?: Pair;
  /** Round the result's extents up, so that a last window may hang over. Default false. */
  readonly ceil?: boolean;
  readonly layout?: Layout;
  readonly out?: Tensor;
}

export interface GlobalPoolOptions {
  readonly layout?: Layout;
  readonly out?: Tensor;
}

export interface AveragePoolOptions extends PoolOptions {
  /** Whether padding counts in the divisor (ONNX count_include_pad). Default false. */
  readonly countPadding?: boolean;
}

/** Weights of a convolution, kept for many calls; made by `rt.prepack` with `op: 'conv'`. */
export interface PrepackedConv {
  /** [outC, inC / groups, kH, kW]. */
  readonly shape: readonly number[];
  /** Bytes held now: a copy of the weights and each form that an algorithm has asked for so far. */
  readonly bytes: number;
  readonly disposed: boolean;
  dispose(): void;
  [Symbol.dispose](): void;
}
