/**
 * A product, or a batch of them, to steps.
 *
 * Packing is shared work: all panels of a slice of k are packed first, each once and by whoever is free, then the tiles
 * of the slice are computed. With panels packed once, there is one wait per slice instead of two per block of B.
 */

import { roundUp } from '../../core/math.ts';
import { broadcastMap, sizeOf } from '../../core/shape.ts';
import { findKernel } from '../../kernels/table.ts';
import { fairTile } from '../../plan/fair.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, type Epilogue, type Program } from '../../plan/program.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { stretchesOf, tilesOf } from '../tiles.ts';
import { type Member, SLICE_ELEMENTS, STEP_FLOPS, StepList } from './steps.ts';

/** Products that share their extents: what a matmul and a 1x1 convolution both are. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Elements from row to row as stored. */
  readonly lda: number;
  readonly ldb: number;
  readonly ldc: number;
  /** Operands that come as panels. */
  readonly packedA: boolean;
  readonly packedB: boolean;
  readonly members: readonly Member[];
}

/** The products of a batch with the element offsets of their matrices. */
function membersOf(p: MatmulProblem): Member[] {
  const whole = p.leading ? p.leading.out : [p.batch];
  const mapA = broadcastMap(p.leading ? p.leading.a : [p.sharedA ? 1 : p.batch], whole);
  const mapB = broadcastMap(p.leading ? p.leading.b : [p.sharedB ? 1 : p.batch], whole);
  return Array.from({ length: sizeOf(whole) }, (_, index) => ({
    a: mapA[index]! * p.m * p.k,
    b: mapB[index]! * p.k * p.n,
    c: index * p.m * p.n,
    indexA: mapA[index]!,
    indexB: mapB[index]!,
    channel: 0,
  }));
}

function productOf(p: MatmulProblem): Product {
  const { m, n, k, transposeA, transposeB } = p;
  return {
    m,
    n,
    k,
    transposeA,
    transposeB,
    lda: transposeA ? m : k,
    ldb: transposeB ? k : n,
    ldc: n,
    packedA: false,
    packedB: p.prepackedB,
    members: membersOf(p),
  };
}

function epilogueOf(p: MatmulProblem): Epilogue {
  return {
    bias: p.bias,
    activation: p.activation,
    slope: p.activation === 'prelu' ? 'row' : 'none',
    scaled: p.scaled,
    accumulate: p.accumulate,
    keepOld: p.accumulate,
    oldRows: 0,
    exact: p.exact,
  };
}

interface Blocking {
  readonly mr: number;
  readonly nr: number;
  readonly packA: boolean;
  readonly packB: boolean;
}

function blockingOf(p: Product, plan: Plan): Blocking {
  const kernel = findKernel(plan.kernel);
  if (!kernel) throw new Error(`plan names an unknown kernel ${plan.kernel}`);
  return {
    mr: kernel.mr,
    nr: kernel.nr,
    packA: plan.packing === 'ab' && !p.packedA,
    packB: plan.packing !== 'none' && !p.packedB,
  };
}

/** Packs each distinct matrix of a group once; `offsets` receives where its panels begin. */
function packOperand(
  list: StepList,
  side: 'A' | 'B',
  group: readonly Member[],
  lines: number,
  width: number,
  k0: number,
  ks: number,
  offsets: Map<number, number>,
): void {
  const padded = roundUp(lines, width);
  for (const member of group) {
    const index = side === 'A' ? member.indexA : member.indexB;
    if (offsets.has(index)) continue;
    const offset = offsets.size * padded * ks;
    offsets.set(index, offset);
    const op = side === 'A' ? 'packA' : 'packB';
    const part = (from: number, length: number) =>
      side === 'A'
        ? { m0: from, rows: length, k0, ks, packedA: offset }
        : { n0: from, cols: length, k0, ks, packedB: offset };
    list.addStretches(op, lines, ks, width, part, member, group.length);
  }
}

/** Members that are packed together and the extent of a slice of k: bounded by packing space and by the time of a step. */
function groupsOf(
  p: Product,
  plan: Plan,
  { mr, nr, packA, packB }: Blocking,
): { groups: (readonly Member[])[]; slice: number } {
  const { members } = p;
  const perK = (packA ? roundUp(p.m, mr) : 0) + (packB ? roundUp(p.n, nr) : 0);
  const tile = Math.min(plan.mc, p.m) * Math.min(plan.nc, p.n);
  const blocks = Math.max(
    1,
    Math.floor(Math.min(SLICE_ELEMENTS / Math.max(1, perK), STEP_FLOPS / 2 / tile) / plan.kc),
  );
  if (blocks * plan.kc < p.k) return { groups: members.map((member) => [member]), slice: blocks * plan.kc };
  const count = perK === 0 ? members.length : Math.max(1, Math.floor(SLICE_ELEMENTS / (perK * p.k)));
  return {
    groups: stretchesOf(members.length, count).map(({ from, length }) => members.slice(from, from + length)),
    slice: p.k,
  };
}

