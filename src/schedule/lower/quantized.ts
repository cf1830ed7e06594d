/**
 * 8-bit integers to steps: operands are widened to 32-bit elements first, then follow the steps of the plain problem over those. Its
 * tiles finish their sums in cache, as the constant `outKind` says.
 */
import { OUT_KIND } from '../../backends/wasm/layout.ts';
import { roundUp } from '../../core/math.ts';
import { sizeOf } from '../../core/shape.ts';
import { readsBytes, stepsPerWord } from '../../kernels/quantized.ts';
import { findKernel, type Kernel } from '../../kernels/table.ts';
import type { Plan } from '../../plan/plan.ts';
import type { Constants, Program, Staging, Step } from '../../plan/program.ts';
import { innerProblem, readsByteImage } from '../../plan/quantized/view.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { resultElements } from '../../problem/problem.ts';
import type { QconvProblem, QmatmulProblem, QuantizedProblem } from '../../problem/quantized.ts';
import { lowerConv } from './conv.ts';
import { byteStrips } from './depthwise.ts';
import { lowerMatmul, lowerPackB } from './gemm.ts';
import { StepList } from './steps.ts';
import { weightForm } from './weights.ts';

/** Kernels may read a little beyond the end of what they are given. */
const SLACK_ELEMENTS = 32;

/** Steps that widen operands, what they read, and the elements that they make: 0 where an operand comes widened. */
interface Widening {
  readonly steps: Program['steps'];
  readonly constants: Partial<Constants>;
  readonly a: number;
  readonly b: number;
}

/** Matrices of an operand of a product. */
function matricesOf(p: MatmulProblem, side: 'a' | 'b'): number {
  if (p.leading) return sizeOf(p.leading[side]);
  return (side === 'a' ? p.sharedA : p.sharedB) ? 1 : p.batch;
}

/** Elements of panels of bytes before the corrections of their columns: two lists of whole panels' columns. */
function byteColumnSums({ n, k, panel }: MatmulProblem): number {
  return roundUp(n, panel!.nr) * k;
}

/** Elements of panels of 16-bit pairs. */
export function pairPanelElements(k: number, n: number, nr: number): number {
  return roundUp(n, nr) * Math.ceil(k / 2);
}

/** Elements of panels of bytes with what belongs to them. */
export function bytePanelElements(k: number, n: number, nr: number): number {
  return roundUp(n, nr) * (Math.ceil(k / 4) + 2);
}

function widenProduct(p: QmatmulProblem, inner: MatmulProblem, inBytes: boolean): Widening {
  const { n, m, k } = inner;
  const list = new StepList();
  const rows = matricesOf(inner, 'a') * m;
  const matrices = inner.prepackedB ? 0 : matricesOf(inner, 'b');
  list.addStretches('widenRowsA', rows, k, 1, (m0, length) => ({ m0, rows: length }));
  if (inner.transposeB)
    list.addStretches('widenRowsB', matrices * n, k, 1, (m0, length) => ({ m0, rows: length }));
  else
    for (let m0 = 0; m0 < matrices; m0++)
      list.addStretches('widenColumns', k, n, 1, (k0, ks) => ({ m0, k0, ks }));
  const types = { signedA: p.aType === 'i8' ? 1 : 0, signedB: p.bType === 'i8' ? 1 : 0 };
  const constants = { ...types, depth: p.plain.k, rawRows: n };
  if (!inBytes) return { steps: list.steps, constants, a: rows * k, b: matrices * k * n };
  const sums = { rowSums: rows * k, columnSums: byteColumnSums(inner) };
  return { steps: list.steps, constants: { ...constants, ...sums }, a: rows * k + rows, b: 0 };
}

/** The vector only: the matrix is read as it is stored. */
function widenVector(p: QmatmulProblem, inner: MatmulProblem): Widening {
  const { m, n, k } = inner;
  const words = Math.ceil(k / 2);
  const matrixA = m > 1;
  const list = new StepList();
  const rows = matricesOf(inner, matrixA ? 'b' : 'a');
  const op = matrixA ? 'widenRowsB' : 'widenRowsA';
  list.addStretches(op, rows, words, 1, (m0, length) => ({ m0, rows: length }));
  const types = { signedA: p.aType === 'i8' ? 1 : 0, signedB: p.bType === 'i8' ? 1 : 0 };
  const elements = rows * words;
  return {
    steps: list.steps,
    constants: { ...types, depth: k, rawRows: n },
    ...(matrixA ? { a: 0, b: elements } : { a: elements, b: 0 }),
  };
}

