import type { Tensor } from './types.ts';
export function convTranspose2d(..._: unknown[]): Promise<Tensor> {
  throw new Error('not yet');
}
export function convTranspose2dSync(..._: unknown[]): Tensor {
  throw new Error('not yet');
}
