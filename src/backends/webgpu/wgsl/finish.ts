/** What follows a product's sums, and the bindings that it and the product read: alike for every kernel of products. */
import type { ActivationKind, BiasKind } from '../../../problem/epilogue.ts';

export interface Finish {
  /** Whether the result is stored in vectors of four. */
  readonly vectorC: boolean;
  readonly bias: BiasKind;
  readonly activation: ActivationKind;
  /** Whether what lies at the result is scaled by beta and added, or another tensor of its shape is. */
  readonly adds: 'nothing' | 'result' | 'tensor';
}

/** Bindings in their order; those that a text does not have are left out. */
export const BINDINGS = ['params', 'a', 'b', 'c', 'bias', 'slope', 'c0', 'table'] as const;
export type Binding = (typeof BINDINGS)[number];

export function bindingsOf(
  text: Pick<Finish, 'bias' | 'activation' | 'adds'> & { readonly table: boolean },
): Binding[] {
  return BINDINGS.filter((name) => {
    if (name === 'bias') return text.bias !== 'none';
    if (name === 'slope') return text.activation === 'prelu';
    if (name === 'c0') return text.adds === 'tensor';
    return name === 'table' ? text.table : true;
  });
}

/** Equal texts have equal keys. */
export function finishKey({ vectorC, bias, activation, adds }: Finish): string {
  return [
    vectorC ? 'c4' : 'c1',
    ...(bias === 'none' ? [] : [`bias=${bias}`]),
    ...(activation === 'none' ? [] : [`act=${activation}`]),
    ...(adds === 'nothing' ? [] : [`adds=${adds}`]),
  ].join(' ');
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** `finish(sum, row, column)`: what follows the sum of four neighbouring columns, and their store. */
export function finishSource(text: Finish): string {
  const { bias, activation, adds, vectorC } = text;
  const perColumn = (array: string) =>
    `vec4<f32>(${range(4)
      .map((i) => `${array}[min(column + ${i}u, params.n - 1u)]`)
      .join(', ')})`;
  // prelu's channels are rows where the result is an image by channels, columns else
  const slope =
    activation === 'prelu'
      ? `select(${perColumn('slopes')}, vec4<f32>(slopes[min(firstChannel + row, arrayLength(&slopes) - 1u)]), params.slopeByRow != 0u)`
      : 'vec4<f32>(0.0)';
  const old = adds === 'tensor' ? 'c0' : 'c';
  const oldVector = vectorC
    ? `${old}[at / 4u]`
    : `vec4<f32>(${range(4)
        .map((i) => `${old}[min(at + ${i}u, arrayLength(&${old}) - 1u)]`)
        .join(', ')})`;
  const lines = [
    'let at = cBase + row * params.ldc + column;',
    'var v = params.alpha * sum;',
    ...(adds === 'nothing' ? [] : [`v += params.beta * ${oldVector};`]),
    ...(bias === 'none'
      ? []
      : [`v += ${bias === 'row' ? perColumn('bias') : 'vec4<f32>(bias[firstChannel + row])'};`]),
    `v = activate(v, ${slope});`,
    vectorC
      ? 'c[at / 4u] = v;'
      : range(4)
          .map((i) => `if (column + ${i}u < params.n) { c[at + ${i}u] = v[${i}]; }`)
          .join('\n  '),
  ];
  return `fn finish(sum: vec4<f32>, row: u32, column: u32) {
  if (row >= params.m || column >= params.n) { return; }
  ${lines.join('\n  ')}
}
`;
}
