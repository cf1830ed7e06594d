/** The self-check of shaders over elements, lines, orders and windows: a small problem with the same shader, beside the float64 reference. */
import {
  referenceLines,
  referenceMap,
  referenceMove,
  referenceTake,
} from '../../backends/reference/array.ts';
import { referenceFold } from '../../backends/reference/conv-transpose.ts';
import { referencePool } from '../../backends/reference/pool.ts';
import type { Scalars } from '../../backends/webgpu/wgsl/params.ts';
import { fillRandom } from '../../core/random.ts';
import { columnElements, type FoldProblem } from '../../problem/fold.ts';
import type { LinesProblem } from '../../problem/lines.ts';
import type { MapProblem } from '../../problem/map.ts';
import type { MoveProblem } from '../../problem/move.ts';
import type { PoolProblem } from '../../problem/pool.ts';
import { type ArrayProblem, type Problem, resultElements } from '../../problem/problem.ts';
import type { TakeProblem } from '../../problem/take.ts';

export interface GpuTrial {
  readonly problem: Problem;
  readonly scalars: Scalars;
  /** Values by the names of their bindings. */
  operands(): Readonly<Record<string, Float32Array>>;
  readonly result: () => Float32Array;
  /** Why the result is wrong, or undefined. */
  check(): string | undefined;
  release(): void;
}

/** More than the elements of a workgroup and of a line's threads, and no multiple of either. */
const EXTENT = 37;
const LONG = 1300;
/** What devices may be off, relative and absolute: WGSL allows exp and its like some units in the last place, and erf has 1.5e-7. */
const RELATIVE = 2e-5;
const ABSOLUTE = 1e-5;

/** Distances along dense axes, 0 where they were 0, in the order of size in which they were. */
function packed(extents: readonly number[], strides: readonly number[]): { strides: number[]; size: number } {
  const own = new Array<number>(extents.length).fill(0);
  let size = 1;
  const axes = extents.map((_, axis) => axis).filter((axis) => strides[axis] !== 0);
  for (const axis of axes.sort((a, b) => Math.abs(strides[a]!) - Math.abs(strides[b]!))) {
    own[axis] = size;
    size *= extents[axis]!;
  }
  return { strides: own, size };
}

/** The same walk over fewer elements: rank and zeros are what a shader's text depends on. */
function smallWalk<P extends MapProblem | MoveProblem>(p: P): { problem: P; sizes: number[] } {
  const most = p.extents.length === 1 ? LONG : EXTENT;
  const extents = p.extents.map((extent) => Math.min(extent, most));
  const walks = p.strides.map((strides) => packed(extents, strides));
  return {
    problem: { ...p, extents, strides: walks.map(({ strides }) => strides) },
    sizes: walks.map(({ size }) => size),
  };
}

function values(count: number, seed: number, scale: number): Float32Array {
  const list = new Float32Array(count);
  fillRandom(list, seed);
  return list.map((value) => value * scale);
}

const SCALARS: Scalars = { alpha: 1e-3, beta: 0, p0: 0.3, p1: 0.7 };

function fault(got: Float32Array, wanted: Float64Array): string | undefined {
  const at = wanted.findIndex(
    (value, i) =>
      !(Math.abs(got[i]! - value) <= RELATIVE * Math.abs(value) + ABSOLUTE) && !Number.isNaN(value),
  );
  return at < 0 ? undefined : `element ${at} is ${got[at]}, not ${wanted[at]}`;
}

type Solve = (operands: Readonly<Record<string, Float32Array>>, out: Float64Array) => void;

function trialOf(
  problem: ArrayProblem | PoolProblem | FoldProblem,
  operands: Readonly<Record<string, Float32Array>>,
  solve: Solve,
): GpuTrial {
  const got = new Float32Array(resultElements(problem));
  return {
    problem,
    scalars: SCALARS,
    operands: () => operands,
    result: () => got,
    check: () => {
      const wanted = new Float64Array(got.length);
      solve(operands, wanted);
      return fault(got, wanted);
    },
    release: () => undefined,
  };
}

function linesTrial(p: LinesProblem): GpuTrial {
  // a product of many would leave the floats
  const size = p.kind === 'prod' ? Math.min(p.size, 20) : Math.min(p.size, LONG);
  const [outer, inner, channels] = [Math.min(p.outer, 5), Math.min(p.inner, EXTENT), Math.min(p.channels, 5)];
  const problem = { ...p, size, outer, inner, channels };
  const affine = (kind: LinesProblem['scale'], seed: number) =>
    kind === 'none' ? undefined : values(kind === 'place' ? size : channels, seed, 1);
  const [scale, bias] = [affine(p.scale, 2), affine(p.bias, 3)];
  const x = values(outer * size * inner, 1, 1);
  // the logarithm of a sum is of something above 0
  const a = p.kind === 'logSum' ? x.map((value) => Math.abs(value) + 0.1) : x;
  const operands = { a, ...(scale ? { b: scale } : {}), ...(bias ? { bias } : {}) };
  return trialOf(problem, operands, (_, out) =>
    referenceLines(problem, { x: a, scale, bias, epsilon: SCALARS.alpha }, out),
  );
}

/** Extents are uniforms: any others are as good. */
function takeTrial(p: TakeProblem): GpuTrial {
  const problem: TakeProblem = { ...p, outer: 3, size: 41, inner: 5, count: 100 };
  const a = values(3 * 41 * 5, 1, 1);
  const list = Int32Array.from({ length: problem.count }, (_, i) => (7 * i) % problem.size);
  const operands = { a, b: new Float32Array(list.buffer) };
  return trialOf(problem, operands, (_, out) => referenceTake(problem, a, list, out));
}

/** The same window over one image, of few channels where their number is in no shader's text. */
export function windowTrial(p: PoolProblem | FoldProblem): GpuTrial {
  if (p.op === 'pool') {
    const problem = { ...p, batch: 1, channels: p.layout === 'nchw' ? Math.min(p.channels, 2) : p.channels };
    const a = values(problem.channels * p.inH * p.inW, 1, 1);
    return trialOf(problem, { a }, (_, out) => referencePool(problem, a, out));
  }
  const problem = { ...p, batch: 1 };
  const b = values(columnElements(problem), 1, 1);
  return trialOf(problem, { b }, (_, out) => referenceFold(problem, b, out));
}

const NAMES = ['a', 'b', 'c0'] as const;

export function arrayTrial(p: ArrayProblem): GpuTrial {
  if (p.op === 'take') return takeTrial(p);
  if (p.op === 'lines') return linesTrial(p);
  if (p.op === 'move') {
    const { problem, sizes } = smallWalk(p);
    return trialOf(problem, { a: values(sizes[0]!, 1, 1) }, ({ a }, out) => referenceMove(problem, a!, out));
  }
  const { problem, sizes } = smallWalk(p);
  // roots and logarithms are of something above 0, and nobody divides by next to nothing
  const scale = (x: Float32Array) => x.map((value) => (Math.sign(value) || 1) * (Math.abs(value) + 0.05) * 2);
  const positive = p.kind === 'sqrt' || p.kind === 'log';
  const lists = sizes.map((size, i) =>
    scale(values(size, i + 1, 1)).map((x) => (positive ? Math.abs(x) : x)),
  );
  const operands = Object.fromEntries(lists.map((list, i) => [NAMES[i]!, list]));
  return trialOf(problem, operands, (_, out) => referenceMap(problem, lists, SCALARS, out));
}
