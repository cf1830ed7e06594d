/**
 * What must be true of every program, whatever the plan: checked by walking its steps with a model of memory that knows
 * which step wrote which panel and which tile. A step may rely only on those that its `needs` waits for.
 */

import { roundUp } from '../../src/core/math.ts';
import { broadcastMap, sizeOf } from '../../src/core/shape.ts';
import { findKernel } from '../../src/kernels/table.ts';
import type { Program, Step } from '../../src/plan/program.ts';
import type { MatmulProblem } from '../../src/problem/matmul.ts';

const STEP_FLOPS = 2e8;

interface Written {
  readonly index: number;
  readonly step: Step;
  readonly from: number;
  readonly to: number;
}

type Side = 'A' | 'B';

/** These checks know products only. */
function productOf({ problem }: Program): MatmulProblem {
  if (problem.op !== 'matmul') throw new Error(`a program for ${problem.op}`);
  return problem;
}

function panelWidth(program: Program, side: Side): number {
  const kernel = findKernel(program.plan.kernel)!;
  return side === 'A' ? kernel.mr : kernel.nr;
}

/** Elements of packing space of a whole operand, for one slice. */
function extentOf(program: Program, side: Side, step: Step): [number, number] {
  const { m, n } = productOf(program);
  const offset = side === 'A' ? step.packedA : step.packedB;
  return [offset, offset + roundUp(side === 'A' ? m : n, panelWidth(program, side)) * step.ks];
}

function linesOf(side: Side, step: Step): [number, number] {
  return side === 'A' ? [step.m0, step.m0 + step.rows] : [step.n0, step.n0 + step.cols];
}

function overlaps(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] < b[1] && b[0] < a[1];
}

/** Panels that a tile reads must be written for its matrix and slice, whole, by steps that it waits for. */
function panelFault(
  program: Program,
  written: readonly Written[],
  side: Side,
  tile: Step,
  index: number,
): string | undefined {
  const [low, high] = linesOf(side, tile);
  const area = extentOf(program, side, tile);
  const op = side === 'A' ? 'packA' : 'packB';
  const matrix = side === 'A' ? tile.a : tile.b;
  const size = side === 'A' ? program.packedAElements : program.packedBElements;
  if (area[1] > size) return `tile ${index} reads panels of ${side} up to ${area[1]}, there are ${size}`;
  let at = low;
  // the newest writer of the space is the one that counts
  const newest = written.filter((w) => w.step.op === op && overlaps([w.from, w.to], area));
  const last = newest.at(-1)?.step;
  for (const { step, index: writer } of newest) {
    if (step.k0 !== last!.k0 || (side === 'A' ? step.packedA : step.packedB) !== area[0]) continue;
    const [from, to] = linesOf(side, step);
    if (to <= at || from > at) continue;
    if ((side === 'A' ? step.a : step.b) !== matrix)
      return `tile ${index} finds the panels of another matrix (step ${writer})`;
    if (step.k0 !== tile.k0 || step.ks !== tile.ks)
      return `tile ${index} finds the panels of another slice (step ${writer})`;
    if (writer >= tile.needs)
      return `tile ${index} does not wait for step ${writer}, which packs its ${side}`;
    at = to;
  }
  return at >= high ? undefined : `lines ${at} to ${high} of ${side} are not packed for tile ${index}`;
}

/** Packing space is written over only when every tile that reads the old panels is waited for. */
function overwriteFault(
  program: Program,
  side: Side,
  step: Step,
  index: number,
  steps: readonly Step[],
): string | undefined {
  const area = extentOf(program, side, step);
  for (let earlier = step.needs; earlier < index; earlier++) {
    const other = steps[earlier]!;
    if (other.op === 'tile' && overlaps(area, extentOf(program, side, other))) {
      return `step ${index} packs over panels of ${side} that tile ${earlier} may still read`;
    }
  }
  return undefined;
}

function packFault(program: Program, step: Step, index: number): string | undefined {
  const side: Side = step.op === 'packA' ? 'A' : 'B';
  const [low, high] = linesOf(side, step);
  const lines = side === 'A' ? productOf(program).m : productOf(program).n;
  const width = panelWidth(program, side);
  if (low % width !== 0 || (high % width !== 0 && high !== lines))
    return `step ${index} packs parts of a panel: ${low} to ${high}`;
  return undefined;
}

function flopsFault({ plan }: Program, step: Step, index: number): string | undefined {
  const elements = step.op === 'vector' ? step.cols : step.rows * step.cols;
  const flops = 2 * elements * step.ks;
  const least = 2 * elements * Math.min(plan.kc, step.ks);
  return flops <= Math.max(STEP_FLOPS, least) ? undefined : `step ${index} takes ${flops} operations`;
}

