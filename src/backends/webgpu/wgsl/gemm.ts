/**
 * The matrix product as WGSL. A workgroup computes one tile of the result: it loads a slice of both operands into workgroup
 * memory, vectors of four along k for A and along the columns for B, and each thread keeps its own block in registers, fully
 * unrolled (the scheme of Volkov & Demmel, "Benchmarking GPUs to tune dense linear algebra", 2008). A thread's columns are
 * tileN / threadN vectors apart, so that neighbours read neighbours.
 *
 * Extents are uniforms, so one pipeline serves all sizes; what is in the text is how operands lie and what follows the sum.
 */

import { type GpuGemm, threadsOf } from '../../../kernels/gpu.ts';
import type { ActivationKind, BiasKind } from '../../../problem/epilogue.ts';
import { activationSource } from './activations.ts';
import { PARAMS } from './params.ts';
import { type Patches, patchesSource } from './patches.ts';

/**
 * How an operand is read:
 * - `vectors`: vectors of four along the axis that workgroup memory has them in (k for A, columns for B);
 * - `blocks`: vectors along the other axis, turned in registers;
 * - `rows`, `columns`: element by element from a matrix stored by rows or by columns, of any extent;
 * - patches of an image, gathered element by element.
 */
export type Reading = 'vectors' | 'blocks' | 'rows' | 'columns' | Patches;

export interface GemmText {
  readonly kernel: GpuGemm;
  readonly a: Reading;
  readonly b: Reading;
  /** Whether the result is stored in vectors of four. */
  readonly vectorC: boolean;
  readonly bias: BiasKind;
  readonly activation: ActivationKind;
  /** Whether what lies at the result is scaled by beta and added, or another tensor of its shape is. */
  readonly adds: 'nothing' | 'result' | 'tensor';
  /** Offsets of each product's operands come from a table: broadcasting along some leading extents. */
  readonly table: boolean;
}

/** Bindings in their order; those that a text does not have are left out. */
export const BINDINGS = ['params', 'a', 'b', 'c', 'bias', 'slope', 'c0', 'table'] as const;
export type Binding = (typeof BINDINGS)[number];

export function bindingsOf(text: Pick<GemmText, 'bias' | 'activation' | 'adds' | 'table'>): Binding[] {
  return BINDINGS.filter((name) => {
    if (name === 'bias') return text.bias !== 'none';
    if (name === 'slope') return text.activation === 'prelu';
    if (name === 'c0') return text.adds === 'tensor';
    return name === 'table' ? text.table : true;
  });
}

function readingKey(reading: Reading): string {
  return typeof reading === 'string' ? reading : reading.key;
}

/** Equal texts have equal keys. */
export function gemmKey(text: GemmText): string {
  const { kernel, vectorC, bias, activation, adds, table } = text;
  return [
    kernel.name,
    `a=${readingKey(text.a)}`,
    `b=${readingKey(text.b)}`,
    vectorC ? 'c4' : 'c1',
    ...(bias === 'none' ? [] : [`bias=${bias}`]),
    ...(activation === 'none' ? [] : [`act=${activation}`]),
    ...(adds === 'nothing' ? [] : [`adds=${adds}`]),
    ...(table ? ['table'] : []),
  ].join(' ');
}

function isVector(reading: Reading): boolean {
  return reading === 'vectors' || reading === 'blocks';
}

function declarations(text: GemmText): string {
  const element = (vector: boolean) => (vector ? 'vec4<f32>' : 'f32');
  const types: Readonly<Record<Exclude<Binding, 'params'>, string>> = {
    a: `read> a: array<${element(isVector(text.a))}>`,
    b: `read> b: array<${element(isVector(text.b))}>`,
    c: `read_write> c: array<${element(text.vectorC)}>`,
    bias: 'read> bias: array<f32>',
    slope: 'read> slopes: array<f32>',
    c0: `read> c0: array<${element(text.vectorC)}>`,
    table: 'read> table: array<vec2<u32>>',
  };
  const lines = bindingsOf(text).map((name) => {
    const at = `@group(0) @binding(${BINDINGS.indexOf(name)})`;
    return name === 'params' ? `${at} var<uniform> params: Params;` : `${at} var<storage, ${types[name]};`;
  });
  return `${PARAMS}\n${lines.join('\n')}\n`;
}