/** Constants that tiles of a product read. */
export function productConstants(p: Product, plan: Plan) {
  const { mr, nr } = findKernel(plan.kernel)!;
  return constantsOf({
    mr,
    nr,
    kc: plan.kc,
    k: p.k,
    directA: plan.packing === 'ab' ? 0 : 1,
    directB: plan.packing === 'none' && !p.packedB ? 1 : 0,
    transposeA: p.transposeA ? 1 : 0,
    transposeB: p.transposeB ? 1 : 0,
    lda: p.lda,
    ldb: p.ldb,
    ldc: p.ldc,
    mPadded: roundUp(p.m, mr),
    nPadded: roundUp(p.n, nr),
  });
}

/** Everything of a program but what the problem adds. */
export function lowerProduct(
  p: Product,
  plan: Plan,
): Pick<Program, 'constants' | 'steps' | 'packedAElements' | 'packedBElements'> {
  const family = findKernel(plan.kernel)?.family;
  return family === 'axpy' || family === 'dot' ? lowerVector(p, plan) : lowerTiles(p, plan);
}

function lowerTiles(p: Product, plan: Plan): ReturnType<typeof lowerProduct> {
  const blocking = blockingOf(p, plan);
  const { mr, nr, packA, packB } = blocking;
  const { groups, slice } = groupsOf(p, plan, blocking);
  const { mc, nc } = fairTile(p, p.members.length, plan, blocking);
  const tiles = tilesOf(p.m, p.n, mc, nc, plan.order);
  const list = new StepList(plan.threads);
  let packedAElements = 0;
  let packedBElements = 0;
  for (const group of groups) {
    for (const { from: k0, length: ks } of stretchesOf(p.k, slice)) {
      const offsetsA = new Map<number, number>();
      const offsetsB = new Map<number, number>();
      if (packA) packOperand(list, 'A', group, p.m, mr, k0, ks, offsetsA);
      if (packB) packOperand(list, 'B', group, p.n, nr, k0, ks, offsetsB);
      packedAElements = Math.max(packedAElements, offsetsA.size * roundUp(p.m, mr) * ks);
      packedBElements = Math.max(packedBElements, offsetsB.size * roundUp(p.n, nr) * ks);
      if (packA || packB) list.endPhase();
      for (const member of group) {
        // panels made in advance hold all of k, block after block, matrix after matrix
        const packedA = p.packedA
          ? (member.indexA * p.k + k0) * roundUp(p.m, mr)
          : (offsetsA.get(member.indexA) ?? 0);
        const packedB = p.packedB
          ? (member.indexB * p.k + k0) * roundUp(p.n, nr)
          : (offsetsB.get(member.indexB) ?? 0);
        const ends = { k0, ks, first: k0 === 0, last: k0 + ks >= p.k };
        for (const tile of tiles) list.add('tile', { packedA, packedB, ...ends, ...tile }, member);
      }
      // the next slice writes over these panels
      list.endPhase();
    }
  }
  return { constants: productConstants(p, plan), steps: list.steps, packedAElements, packedBElements };
}

/** Matrix times vector: the result is one line of elements, cut into stretches of nc. */
function lowerVector(p: Product, plan: Plan): ReturnType<typeof lowerProduct> {
  const list = new StepList();
  const elements = p.m === 1 ? p.n : p.m;
  for (const member of p.members) {
    for (const { from, length } of stretchesOf(elements, plan.nc))
      list.add('vector', { n0: from, cols: length, ks: p.k }, member);
  }
  const constants = { ...productConstants(p, plan), matrixA: p.m === 1 ? 0 : 1 };
  return { constants, steps: list.steps, packedAElements: 0, packedBElements: 0 };
}

/** Steps for a product whose extents are all at least 1. */
export function lowerMatmul(p: MatmulProblem, plan: Plan): Program {
  return {
    problem: p,
    plan,
    ...lowerProduct(productOf(p), plan),
    epilogue: epilogueOf(p),
    offsets: [],
    privateElements: 0,
  };
}

/** Only the packing of one operand, all of k at once, every matrix of it: what prepacking runs. */
export function packSteps(
  product: Product,
  plan: Plan,
  side: 'A' | 'B',
): { steps: Program['steps']; elements: number } {
  const { mr, nr } = findKernel(plan.kernel)!;
  const list = new StepList();
  const offsets = new Map<number, number>();
  const [lines, width] = side === 'A' ? [product.m, mr] : [product.n, nr];
  packOperand(list, side, product.members, lines, width, 0, product.k, offsets);
  return { steps: list.steps, elements: offsets.size * roundUp(lines, width) * product.k };
}

/** Only the packing of B: what `prepack` runs. The problem's m does not matter. */
export function lowerPackB(p: MatmulProblem, plan: Plan): Program {
  const product = productOf(p);
  return {
    problem: p,
    plan,
    constants: productConstants(product, plan),
    epilogue: epilogueOf(p),
    offsets: [],
    steps: packSteps(product, plan, 'B').steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: 0,
  };
}