/** Offsets of the batch's matrices, as the problem says. */
function memberOffsets(program: Program): string[] {
  const p = productOf(program);
  const whole = p.leading ? p.leading.out : [p.batch];
  const mapA = broadcastMap(p.leading ? p.leading.a : [p.sharedA ? 1 : p.batch], whole);
  const mapB = broadcastMap(p.leading ? p.leading.b : [p.sharedB ? 1 : p.batch], whole);
  return Array.from(
    { length: sizeOf(whole) },
    (_, q) => `${mapA[q]! * p.m * p.k} ${mapB[q]! * p.k * p.n} ${q * p.m * p.n}`,
  );
}

/** Each element of each member, for each slice of k, exactly once; slices in order from 0 to k, each waiting for the one before. */
function coverFault(program: Program): string | undefined {
  const { steps } = program;
  const p = productOf(program);
  const members = memberOffsets(program);
  const tiles = new Map<string, { step: Step; index: number }[]>();
  for (const [index, step] of steps.entries()) {
    if (step.op !== 'tile' && step.op !== 'vector') continue;
    const member = `${step.a} ${step.b} ${step.c}`;
    if (!members.includes(member)) return `step ${index} is of no member of the batch: ${member}`;
    const place =
      step.op === 'vector'
        ? `${member} ${step.n0}+${step.cols}`
        : `${member} ${step.m0}+${step.rows} ${step.n0}+${step.cols}`;
    const list = tiles.get(place);
    if (list) list.push({ step, index });
    else tiles.set(place, [{ step, index }]);
  }
  const area = new Map(members.map((member) => [member, 0]));
  for (const [place, list] of tiles) {
    let k = 0;
    let before = -1;
    for (const { step, index } of list) {
      if (step.k0 !== k) return `${place}: slice at ${step.k0} where ${k} is next`;
      if (step.first !== (k === 0)) return `${place}: first is ${step.first} at ${k}`;
      k += step.ks;
      if (step.last !== (k === p.k)) return `${place}: last is ${step.last} at ${k}`;
      if (before >= step.needs)
        return `${place}: step ${index} does not wait for the slice before it (step ${before})`;
      before = index;
    }
    if (k !== p.k) return `${place}: ends at k = ${k}`;
    const { step } = list[0]!;
    const member = `${step.a} ${step.b} ${step.c}`;
    area.set(member, area.get(member)! + (step.op === 'vector' ? step.cols : step.rows * step.cols));
  }
  const places = [...tiles.values()].map((list) => list[0]!.step);
  for (const [member, count] of area)
    if (count !== p.m * p.n) return `${member}: ${count} of ${p.m * p.n} elements`;
  return overlapFault(program, places);
}

/** With the right total area, tiles that do not overlap and stay inside cover everything. */
function overlapFault(program: Program, places: readonly Step[]): string | undefined {
  const p = productOf(program);
  const byMember = new Map<number, Step[]>();
  for (const step of places) {
    const [rows, cols] = step.op === 'vector' ? [0, p.m * p.n] : [p.m, p.n];
    if (step.n0 + step.cols > cols || step.m0 + step.rows > rows) return 'a tile leaves the result';
    const others = byMember.get(step.c) ?? [];
    const clash = others.find(
      (other) =>
        overlaps(linesOf('B', step), linesOf('B', other)) &&
        (step.op === 'vector' || overlaps(linesOf('A', step), linesOf('A', other))),
    );
    if (clash) return `two tiles share elements at row ${step.m0}, column ${step.n0}`;
    others.push(step);
    byMember.set(step.c, others);
  }
  return undefined;
}

/** Why a program is wrong, or undefined. */
export function programFault(program: Program): string | undefined {
  const { steps, plan } = program;
  const problem = productOf(program);
  const vector = steps.some((step) => step.op === 'vector');
  const readsA = !vector && plan.packing === 'ab';
  const readsB = !vector && plan.packing !== 'none' && !problem.prepackedB;
  let written: Written[] = [];
  for (const [index, step] of steps.entries()) {
    if (step.needs > index || step.needs < (steps[index - 1]?.needs ?? 0))
      return `step ${index} needs ${step.needs}`;
    if (step.op === 'packA' || step.op === 'packB') {
      const side: Side = step.op === 'packA' ? 'A' : 'B';
      const fault = packFault(program, step, index) ?? overwriteFault(program, side, step, index, steps);
      if (fault) return fault;
      const [from, to] = extentOf(program, side, step);
      // a new phase of packing makes what its space held before history
      const first = steps[index - 1]?.op === 'tile';
      if (first) written = [];
      written.push({ index, step, from, to });
      continue;
    }
    const fault =
      flopsFault(program, step, index) ??
      (readsA ? panelFault(program, written, 'A', step, index) : undefined) ??
      (readsB ? panelFault(program, written, 'B', step, index) : undefined);
    if (fault) return fault;
  }
  return coverFault(program);
}
