/**
 * The matrix product as WGSL. A workgroup computes one tile of the result: it loads a slice of both operands into workgroup
 * memory, vectors of four along k for A and along the columns for B, and each thread keeps its own block in registers, fully
 * unrolled (the scheme of Volkov & Demmel, "Benchmarking GPUs to tune dense linear algebra", 2008). A thread's columns are
 * tileN / threadN vectors apart, so that neighbours read neighbours.
 *
 * Extents are uniforms, so one pipeline serves all sizes; what is in the text is how operands lie and what follows the sum.
 */

import { type GpuGemm, threadsOf } from '../../../kernels/gpu.ts';
import { activationSource } from './activations.ts';
import { type Patches, patchesSource } from './patches.ts';
import { endOfK, type Finish, finishKey, finishSource, productHead, productStart, range } from './product.ts';

/**
 * How an operand is read:
 * - `vectors`: vectors of four along the axis that workgroup memory has them in (k for A, columns for B);
 * - `blocks`: vectors along the other axis, turned in registers;
 * - `rows`, `columns`: element by element from a matrix stored by rows or by columns, of any extent;
 * - patches of an image, gathered element by element.
 */
export type Reading = 'vectors' | 'blocks' | 'rows' | 'columns' | Patches;

/** What operands are kept as: floats, or halves, which take half the room and are widened as they are read. */
export type Storage = 'f32' | 'f16';

type Side = 'a' | 'b';

export interface GemmText extends Finish {
  readonly kernel: GpuGemm;
  readonly a: Reading;
  readonly b: Reading;
  readonly storage: Readonly<Record<Side, Storage>>;
  /** Offsets of each product's operands come from a table: broadcasting along some leading extents. */
  readonly table: boolean;
  /** Whether a workgroup sums a part of k only, and leaves the rest to `partsSource`. */
  readonly isPart: boolean;
}

function readingKey(reading: Reading): string {
  return typeof reading === 'string' ? reading : reading.key;
}

/** Equal texts have equal keys. */
export function gemmKey(text: GemmText): string {
  return [
    text.kernel.name,
    `a=${readingKey(text.a)}${text.storage.a === 'f16' ? ' f16' : ''}`,
    `b=${readingKey(text.b)}${text.storage.b === 'f16' ? ' f16' : ''}`,
    finishKey(text),
    ...(text.table ? ['table'] : []),
    ...(text.isPart ? ['part'] : []),
  ].join(' ');
}

function isVector(reading: Reading): boolean {
  return reading === 'vectors' || reading === 'blocks';
}

/** How an operand's buffer is declared: halves come in words of two, which every device can take apart. */
function arrayType(reading: Reading, storage: Storage): string {
  if (storage === 'f16') return isVector(reading) ? 'vec2<u32>' : 'u32';
  return isVector(reading) ? 'vec4<f32>' : 'f32';
}

/** Four neighbours from an index in elements that is a multiple of four, and one element. */
function vectorAt(name: Side, storage: Storage, index: string): string {
  return storage === 'f16' ? `halves4(${name}[(${index}) / 4u])` : `${name}[(${index}) / 4u]`;
}

function elementAt(name: Side, storage: Storage, index: string): string {
  return storage === 'f16' ? `half1(${name}[(${index}) / 2u], ${index})` : `${name}[${index}]`;
}

const HALVES = `fn halves4(words: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)); }
fn half1(word: u32, index: u32) -> f32 { return unpack2x16float(word)[index & 1u]; }
`;

/** Functions that give one element, or zero outside. */
function elementSource(name: Side, reading: Reading, storage: Storage, end: string): string {
  if (isVector(reading)) return '';
  const [lines, signature] = name === 'a' ? ['m', 'line: u32, d: u32'] : ['n', 'd: u32, line: u32'];
  const element = (index: string) => elementAt(name, storage, index);
  if (typeof reading !== 'string') return patchesSource(name, reading, end, element);
  // A by rows has its lines apart, B by rows has its steps of k apart
  const linesApart = (name === 'a') === (reading === 'rows');
  const index = linesApart ? `line * params.ld${name} + d` : `d * params.ld${name} + line`;
  // no branch: neighbours are loaded together
  return `fn ${name}At(${signature}) -> f32 {
  let at = ${name}Base + ${index};
  return select(0.0, ${element('at')}, line < params.${lines} && d < ${end});
}
`;
}

