/** Lines to steps: some of them in each; where they run across memory, neighbours together. */
import { AFFINE } from '../../backends/wasm/layout.ts';
import { ELEMENT_FLOPS, fairBlock } from '../../plan/fair.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, NO_EPILOGUE, type Program } from '../../plan/program.ts';
import { LINE_KINDS, type LinesProblem, lineWork } from '../../problem/lines.ts';
import { stretchesOf } from '../tiles.ts';
import { StepList } from './steps.ts';

/** Lines across memory are taken by sixteen: four vectors, a whole cache line of each row. */
const COLUMNS = 16;

export function lowerLines(p: LinesProblem, plan: Plan): Program {
  const { outer, size, inner } = p;
  const list = new StepList();
  const lines = Math.max(1, Math.floor(plan.nc / size));
  const across = Math.ceil(lines / COLUMNS) * COLUMNS;
  const whole = inner <= across;
  const { threads } = plan;
  const flops = ELEMENT_FLOPS * lineWork(p);
  const most = whole ? Math.max(1, Math.floor(plan.nc / (size * inner))) : 1;
  const rows = fairBlock(outer, most, 1, { threads, flops, parts: whole ? 1 : Math.ceil(inner / across) });
  // part of the columns is taken of one row only
  const columns =
    rows > 1 ? inner : fairBlock(inner, whole ? inner : across, COLUMNS, { threads, flops, parts: outer });
  for (const { from: n0, length: cols } of stretchesOf(outer, rows))
    for (const { from: k0, length: ks } of stretchesOf(inner, columns))
      list.add('lines', { n0, cols, k0, ks });
  const kind = LINE_KINDS.indexOf(p.kind);
  const affine = { scaleKind: AFFINE[p.scale], shiftKind: AFFINE[p.bias], lineChannels: p.channels };
  return {
    problem: p,
    plan,
    constants: constantsOf({ kind, k: size, inner, ...affine }),
    epilogue: { ...NO_EPILOGUE, exact: p.exact },
    offsets: [],
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: 0,
  };
}
