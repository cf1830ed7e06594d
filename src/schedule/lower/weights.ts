/** The forms that algorithms want weights in, and the products that convolutions are. */
import { roundUp } from '../../core/math.ts';
import { findKernel } from '../../kernels/table.ts';
import { winogradSides } from '../../plan/conv/slices.ts';
import type { Plan } from '../../plan/plan.ts';
import type { Step } from '../../plan/program.ts';
import { type ConvProblem, groupChannels, termsOf } from '../../problem/conv.ts';
import { type Product, packSteps } from './gemm.ts';
import { type Member, StepList } from './steps.ts';

/** Weights in another form than the caller's. */
export interface WeightForm {
  /** Equal names, equal bytes, for the same weights. */
  readonly name: string;
  readonly elements: number;
  /** Elements of one group. */
  readonly perGroup: number;
  readonly steps: readonly Step[];
}

/** NCHW: weights [outC / groups, terms] times patches [terms, pixels], for each image and group. */
export function imageProduct(p: ConvProblem): Product {
  const k = termsOf(p);
  const m = p.outC / p.groups;
  const n = p.outH * p.outW;
  const members: Member[] = [];
  for (let image = 0; image < p.batch; image++) {
    for (let group = 0; group < p.groups; group++) {
      const index = image * p.groups + group;
      members.push({
        a: group * m * k,
        b: index * groupChannels(p) * p.inH * p.inW,
        c: index * m * n,
        indexA: group,
        indexB: index,
        channel: group * m,
      });
    }
  }
  const plain = { transposeA: false, transposeB: false, packedA: false, packedB: false };
  return { m, n, k, lda: k, ldb: n, ldc: n, ...plain, members };
}

/** NHWC with 1x1 filters: pixels [all, inC] times weights transposed, for each group. */
export function pixelProduct(p: ConvProblem): Product {
  const k = groupChannels(p);
  const n = p.outC / p.groups;
  const members = Array.from({ length: p.groups }, (_, group) => ({
    a: group * k,
    b: group * n * k,
    c: group * n,
    indexA: group,
    indexB: group,
    channel: group * n,
  }));
  return {
    m: p.batch * p.outH * p.outW,
    n,
    k,
    transposeA: false,
    transposeB: true,
    lda: p.inC,
    ldb: k,
    ldc: p.outC,
    packedA: false,
    packedB: false,
    members,
  };
}

function panelsOfA(p: ConvProblem, plan: Plan): WeightForm {
  const { steps, elements } = packSteps(imageProduct(p), plan, 'A');
  const { mr } = findKernel(plan.kernel)!;
  return { name: `panels mr=${mr} kc=${plan.kc}`, elements, perGroup: elements / p.groups, steps };
}

function panelsOfB(p: ConvProblem, plan: Plan): WeightForm {
  const { steps, elements } = packSteps(pixelProduct(p), plan, 'B');
  const { nr } = findKernel(plan.kernel)!;
  return { name: `panels nr=${nr} kc=${plan.kc}`, elements, perGroup: elements / p.groups, steps };
}

/** Panels of all taps in the order (kh, kw, ic), for segments of NHWC. */
function filterPanels(p: ConvProblem, plan: Plan): WeightForm {
  const { nr } = findKernel(plan.kernel)!;
  const list = new StepList();
  const n = p.outC / p.groups;
  const perGroup = roundUp(n, nr) * termsOf(p);
  for (let group = 0; group < p.groups; group++) {
    const b = group * n * termsOf(p);
    list.addStretches('packFilters', n, termsOf(p), nr, (n0, cols) => ({
      b,
      n0,
      cols,
      packedB: group * perGroup,
    }));
  }
  return { name: `filters nr=${nr}`, elements: p.groups * perGroup, perGroup, steps: list.steps };
}

function transformed(p: ConvProblem, plan: Plan): WeightForm {
  const { mr } = findKernel(plan.kernel)!;
  const { side, alpha } = winogradSides(p, plan.algorithm);
  const m = p.outC / p.groups;
  const perGroup = alpha * alpha * roundUp(m, mr) * groupChannels(p);
  const list = new StepList();
  for (let group = 0; group < p.groups; group++) {
    list.addStretches('winogradWeights', m, 16 * groupChannels(p), mr, (m0, rows) => ({
      a: group * m * termsOf(p),
      m0,
      rows,
      packedA: group * perGroup,
    }));
  }
  return { name: `winograd${side} mr=${mr}`, elements: p.groups * perGroup, perGroup, steps: list.steps };
}

/** Seven sums of quarters, each a matrix of half the rows and half the columns. */
function sumsOfQuarters(p: ConvProblem): WeightForm {
  const [rows, columns] = [p.outC / p.groups / 2, groupChannels(p) / 2];
  const perGroup = 7 * rows * columns;
  const list = new StepList();
  for (let group = 0; group < p.groups; group++) {
    list.addStretches('strassenFilters', rows, 11 * columns, 1, (m0, length) => ({
      a: group * 4 * rows * columns,
      m0,
      rows: length,
      packedA: group * perGroup,
    }));
  }
  return { name: 'strassen', elements: p.groups * perGroup, perGroup, steps: list.steps };
}

function byTap(p: ConvProblem): WeightForm {
  const list = new StepList();
  list.add('filtersByTap', { k0: 0, ks: p.outC });
  const elements = p.outC * p.kH * p.kW;
  return { name: 'by tap', elements, perGroup: elements, steps: list.steps };
}

/** The form that a plan reads, or undefined where it reads the weights as they are. */
export function weightForm(p: ConvProblem, plan: Plan): WeightForm | undefined {
  const nchw = p.layout === 'nchw';
  switch (plan.algorithm) {
    case 'gemm':
      if (!nchw) return panelsOfB(p, plan);
      return plan.packing === 'ab' ? panelsOfA(p, plan) : undefined;
    case 'implicit':
      return plan.packing === 'ab' ? panelsOfA(p, plan) : undefined;
    case 'direct':
      return nchw ? undefined : filterPanels(p, plan);
    case 'depthwise':
      return nchw ? undefined : byTap(p);
    case 'winograd2':
    case 'winograd4':
      return transformed(p, plan);
    case 'strassen':
      return sumsOfQuarters(p);
    case 'fixed':
      return undefined;
    default:
      throw new Error(`no form for ${plan.algorithm satisfies never}`);
  }
}