/** The pieces in which threads fill an operand's slice. */
interface Slice {
  readonly name: 'A' | 'B';
  readonly count: number;
  /** What a piece is: a vector, or four of them turned. */
  readonly type: 'vec4<f32>' | 'mat4x4<f32>';
  /** `fetchX(i, k0)` reads piece `i` of the slice from `k0`, zero outside; `stashX(i, piece)` puts it into workgroup memory. */
  readonly source: string;
}

/** Four lines along the axis that the operand has its vectors in, of four steps of the other. */
function turned(name: Side, storage: Storage, others: string, along: string): string {
  const line = (j: number) =>
    `if (${along}) { if (${others.replaceAll('#', String(j))}) { v[${j}] = ${vectorAt(name, storage, name === 'a' ? `aBase + (d + ${j}u) * params.lda + line` : `bBase + (line + ${j}u) * params.ldb + d`)}; } }`;
  return `var v = mat4x4<f32>();
  ${[0, 1, 2, 3].map(line).join('\n  ')}
  return v;`;
}

/** A's slice, by the threads that read it: `tileA[z * rows of threads + y][row of the thread * vectors along k + vector]`. */
function sliceA(text: GemmText): Slice {
  const { kernel, a, storage, isPart } = text;
  const { tileM, tileK, threadM } = kernel;
  const deep = tileK / 4;
  const [, wgy, wgz] = threadsOf(kernel);
  const own = deep / wgz;
  const line = wgz === 1 ? `row / ${threadM}u` : `d4 / ${own}u * ${wgy}u + row / ${threadM}u`;
  const inA = `tileA${stageOf(text, `[${line}][(row % ${threadM}u) * ${own}u + d4 % ${own}u]`)}`;
  if (a === 'blocks') {
    const place = `let row4 = i % ${tileM / 4}u; let d4 = i / ${tileM / 4}u;`;
    return {
      name: 'A',
      count: (tileM / 4) * deep,
      type: 'mat4x4<f32>',
      source: `fn fetchA(i: u32, k0: u32) -> mat4x4<f32> {
  ${place} let line = m0 + 4u * row4; let d = k0 + 4u * d4;
  ${turned('a', storage.a, `d + #u < ${endOfK(isPart)}`, 'line < params.m')}
}
fn stashA(i: u32, v: mat4x4<f32>) {
  ${place} let turned = transpose(v);
  ${[0, 1, 2, 3].map((r) => `{ let row = 4u * row4 + ${r}u; ${inA} = turned[${r}]; }`).join('\n  ')}
}
`,
    };
  }
  // neighbouring threads read neighbouring elements
  const place =
    a === 'columns'
      ? `let row = i % ${tileM}u; let d4 = i / ${tileM}u;`
      : `let row = i / ${deep}u; let d4 = i % ${deep}u;`;
  const value =
    a === 'vectors'
      ? `if (line < params.m && d < ${endOfK(isPart)}) { return ${vectorAt('a', storage.a, 'aBase + line * params.lda + d')}; }
  return vec4<f32>(0.0);`
      : typeof a === 'string'
        ? 'return vec4<f32>(aAt(line, d), aAt(line, d + 1u), aAt(line, d + 2u), aAt(line, d + 3u));'
        : 'return aPatch(line, d);';
  return {
    name: 'A',
    count: tileM * deep,
    type: 'vec4<f32>',
    source: `fn fetchA(i: u32, k0: u32) -> vec4<f32> {
  ${place} let line = m0 + row; let d = k0 + 4u * d4;
  ${value}
}
fn stashA(i: u32, v: vec4<f32>) { ${place} ${inA} = v; }
`,
  };
}

/** B's slice, by the threads that read it: `tileB[z][step * vectors + vector][x]`. */
function sliceB(text: GemmText): Slice {
  const { kernel, b, storage, isPart } = text;
  const { tileN, tileK, threadN } = kernel;
  const wide = tileN / 4;
  const [wgx, , wgz] = threadsOf(kernel);
  const own = tileK / wgz;
  const inB = (step: string) =>
    `tileB${stageOf(text, `[(${step}) / ${own}u][(${step}) % ${own}u * ${threadN / 4}u + col4 / ${wgx}u][col4 % ${wgx}u]`)}`;
  if (b === 'blocks') {
    const place = `let d4 = i % ${tileK / 4}u; let col4 = i / ${tileK / 4}u;`;
    return {
      name: 'B',
      count: wide * (tileK / 4),
      type: 'mat4x4<f32>',
      source: `fn fetchB(i: u32, k0: u32) -> mat4x4<f32> {
  ${place} let line = n0 + 4u * col4; let d = k0 + 4u * d4;
  ${turned('b', storage.b, 'line + #u < params.n', `d < ${endOfK(isPart)}`)}
}
fn stashB(i: u32, v: mat4x4<f32>) {
  ${place} let turned = transpose(v);
  ${[0, 1, 2, 3].map((r) => `${inB(`4u * d4 + ${r}u`)} = turned[${r}];`).join('\n  ')}
}
`,
    };
  }
  const place =
    b === 'columns'
      ? `let step = i % ${tileK}u; let col4 = i / ${tileK}u;`
      : `let step = i / ${wide}u; let col4 = i % ${wide}u;`;
  const value =
    b === 'vectors'
      ? `if (line < params.n && d < ${endOfK(isPart)}) { return ${vectorAt('b', storage.b, 'bBase + d * params.ldb + line')}; }
  return vec4<f32>(0.0);`
      : typeof b === 'string'
        ? 'return vec4<f32>(bAt(d, line), bAt(d, line + 1u), bAt(d, line + 2u), bAt(d, line + 3u));'
        : 'return bPatch(line, d);';
  return {
    name: 'B',
    count: tileK * wide,
    type: 'vec4<f32>',
    source: `fn fetchB(i: u32, k0: u32) -> vec4<f32> {
  ${place} let line = n0 + 4u * col4; let d = k0 + step;
  ${value}
}
fn stashB(i: u32, v: vec4<f32>) { ${place} ${inB('step')} = v; }
`,
  };
}

/** A thread's piece of a round; the last round may have fewer than threads. */
function piece(round: number, threads: number): string {
  return round === 0 ? 'thread' : `thread + ${round * threads}u`;
}

/** Registers for a thread's pieces of a slice. */
interface Pieces {
  readonly declared: string;
  /** Reads those of the slice that begins at `k0`. */
  take(k0: string): string;
  readonly stash: string;
}

/**
 * Vectors are read one statement each. What is gathered element by element is read in a loop, which devices unroll: written out, it took
 * SwiftShader minutes and gigabytes to compile.
 */
function piecesOf({ name, count, type }: Slice, isWritten: boolean, threads: number): Pieces {
  const most = Math.ceil(count / threads);
  const guarded = (round: number, statement: string) =>
    (round + 1) * threads <= count ? statement : `if (${piece(round, threads)} < ${count}u) { ${statement} }`;
  if (isWritten) {
    const each = (statement: (round: number) => string) =>
      range(most)
        .map((round) => guarded(round, statement(round)))
        .join(' ');
    return {
      declared: range(most)
        .map((round) => `var next${name}${round}: ${type};`)
        .join(' '),
      take: (k0) => each((round) => `next${name}${round} = fetch${name}(${piece(round, threads)}, ${k0});`),
      stash: each((round) => `stash${name}(${piece(round, threads)}, next${name}${round});`),
    };
  }
  const loop = (statement: string) => {
    const whole = count % threads === 0 ? statement : `if (i < ${count}u) { ${statement} }`;
    return `for (var round = 0u; round < ${most}u; round++) { let i = thread + round * ${threads}u; ${whole} }`;
  };
  return {
    declared: `var next${name}: array<${type}, ${most}>;`,
    take: (k0) => loop(`next${name}[round] = fetch${name}(i, ${k0});`),
    stash: loop(`stash${name}(i, next${name}[round]);`),
  };
}

/** Slices of both operands in workgroup memory: one, or two in turn. */
function stageOf({ kernel }: GemmText, place: string): string {
  return kernel.stages === 1 ? place : `[stage]${place}`;
}

/** The loop over k, slice by slice: each is loaded, and then multiplied while the next one is on its way into registers. */
function loop(text: GemmText, slices: readonly Slice[], threads: number): string {
  const { kernel, isPart } = text;
  const { tileK, ahead, stages } = kernel;
  const [from, to] = isPart ? ['kFirst', 'kLast'] : ['0u', 'params.k'];
  const head = `for (var k0 = ${from}; k0 < ${to}; k0 += ${tileK}u) {`;
  if (!ahead) {
    const fill = slices.map(
      ({ name, count }) =>
        `for (var i = thread; i < ${count}u; i += ${threads}u) { stash${name}(i, fetch${name}(i, k0)); }`,
    );
    return `${head}
    ${fill.join('\n    ')}
    workgroupBarrier();
    ${multiply(text)}
    workgroupBarrier();
  }`;
  }
  const pieces = slices.map((slice) =>
    piecesOf(slice, isVector(slice.name === 'A' ? text.a : text.b), threads),
  );
  const declared = pieces.map((one) => one.declared);
  const take = (k0: string) => pieces.map((one) => one.take(k0)).join('\n    ');
  const stash = pieces.map((one) => one.stash).join('\n    ');
  const following = take(`k0 + ${tileK}u`);
  const first = `${declared.join(' ')}
  ${take(from)}`;
  // where there are two, one is filled while others may still be read: threads meet once for each slice
  return stages === 1
    ? `${first}
  ${head}
    ${stash}
    workgroupBarrier();
    ${following}
    ${multiply(text)}
    workgroupBarrier();
  }`
    : `${first}
  ${stash}
  ${head}
    workgroupBarrier();
    ${following}
    ${multiply(text)}
    stage = 1u - stage;
    ${stash}
  }`;
}

/**
 * Four steps of k, from registers: rows of A as vectors along k, vectors of B's columns. Slices are arrays of arrays so that one index
 * of each access is the thread's and the other is known when the shader is compiled: devices check each index that they do not know
 * (https://www.w3.org/TR/WGSL/#out-of-bounds-access-sec), and those checks took two thirds of the time (H100, Dawn).
 */
function multiply(text: GemmText): string {
  const { kernel } = text;
  const { tileK, threadM, threadN } = kernel;
  const vectors = threadN / 4;
  const [, wgy, wgz] = threadsOf(kernel);
  const own = tileK / 4 / wgz;
  const [line, part] = wgz === 1 ? ['y', '0'] : [`z * ${wgy}u + y`, 'z'];
  return range(own)
    .map((d4) => {
      const rows = range(threadM).map(
        (i) => `let a${i} = tileA${stageOf(text, `[${line}][${i * own + d4}]`)};`,
      );
      const steps = range(4).flatMap((s) => [
        ...range(vectors).map(
          (j) => `let b${s}_${j} = tileB${stageOf(text, `[${part}][${(4 * d4 + s) * vectors + j}][x]`)};`,
        ),
        ...range(threadM).flatMap((i) =>
          range(vectors).map((j) => `s${i}_${j} = fma(vec4<f32>(a${i}[${s}]), b${s}_${j}, s${i}_${j});`),
        ),
      ]);
      return `{ ${[...rows, ...steps].join('\n      ')} }`;
    })
    .join('\n    ');
}

/** Threads that share elements hand their sums over, one after the other, to those that finish them. */
function gather({ kernel }: GemmText, sums: readonly string[]): string {
  const [wgx, , wgz] = threadsOf(kernel);
  if (wgz === 1) return '';
  const at = `[y * ${wgx}u + x]`;
  const turns = range(wgz - 1).map(
    (turn) => `if (z == ${turn + 1}u) { ${sums.map((name, i) => `parts[${i}]${at} = ${name};`).join(' ')} }
  workgroupBarrier();
  if (z == 0u) { ${sums.map((name, i) => `${name} += parts[${i}]${at};`).join(' ')} }
  workgroupBarrier();`,
  );
  return `${turns.join('\n  ')}
  if (z != 0u) { return; }`;
}

/** Where a thread's block lies. Lanes of a subgroup that form a block, not a strip, share more of what they read. */
function place({ lanes }: GpuGemm, wgx: number): string {
  if (lanes === 'strips') return 'let x = local.x; let y = local.y; let z = local.z;';
  return `let lane = thread % 32u; let part = thread / 32u;
  let x = (part % ${wgx / 8}u) * 8u + lane % 8u; let y = (part / ${wgx / 8}u) * 4u + lane / 8u;`;
}

/** Workgroup memory for slices; which of two stages is filled next, or read. */
function slicesSource(text: GemmText): string {
  const { kernel } = text;
  const { tileK, threadM, threadN, stages } = kernel;
  const [wgx, wgy, wgz] = threadsOf(kernel);
  const staged = (type: string) => (stages === 1 ? type : `array<${type}, ${stages}>`);
  const a = `array<array<vec4<f32>, ${(threadM * tileK) / 4 / wgz}>, ${wgy * wgz}>`;
  const b = `array<array<array<vec4<f32>, ${wgx}>, ${((threadN / 4) * tileK) / wgz}>, ${wgz}>`;
  return `var<workgroup> tileA: ${staged(a)};
