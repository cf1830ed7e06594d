/** Moves to steps: runs that both arrays have are copied, planes of which each array has the other direction are turned. */
import { MOVE } from '../../backends/wasm/layout.ts';
import { ELEMENT_FLOPS, fairBlock } from '../../plan/fair.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, NO_EPILOGUE, type Program } from '../../plan/program.ts';
import type { MoveProblem } from '../../problem/move.ts';
import { stretchesOf } from '../tiles.ts';
import { addRows } from './map.ts';
import { StepList } from './steps.ts';

/** Blocks that are turned lie side by side in strips of the written lines, so long as their width is a multiple of this. */
const TURNED = 256;

/** The axes in the order in which they are walked, innermost last, and how the innermost ones are moved. */
interface Order {
  readonly way: keyof typeof MOVE;
  readonly axes: readonly number[];
}

/** Axes along which an array's elements are neighbours. */
function neighbours(p: MoveProblem, side: 0 | 1): number {
  return p.extents.findLastIndex((extent, axis) => extent > 1 && p.strides[side]![axis] === 1);
}

function orderOf(p: MoveProblem): Order {
  const all = p.extents.map((_, axis) => axis);
  const [q, last] = [neighbours(p, 0), neighbours(p, 1)];
  const others = (...inner: number[]) => [...all.filter((axis) => !inner.includes(axis)), ...inner];
  if (last < 0) return { way: 'single', axes: all };
  if (q === last) return { way: 'run', axes: others(last) };
  return q < 0 ? { way: 'single', axes: others(last) } : { way: 'turn', axes: others(q, last) };
}

function product(extents: readonly number[]): number {
  return extents.reduce((x, y) => x * y, 1);
}

export function lowerMove(p: MoveProblem, plan: Plan): Program {
  const { way, axes } = orderOf(p);
  const pick = (values: readonly number[]) => axes.map((axis) => values[axis]!);
  const extents = pick(p.extents);
  const inner = way === 'turn' ? 2 : 1;
  const rank = extents.length - inner;
  const outer = extents.slice(0, rank);
  const list = new StepList();
  if (way === 'turn') {
    const [lines, across] = extents.slice(rank) as [number, number];
    // whole vectors of lines, so that every thread turns blocks of four
    const most = Math.max(4, Math.floor(plan.nc / across / 4) * 4);
    const count = product(outer);
    const whole = { threads: plan.threads, flops: ELEMENT_FLOPS * count * lines * across };
    const together = most < lines ? 1 : Math.max(1, Math.floor(plan.nc / (lines * across)));
    const planes = fairBlock(count, together, 1, { ...whole, parts: Math.ceil(lines / most) });
    const rows = fairBlock(lines, most, 4, { ...whole, parts: Math.ceil(count / planes) });
    // long lines of which there are few, as the channels of an image, are no step each
    const width = Math.max(TURNED, Math.floor(plan.nc / Math.min(rows, lines) / TURNED) * TURNED);
    for (const { from: n0, length: cols } of stretchesOf(count, planes))
      for (const { from: m0, length } of stretchesOf(lines, rows))
        for (const { from: k0, length: ks } of stretchesOf(across, width))
          list.add('move', { n0, cols, m0, rows: length, k0, ks });
  } else addRows(list, 'move', [product(outer), extents[rank]!], plan);
  return {
    problem: p,
    plan,
    constants: constantsOf({ kind: MOVE[way], rank }),
    epilogue: NO_EPILOGUE,
    offsets: [...outer, ...p.strides.flatMap(pick)],
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: 0,
  };
}
