/** Every problem there is. */
import { type ConvProblem, convFlops, convKey } from './conv.ts';
import { type FoldProblem, foldFlops, foldKey } from './fold.ts';
import { type LinesProblem, lineResults, linesFlops, linesKey } from './lines.ts';
import { type MapProblem, mapFlops, mapKey } from './map.ts';
import { type MatmulProblem, flopsOf as matmulFlops, matmulKey } from './matmul.ts';
import { type MoveProblem, movedElements, moveKey } from './move.ts';
import { type PoolProblem, poolFlops, poolKey } from './pool.ts';
import { type QuantizedProblem, quantizedKey } from './quantized.ts';
import { type TakeProblem, takeKey, takenElements } from './take.ts';

/** One way each and nothing to tune: they read and write, and the machine's bandwidth is their limit. */
export type ArrayProblem = MapProblem | LinesProblem | MoveProblem | TakeProblem;

export type Problem =
  | MatmulProblem
  | ConvProblem
  | PoolProblem
  | FoldProblem
  | QuantizedProblem
  | ArrayProblem;

export function isArrayProblem(p: Problem): p is ArrayProblem {
  return p.op === 'map' || p.op === 'lines' || p.op === 'move' || p.op === 'take';
}

/** Canonical key: equal problems have equal keys. */
export function keyOf(p: Problem): string {
  switch (p.op) {
    case 'matmul':
      return matmulKey(p);
    case 'conv':
      return convKey(p);
    case 'pool':
      return poolKey(p);
    case 'qmatmul':
    case 'qconv':
      return quantizedKey(p);
    case 'fold':
      return foldKey(p);
    case 'map':
      return mapKey(p);
    case 'lines':
      return linesKey(p);
    case 'move':
      return moveKey(p);
    case 'take':
      return takeKey(p);
    default:
      throw new Error(`no key for ${p satisfies never}`);
  }
}

/** Arithmetic operations that the problem's definition counts, whatever the algorithm. */
export function flopsOf(p: Problem): number {
  switch (p.op) {
    case 'matmul':
      return matmulFlops(p);
    case 'conv':
      return convFlops(p);
    case 'pool':
      return poolFlops(p);
    case 'qmatmul':
    case 'qconv':
      return flopsOf(p.plain);
    case 'fold':
      return foldFlops(p);
    case 'map':
      return mapFlops(p);
    case 'lines':
      return linesFlops(p);
    case 'move':
      return movedElements(p);
    case 'take':
      return takenElements(p);
    default:
      throw new Error(`no count for ${p satisfies never}`);
  }
}

/** Elements of the result. */
export function resultElements(p: Problem): number {
  switch (p.op) {
    case 'matmul':
      return p.batch * p.m * p.n;
    case 'conv':
    case 'fold':
      return p.batch * p.outC * p.outH * p.outW;
    case 'pool':
      return p.batch * p.channels * p.outH * p.outW;
    case 'qmatmul':
    case 'qconv':
      return resultElements(p.plain);
    case 'map':
      return mapFlops(p);
    case 'lines':
      return lineResults(p);
    case 'move':
      return movedElements(p);
    case 'take':
      return takenElements(p);
    default:
      throw new Error(`no size for ${p satisfies never}`);
  }
}
