/** Which kernels may serve a problem at all: a pure function of the table, the engine, and what is quarantined. */
import { algorithmsFor, type ConvAlgorithm, type ConvProblem } from '../problem/conv.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import type { Problem } from '../problem/problem.ts';
import { fitsFloats, type QuantizedProblem } from '../problem/quantized.ts';
import { KERNELS, type Kernel, oneRowPartner } from './table.ts';

export interface KernelFilter {
  /** Names that the loaded module has. */
  readonly present: ReadonlySet<string>;
  /** Names that failed their check on this device, with the reason. */
  readonly quarantined: ReadonlyMap<string, string>;
}

/** A vector kernel takes a product with one row or one column; which of the two forms follows from the storage. */
function vectorFamily(p: MatmulProblem): 'axpy' | 'dot' | undefined {
  if (p.prepackedB) return undefined;
  if (p.m === 1) return p.transposeB ? 'dot' : 'axpy';
  if (p.n === 1) return p.transposeA ? 'axpy' : 'dot';
  return undefined;
}

function servesMatmul(kernel: Kernel, p: MatmulProblem): boolean {
  if (p.panel && kernel.nr !== p.panel.nr) return false;
  switch (kernel.family) {
    case 'packed':
      return true;
    case 'direct':
      // rows of A are read in place, so they must run along k
      return !p.transposeA;
    case 'axpy':
    case 'dot':
      return vectorFamily(p) === kernel.family;
    case 'offset':
    case 'depthwise':
      return false;
    default:
      throw new Error(`unknown family ${kernel.family satisfies never}`);
  }
}

/** Filters times the channels of one pixel: the matrix and the vector of each image. */
function isOnePixel({ layout, outH, outW }: ConvProblem): boolean {
  return layout === 'nchw' && outH * outW === 1;
}

/** Whether a kernel can serve a convolution by this algorithm. */
export function servesBy(kernel: Kernel, p: ConvProblem, algorithm: ConvAlgorithm): boolean {
  const { family } = kernel;
  switch (algorithm) {
    case 'gemm':
      return family === 'packed' || family === 'direct' || (family === 'dot' && isOnePixel(p));
    case 'implicit':
      return family === 'packed' || family === 'direct';
    case 'direct':
      return family === (p.layout === 'nchw' ? 'offset' : 'direct');
    case 'depthwise':
      return family === 'depthwise' && fitsTaps(kernel, p);
    case 'winograd2':
    case 'winograd4':
      return family === 'packed';
    case 'strassen':
      // sums of filters are matrices, read in place
      return family === 'direct';
    default:
      throw new Error(`unknown algorithm ${algorithm satisfies never}`);
  }
}

/** Four planes of an image, padded, that stay in a second cache beside everything else. */
const SMALL_PIXELS = 64 * 64;

function isSmall(p: ConvProblem): boolean {
  const rows = (p.outH - 1) * p.strideH + (p.kH - 1) * p.dilationH + 1;
  const columns = (p.outW - 1) * p.strideW + (p.kW - 1) * p.dilationW + 1;
  return rows * columns <= SMALL_PIXELS;
}

/** Whether kernels that read rows where they lie can serve: the first four and the last four columns may hang over one side each, by
 *  no more than half a filter. One row at a time may be any number of rows below the last. */
function readsInPlace(p: ConvProblem, { size, stride }: NonNullable<Kernel['taps']>, mr: number): boolean {
  if (p.kH !== size || p.kW !== size || p.strideW !== stride) return false;
  if (p.strideH !== stride && mr > 1) return false;
  if (p.dilationH !== 1 || p.dilationW !== 1) return false;
  const half = size >> 1;
  const last = (column: number) => column * stride + size - 1 - p.padLeft;
  return (
    p.padLeft <= half &&
    last(p.outW - 1) - (p.inW - 1) <= half &&
    (p.outW - 4) * stride >= p.padLeft &&
    last(3) < p.inW
  );
}

/** NHWC has one depthwise routine, which stands in the table as the general kernel. */
function fitsTaps({ taps, lanes, mr }: Kernel, p: ConvProblem): boolean {
  if (lanes) return p.layout === 'nchw' && p.outC === p.inC && isSmall(p);
  if (!taps) return true;
  return p.layout === 'nchw' && readsInPlace(p, taps, mr);
}

type Serves = (kernel: Kernel) => boolean;

function servesConv(p: ConvProblem): Serves {
  const algorithms = algorithmsFor(p);
  return (kernel) => algorithms.some((algorithm) => servesBy(kernel, p, algorithm));
}

/** Sums of integers have the same bits in any order, so every kernel is as good as the deterministic ones. */
function servesIntegers(p: QuantizedProblem): Serves {
  const inFloats = fitsFloats(p);
  const fits = ({ dtype }: Kernel) => dtype !== undefined || inFloats;
  if (p.op === 'qmatmul')
    return (kernel) =>
      fits(kernel) &&
      servesMatmul(kernel, p.plain) &&
      (kernel.dtype === 'i8' ? p.bytePanels : !(p.plain.prepackedB && kernel.dtype === undefined));
  const serves = servesConv({ ...p.plain, exact: true });
  return (kernel) => kernel.dtype !== 'i8' && fits(kernel) && serves(kernel);
}

/** What is asked of each kernel: some of the answer is the same for all. */
function serversOf(p: Problem): Serves {
  switch (p.op) {
    case 'qmatmul':
    case 'qconv':
      return servesIntegers(p);
    case 'matmul':
    case 'conv': {
      const serves = p.op === 'conv' ? servesConv(p) : (kernel: Kernel) => servesMatmul(kernel, p);
      return (kernel) => kernel.dtype === undefined && (!p.exact || kernel.deterministic) && serves(kernel);
    }
    case 'pool':
    case 'fold':
    case 'map':
    case 'lines':
    case 'move':
    case 'take':
      return () => false;
    default:
      throw new Error(`unknown problem ${p satisfies never}`);
  }
}

function isHere(kernel: Kernel, { present, quarantined }: KernelFilter): boolean {
  return (
    present.has(kernel.name) && !quarantined.has(kernel.name) && !quarantined.has(oneRowPartner(kernel).name)
  );
}

/** Whether a row of the table can run this problem here. */
export function isApplicable(kernel: Kernel, p: Problem, filter: KernelFilter): boolean {
  return isHere(kernel, filter) && serversOf(p)(kernel);
}

/** Rows of the table that can run this problem here, in table order. */
export function applicableKernels(p: Problem, filter: KernelFilter): Kernel[] {
  const serves = serversOf(p);
  return KERNELS.filter((kernel) => serves(kernel) && isHere(kernel, filter));
}
