/** What the graph's optimiser has joined to a node: an activation with its numbers. */
import type { Activation } from '../../problem/epilogue.ts';
import type { Context } from '../context.ts';

/** The domain of attributes and operators that only the optimiser makes; no file has them. */
export const OWN = 'tesserae';
export const ACTIVATION = `${OWN}.activation`;
export const P0 = `${OWN}.p0`;
export const P1 = `${OWN}.p1`;
export const AFFINE_HARD_SWISH = 'affineHardSwish';

type Joined = Exclude<Activation, { readonly kind: 'prelu' }>;

/** Of a convolution, which a scale and a shift may follow (`joinAffine`). */
export function convActivation(context: Context): Joined {
  if (context.string(ACTIVATION, 'none') !== AFFINE_HARD_SWISH) return fusedActivation(context);
  return { kind: 'hardSwish', scale: context.float(P0, 1), shift: context.float(P1, 0) };
}

export function fusedActivation(context: Context): Exclude<Joined, { readonly kind: 'hardSwish' }> {
  const kind = context.string(ACTIVATION, 'none');
  const [p0, p1] = [context.float(P0, 0), context.float(P1, 0)];
  switch (kind) {
    case 'clip':
      return { kind, min: p0, max: p1 };
    case 'leakyRelu':
      return { kind, slope: p0 };
    case 'hardSigmoid':
      return { kind, alpha: p0, beta: p1 };
    default:
      return kind as 'none' | 'relu';
  }
}
