/** Functions of elements to steps: rows of the innermost extent, or parts of one where it is long. */
import { ELEMENT_FLOPS, fairBlock } from '../../plan/fair.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, NO_EPILOGUE, type Program } from '../../plan/program.ts';
import { ACTIVATION_KINDS, type ActivationKind } from '../../problem/epilogue.ts';
import { MAP_KINDS, type MapProblem } from '../../problem/map.ts';
import { stretchesOf } from '../tiles.ts';
import { StepList } from './steps.ts';

/** Those that are a product's last pass are computed by its code. */
function activationOf(kind: MapProblem['kind']): ActivationKind {
  const known = (ACTIVATION_KINDS as readonly string[]).includes(kind) && kind !== 'prelu';
  return known ? (kind as ActivationKind) : 'none';
}

/** Elements of a cache line: no two threads write the same one. */
const LINE = 16;

/** Steps of at most about `nc` elements over outer x inner of them, each of which stands for `length`: whole rows, or parts of each row. */
export function addRows(
  list: StepList,
  op: 'map' | 'move' | 'take',
  [outer, inner]: readonly [outer: number, inner: number],
  { nc, threads }: Pick<Plan, 'nc' | 'threads'>,
  length = 1,
): void {
  const chunk = Math.max(1, Math.floor(nc / length));
  const whole = { threads, flops: ELEMENT_FLOPS * outer * inner * length };
  const most = Math.max(1, Math.floor(chunk / inner));
  const rows = fairBlock(outer, most, 1, { ...whole, parts: Math.ceil(inner / chunk) });
  const unit = length < LINE ? LINE : 1;
  const columns = rows > 1 ? inner : fairBlock(inner, chunk, unit, { ...whole, parts: outer });
  for (const { from: n0, length: cols } of stretchesOf(outer, rows))
    for (const { from: k0, length: ks } of stretchesOf(inner, columns)) list.add(op, { n0, cols, k0, ks });
}

export function lowerMap(p: MapProblem, plan: Plan): Program {
  const { extents, strides, kind, exact } = p;
  const rank = extents.length - 1;
  const inner = extents[rank]!;
  const outer = extents.slice(0, rank);
  const list = new StepList();
  addRows(list, 'map', [outer.reduce((x, y) => x * y, 1), inner], plan);
  return {
    problem: p,
    plan,
    constants: constantsOf({ kind: MAP_KINDS.indexOf(kind), rank, inner }),
    epilogue: { ...NO_EPILOGUE, activation: activationOf(kind), exact },
    offsets: [...outer, ...strides.flat()],
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: 0,
  };
}
