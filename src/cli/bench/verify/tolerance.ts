/** What the checks of all kinds of shapes share: verdicts, activations in float64, and how much rounding is allowed. */
import type { ShapeActivation } from '../../shapes/index.ts';

export type VerifyMethod = 'every element' | 'random vector' | 'sampled rows' | 'sampled elements';

export type Verdict =
  | ({ readonly ok: true; readonly method: VerifyMethod; readonly worst: number } & MeasuredError)
  | { readonly ok: false; readonly method: VerifyMethod; readonly reason: string };

/** Of the elements that were compared one by one; absent where sums of them were. */
export interface MeasuredError {
  readonly maxAbsError?: number;
  /** That error over the largest magnitude among them. */
  readonly relativeError?: number;
}

const EPS = 2 ** -23;

/**
 * Allowed error in units of eps x sum|a||b|. Rounding of f32 sums with random signs has a standard deviation of
 * about 0.35 such units in the worst order (sequential), so 16 is never reached by rounding; one forgotten step
 * of k = 4096 still errs by some 250 times as much.
 */
export const SLACK = 16;

/** gelu, silu, tanh and sigmoid are approximated; their absolute error counts too. */
const ACTIVATION_ERROR = 2e-3;

/** Multiply-adds up to which every element is checked: some 30 ms of plain JavaScript. */
export const FULL_CHECK_LIMIT = 2 ** 24;

/** Error of a plain sum: `magnitude` is the sum of |a||b| and of what is added. */
export function roundingOf(magnitude: number, slack = SLACK): number {
  return slack * EPS * magnitude;
}

/** Error allowed after the activation, for a sum that may be wrong by `rounding`. */
export function afterActivation(activation: ShapeActivation | undefined, rounding: number): number {
  switch (activation) {
    case undefined:
    case 'none':
    case 'relu':
      return rounding;
    case 'gelu':
    case 'silu':
    case 'tanh':
    case 'sigmoid':
      return 2 * rounding + ACTIVATION_ERROR;
    case 'hardSwish':
    case 'hardSigmoid':
      // Pieces of a parabola and of a line, with slopes of at most 1.5 and few roundings more.
      return 2 * rounding;
    default:
      return activation.kind === 'clip' ? rounding : Math.max(1, Math.abs(activation.slope)) * rounding;
  }
}

/** Whether a sum of results equals the result of the sum. */
export function isLinear(activation: ShapeActivation | undefined): boolean {
  return activation === undefined || activation === 'none';
}

/** The float64 activations, in their textbook form. */
export function activate(activation: ShapeActivation | undefined, x: number): number {
  switch (activation) {
    case 'relu':
      return Math.max(0, x);
    case 'gelu':
      // The tanh form; the exact one differs by less than ACTIVATION_ERROR everywhere.
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case 'silu':
      return x / (1 + Math.exp(-x));
    case 'tanh':
      return Math.tanh(x);
    case 'sigmoid':
      return 1 / (1 + Math.exp(-x));
    case 'hardSwish':
      return x * clamp(x / 6 + 0.5, 0, 1);
    case 'hardSigmoid':
      return clamp(0.2 * x + 0.5, 0, 1);
    case 'none':
    case undefined:
      return x;
    default:
      return activation.kind === 'clip'
        ? clamp(x, activation.min, activation.max)
        : x * (x < 0 ? activation.slope : 1);
  }
}

function clamp(x: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, x));
}

/** Typed arrays are read inside their bounds here; NaN would fail the check rather than hide. */
export function at(values: Float32Array | Float64Array, index: number): number {
  return values[index] ?? Number.NaN;
}