/** Functions that give one element, or zero outside. */
function elementSource(name: 'a' | 'b', reading: Reading): string {
  if (isVector(reading)) return '';
  const [lines, signature] = name === 'a' ? ['m', 'line: u32, d: u32'] : ['n', 'd: u32, line: u32'];
  const head = `fn ${name}At(${signature}) -> f32 {
  if (line >= params.${lines} || d >= params.k) { return 0.0; }`;
  if (typeof reading !== 'string') return patchesSource(name, reading, head);
  // A by rows has its lines apart, B by rows has its steps of k apart
  const linesApart = (name === 'a') === (reading === 'rows');
  const index = linesApart ? `line * params.ld${name} + d` : `d * params.ld${name} + line`;
  return `${head}\n  return ${name}[${name}Base + ${index}];\n}\n`;
}

/** Statements that fill A's slice: `tileA[row * tileK / 4 + step / 4]`. */
function loadA({ kernel, a }: GemmText, threads: number): string {
  const { tileM, tileK } = kernel;
  const deep = tileK / 4;
  if (a === 'blocks') {
    return spread(
      (tileM / 4) * deep,
      threads,
      (i) => `
      let row4 = ${i} % ${tileM / 4}u; let d4 = ${i} / ${tileM / 4}u;
      let line = m0 + 4u * row4; let d = k0 + 4u * d4;
      ${[0, 1, 2, 3].map((j) => `var v${j} = vec4<f32>(0.0); if (line < params.m && d + ${j}u < params.k) { v${j} = a[(aBase + (d + ${j}u) * params.lda + line) / 4u]; }`).join('\n      ')}
      ${[0, 1, 2, 3].map((r) => `tileA[(4u * row4 + ${r}u) * ${deep}u + d4] = vec4<f32>(v0[${r}], v1[${r}], v2[${r}], v3[${r}]);`).join('\n      ')}`,
    );
  }
  // neighbouring threads read neighbouring elements
  const place =
    a === 'columns'
      ? (i: string) => `let row = ${i} % ${tileM}u; let d4 = ${i} / ${tileM}u;`
      : (i: string) => `let row = ${i} / ${deep}u; let d4 = ${i} % ${deep}u;`;
  return spread(
    tileM * deep,
    threads,
    (i) => `
      ${place(i)}
      let line = m0 + row; let d = k0 + 4u * d4;
      ${
        a === 'vectors'
          ? 'var v = vec4<f32>(0.0); if (line < params.m && d < params.k) { v = a[(aBase + line * params.lda + d) / 4u]; }'
          : 'let v = vec4<f32>(aAt(line, d), aAt(line, d + 1u), aAt(line, d + 2u), aAt(line, d + 3u));'
      }
      tileA[row * ${deep}u + d4] = v;`,
  );
}

/** Statements that fill B's slice: `tileB[step * tileN / 4 + column / 4]`. */
function loadB({ kernel, b }: GemmText, threads: number): string {
  const { tileN, tileK } = kernel;
  const wide = tileN / 4;
  if (b === 'blocks') {
    return spread(
      wide * (tileK / 4),
      threads,
      (i) => `
      let d4 = ${i} % ${tileK / 4}u; let col4 = ${i} / ${tileK / 4}u;
      let line = n0 + 4u * col4; let d = k0 + 4u * d4;
      ${[0, 1, 2, 3].map((j) => `var v${j} = vec4<f32>(0.0); if (line + ${j}u < params.n && d < params.k) { v${j} = b[(bBase + (line + ${j}u) * params.ldb + d) / 4u]; }`).join('\n      ')}
      ${[0, 1, 2, 3].map((r) => `tileB[(4u * d4 + ${r}u) * ${wide}u + col4] = vec4<f32>(v0[${r}], v1[${r}], v2[${r}], v3[${r}]);`).join('\n      ')}`,
    );
  }
  const place =
    b === 'columns'
      ? (i: string) => `let step = ${i} % ${tileK}u; let col4 = ${i} / ${tileK}u;`
      : (i: string) => `let step = ${i} / ${wide}u; let col4 = ${i} % ${wide}u;`;
  return spread(
    tileK * wide,
    threads,
    (i) => `
      ${place(i)}
      let line = n0 + 4u * col4; let d = k0 + step;
      ${
        b === 'vectors'
          ? 'var v = vec4<f32>(0.0); if (line < params.n && d < params.k) { v = b[(bBase + d * params.ldb + line) / 4u]; }'
          : 'let v = vec4<f32>(bAt(d, line), bAt(d, line + 1u), bAt(d, line + 2u), bAt(d, line + 3u));'
      }
      tileB[step * ${wide}u + col4] = v;`,
  );
}

