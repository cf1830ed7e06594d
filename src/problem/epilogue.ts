/** What happens to an element after its sum over k is complete: out = activation(alpha * sum + beta * out + bias). */
import { TesseraeError } from '../core/errors.ts';
import { show } from '../core/show.ts';

/**
 * - `relu`: max(0, x). `clip`: between `min` and `max`; an infinite bound is none.
 * - `leakyRelu`: x where x >= 0, else `slope` x; slope 0.01 if not given.
 * - `prelu`: the same with slopes from a tensor: one for each channel (matmul: column), or a single one.
 * - `sigmoid`: 1 / (1 + e^-x). `silu`: x sigmoid(x). `tanh`.
 * - `gelu`: the exact form, x (1 + erf(x / sqrt 2)) / 2.
 * - `hardSigmoid`: max(0, min(1, `alpha` x + `beta`)); 0.2 and 0.5 if not given, as ONNX has it.
 * - `hardSwish`: x max(0, min(1, x / 6 + 1/2)); as an object times `scale`, plus `shift` (1 and 0 if not given), which is what networks with
 *   a learnt affine block behind each activation compute (PP-LCNetV3).
 *
 * NaN stays NaN in all of them. `Slope` is what an operation takes as a tensor.
 */
export type Activation<Slope = unknown> =
  | 'none'
  | 'relu'
  | 'gelu'
  | 'silu'
  | 'tanh'
  | 'sigmoid'
  | 'hardSwish'
  | 'hardSigmoid'
  | { readonly kind: 'clip'; readonly min: number; readonly max: number }
  | { readonly kind: 'leakyRelu'; readonly slope?: number }
  | { readonly kind: 'hardSigmoid'; readonly alpha?: number; readonly beta?: number }
  | { readonly kind: 'hardSwish'; readonly scale?: number; readonly shift?: number }
  | { readonly kind: 'prelu'; readonly slope: Slope };

export type ActivationKind =
  | 'none'
  | 'relu'
  | 'clip'
  | 'gelu'
  | 'silu'
  | 'tanh'
  | 'sigmoid'
  | 'leakyRelu'
  | 'hardSwish'
  | 'affineHardSwish'
  | 'hardSigmoid'
  | 'prelu';

export const ACTIVATION_KINDS: readonly ActivationKind[] = [
  'none',
  'relu',
  'clip',
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
  'leakyRelu',
  'hardSwish',
  'affineHardSwish',
  'hardSigmoid',
  'prelu',
];

/** Kinds that a bare word names. */
const WORDS: ReadonlySet<unknown> = new Set<Activation>([
  'none',
  'relu',
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
  'hardSwish',
  'hardSigmoid',
]);

/** `row`: one value per column, added to every row (shape [n]); `column`: one per row (shape [m, 1]). */
export type BiasKind = 'none' | 'row' | 'column';

/** An activation as kernels take it. */
export interface ActivationValues<Slope = unknown> {
  readonly kind: ActivationKind;
  /** `clip`: min and max; `leakyRelu`: the slope; `hardSigmoid`: alpha and beta; `affineHardSwish`: scale and shift; 0 where nothing is needed. */
  readonly p0: number;
  readonly p1: number;
  /** The slopes of `prelu`, as given: whoever knows tensors checks them. */
  readonly slope: Slope | undefined;
}

function invalid(kind: string, what: string, values: Record<string, unknown>, hint: string): TesseraeError {
  return new TesseraeError('E_ARGUMENT', `${kind} needs ${what}`, values, hint);
}

/** A number that is still finite as f32, which is what kernels compute with. */
function isFinite32(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(Math.fround(value));
}

/** Reads `{ kind, ... }`; undefined if no activation has this kind. */
function readObject<Slope>(
  activation: Exclude<Activation<Slope>, string>,
): ActivationValues<Slope> | undefined {
  const { kind } = activation;
  switch (kind) {
    case 'clip': {
      const { min, max } = activation;
      if (typeof min === 'number' && typeof max === 'number' && min <= max)
        return { kind, p0: min, p1: max, slope: undefined };
      throw invalid(kind, 'bounds with min <= max', { min, max }, 'Use -Infinity or Infinity for no bound.');
    }
    case 'leakyRelu': {
      const { slope = 0.01 } = activation;
      if (isFinite32(slope)) return { kind, p0: slope, p1: 0, slope: undefined };
      throw invalid(
        kind,
        'a finite slope',
        { slope },
        "For slopes from a tensor use { kind: 'prelu', slope }.",
      );
    }
    case 'hardSigmoid': {
      const { alpha = 0.2, beta = 0.5 } = activation;
      if (isFinite32(alpha) && isFinite32(beta)) return { kind, p0: alpha, p1: beta, slope: undefined };
      throw invalid(kind, 'finite alpha and beta', { alpha, beta }, 'Leave them out for 0.2 and 0.5.');
    }
    case 'hardSwish': {
      const { scale = 1, shift = 0 } = activation;
      if (!isFinite32(scale) || !isFinite32(shift))
        throw invalid(kind, 'a finite scale and shift', { scale, shift }, 'Leave them out for 1 and 0.');
      // without them it is the plain one, which costs less
      if (scale === 1 && shift === 0) return { kind, p0: 0, p1: 0, slope: undefined };
      return { kind: 'affineHardSwish', p0: scale, p1: shift, slope: undefined };
    }
    case 'prelu': {
      const { slope } = activation;
      if (typeof slope === 'object' && slope !== null) return { kind, p0: 0, p1: 0, slope };
      throw invalid(
        kind,
        'a tensor of slopes',
        { slope },
        "Give one value for each channel, or a single one. For a plain number use { kind: 'leakyRelu', slope }.",
      );
    }
    default:
      kind satisfies never;
      return undefined;
  }
}

/** Kind and numbers of an activation as given by a caller; throws `E_ARGUMENT` on anything else. */
export function readActivation<Slope>(activation: Activation<Slope> | undefined): ActivationValues<Slope> {
  const plain = { p0: 0, p1: 0, slope: undefined };
  if (activation === undefined) return { kind: 'none', ...plain };
  if (activation === 'hardSigmoid') return { kind: 'hardSigmoid', p0: 0.2, p1: 0.5, slope: undefined };
  if (typeof activation === 'string' && WORDS.has(activation)) return { kind: activation, ...plain };
  const read = typeof activation === 'object' && activation !== null ? readObject(activation) : undefined;
  if (read) return read;
  throw new TesseraeError(
    'E_ARGUMENT',
    `there is no activation ${show(activation)}`,
    { activation },
    'Use one of none, relu, gelu, silu, tanh, sigmoid, hardSwish, hardSigmoid, or an object of kind clip (min, max), ' +
      'leakyRelu (slope), hardSigmoid (alpha, beta), hardSwish (scale, shift) or prelu (slope).',
  );
}
