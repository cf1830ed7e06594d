/**
 * The matrix product of halves on a device's matrix units: subgroups multiply fragments of 16 x 16 that their lanes hold together,
 * and sum them as floats (WebGPU's experimental subgroup matrices, https://github.com/gpuweb/gpuweb/blob/main/proposals/subgroup-matrix.md;
 * NVIDIA's tensor cores through VK_KHR_cooperative_matrix). A workgroup loads slices of both operands into workgroup memory as they
 * lie, lines padded so that neighbouring lines start in other banks; a fragment of a turned operand is loaded by columns.
 */
import { FRAGMENT, FRAGMENT_STRIDE, type GpuMatrixGemm, partsOf } from '../../../kernels/gpu.ts';
import { activationSource } from './activations.ts';
import { type Finish, finishKey, finishSource, productHead, productStart, range } from './product.ts';

export interface MatrixText extends Finish {
  readonly kernel: GpuMatrixGemm;
  /** Whether lines of an operand lie along k: A that is not transposed, B that is. */
  readonly alongK: { readonly a: boolean; readonly b: boolean };
  readonly table: boolean;
  /** Halves that are moved at once: lines of both operands must be whole vectors of them. */
  readonly width: 4 | 8;
}

/** Equal texts have equal keys. */
export function matrixKey(text: MatrixText): string {
  const { kernel, alongK, width, table } = text;
  return [
    kernel.name,
    `w${width}`,
    alongK.a ? 'a=lines' : 'a=turned',
    alongK.b ? 'b=turned' : 'b=lines',
    finishKey(text),
    ...(table ? ['table'] : []),
  ].join(' ');
}

/** An operand's slice: in memory lines of `length` halves, in workgroup memory fragments. */
interface Slice {
  readonly name: 'A' | 'B';
  readonly lines: number;
  readonly length: number;
  readonly alongK: boolean;
  readonly width: number;
  /** Extent of a subgroup's part, and how many parts there are. */
  readonly part: number;
  readonly parts: number;
  /** Fragments along k. */
  readonly steps: number;
}

function slicesOf({ kernel, alongK, width }: MatrixText): readonly [a: Slice, b: Slice] {
  const { tileM, tileN, tileK, partM, partN } = kernel;
  const slice = (name: 'A' | 'B', tile: number, part: number, isAlongK: boolean): Slice => {
    const [lines, length] = isAlongK ? [tile, tileK] : [tileK, tile];
    const steps = tileK / FRAGMENT;
    return { name, lines, length, alongK: isAlongK, width, part, parts: tile / part, steps };
  };
  return [slice('A', tileM, partM, alongK.a), slice('B', tileN, partN, alongK.b)];
}

/** A vector of halves, in words of two. */
function vectorType(width: number): string {
  return `vec${width / 2}<u32>`;
}

/** `fetchX(i, k0)`: neighbours of a line, zero outside; `stashX(i, v)` puts them into their fragment. */
function sliceSource({ name, length, alongK, width, part, parts, steps }: Slice): string {
  const side = name.toLowerCase();
  const [origin, extent] = name === 'A' ? ['m0', 'm'] : ['n0', 'n'];
  const [line, along] = alongK ? [`${origin} + row`, 'k0 + column'] : ['k0 + row', `${origin} + column`];
  const [lineMost, alongMost] = alongK ? [extent, 'k'] : ['k', extent];
  const [place, depth] = alongK ? ['row', 'column'] : ['column', 'row'];
  const type = vectorType(width);
  const piece = `let row = i / ${length / width}u; let column = ${width}u * (i % ${length / width}u);`;
  const fragments = (part / FRAGMENT) * steps;
  return `var<workgroup> tile${name}: array<array<array<${type}, ${(FRAGMENT * FRAGMENT_STRIDE) / width}>, ${fragments}>, ${parts}>;
fn fetch${name}(i: u32, k0: u32) -> ${type} {
  ${piece} let line = ${line}; let along = ${along};
  if (line < params.${lineMost} && along < params.${alongMost}) { return ${side}[(${side}Base + line * params.ld${side} + along) / ${width}u]; }
  return ${type}();
}
fn stash${name}(i: u32, v: ${type}) {
  ${piece}
  let fragment = (${place} % ${part}u) / 16u * ${steps}u + ${depth} / 16u;
  tile${name}[${place} / ${part}u][fragment][(row % 16u) * ${FRAGMENT_STRIDE / width}u + (column % 16u) / ${width}u] = v;
}
`;
}

