/** Functions of elements as WGSL: four a thread, gathered by walks that broadcast. */
import type { ActivationKind } from '../../../problem/epilogue.ts';
import { ACTIVATION_KINDS } from '../../../problem/epilogue.ts';
import type { MapKind, MapProblem } from '../../../problem/map.ts';
import { activationSource, ERF } from './activations.ts';
import type { Binding } from './product.ts';
import { declared, ELEMENTS, LANES, MAIN, vector, walkSource } from './walk.ts';

const ONE = 'vec4<f32>(1.0)';
const ZERO = 'vec4<f32>(0.0)';
const truth = (condition: string) => `select(${ZERO}, ${ONE}, ${condition})`;
const SOFTPLUS = `(max(x, ${ZERO}) + log(1.0 + exp(-abs(x))))`;
/** e^x - 1 below 0, where it loses nothing that f32 could hold beside 1; near 0 by its series. */
const EXPM1 = `
fn expm14(v: vec4<f32>) -> vec4<f32> {
  let x = max(v, vec4<f32>(-80.0));
  let near = x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666667 + x * 0.0083333333))));
  return select(exp(x) - 1.0, near, abs(x) < vec4<f32>(0.25));
}
`;

/** Over x, and y and z of the second and third operand. Functions that WGSL promises too little for, or that ask for NaN, are left out. */
const EXPRESSIONS: Partial<Readonly<Record<MapKind, string>>> = {
  neg: '-x',
  abs: 'abs(x)',
  sqrt: 'sqrt(x)',
  reciprocal: '1.0 / x',
  exp: 'exp(x)',
  floor: 'floor(x)',
  ceil: 'ceil(x)',
  round: 'round(x)',
  sign: 'sign(x)',
  not: truth(`x == ${ZERO}`),
  log: 'log(x)',
  erf: 'erf4(x)',
  softplus: SOFTPLUS,
  softsign: 'x / (1.0 + abs(x))',
  mish: `x * tanh(min(${SOFTPLUS}, vec4<f32>(20.0)))`,
  elu: `select(params.p0 * expm14(x), x, x >= ${ZERO})`,
  selu: `params.p1 * select(params.p0 * expm14(x), x, x >= ${ZERO})`,
  celu: `select(params.p0 * expm14(x / params.p0), x, x >= ${ZERO})`,
  add: 'x + y',
  sub: 'x - y',
  mul: 'x * y',
  div: 'x / y',
  min: 'min(x, y)',
  max: 'max(x, y)',
  prelu: `select(x, x * y, x < ${ZERO})`,
  equal: truth('x == y'),
  less: truth('x < y'),
  lessOrEqual: truth('x <= y'),
  greater: truth('x > y'),
  greaterOrEqual: truth('x >= y'),
  and: truth(`(x != ${ZERO}) & (y != ${ZERO})`),
  or: truth(`(x != ${ZERO}) | (y != ${ZERO})`),
  xor: truth(`(x != ${ZERO}) != (y != ${ZERO})`),
  where: `select(z, y, x != ${ZERO})`,
};

function isActivation(kind: MapKind): kind is ActivationKind & MapKind {
  return kind !== 'prelu' && (ACTIVATION_KINDS as readonly string[]).includes(kind);
}

export function hasMapSource(kind: MapKind): boolean {
  return isActivation(kind) || EXPRESSIONS[kind] !== undefined;
}

function functionSource(kind: MapKind): string {
  if (isActivation(kind))
    return `${activationSource(kind)}
fn function4(x: vec4<f32>, y: vec4<f32>, z: vec4<f32>) -> vec4<f32> { return activate(x, ${ZERO}); }
`;
  const helpers = `${kind === 'erf' ? ERF : ''}${/expm14/.test(EXPRESSIONS[kind]!) ? EXPM1 : ''}`;
  return `${helpers}
fn function4(x: vec4<f32>, y: vec4<f32>, z: vec4<f32>) -> vec4<f32> { return ${EXPRESSIONS[kind]}; }
`;
}

const OPERANDS = ['a', 'b', 'c0'] as const;

/** How an operand is gone through: as the result is, not at all, or by its strides. */
function wayOf({ extents, strides }: MapProblem, operand: number): 'same' | 'one' | 'walk' {
  const own = strides[operand]!;
  if (own.every((stride) => stride === 0)) return 'one';
  return extents.length === 1 ? 'same' : 'walk';
}

export function mapBindings({ strides }: MapProblem): Binding[] {
  const operands = OPERANDS.slice(0, strides.length);
  return [
    'params',
    ...operands.filter((name) => name !== 'c0'),
    'c',
    ...operands.filter((name) => name === 'c0'),
    'table',
  ];
}

/** Rank and ways are in the text, extents and strides in the table. */
export function mapShaderKey(name: string, p: MapProblem): string {
  const ways = p.strides.map((_, operand) => wayOf(p, operand));
  return `${name} ${p.kind} rank ${p.extents.length} ${ways.join(' ')}`;
}

export function mapSource(p: MapProblem): string {
  const rank = p.extents.length;
  const names = OPERANDS.slice(0, p.strides.length);
  const walks = names.map((name, operand) => {
    const way = wayOf(p, operand);
    if (way === 'walk') return walkSource(`${name}At`, rank, operand);
    return `fn ${name}At(i: u32) -> u32 { return ${way === 'same' ? 'i' : '0u'}; }\n`;
  });
  const gathered = ['x', 'y', 'z'].map((variable, operand) => {
    const name = names[operand];
    const values = name ? vector((i) => `${name}[${name}At(min(i${i}, params.n - 1u))]`) : ZERO;
    return `let ${variable} = ${values};`;
  });
  // a shader with `layout: 'auto'` has the bindings that it uses: the table, too, where nothing is walked
  return `${declared(mapBindings(p))}${walks.join('')}${functionSource(p.kind)}
${MAIN} {
  ${ELEMENTS}
  let extent = table[0];
  ${gathered.join('\n  ')}
  let v = function4(x, y, z);
  ${LANES.map((i) => `if (i${i} < params.n && extent > 0u) { c[i${i}] = v[${i}]; }`).join('\n  ')}
}
`;
}
