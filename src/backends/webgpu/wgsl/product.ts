/** What every kernel of products has: bindings, where its tile begins, and what follows the sums. */
import type { ActivationKind, BiasKind } from '../../../problem/epilogue.ts';
import { PARAMS } from './params.ts';

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

/** Bindings of a product whose operands are arrays of these types, and what all its functions know: where the product's matrices begin. */
export function productHead(
  text: Finish & { readonly table: boolean },
  types: { readonly a: string; readonly b: string },
): string {
  const result = text.vectorC ? 'vec4<f32>' : 'f32';
  const storage: Readonly<Record<Exclude<Binding, 'params'>, string>> = {
    a: `read> a: array<${types.a}>`,
    b: `read> b: array<${types.b}>`,
    c: `read_write> c: array<${result}>`,
    bias: 'read> bias: array<f32>',
    slope: 'read> slopes: array<f32>',
    c0: `read> c0: array<${result}>`,
    table: 'read> table: array<vec2<u32>>',
  };
  const lines = bindingsOf(text).map((name) => {
    const at = `@group(0) @binding(${BINDINGS.indexOf(name)})`;
    return name === 'params' ? `${at} var<uniform> params: Params;` : `${at} var<storage, ${storage[name]};`;
  });
  const state = ['aBase', 'bBase', 'cBase', 'firstChannel', 'm0', 'n0', 'kEnd'];
  return `${PARAMS}
${[...lines, ...state.map((name) => `var<private> ${name}: u32;`)].join('\n')}
`;
}

/** Where a workgroup's part of k ends, as functions of a shader call it. */
export function endOfK(isPart: boolean): string {
  return isPart ? 'kEnd' : 'params.k';
}

/**
 * The first statements: which tile of which product a workgroup has, and where its part of k lies: from `kFirst` to
 * `kLast`, which loops run to, because what is the same for all threads must be seen to be. Sums of parts lie behind
 * one another, as results of so many products.
 */
export function productStart(hasTable: boolean, tileM: number, tileN: number, isPart = false): string {
  const offsets = hasTable
    ? 'let offsets = table[product]; aBase = offsets.x; bBase = offsets.y;'
    : 'aBase = product * params.strideA; bBase = product * params.strideB;';
  const number = 'group.z + params.firstProduct';
  const which = isPart
    ? `let slot = ${number}; let product = slot / params.parts;
  let kFirst = slot % params.parts * params.kPart;
  let kLast = min(kFirst + params.kPart, params.k); kEnd = kLast;`
    : `let product = ${number};`;
  return `m0 = group.y * ${tileM}u; n0 = group.x * ${tileN}u; ${which}
  ${offsets}
  aBase += params.offsetA; bBase += params.offsetB; cBase = params.offsetC + ${isPart ? 'slot' : 'product'} * params.strideC;
  firstChannel = (product % params.groups) * params.m;`;
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
