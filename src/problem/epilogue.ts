/** What happens to an element after its sum over k is complete: out = activation(alpha * sum + beta * out + bias). */
import { TesseraeError } from '../core/errors.ts';
import { show } from '../core/show.ts';

/** `clip` without bounds means none on that side. `gelu` is the exact form, x (1 + erf(x / sqrt 2)) / 2. */
export type Activation =
  | 'none'
  | 'relu'
  | 'gelu'
  | 'silu'
  | 'tanh'
  | 'sigmoid'
  | { readonly kind: 'clip'; readonly min: number; readonly max: number };

export type ActivationKind = 'none' | 'relu' | 'clip' | 'gelu' | 'silu' | 'tanh' | 'sigmoid';

export const ACTIVATION_KINDS: readonly ActivationKind[] = [
  'none',
  'relu',
  'clip',
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
];

/** `row`: one value per column, added to every row (shape [n]); `column`: one per row (shape [m, 1]). */
export type BiasKind = 'none' | 'row' | 'column';

/** Kind and bounds of an activation as given by a caller; throws `E_ARGUMENT` on anything else. */
export function readActivation(activation: Activation | undefined): {
  kind: ActivationKind;
  min: number;
  max: number;
} {
  const none = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
  if (activation === undefined) return { kind: 'none', ...none };
  if (typeof activation === 'object' && activation !== null && activation.kind === 'clip') {
    const { min, max } = activation;
    if (typeof min === 'number' && typeof max === 'number' && min <= max) return { kind: 'clip', min, max };
    throw new TesseraeError(
      'E_ARGUMENT',
      'clip needs bounds with min <= max',
      { min, max },
      'Use -Infinity or Infinity for no bound.',
    );
  }
  if (
    typeof activation === 'string' &&
    activation !== ('clip' as string) &&
    ACTIVATION_KINDS.includes(activation)
  ) {
    return { kind: activation, ...none };
  }
  throw new TesseraeError(
    'E_ARGUMENT',
    `there is no activation ${show(activation)}`,
    { activation },
    `Use one of none, relu, gelu, silu, tanh, sigmoid, or { kind: 'clip', min, max }.`,
  );
}
