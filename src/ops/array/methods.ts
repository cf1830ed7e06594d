/** The runtime's methods for elements, lines and orders: each a line into its own file. */
import type { ReduceKind } from '../../problem/lines.ts';
import type { BinaryKind } from '../../problem/map.ts';
import type { Core } from '../core.ts';
import { IntegerMethods } from '../quantized/methods.ts';
import type { PlacedOptions, Tensor, TensorLike } from '../types.ts';
import { layerNorm, layerNormSync, reduce, reduceSync, softmax, softmaxSync } from './lines.ts';
import { binary, binarySync, unary, unarySync, where, whereSync } from './map.ts';
import { transpose, transposeSync } from './move.ts';
import type {
  ArrayRuntime,
  ElementOptions,
  LayerNormOptions,
  ReduceOptions,
  SoftmaxOptions,
  TransposeOptions,
  Unary,
} from './types.ts';

export class ArrayMethods extends IntegerMethods implements ArrayRuntime {
  readonly #core: Core;

  constructor(core: Core) {
    super(core);
    this.#core = core;
  }

  unary(fn: Unary, x: TensorLike, options: ElementOptions & PlacedOptions = {}): Promise<Tensor> {
    return unary(this.#core, fn, x, options);
  }

  unarySync(fn: Unary, x: TensorLike, options: ElementOptions = {}): Tensor {
    return unarySync(this.#core, fn, x, options);
  }

  binary(
    fn: BinaryKind,
    a: TensorLike,
    b: TensorLike,
    options: ElementOptions & PlacedOptions = {},
  ): Promise<Tensor> {
    return binary(this.#core, fn, a, b, options);
  }

  binarySync(fn: BinaryKind, a: TensorLike, b: TensorLike, options: ElementOptions = {}): Tensor {
    return binarySync(this.#core, fn, a, b, options);
  }

  where(
    condition: TensorLike,
    a: TensorLike,
    b: TensorLike,
    options: ElementOptions & PlacedOptions = {},
  ): Promise<Tensor> {
    return where(this.#core, condition, a, b, options);
  }

  whereSync(condition: TensorLike, a: TensorLike, b: TensorLike, options: ElementOptions = {}): Tensor {
    return whereSync(this.#core, condition, a, b, options);
  }

  reduce(kind: ReduceKind, x: TensorLike, options: ReduceOptions & PlacedOptions = {}): Promise<Tensor> {
    return reduce(this.#core, kind, x, options);
  }

  reduceSync(kind: ReduceKind, x: TensorLike, options: ReduceOptions = {}): Tensor {
    return reduceSync(this.#core, kind, x, options);
  }

  softmax(x: TensorLike, options: SoftmaxOptions & PlacedOptions = {}): Promise<Tensor> {
    return softmax(this.#core, x, options);
  }

  softmaxSync(x: TensorLike, options: SoftmaxOptions = {}): Tensor {
    return softmaxSync(this.#core, x, options);
  }

  layerNorm(x: TensorLike, options: LayerNormOptions & PlacedOptions = {}): Promise<Tensor> {
    return layerNorm(this.#core, x, options);
  }

  layerNormSync(x: TensorLike, options: LayerNormOptions = {}): Tensor {
    return layerNormSync(this.#core, x, options);
  }

  transpose(
    x: TensorLike,
    axes?: readonly number[],
    options: TransposeOptions & PlacedOptions = {},
  ): Promise<Tensor> {
    return transpose(this.#core, x, axes, options);
  }

  transposeSync(x: TensorLike, axes?: readonly number[], options: TransposeOptions = {}): Tensor {
    return transposeSync(this.#core, x, axes, options);
  }
}
