/** From a problem and a row of the table to what is dispatched: the shader's text, its numbers, and how many workgroups. */
import { ceilDiv } from '../../core/math.ts';
import { broadcastMap } from '../../core/shape.ts';
import { type GpuGemm, type GpuKernel, gpuServes } from '../../kernels/gpu.ts';
import { type ConvProblem, groupChannels, termsOf } from '../../problem/conv.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { isArrayProblem, type Problem } from '../../problem/problem.ts';
import { windowKey } from '../../problem/window.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { lowerArray } from './lower-array.ts';
import { DEPTHWISE_THREADS, depthwiseBindings, depthwiseKey, depthwiseSource } from './wgsl/depthwise.ts';
import { bindingsOf, type GemmText, gemmKey, gemmSource, type Reading } from './wgsl/gemm.ts';
import { patchesOf } from './wgsl/patches.ts';

/** Matrices are dense: where a line is whole vectors, all of them and all matrices behind one another are. */
function isWhole(line: number): boolean {
  return line % 4 === 0;
}

/** How a matrix of lines along an axis is read. `rows`: its elements along k lie side by side. */
function readingOf(side: 'a' | 'b', alongK: boolean, ld: number): Reading {
  const byRows = side === 'a' ? alongK : !alongK;
  if (!isWhole(ld)) return byRows ? 'rows' : 'columns';
  return (side === 'a') === alongK ? 'vectors' : 'blocks';
}

function launchOf(
  text: GemmText,
  params: Omit<Launch['params'], 'slopeByRow'>,
  rows: boolean,
  products: number,
  table?: Uint32Array<ArrayBuffer>,
): Launch {
  const { tileM, tileN } = text.kernel;
  return {
    key: gemmKey(text),
    source: () => gemmSource(text),
    bindings: bindingsOf(text),
    groups: [ceilDiv(params.n, tileN), ceilDiv(params.m, tileM)],
    products,
    params: { ...params, slopeByRow: rows ? 1 : 0 },
    table,
  };
}

function lowerMatmul(p: MatmulProblem, kernel: GpuGemm): Launch {
  const { batch, m, n, k, transposeA, transposeB, leading } = p;
  const [lda, ldb] = [transposeA ? m : k, transposeB ? k : n];
  const [matrixA, matrixB] = [m * k, k * n];
  const strideA = batch === 1 || p.sharedA ? 0 : matrixA;
  const strideB = batch === 1 || p.sharedB ? 0 : matrixB;
  const text: GemmText = {
    kernel,
    a: readingOf('a', !transposeA, lda),
    b: readingOf('b', transposeB, ldb),
    vectorC: isWhole(n),
    bias: p.bias,
    activation: p.activation,
    adds: p.accumulate ? 'result' : 'nothing',
    table: leading !== undefined,
  };
  const table =
    leading &&
    interleave(broadcastMap(leading.a, leading.out), broadcastMap(leading.b, leading.out), matrixA, matrixB);
  const params = {
    m,
    n,
    k,
    lda,
    ldb,
    ldc: n,
    strideA,
    strideB,
    strideC: m * n,
    offsetA: 0,
    offsetB: 0,
    offsetC: 0,
    groups: 1,
  };
  return launchOf(text, params, false, batch, table);
}

function interleave(
  a: readonly number[],
  b: readonly number[],
  sizeA: number,
  sizeB: number,
): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(a.flatMap((matrix, index) => [matrix * sizeA, b[index]! * sizeB]));
}

/** NCHW: output channels x pixels for each image and group; NHWC: pixels of all images x output channels. */
function lowerConv(p: ConvProblem, kernel: GpuGemm): Launch {
  const { batch, groups, inC, inH, inW, outC, outH, outW, layout, kH, kW } = p;
  const channels = groupChannels(p);
  const k = termsOf(p);
  const pixels = outH * outW;
  const image = inH * inW;
  const plain =
    kH === 1 &&
    kW === 1 &&
    p.strideH === 1 &&
    p.strideW === 1 &&
    pixels === image &&
    p.padTop === 0 &&
    p.padLeft === 0;
  const patches = patchesOf(layout, layout === 'nchw' ? channels : inC, p, windowKey(p));
  const rest = { activation: p.activation, adds: p.residual ? 'tensor' : 'nothing', table: false } as const;
  if (layout === 'nhwc') {
    const m = plain ? batch * pixels : pixels;
    const text: GemmText = {
      kernel,
      a: plain ? readingOf('a', true, inC) : patches,
      b: readingOf('b', true, k),
      vectorC: isWhole(outC),
      bias: p.bias ? 'row' : 'none',
      ...rest,
    };
    const products = plain ? 1 : batch;
    const params = {
      m,
      n: outC,
      k,
      lda: inC,
      ldb: k,
      ldc: outC,
      strideA: image * inC,
      strideB: 0,
      strideC: m * outC,
      offsetA: 0,
      offsetB: 0,
      offsetC: 0,
      groups: 1,
    };
    return launchOf(text, params, false, products);
  }
  const m = outC / groups;
  const products = batch * groups;
  const hasTable = groups > 1 && batch > 1;
  const strideA = groups === 1 || hasTable ? 0 : m * k;
  const strideB = channels * image;
  const text: GemmText = {
    kernel,
    a: readingOf('a', true, k),
    b: plain ? readingOf('b', false, pixels) : patches,
    vectorC: isWhole(pixels),
    bias: p.bias ? 'column' : 'none',
    ...rest,
    table: hasTable,
  };
  const table = hasTable
    ? Uint32Array.from(Array.from({ length: products }, (_, i) => [(i % groups) * m * k, i * strideB]).flat())
    : undefined;
  const params = {
    m,
    n: pixels,
    k,
    lda: k,
    ldb: pixels,
    ldc: pixels,
    strideA,
    strideB,
    strideC: m * pixels,
    offsetA: 0,
    offsetB: 0,
    offsetC: 0,
    groups,
  };
  return launchOf(text, params, true, products, table);
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

/** Undefined where the row does not serve the problem. */
export function lower(problem: Problem, kernel: GpuKernel): Launch | undefined {
  if (!gpuServes(problem, kernel)) return undefined;
  if (isArrayProblem(problem) && problem.op !== 'take') return lowerArray(problem, kernel.name);
  if (kernel.family === 'gpu-depthwise') return lowerDepthwise(problem as ConvProblem, kernel.name);
  const row = kernel as GpuGemm;
  return problem.op === 'matmul' ? lowerMatmul(problem, row) : lowerConv(problem as ConvProblem, row);
}
