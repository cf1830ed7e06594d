/** From a problem and a row of the table to what is dispatched: the shader's text, its numbers, and how many workgroups. */
import { ceilDiv, roundUp } from '../../core/math.ts';
import { broadcastMap } from '../../core/shape.ts';
import {
  type GpuArray,
  type GpuGemm,
  type GpuKernel,
  type GpuMatrixGemm,
  gpuServes,
  isWhole,
} from '../../kernels/gpu.ts';
import { type ConvProblem, groupChannels, isPlainProduct, termsOf } from '../../problem/conv.ts';
import { type Halves, isHalf } from '../../problem/halves.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { isArrayProblem, type Problem } from '../../problem/problem.ts';
import { windowKey } from '../../problem/window.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { lowerArray } from './lower-array.ts';
import { DEPTHWISE_THREADS, depthwiseBindings, depthwiseKey, depthwiseSource } from './wgsl/depthwise.ts';
import { gemmKey, gemmSource, type Reading } from './wgsl/gemm.ts';
import { type MatrixText, matrixKey, matrixSource } from './wgsl/gemm-matrix.ts';
import { PARTS_THREADS, partsBindings, partsKey, partsSource } from './wgsl/parts.ts';
import { type Patches, patchesOf } from './wgsl/patches.ts';
import { bindingsOf, type Finish } from './wgsl/product.ts';

type Row = GpuGemm | GpuMatrixGemm;

/** A matrix as it lies: whether its lines are along k, and their length. Matrices are dense: where a line is whole vectors, all of them and
 *  all matrices behind one another are. */
interface Matrix {
  readonly alongK: boolean;
  readonly ld: number;
}

/** A problem as products that one shader computes. */
interface Products extends Finish {
  readonly a: Matrix | Patches;
  readonly b: Matrix | Patches;
  readonly halves: Halves;
  readonly params: Omit<Launch['params'], 'slopeByRow' | 'parts' | 'kPart'>;
  /** Whether channels are rows of the result. */
  readonly channelRows: boolean;
  readonly products: number;
  /** Offsets of each product's operands. */
  readonly table: Uint32Array<ArrayBuffer> | undefined;
}

function readingOf(name: 'a' | 'b', side: Matrix | Patches): Reading {
  if (!('ld' in side)) return side;
  const isStraight = (name === 'a') === side.alongK;
  if (isWhole(side.ld)) return isStraight ? 'vectors' : 'blocks';
  return isStraight ? 'rows' : 'columns';
}

/** What a shader is made of, by the row's family. */
function textOf(
  kernel: Row,
  { a, b, halves, table, ...finish }: Products,
  isPart: boolean,
): Pick<Launch, 'key' | 'source'> {
  const { vectorC, bias, activation, adds } = finish;
  const common = { vectorC, bias, activation, adds, table: table !== undefined };
  if (kernel.family === 'gpu-gemm') {
    const storage = {
      a: isHalf(halves, 'a') ? 'f16' : 'f32',
      b: isHalf(halves, 'b') ? 'f16' : 'f32',
    } as const;
    const text = { ...common, kernel, a: readingOf('a', a), b: readingOf('b', b), storage, isPart };
    return { key: gemmKey(text), source: () => gemmSource(text) };
  }
  if (!('ld' in a && 'ld' in b)) throw new Error(`${kernel.name} takes matrices`);
  const width = a.ld % 8 === 0 && b.ld % 8 === 0 ? 8 : 4;
  const text: MatrixText = { ...common, kernel, width, alongK: { a: a.alongK, b: b.alongK } };
  return { key: matrixKey(text), source: () => matrixSource(text) };
}

/** What follows the sum, left to the second half. */
const SUM_ALONE = { bias: 'none', activation: 'none', adds: 'nothing' } as const;

function launchOf(kernel: Row, made: Products, kc: number): Launch {
  const { params, channelRows, table } = made;
  const kPart = roundUp(Math.min(kc, params.k), kernel.tileK);
  const parts = kernel.family === 'gpu-gemm' ? ceilDiv(params.k, kPart) : 1;
  const isPart = parts > 1;
  const whole = isPart ? { ...made, ...SUM_ALONE } : made;
  const numbers = { ...params, slopeByRow: channelRows ? 1 : 0, parts, kPart };
  return {
    ...textOf(kernel, whole, isPart),
    bindings: bindingsOf({ ...whole, table: table !== undefined }),
    groups: [ceilDiv(params.n, kernel.tileN), ceilDiv(params.m, kernel.tileM)],
    products: made.products * parts,
    params: numbers,
    table,
    ...(isPart && { after: sumOfParts(made, numbers) }),
  };
}

function sumOfParts(made: Products, params: Launch['params']): NonNullable<Launch['after']> {
  const { m, n, parts } = params;
  return {
    launch: {
      key: partsKey(made),
      source: () => partsSource(made),
      bindings: partsBindings(made),
      groups: [ceilDiv(m * ceilDiv(n, 4), PARTS_THREADS), 1],
      products: made.products,
      params,
      table: undefined,
    },
    bytes: 4 * made.products * parts * m * n,
  };
}

const NO_OFFSETS = { offsetA: 0, offsetB: 0, offsetC: 0 } as const;

