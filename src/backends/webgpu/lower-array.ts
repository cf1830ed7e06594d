/** Functions of elements, lines, moves and windows to what is dispatched. */
import { ceilDiv } from '../../core/math.ts';
import type { GpuArray } from '../../kernels/gpu.ts';
import type { FoldProblem } from '../../problem/fold.ts';
import { type LinesProblem, linesFlops } from '../../problem/lines.ts';
import type { MapProblem } from '../../problem/map.ts';
import type { MoveProblem } from '../../problem/move.ts';
import type { PoolProblem } from '../../problem/pool.ts';
import { type ArrayProblem, resultElements } from '../../problem/problem.ts';
import type { TakeProblem } from '../../problem/take.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { foldBindings, foldShaderKey, foldSource } from './wgsl/fold.ts';
import { linesBindings, linesShaderKey, linesSource } from './wgsl/lines.ts';
import { mapBindings, mapShaderKey, mapSource } from './wgsl/map.ts';
import { MOVE_BINDINGS, moveShaderKey, moveSource } from './wgsl/move.ts';
import { POOL_BINDINGS, poolShaderKey, poolSource } from './wgsl/pool.ts';
import { TAKE_BINDINGS, takeSource } from './wgsl/take.ts';
import { PER_THREAD, THREADS } from './wgsl/walk.ts';

/** Workgroups in a row of the grid at most; more make further rows. Below every device's limit. */
const GRID_ROW = 32768;

function grid(groups: number): readonly [number, number] {
  return [Math.min(groups, GRID_ROW), ceilDiv(groups, GRID_ROW)];
}

function table({ extents, strides }: MapProblem | MoveProblem): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(Int32Array.from([...extents, ...strides.flat()]));
}

type Elements = MapProblem | MoveProblem | TakeProblem | PoolProblem | FoldProblem;

function textOf(p: Elements, name: string): Pick<Launch, 'key' | 'source' | 'bindings'> {
  switch (p.op) {
    case 'map':
      return { key: mapShaderKey(name, p), source: () => mapSource(p), bindings: mapBindings(p) };
    case 'move':
      return { key: moveShaderKey(name, p), source: () => moveSource(p), bindings: MOVE_BINDINGS };
    case 'take':
      return { key: name, source: takeSource, bindings: TAKE_BINDINGS };
    case 'pool':
      return { key: poolShaderKey(name, p), source: () => poolSource(p), bindings: POOL_BINDINGS };
    case 'fold':
      return { key: foldShaderKey(name, p), source: () => foldSource(p), bindings: foldBindings(p) };
    default:
      throw new Error(`no shader for ${p satisfies never}`);
  }
}

/** Four elements of the result for each thread. */
function lowerElements(p: Elements, name: string): Launch {
  const count = resultElements(p);
  const groups = grid(ceilDiv(count, THREADS * PER_THREAD));
  const taken = p.op === 'take' ? { k: p.size, lda: p.inner, ldb: p.count } : {};
  return {
    ...textOf(p, name),
    groups,
    products: 1,
    params: { ...NO_EXTENTS, m: groups[0], n: count, ...taken },
    table: p.op === 'map' || p.op === 'move' ? table(p) : undefined,
  };
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

export function lowerArray(p: ArrayProblem | PoolProblem | FoldProblem, kernel: GpuArray): Launch {
  return p.op === 'lines' ? lowerLines(p, kernel) : lowerElements(p, kernel.name);
}
