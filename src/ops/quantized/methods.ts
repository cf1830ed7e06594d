/** The runtime's methods for 8-bit integers: each a line into its own file. */
import type { Core } from '../core.ts';
import type { AsyncOptions, Tensor, TensorLike } from '../types.ts';
import { convInteger, convIntegerSync, qlinearConv, qlinearConvSync } from './conv.ts';
import { quantizeDynamic } from './dynamic.ts';
import {
  matmulDynamic,
  matmulDynamicSync,
  matmulInteger,
  matmulIntegerSync,
  qlinearMatmul,
  qlinearMatmulSync,
} from './matmul.ts';
import { prepackInteger } from './prepack.ts';
import type {
  ByteTensor,
  ByteTensorLike,
  ConvIntegerOptions,
  IntegerRuntime,
  MatmulDynamicOptions,
  MatmulIntegerOptions,
  PrepackedFilters,
  PrepackedInteger,
  PrepackFiltersOptions,
  PrepackIntegerOptions,
  QlinearConvOptions,
  QlinearMatmulOptions,
  QuantizedTensor,
} from './types.ts';

type Right = ByteTensorLike | PrepackedInteger;
type Filters = ByteTensorLike | PrepackedFilters;

export class IntegerMethods implements IntegerRuntime {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  matmulInteger(
    a: ByteTensorLike,
    b: Right,
    options: MatmulIntegerOptions & AsyncOptions = {},
  ): Promise<Tensor<'i32'>> {
    return matmulInteger(this.#core, a, b, options);
  }

  matmulIntegerSync(a: ByteTensorLike, b: Right, options: MatmulIntegerOptions = {}): Tensor<'i32'> {
    return matmulIntegerSync(this.#core, a, b, options);
  }

  qlinearMatmul(
    a: ByteTensorLike,
    b: Right,
    options: QlinearMatmulOptions & AsyncOptions,
  ): Promise<ByteTensor> {
    return qlinearMatmul(this.#core, a, b, options);
  }

  qlinearMatmulSync(a: ByteTensorLike, b: Right, options: QlinearMatmulOptions): ByteTensor {
    return qlinearMatmulSync(this.#core, a, b, options);
  }

  matmulDynamic(a: TensorLike, w: Right, options: MatmulDynamicOptions & AsyncOptions): Promise<Tensor> {
    return matmulDynamic(this.#core, a, w, options);
  }

  matmulDynamicSync(a: TensorLike, w: Right, options: MatmulDynamicOptions): Tensor {
    return matmulDynamicSync(this.#core, a, w, options);
  }

  convInteger(
    x: ByteTensorLike,
    w: Filters,
    options: ConvIntegerOptions & AsyncOptions = {},
  ): Promise<Tensor<'i32'>> {
    return convInteger(this.#core, x, w, options);
  }

  convIntegerSync(x: ByteTensorLike, w: Filters, options: ConvIntegerOptions = {}): Tensor<'i32'> {
    return convIntegerSync(this.#core, x, w, options);
  }

  qlinearConv(
    x: ByteTensorLike,
    w: Filters,
    options: QlinearConvOptions & AsyncOptions,
  ): Promise<ByteTensor> {
    return qlinearConv(this.#core, x, w, options);
  }

  qlinearConvSync(x: ByteTensorLike, w: Filters, options: QlinearConvOptions): ByteTensor {
    return qlinearConvSync(this.#core, x, w, options);
  }

  quantizeDynamic(x: TensorLike): QuantizedTensor {
    return quantizeDynamic(this.#core, x);
  }

  prepackInteger(b: ByteTensorLike, options?: PrepackIntegerOptions): PrepackedInteger;
  prepackInteger(w: ByteTensorLike, options: PrepackFiltersOptions): PrepackedFilters;
  prepackInteger(
    b: ByteTensorLike,
    options: PrepackIntegerOptions | PrepackFiltersOptions = {},
  ): PrepackedInteger | PrepackedFilters {
    return prepackInteger(this.#core, b, options);
  }
}
