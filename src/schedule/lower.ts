/**
 * Problem and plan to program: which steps there are, and what each must wait for.
 *
 * Packing is shared work: all panels of a slice of k are packed first, each once and by whoever is free, then the tiles
 * of the slice are computed. With panels packed once, there is one wait per slice instead of two per block of B.
 */

import { roundUp } from '../core/math.ts';
import { broadcastMap, sizeOf } from '../core/shape.ts';
import { findKernel } from '../kernels/table.ts';
import type { Plan } from '../plan/plan.ts';
import type { Program, Step } from '../plan/program.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import { stretchesOf, tilesOf } from './tiles.ts';

/** Packed panels of one slice take at most this many elements (32 MiB), or one kc block if that is more: enough to make
 *  waits rare, small enough not to double the memory of a large product. */
const SLICE_ELEMENTS = 8 * 1024 * 1024;

/** Operations of one step at most (some milliseconds): an abort waits for steps that have begun. */
const STEP_FLOPS = 2e8;

/** Elements that one packing step moves: some tens of microseconds, so that threads share the work evenly. */
const PACK_STEP_ELEMENTS = 16 * 1024;

interface Member {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Which matrix of A and B it is: equal numbers share panels. */
  readonly indexA: number;
  readonly indexB: number;
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
  }));
}

/** Steps in the making: keeps the phase boundary that later steps must wait for. */
class StepList {
  readonly steps: Step[] = [];
  #needs = 0;

  /** Later steps wait for all that stand here now. */
  endPhase(): void {
    this.#needs = this.steps.length;
  }

  add(op: Step['op'], member: Member, part: Partial<Step>): void {
    this.steps.push({
      op,
      needs: this.#needs,
      a: member.a,
      b: member.b,
      c: member.c,
      m0: 0,
      rows: 0,
      n0: 0,
      cols: 0,
      k0: 0,
      ks: 0,
      first: true,
      last: true,
      packedA: 0,
      packedB: 0,
      ...part,
    });
  }
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
  const chunk = Math.max(width, roundUp(Math.ceil(PACK_STEP_ELEMENTS / ks), width));
  for (const member of group) {
    const index = side === 'A' ? member.indexA : member.indexB;
    if (offsets.has(index)) continue;
    const offset = offsets.size * padded * ks;
    offsets.set(index, offset);
    for (const { from, length } of stretchesOf(lines, chunk)) {
      if (side === 'A') list.add('packA', member, { m0: from, rows: length, k0, ks, packedA: offset });
      else list.add('packB', member, { n0: from, cols: length, k0, ks, packedB: offset });
    }
  }
}

interface Blocking {
  readonly mr: number;
  readonly nr: number;
  readonly packA: boolean;
  readonly packB: boolean;
}

function blockingOf(p: MatmulProblem, plan: Plan): Blocking {
  const kernel = findKernel(plan.kernel);
  if (!kernel) throw new Error(`plan names an unknown kernel ${plan.kernel}`);
  return {
    mr: kernel.mr,
    nr: kernel.nr,
    packA: plan.packing === 'ab',
    packB: plan.packing !== 'none' && !p.prepackedB,
  };
}

/** Members that are packed together and the extent of a slice of k: bounded by packing space and by the time of a step. */
function groupsOf(
  p: MatmulProblem,
  plan: Plan,
  { mr, nr, packA, packB }: Blocking,
  members: Member[],
): { groups: Member[][]; slice: number } {
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

function lowerGemm(p: MatmulProblem, plan: Plan): Program {
  const blocking = blockingOf(p, plan);
  const { mr, nr, packA, packB } = blocking;
  const { groups, slice } = groupsOf(p, plan, blocking, membersOf(p));
  const tiles = tilesOf(p.m, p.n, plan.mc, plan.nc, plan.order);
  const list = new StepList();
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
        const packedA = offsetsA.get(member.indexA) ?? 0;
        // panels made in advance hold all of k, block after block
        const packedB = p.prepackedB ? k0 * roundUp(p.n, nr) : (offsetsB.get(member.indexB) ?? 0);
        const ends = { k0, ks, first: k0 === 0, last: k0 + ks >= p.k };
        for (const tile of tiles) list.add('tile', member, { ...tile, ...ends, packedA, packedB });
      }
      // the next slice writes over these panels
      list.endPhase();
    }
  }
  return { problem: p, plan, kind: 'gemm', steps: list.steps, packedAElements, packedBElements };
}

/** Matrix times vector: the result is one line of elements, cut into stretches of nc. */
function lowerVector(p: MatmulProblem, plan: Plan): Program {
  const list = new StepList();
  const elements = p.m === 1 ? p.n : p.m;
  for (const member of membersOf(p)) {
    for (const { from, length } of stretchesOf(elements, plan.nc))
      list.add('vector', member, { n0: from, cols: length, ks: p.k });
  }
  return { problem: p, plan, kind: 'vector', steps: list.steps, packedAElements: 0, packedBElements: 0 };
}

/** Steps for a problem whose extents are all at least 1. */
export function lower(problem: MatmulProblem, plan: Plan): Program {
  const family = findKernel(plan.kernel)?.family;
  return family === 'axpy' || family === 'dot' ? lowerVector(problem, plan) : lowerGemm(problem, plan);
}

/** Only the packing of B, all of k at once: what `prepack` runs. The problem's m does not matter. */
export function lowerPackB(problem: MatmulProblem, plan: Plan): Program {
  const { nr } = blockingOf(problem, plan);
  const list = new StepList();
  const offsets = new Map<number, number>();
  packOperand(list, 'B', membersOf(problem), problem.n, nr, 0, problem.k, offsets);
  return { problem, plan, kind: 'gemm', steps: list.steps, packedAElements: 0, packedBElements: 0 };
}