/** The filters only: the image is read as it is stored. */
function widenFilters(p: QconvProblem): Widening {
  const { plain } = p;
  const taps = plain.kH * plain.kW;
  const list = new StepList();
  if (!plain.prepacked) list.addStretches('widenFiltersA', plain.outC, taps, 1, (m0, rows) => ({ m0, rows }));
  const types = { signedA: p.bType === 'i8' ? 1 : 0, signedB: p.aType === 'i8' ? 1 : 0 };
  return {
    steps: list.steps,
    constants: { ...types, depth: 1, taps },
    a: plain.prepacked ? 0 : plain.outC * taps,
    b: 0,
  };
}

function widenConvolution(p: QconvProblem, inner: ConvProblem): Widening {
  const { plain } = p;
  const nchw = plain.layout === 'nchw';
  const list = new StepList();
  const words = inner.inC / inner.groups;
  const taps = plain.kH * plain.kW;
  if (!plain.prepacked)
    list.addStretches(nchw ? 'widenFiltersA' : 'widenFiltersB', plain.outC, words * taps, 1, (m0, rows) => ({
      m0,
      rows,
    }));
  if (nchw)
    list.addStretches('widenPlanes', plain.batch * inner.inC, inner.inH * inner.inW, 1, (k0, ks) => ({
      k0,
      ks,
    }));
  else
    list.addStretches('widenPixels', plain.batch * inner.inH, inner.inW * inner.inC, 1, (n0, cols) => ({
      n0,
      cols,
    }));
  const filters = plain.prepacked ? 0 : plain.outC * words * taps;
  const image = plain.batch * inner.inC * inner.inH * inner.inW;
  const [typeA, typeB] = nchw ? [p.bType, p.aType] : [p.aType, p.bType];
  return {
    steps: list.steps,
    constants: {
      signedA: typeA === 'i8' ? 1 : 0,
      signedB: typeB === 'i8' ? 1 : 0,
      depth: plain.inC / plain.groups,
      taps,
      rawH: plain.inH,
      rawW: plain.inW,
      rawTop: plain.padTop,
      rawLeft: plain.padLeft,
      rawChannels: plain.inC,
      rawRows: inner.inH,
      rawPitch: inner.inW,
    },
    ...(nchw ? { a: filters, b: image } : { a: image, b: filters }),
  };
}

/** The plain program over widened operands; bias and activation only where sums become floats. */
function innerProgram(p: QuantizedProblem, kernel: Kernel, plan: Plan): Program {
  const inner = innerProblem(p, kernel);
  if (inner.op === 'matmul') {
    const { bias, activation } = p.plain as MatmulProblem;
    return lowerMatmul(p.output === 'f32' ? { ...inner, bias, activation, exact: p.exact } : inner, plan);
  }
  const { bias, activation } = p.plain as ConvProblem;
  return lowerConv(p.output === 'f32' ? { ...inner, bias, activation, exact: p.exact } : inner, plan);
}

/** One piece after the other, each on a cache line of its own; sums of images read as bytes stay in the threads' own spaces. */
function stagingOf(p: QuantizedProblem, { a, b }: Widening, kernel: Kernel): Staging {
  let elements = 0;
  const place = (count: number): number | undefined => {
    if (count === 0) return undefined;
    const at = elements;
    elements += roundUp(count + SLACK_ELEMENTS, 16);
    return at;
  };
  const narrow = (p.output === 'u8' || p.output === 'i8') && !readsByteImage(kernel);
  return { a: place(a), b: place(b), c: place(narrow ? resultElements(p) : 0), elements };
}

function opOf({ op }: Step, kernel: Kernel): Step['op'] {
  if (op === 'vector' && readsBytes(kernel)) return 'integerVector';
  return op === 'depthwise' && readsByteImage(kernel) ? 'integerDepthwise' : op;
}

/** The steps that come before those of the plain problem. */
function wideningOf(p: QuantizedProblem, inner: ConvProblem | MatmulProblem, kernel: Kernel): Widening {
  if (p.op === 'qmatmul') {
    const product = inner as MatmulProblem;
    return readsBytes(kernel) ? widenVector(p, product) : widenProduct(p, product, kernel.dtype === 'i8');
  }
  return readsByteImage(kernel) ? widenFilters(p) : widenConvolution(p, inner as ConvProblem);
}