var<workgroup> tileB: ${staged(b)};${stages === 1 ? '' : '\nvar<private> stage = 0u;'}`;
}

/** The whole shader; its entry point is `main`, a workgroup for each tile: x columns, y rows, z products. */
export function gemmSource(text: GemmText): string {
  const { kernel } = text;
  const { tileM, tileN, threadM, threadN } = kernel;
  const [wgx, wgy, wgz] = threadsOf(kernel);
  const slices = [sliceA(text), sliceB(text)];
  const hasHalves = text.storage.a === 'f16' || text.storage.b === 'f16';
  const vectors = threadN / 4;
  const end = endOfK(text.isPart);
  const sums = range(threadM).flatMap((i) => range(vectors).map((j) => ({ i, j })));
  return `${productHead(text, { a: arrayType(text.a, text.storage.a), b: arrayType(text.b, text.storage.b) })}${hasHalves ? HALVES : ''}${slicesSource(text)}
${wgz === 1 ? '' : `var<workgroup> parts: array<array<vec4<f32>, ${wgx * wgy}>, ${sums.length}>;`}
${activationSource(text.activation)}${elementSource('a', text.a, text.storage.a, end)}${elementSource('b', text.b, text.storage.b, end)}${slices.map(({ source }) => source).join('')}${finishSource(text)}
@compute @workgroup_size(${wgx}, ${wgy}, ${wgz})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  ${productStart(text.table, tileM, tileN, text.isPart)}
  ${place(kernel, wgx)}
  ${sums.map(({ i, j }) => `var s${i}_${j} = vec4<f32>(0.0);`).join('\n  ')}
  ${loop(text, slices, wgx * wgy * wgz)}
  ${gather(
    text,
    sums.map(({ i, j }) => `s${i}_${j}`),
  )}
  ${sums.map(({ i, j }) => `finish(s${i}_${j}, m0 + y * ${threadM}u + ${i}u, n0 + 4u * (x + ${j * wgx}u));`).join('\n  ')}
}
`;
}