/** `count` pieces of work over the threads of the workgroup. */
function spread(count: number, threads: number, body: (index: string) => string): string {
  if (count === threads) return `{ ${body('thread')} }`;
  return `for (var i = thread; i < ${count}u; i += ${threads}u) { ${body('i')} }`;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Four steps of k, from registers: rows of A as vectors along k, vectors of B's columns. */
function multiply({ kernel }: GemmText): string {
  const { tileN, tileK, threadM, threadN } = kernel;
  const [wgx] = threadsOf(kernel);
  const vectors = threadN / 4;
  const rows = range(threadM).map(
    (i) => `let a${i} = tileA[(y * ${threadM}u + ${i}u) * ${tileK / 4}u + d4];`,
  );
  const steps = range(4).flatMap((s) => [
    ...range(vectors).map(
      (j) => `let b${s}_${j} = tileB[(4u * d4 + ${s}u) * ${tileN / 4}u + x + ${j * wgx}u];`,
    ),
    ...range(threadM).flatMap((i) =>
      range(vectors).map((j) => `s${i}_${j} = fma(vec4<f32>(a${i}[${s}]), b${s}_${j}, s${i}_${j});`),
    ),
  ]);
  return `for (var d4 = 0u; d4 < ${tileK / 4}u; d4++) {
      ${[...rows, ...steps].join('\n      ')}
    }`;
}

/** `finish(sum, row, column)`: what follows the sum of four neighbouring columns, and their store. */
function finishSource(text: GemmText): string {
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

/** The whole shader; its entry point is `main`, a workgroup for each tile: x columns, y rows, z products. */
export function gemmSource(text: GemmText): string {
  const { kernel } = text;
  const { tileM, tileN, tileK, threadM, threadN } = kernel;
  const [wgx, wgy] = threadsOf(kernel);
  const threads = wgx * wgy;
  const vectors = threadN / 4;
  const sums = range(threadM).flatMap((i) => range(vectors).map((j) => ({ i, j })));
  const offsets = text.table
    ? 'let offsets = table[product]; aBase = offsets.x; bBase = offsets.y;'
    : 'aBase = product * params.strideA; bBase = product * params.strideB;';
  return `${declarations(text)}
var<workgroup> tileA: array<vec4<f32>, ${(tileM * tileK) / 4}>;
var<workgroup> tileB: array<vec4<f32>, ${(tileN * tileK) / 4}>;
var<private> aBase: u32;
var<private> bBase: u32;
var<private> cBase: u32;
var<private> firstChannel: u32;
${activationSource(text.activation)}${elementSource('a', text.a)}${elementSource('b', text.b)}${finishSource(text)}
@compute @workgroup_size(${wgx}, ${wgy}, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let m0 = group.y * ${tileM}u; let n0 = group.x * ${tileN}u; let product = group.z + params.firstProduct;
  ${offsets}
  aBase += params.offsetA; bBase += params.offsetB; cBase = params.offsetC + product * params.strideC;
  firstChannel = (product % params.groups) * params.m;
  let x = local.x; let y = local.y;
  ${sums.map(({ i, j }) => `var s${i}_${j} = vec4<f32>(0.0);`).join('\n  ')}
  for (var k0 = 0u; k0 < params.k; k0 += ${tileK}u) {
    ${loadA(text, threads)}
    ${loadB(text, threads)}
    workgroupBarrier();
    ${multiply(text)}
    workgroupBarrier();
  }
  ${sums.map(({ i, j }) => `finish(s${i}_${j}, m0 + y * ${threadM}u + ${i}u, n0 + 4u * (x + ${j * wgx}u));`).join('\n  ')}
}
`;
}
