/** Functions of elements, lines and moves to what is dispatched. */
import { ceilDiv } from '../../core/math.ts';
import type { GpuArray } from '../../kernels/gpu.ts';
import { type LinesProblem, linesFlops } from '../../problem/lines.ts';
import type { MapProblem } from '../../problem/map.ts';
import type { MoveProblem } from '../../problem/move.ts';
import { type ArrayProblem, resultElements } from '../../problem/problem.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { linesBindings, linesShaderKey, linesSource } from './wgsl/lines.ts';
import { mapBindings, mapShaderKey, mapSource } from './wgsl/map.ts';
import { MOVE_BINDINGS, moveShaderKey, moveSource } from './wgsl/move.ts';
import { PER_THREAD, THREADS } from './wgsl/walk.ts';

/** Workgroups in a row of the grid at most; more make further rows. Below every device's limit. */
const GRID_ROW = 32768;

function grid(groups: number): readonly [number, number] {
  return [Math.min(groups, GRID_ROW), ceilDiv(groups, GRID_ROW)];
}

function table({ extents, strides }: MapProblem | MoveProblem): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(Int32Array.from([...extents, ...strides.flat()]));
}

function lowerElements(p: MapProblem | MoveProblem, name: string): Launch {
  const count = resultElements(p);
  const groups = grid(ceilDiv(count, THREADS * PER_THREAD));
  const text =
    p.op === 'map'
      ? { key: mapShaderKey(name, p), source: () => mapSource(p), bindings: mapBindings(p) }
      : { key: moveShaderKey(name, p), source: () => moveSource(p), bindings: MOVE_BINDINGS };
  const params = { ...NO_EXTENTS, m: groups[0], n: count };
  return { ...text, groups, products: 1, params, table: table(p) };
}

function lowerLines(p: LinesProblem, { name, needs }: GpuArray): Launch {
  const { outer, size, inner } = p;
  const lines = linesFlops(p) / size;
  const groups = grid(inner === 1 ? outer : ceilDiv(lines, THREADS));
  return {
    key: linesShaderKey(name, p),
    source: () => linesSource(p, needs === 'subgroups'),
    bindings: linesBindings(p),
    groups,
    products: 1,
    params: { ...NO_EXTENTS, m: groups[0], n: lines, k: size, lda: inner, ldb: p.channels },
    table: undefined,
  };
}

export function lowerArray(p: Exclude<ArrayProblem, { op: 'take' }>, kernel: GpuArray): Launch {
  return p.op === 'lines' ? lowerLines(p, kernel) : lowerElements(p, kernel.name);
}