function matmulProducts(p: MatmulProblem): Products {
  const { batch, m, n, k, transposeA, transposeB, leading } = p;
  const [lda, ldb] = [transposeA ? m : k, transposeB ? k : n];
  const [matrixA, matrixB] = [m * k, k * n];
  const strideA = batch === 1 || p.sharedA ? 0 : matrixA;
  const strideB = batch === 1 || p.sharedB ? 0 : matrixB;
  return {
    a: { alongK: !transposeA, ld: lda },
    b: { alongK: transposeB, ld: ldb },
    halves: p.halves,
    vectorC: isWhole(n),
    bias: p.bias,
    activation: p.activation,
    adds: p.accumulate ? 'result' : 'nothing',
    params: { m, n, k, lda, ldb, ldc: n, strideA, strideB, strideC: m * n, ...NO_OFFSETS, groups: 1 },
    channelRows: false,
    products: batch,
    table:
      leading &&
      interleave(
        broadcastMap(leading.a, leading.out),
        broadcastMap(leading.b, leading.out),
        matrixA,
        matrixB,
      ),
  };
}

function interleave(
  a: readonly number[],
  b: readonly number[],
  sizeA: number,
  sizeB: number,
): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(a.flatMap((matrix, index) => [matrix * sizeA, b[index]! * sizeB]));
}

/** NHWC: pixels of all images x output channels. */
function nhwcProducts(p: ConvProblem): Products {
  const { batch, inC, inH, inW, outC, layout } = p;
  const k = termsOf(p);
  const plain = isPlainProduct(p);
  const pixels = p.outH * p.outW;
  const m = plain ? batch * pixels : pixels;
  const strides = { strideA: inH * inW * inC, strideB: 0, strideC: m * outC };
  return {
    a: plain ? { alongK: true, ld: inC } : patchesOf(layout, inC, p, windowKey(p)),
    b: { alongK: true, ld: k },
    halves: p.halves,
    vectorC: isWhole(outC),
    bias: p.bias ? 'row' : 'none',
    activation: p.activation,
    adds: p.residual ? 'tensor' : 'nothing',
    params: { m, n: outC, k, lda: inC, ldb: k, ldc: outC, ...strides, ...NO_OFFSETS, groups: 1 },
    channelRows: false,
    products: plain ? 1 : batch,
    table: undefined,
  };
}

/** NCHW: output channels x pixels for each image and group. */
function nchwProducts(p: ConvProblem): Products {
  const { batch, groups, inH, inW, outC, layout } = p;
  const channels = groupChannels(p);
  const k = termsOf(p);
  const pixels = p.outH * p.outW;
  const m = outC / groups;
  const products = batch * groups;
  const hasTable = groups > 1 && batch > 1;
  const strideB = channels * inH * inW;
  const strides = { strideA: groups === 1 || hasTable ? 0 : m * k, strideB, strideC: m * pixels };
  const offsets = (i: number) => [(i % groups) * m * k, i * strideB];
  return {
    a: { alongK: true, ld: k },
    b: isPlainProduct(p) ? { alongK: false, ld: pixels } : patchesOf(layout, channels, p, windowKey(p)),
    halves: p.halves,
    vectorC: isWhole(pixels),
    bias: p.bias ? 'column' : 'none',
    activation: p.activation,
    adds: p.residual ? 'tensor' : 'nothing',
    params: { m, n: pixels, k, lda: k, ldb: pixels, ldc: pixels, ...strides, ...NO_OFFSETS, groups },
    channelRows: true,
    products,
    table: hasTable
      ? Uint32Array.from(Array.from({ length: products }, (_, i) => offsets(i)).flat())
      : undefined,
  };
}

/** A thread for four neighbours of the result. */
function lowerDepthwise(p: ConvProblem, name: string): Launch {
  const pixels = p.outH * p.outW;
  const inPlanes = p.layout === 'nchw';
  const items = inPlanes ? ceilDiv(pixels, 4) : pixels * ceilDiv(p.outC, 4);
  return {
    key: depthwiseKey(name, p),
    source: () => depthwiseSource(p),
    bindings: depthwiseBindings(p),
    groups: [ceilDiv(items, DEPTHWISE_THREADS), 1],
    products: inPlanes ? p.batch * p.outC : p.batch,
    params: NO_EXTENTS,
    table: undefined,
  };
}

/** Undefined where the row does not serve the problem. Workgroups of products sum `kc` steps of k each. */
export function lower(
  problem: Problem,
  kernel: GpuKernel,
  kc: number = Number.POSITIVE_INFINITY,
): Launch | undefined {
  if (!gpuServes(problem, kernel)) return undefined;
  if (problem.op === 'pool' || problem.op === 'fold' || isArrayProblem(problem))
    return lowerArray(problem, kernel as GpuArray);
  if (kernel.family === 'gpu-depthwise') return lowerDepthwise(problem as ConvProblem, kernel.name);
  const row = kernel as Row;
  if (problem.op === 'matmul') return launchOf(row, matmulProducts(problem), kc);
  const conv = problem as ConvProblem;
  return launchOf(row, conv.layout === 'nhwc' ? nhwcProducts(conv) : nchwProducts(conv), kc);
}
