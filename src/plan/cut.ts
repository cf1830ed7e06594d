/** How a call is cut in two parts that need nothing of each other: one for the GPU, the other for the threads. */
import { roundUp } from '../core/math.ts';
import type { ConvProblem } from '../problem/conv.ts';
import { termsOf } from '../problem/conv.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import type { Problem } from '../problem/problem.ts';

export type CutProblem = MatmulProblem | ConvProblem;

/** Elements of an operand that a part of some units reads or writes, and where it begins: `fixed + stride * units`, `stride * first`. */
export interface Share {
  readonly fixed: number;
  readonly stride: number;
}

export interface Cut {
  /** Rows of a product, output channels or images of a convolution. */
  readonly units: number;
  /** Whether a kernel's tile is so many units high; one unit is as good as another else. */
  readonly byTiles: boolean;
  /** The problem of so many units. */
  part(units: number): CutProblem;
  /** Operands in the order of kernels; those that the problem has not are absent. */
  readonly shares: Readonly<Partial<Record<'a' | 'b' | 'packedB' | 'bias' | 'slope' | 'c0', Share>>> & {
    readonly c: Share;
  };
}

function whole(fixed: number): Share {
  return { fixed, stride: 0 };
}

function each(stride: number): Share {
  return { fixed: 0, stride };
}

/** Elements of panels that hold a whole right operand. */
function panelElements({ k, n, panel }: MatmulProblem): number {
  return k * roundUp(n, panel!.nr);
}

/** Whole products of a batch. */
function membersOf(p: MatmulProblem): Cut {
  return {
    units: p.batch,
    byTiles: false,
    part: (batch) => ({ ...p, batch }),
    shares: {
      a: p.sharedA ? whole(p.m * p.k) : each(p.m * p.k),
      b: p.sharedB ? whole(p.k * p.n) : each(p.k * p.n),
      c: each(p.m * p.n),
      ...(p.bias === 'none' ? {} : { bias: whole(p.bias === 'row' ? p.n : p.m) }),
      ...(p.activation === 'prelu' ? { slope: whole(p.n) } : {}),
    },
  };
}

function rowsOf(p: MatmulProblem): Cut {
  return {
    units: p.m,
    byTiles: true,
    part: (m) => ({ ...p, m }),
    shares: {
      a: each(p.k),
      ...(p.panel ? { packedB: whole(panelElements(p)) } : { b: whole(p.k * p.n) }),
      c: each(p.n),
      ...(p.bias === 'none' ? {} : { bias: p.bias === 'row' ? whole(p.n) : each(1) }),
      ...(p.activation === 'prelu' ? { slope: whole(p.n) } : {}),
    },
  };
}

/** Channels lie one after the other, in filters and in the result of one image. */
function channelsOf(p: ConvProblem): Cut {
  return {
    units: p.outC,
    byTiles: true,
    part: (outC) => ({ ...p, outC }),
    shares: {
      a: each(termsOf(p)),
      b: whole(p.inC * p.inH * p.inW),
      ...perChannel(p, each(1)),
      ...results(p, each(p.outH * p.outW)),
    },
  };
}

function imagesOf(p: ConvProblem): Cut {
  const [image, weights] = [each(p.inC * p.inH * p.inW), whole(p.outC * termsOf(p))];
  const [a, b] = p.layout === 'nchw' ? [weights, image] : [image, weights];
  return {
    units: p.batch,
    byTiles: false,
    part: (batch) => ({ ...p, batch }),
    shares: { a, b, ...perChannel(p, whole(p.outC)), ...results(p, each(p.outC * p.outH * p.outW)) },
  };
}

function perChannel(p: ConvProblem, share: Share): Pick<Cut['shares'], 'bias' | 'slope'> {
  return { ...(p.bias ? { bias: share } : {}), ...(p.activation === 'prelu' ? { slope: share } : {}) };
}

function results(p: ConvProblem, c: Share): Pick<Cut['shares'], 'c' | 'c0'> {
  return { c, ...(p.residual ? { c0: c } : {}) };
}

function convCut(p: ConvProblem): Cut | undefined {
  // parts of the result would have parts of the residual of other sizes, or none
  if (p.residualC !== undefined) return undefined;
  if (p.batch > 1) return imagesOf(p);
  return p.layout === 'nchw' && p.groups === 1 ? channelsOf(p) : undefined;
}

/** Undefined where the parts would not be whole stretches of memory, or weights are kept in forms that cannot be cut. */
export function cutOf(p: Problem): Cut | undefined {
  if (p.op === 'matmul')
    return p.batch > 1 || p.transposeA || p.accumulate || p.panel ? undefined : rowsOf(p);
  return p.op === 'conv' && !p.prepacked && p.algorithm === undefined ? convCut(p) : undefined;
}

/** The same for threads that each have a memory of their own, and keep the weights that they were sent. */
export function threadCutOf(p: Problem): Cut | undefined {
  if (p.op === 'conv') return convCut(p);
  if (p.op !== 'matmul' || p.accumulate || p.leading) return undefined;
  if (p.batch > 1) return p.panel ? undefined : membersOf(p);
  return p.transposeA ? undefined : rowsOf(p);
}

/** Bytes that go to the GPU: those of any part, and those of each unit. */
export function uploadOf({ shares }: Cut): Share {
  const { c: _result, ...read } = shares;
  const all = Object.values(read);
  return {
    fixed: 4 * all.reduce((sum, { fixed }) => sum + fixed, 0),
    stride: 4 * all.reduce((sum, { stride }) => sum + stride, 0),
  };
}
