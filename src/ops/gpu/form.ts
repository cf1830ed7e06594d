/** Operands of a product or a convolution as the GPU takes them. */

import type { WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { Scalars } from '../../backends/webgpu/wgsl/params.ts';
import { ConvWeights } from '../conv-weights.ts';
import type { Source } from '../tensor.ts';
import { valuesOn } from './remote.ts';

/** What a call gives the GPU: a product's operands in the order in which kernels multiply, or those of a function. */
export interface GpuForm {
  readonly a: Source;
  readonly b: Source | undefined;
  readonly bias: Source | undefined;
  readonly slope: Source | undefined;
  readonly residual: Source | undefined;
  readonly scalars: Scalars;
}

export function sourcesOf({ a, b, bias, slope, residual }: GpuForm): Source[] {
  return [a, b, bias, slope, residual].filter((source) => source !== undefined);
}

/** Where a result goes: where it was asked for, else to the tensors that it is made of. Weights that are kept are in both places. */
export function resultPlace(
  form: GpuForm,
  backend: WebGpuBackend,
  asked: 'wasm' | 'gpu' | undefined,
): 'wasm' | 'gpu' {
  if (asked !== undefined) return asked;
  const isThere = (source: Source) => !(source instanceof ConvWeights) && valuesOn(backend, source.remote);
  return sourcesOf(form).some(isThere) ? 'gpu' : 'wasm';
}
