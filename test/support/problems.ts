/** Random problems, operands and plans: everything that the layers below the public calls accept. */
import type { ReferenceOperands } from '../../src/backends/reference/matmul.ts';
import { sizeOf } from '../../src/core/shape.ts';
import { applicableKernels } from '../../src/kernels/select.ts';
import { KERNELS, type Kernel } from '../../src/kernels/table.ts';
import type { Packing, Plan } from '../../src/plan/plan.ts';
import { ACTIVATION_KINDS } from '../../src/problem/epilogue.ts';
import { type MatmulProblem, matmulFromShapes, matmulProblem } from '../../src/problem/matmul.ts';
import type { Random } from './seed.ts';

/** Extents that matter: 1, around register blocks, primes, beyond a vector strip. */
const EXTENTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 23, 31, 32, 33, 37, 41, 48, 53];

export interface ProblemLimits {
  readonly exact?: boolean;
  readonly batches?: boolean;
  readonly epilogues?: boolean;
  readonly prepacked?: boolean;
}

/** Leading extents of both operands, so that all ways of sharing occur. */
function leadingShapes(random: Random): [number[], number[]] {
  const [x, y] = [random.int(2, 3), random.int(2, 3)];
  return random.pick<[number[], number[]]>([
    [[x], [x]],
    [[x], []],
    [[], [x]],
    [[x], [1]],
    [[1], [x]],
    [
      [x, y],
      [x, y],
    ],
    [
      [x, 1],
      [1, y],
    ],
    [[x, y], [y]],
    [
      [1, y],
      [x, 1],
    ],
    [[y], [x, 1]],
  ]);
}

export function randomProblem(random: Random, limits: ProblemLimits = {}): MatmulProblem {
  // one row or one column, which have kernels of their own, in a fifth of all cases
  const m = random.chance(0.1) ? 1 : random.pick(EXTENTS);
  const n = random.chance(0.1) ? 1 : random.pick(EXTENTS);
  const k = random.pick(EXTENTS);
  const prepacked = (limits.prepacked ?? false) && random.chance(0.3);
  const traits = {
    transposeA: random.chance(0.3),
    transposeB: random.chance(0.3),
    panel: prepacked
      ? { nr: random.pick([4, 8, 12, 16, 24, 32]), kc: random.pick([4, 8, 16, 64]) }
      : undefined,
    bias: limits.epilogues ? random.pick(['none', 'row', 'column'] as const) : ('none' as const),
    activation: limits.epilogues ? random.pick(ACTIVATION_KINDS) : ('none' as const),
    scaled: limits.epilogues ? random.chance(0.4) : false,
    accumulate: limits.epilogues ? random.chance(0.4) : false,
    exact: limits.exact ?? false,
  };
  if (prepacked || !limits.batches || random.chance(0.5)) {
    // panels are stored as multiplied, whichever way b was given
    return matmulProblem({ m, n, k }, prepacked ? { ...traits, transposeB: false } : traits);
  }
  const [leadingA, leadingB] = leadingShapes(random);
  const a = [...leadingA, ...(traits.transposeA ? [k, m] : [m, k])];
  const b = [...leadingB, ...(traits.transposeB ? [n, k] : [k, n])];
  return matmulFromShapes(a, b, traits).problem;
}

/** Number of elements that a problem's operands have. */
export function operandSizes(p: MatmulProblem): { a: number; b: number; c: number; bias: number } {
  const matricesA = p.leading ? sizeOf(p.leading.a) : p.sharedA ? 1 : p.batch;
  const matricesB = p.leading ? sizeOf(p.leading.b) : p.sharedB ? 1 : p.batch;
  return {
    a: matricesA * p.m * p.k,
    b: matricesB * p.k * p.n,
    c: p.batch * p.m * p.n,
    bias: p.bias === 'none' ? 0 : p.bias === 'row' ? p.n : p.m,
  };
}

export interface Values extends ReferenceOperands {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly c0: Float32Array | undefined;
  readonly slope?: Float32Array | undefined;
}

/** Operands in [-1, 1) and scalars that f32 holds exactly. */
export function randomValues(p: MatmulProblem, random: Random): Values {
  const size = operandSizes(p);
  return {
    a: random.floats(size.a),
    b: random.floats(size.b),
    bias: p.bias === 'none' ? undefined : random.floats(size.bias),
    c0: p.accumulate ? random.floats(size.c) : undefined,
    slope: p.activation === 'prelu' ? random.floats(p.n) : undefined,
    alpha: p.scaled ? random.pick([-1.5, 0.5, 2, -1]) : 1,
    beta: p.accumulate ? random.pick([1, -0.5, 0.25, 3]) : 0,
    p0: -0.5,
    p1: 0.75,
  };
}

/** Kernels of a module that may serve a problem. */
export function servingKernels(p: MatmulProblem, present: ReadonlySet<string>): Kernel[] {
  return applicableKernels(p, { present, quarantined: new Map() });
}

/** A kernel that serves, each family as likely as the others: vector kernels are few and would hardly be met. */
export function randomKernel(p: MatmulProblem, present: ReadonlySet<string>, random: Random): Kernel {
  const serving = servingKernels(p, present);
  const family = random.pick([...new Set(serving.map((kernel) => kernel.family))]);
  return random.pick(serving.filter((kernel) => kernel.family === family));
}

/** Names of all rows, for tests that need no module. */
export const ALL_KERNELS: ReadonlySet<string> = new Set(KERNELS.map((kernel) => kernel.name));

export function packingsOf(kernel: Kernel, p: MatmulProblem): Packing[] {
  if (kernel.family === 'packed') return ['ab'];
  if (kernel.family !== 'direct') return ['none'];
  return p.prepackedB || p.transposeB ? ['b'] : ['b', 'none'];
}

/** A plan that keeps the plans' contract: mc a multiple of mr, nc of nr, kc that of the panels. All else is free. */
export function randomPlan(p: MatmulProblem, kernel: Kernel, random: Random, maxThreads = 1): Plan {
  const vector = kernel.family === 'axpy' || kernel.family === 'dot';
  return {
    backend: 'wasm',
    algorithm: 'gemm',
    kernel: kernel.name,
    packing: random.pick(packingsOf(kernel, p)),
    mc: vector ? 1 : kernel.mr * random.pick([1, 2, 3, 100]),
    kc: vector ? p.k : (p.panel?.kc ?? random.pick([1, 3, 4, 8, 16, 64, 1000])),
    nc: vector ? random.pick([1, 3, 16, 1000]) : kernel.nr * random.pick([1, 2, 3, 100]),
    order: random.pick(['mn', 'nm'] as const),
    threads: random.int(1, maxThreads),
  };
}
