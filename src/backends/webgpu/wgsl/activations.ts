/**
 * Activations as WGSL expressions over vectors of four. They are written so that no step leaves the finite floats: WGSL lets
 * an implementation assume that there is no infinity and no NaN (https://www.w3.org/TR/WGSL/, "Floating point evaluation").
 */
import type { ActivationKind } from '../../../problem/epilogue.ts';

export const ERF = `
/** Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964), 7.1.26: off by at most 1.5e-7. */
fn erf4(x: vec4<f32>) -> vec4<f32> {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - p * exp(-min(a * a, vec4<f32>(80.0))));
}
`;

const SIGMOID = `
fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-clamp(x, vec4<f32>(-80.0), vec4<f32>(80.0))));
}
`;

interface Activation {
  readonly helpers?: string;
  /** Over `v`; `slope` is there for prelu, `params.p0` and `params.p1` for what has numbers of its own. */
  readonly expression: string;
}

const ZERO = 'vec4<f32>(0.0)';

const ACTIVATIONS: Readonly<Record<ActivationKind, Activation>> = {
  none: { expression: 'v' },
  relu: { expression: `select(v, ${ZERO}, v < ${ZERO})` },
  clip: { expression: 'min(max(v, vec4<f32>(params.p0)), vec4<f32>(params.p1))' },
  leakyRelu: { expression: `select(v, v * params.p0, v < ${ZERO})` },
  prelu: { expression: `select(v, v * slope, v < ${ZERO})` },
  sigmoid: { helpers: SIGMOID, expression: 'sigmoid4(v)' },
  silu: { helpers: SIGMOID, expression: 'v * sigmoid4(v)' },
  tanh: { expression: 'tanh(clamp(v, vec4<f32>(-20.0), vec4<f32>(20.0)))' },
  gelu: { helpers: ERF, expression: '0.5 * v * (1.0 + erf4(v * 0.70710678118654752))' },
  hardSigmoid: {
    expression: `clamp(v * params.p0 + params.p1, ${ZERO}, vec4<f32>(1.0))`,
  },
  hardSwish: { expression: `v * clamp(v / 6.0 + 0.5, ${ZERO}, vec4<f32>(1.0))` },
  affineHardSwish: {
    expression: `v * clamp(v / 6.0 + 0.5, ${ZERO}, vec4<f32>(1.0)) * params.p0 + params.p1`,
  },
};

/** Declares `activate(v, slope)`. */
export function activationSource(kind: ActivationKind): string {
  const { helpers = '', expression } = ACTIVATIONS[kind];
  return `${helpers}
fn activate(v: vec4<f32>, slope: vec4<f32>) -> vec4<f32> {
  return ${expression};
}
`;
}