export function lowerQuantized(p: QuantizedProblem, plan: Plan): Program {
  const kernel = findKernel(plan.kernel);
  if (!kernel) throw new Error(`plan names an unknown kernel ${plan.kernel}`);
  const inner = innerProblem(p, kernel);
  const widening = wideningOf(p, inner, kernel);
  const program = innerProgram(p, kernel, plan);
  const before = widening.steps.length;
  const inPlace = readsByteImage(kernel) ? byteStrips(inner as ConvProblem, kernel) : undefined;
  return {
    ...program,
    problem: p,
    constants: {
      ...program.constants,
      ...widening.constants,
      wordSteps: stepsPerWord(kernel),
      outKind: OUT_KIND[p.output],
      ...(inPlace ? { stripRows: inPlace.stripRows } : {}),
    },
    privateElements: program.privateElements + (inPlace?.elements ?? 0),
    steps: [
      ...widening.steps,
      ...program.steps.map((step) => ({ ...step, op: opOf(step, kernel), needs: step.needs + before })),
    ],
    staging: stagingOf(p, widening, kernel),
  };
}

/** Filters as a plan wants them once and for all: widened, and packed or transformed where its algorithm asks for that. */
export interface FilterForm {
  /** Equal names, equal bytes, for the same filters. */
  readonly name: string;
  readonly elements: number;
  /** Whether kernels take it for packed: else it stands in for the filters as given, and is what the program stages. */
  readonly packed: boolean;
  readonly program: Program;
}

const ON_FILTERS: ReadonlySet<Step['op']> = new Set(['widenFiltersA', 'widenFiltersB']);

export function lowerFilters(p: QconvProblem, plan: Plan): FilterForm {
  const kernel = findKernel(plan.kernel)!;
  const fresh: QconvProblem = { ...p, plain: { ...p.plain, prepacked: false } };
  const inner = innerProblem(fresh, kernel) as ConvProblem;
  const widening = wideningOf(fresh, inner, kernel);
  const widen = widening.steps.filter(({ op }) => ON_FILTERS.has(op));
  const form = weightForm(inner, plan);
  const count = inner.outC * (inner.inC / inner.groups) * inner.kH * inner.kW;
  const whole = lowerQuantized(fresh, plan);
  const packing = form?.steps.map((step) => ({ ...step, needs: step.needs + widen.length })) ?? [];
  const steps = [...widen.map((step) => ({ ...step, needs: 0 })), ...packing];
  const elements = count + SLACK_ELEMENTS;
  const side = p.plain.layout === 'nchw' ? 'a' : 'b';
  return {
    name: `${stepsPerWord(kernel)} steps a word, ${form?.name ?? 'widened'}`,
    elements: form?.elements ?? elements,
    packed: form !== undefined,
    program: { ...whole, steps, staging: { a: undefined, b: undefined, c: undefined, elements, [side]: 0 } },
  };
}

/** Only the packing of B: what `prepackInteger` runs. */
export function lowerPackIntegers(p: QmatmulProblem, plan: Plan): Program {
  const kernel = findKernel(plan.kernel)!;
  const inner = innerProblem(p, kernel) as MatmulProblem;
  const widening = widenProduct(p, inner, false);
  const steps = widening.steps.filter(({ op }) => op !== 'widenRowsA').map((step) => ({ ...step, needs: 0 }));
  const packing = lowerPackB(inner, plan);
  return {
    ...packing,
    problem: p,
    constants: { ...packing.constants, ...widening.constants, wordSteps: stepsPerWord(kernel) },
    steps: [...steps, ...packing.steps.map((step) => ({ ...step, needs: step.needs + steps.length }))],
    staging: { a: undefined, b: 0, c: undefined, elements: widening.b + SLACK_ELEMENTS },
  };
}

/** Only the panels of bytes; `shift` is added to every byte, so that it fits the second operand of the 8-bit dot product. */
export function lowerPackBytes(p: QmatmulProblem, plan: Plan, shift: number): Program {
  const kernel = findKernel(plan.kernel)!;
  const inner = innerProblem(p, kernel) as MatmulProblem;
  const { n, k, panel, transposeB } = inner;
  const list = new StepList();
  list.addStretches('packBytes', n, 4 * k, panel!.nr, (n0, cols) => ({ n0, cols }));
  const packing = lowerPackB(inner, plan);
  const bytes = {
    ...{ signedB: p.bType === 'i8' ? 1 : 0, depth: p.plain.k, rawRows: n, transposeB: transposeB ? 1 : 0 },
    ...{ columnSums: byteColumnSums(inner), byteShift: shift, wordSteps: stepsPerWord(kernel) },
  };
  return { ...packing, problem: p, constants: { ...packing.constants, ...bytes }, steps: list.steps };
}