/** Vectors that a thread has of a slice: whole rounds, as the table's rows are made. */
function roundsOf({ lines, length, width }: Slice, threads: number): number {
  return (lines * length) / width / threads;
}

/**
 * One slice's worth of fragments. Each is an array of its own, so that all of an access but the subgroup's part is known when the shader
 * is compiled, and devices need not check it.
 */
function multiply({ kernel, width }: MatrixText, [a, b]: readonly [Slice, Slice]): string {
  const { partM, partN } = kernel;
  const [rows, columns] = [partM / FRAGMENT, partN / FRAGMENT];
  const load = (side: string, order: string, from: string) =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, 16, 16>, ${order}>(&${from}, 0u, ${FRAGMENT_STRIDE / width}u)`;
  return range(a.steps)
    .map((step) => {
      const left = range(rows).map(
        (i) =>
          `let a${i} = ${load('left', a.alongK ? 'row_major' : 'col_major', `tileA[partRow][${i * a.steps + step}]`)};`,
      );
      // one fragment of B at a time: it meets all of A's
      const right = range(columns).flatMap((j) => [
        `let b${j} = ${load('right', b.alongK ? 'col_major' : 'row_major', `tileB[partColumn][${j * b.steps + step}]`)};`,
        ...range(rows).map((i) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, s${i}_${j});`),
      ]);
      return `{ ${[...left, ...right].join('\n      ')} }`;
    })
    .join('\n    ');
}

/** Sums leave the fragments through workgroup memory, where what follows them finds its row and column. */
function store({ kernel }: MatrixText): string {
  const { partM, partN } = kernel;
  return range(partM / FRAGMENT)
    .flatMap((i) =>
      range(partN / FRAGMENT).map(
        (j) => `subgroupMatrixStore<row_major>(&sums[part], 0u, s${i}_${j}, 16u);
  workgroupBarrier();
  drain(part, lane, m0 + partRow * ${partM}u + ${i * FRAGMENT}u, n0 + partColumn * ${partN}u + ${j * FRAGMENT}u);
  workgroupBarrier();`,
      ),
    )
    .join('\n  ');
}

/** The whole shader, in the form of the other products': a workgroup for each tile. Subgroups have 32 lanes. */
export function matrixSource(text: MatrixText): string {
  const { kernel } = text;
  const { tileM, tileN, tileK, partM, partN } = kernel;
  const [across, down] = partsOf(kernel);
  const threads = 32 * across * down;
  const slices = slicesOf(text);
  const pieces = slices.flatMap((slice) =>
    range(roundsOf(slice, threads)).map((round) => ({
      name: `next${slice.name}${round}`,
      slice: slice.name,
      index: `thread + ${round * threads}u`,
    })),
  );
  const fetched = (k0: string) =>
    pieces.map(({ name, slice, index }) => `${name} = fetch${slice}(${index}, ${k0});`).join(' ');
  const sums = range(partM / FRAGMENT).flatMap((i) => range(partN / FRAGMENT).map((j) => `s${i}_${j}`));
  return `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
requires subgroup_id;
${productHead(text, { a: vectorType(text.width), b: vectorType(text.width) })}var<workgroup> sums: array<array<f32, ${FRAGMENT * FRAGMENT}>, ${across * down}>;
${activationSource(text.activation)}${slices.map(sliceSource).join('')}${finishSource(text)}
fn drain(part: u32, lane: u32, row0: u32, column0: u32) {
  for (var i = lane; i < 64u; i += 32u) {
    let row = i / 4u; let column = 4u * (i % 4u); let at = row * 16u + column;
    finish(vec4<f32>(sums[part][at], sums[part][at + 1u], sums[part][at + 2u], sums[part][at + 3u]), row0 + row, column0 + column);
  }
}
@compute @workgroup_size(${threads}, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) part: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  ${productStart(text.table, tileM, tileN)}
  let partRow = part / ${across}u; let partColumn = part % ${across}u;
  ${sums.map((name) => `var ${name}: subgroup_matrix_result<f32, 16, 16>;`).join('\n  ')}
  ${pieces.map(({ name }) => `var ${name}: ${vectorType(text.width)};`).join(' ')}
  ${fetched('0u')}
  for (var k0 = 0u; k0 < params.k; k0 += ${tileK}u) {
    ${pieces.map(({ name, slice, index }) => `stash${slice}(${index}, ${name});`).join(' ')}
    workgroupBarrier();
    ${fetched(`k0 + ${tileK}u`)}
    ${multiply(text, slices)}
    workgroupBarrier();
  }
  ${store(text)}
}
`;
}
