/** What calls on elements, lines and orders share: there is one way to do each, so the plan is made here. */
import {
  referenceLines,
  referenceMap,
  referenceMove,
  referenceTake,
} from '../../backends/reference/array.ts';
import type { Shape } from '../../core/shape.ts';
import type { Plan } from '../../plan/plan.ts';
import { lineWork } from '../../problem/lines.ts';
import type { MapKind } from '../../problem/map.ts';
import { type ArrayProblem, keyOf, resultElements } from '../../problem/problem.ts';
import type { Execution } from '../../schedule/execute.ts';
import type { Operands } from '../../schedule/operands.ts';
import type { Core } from '../core.ts';
import type { GpuForm } from '../gpu/form.ts';
import type { Operand } from '../operands.ts';
import type { Request } from '../request.ts';
import { type DenseTensor, type Held, viewOf } from '../tensor.ts';

/** Elements of one step: operands and result are a good part of a second cache, and take some tens of microseconds. */
const STEP_ELEMENTS = 32 * 1024;
/** Functions that go element by element take about as long as this many of the others. */
const SLOW = 16;
const STEP_SLOW = STEP_ELEMENTS / SLOW;
/** Elements in a nanosecond from memory, by one thread; and what is worth waking the team. */
const ELEMENTS_PER_NS = 1.5;
const TEAM_MS = 0.05;

/** Vectors do the arithmetic ones; these call a library for each element. */
const SLOW_KINDS: ReadonlySet<MapKind> = new Set<MapKind>([
  ...(['log', 'erf', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'sinh', 'cosh', 'asinh', 'acosh'] as const),
  ...(['atanh', 'softplus', 'softsign', 'mish', 'elu', 'selu', 'celu', 'pow', 'mod', 'fmod'] as const),
]);

function isSlow(p: ArrayProblem): boolean {
  return p.op === 'map' && SLOW_KINDS.has(p.kind);
}

/** Elements that are read and written, slow ones counted as many. */
function work(p: ArrayProblem): number {
  if (p.op === 'lines') return lineWork(p) + resultElements(p);
  const elements = resultElements(p) * (p.op === 'map' ? p.strides.length + 1 : 2);
  return isSlow(p) ? SLOW * elements : elements;
}

function planOf(p: ArrayProblem, threads: number): Plan {
  return {
    backend: 'wasm',
    kernel: `f32_${p.op}`,
    algorithm: 'fixed',
    packing: 'none',
    mc: 1,
    kc: 1,
    nc: isSlow(p) ? STEP_SLOW : STEP_ELEMENTS,
    order: 'mn',
    threads,
  };
}

export function planArray(core: Core, problem: ArrayProblem): Execution {
  const ms = work(problem) / ELEMENTS_PER_NS / 1e6;
  return { key: keyOf(problem), problem, plan: planOf(problem, core.threadsFor(ms, TEAM_MS)), ms };
}

export interface ArrayScalars {
  readonly p0: number;
  readonly p1: number;
  /** Of norms. */
  readonly epsilon: number;
}

/** `a`, `b` and `c0` are the operands of a function; lines have `a`, factors `b` and summands `bias`. */
export interface ArrayInputs {
  readonly a: Operand;
  /** Of `take` the list of places. */
  readonly b?: Operand | Held | undefined;
  readonly c0?: Operand | undefined;
  readonly bias?: Operand | undefined;
}

export class ArrayRequest implements Request {
  readonly problem: ArrayProblem;
  readonly shape: Shape;
  readonly inputs: readonly (Operand | Held | undefined)[];
  readonly out: DenseTensor | undefined;
  readonly #scalars: ArrayScalars;
  /** Elements before the first that is read, and before the first that is written. */
  readonly #first: { readonly from: number; readonly to: number };

  constructor(
    problem: ArrayProblem,
    shape: Shape,
    { a, b, c0, bias }: ArrayInputs,
    scalars: ArrayScalars,
    out: DenseTensor | undefined,
    first: { readonly from: number; readonly to: number } = { from: 0, to: 0 },
  ) {
    this.#first = first;
    this.problem = problem;
    this.shape = shape;
    this.inputs = [a, b, c0, bias];
    this.out = out;
    this.#scalars = scalars;
  }

  get empty(): boolean {
    const p = this.problem;
    return resultElements(p) === 0 || (p.op === 'lines' && p.size === 0);
  }

  plan(core: Core): Execution {
    return planArray(core, this.problem);
  }

  /** Parts of arrays, and places that are integers, stay in memory. */
  gpu(): GpuForm | undefined {
    const { from, to } = this.#first;
    if (this.problem.op === 'take' || from !== 0 || to !== 0) return undefined;
    const [a, b, c0, bias] = this.inputs as readonly (Operand | undefined)[];
    const { p0, p1, epsilon } = this.#scalars;
    const scalars = { alpha: epsilon, beta: 0, p0, p1 };
    return { a: a!, b, residual: c0, bias, slope: undefined, scalars };
  }

  operands(_core: Core, _planned: Execution | undefined, at: readonly number[], result: number): Operands {
    const [a, b, c0, bias] = at as readonly [number, number, number, number];
    const { p0, p1, epsilon } = this.#scalars;
    const { from, to } = this.#first;
    return { a: a + 4 * from, b, c: result + 4 * to, c0, bias, slope: 0, alpha: epsilon, beta: 0, p0, p1 };
  }

  /** A reduction of nothing is what changes nothing. */
  runEmpty(core: Core, at: readonly number[], out: DenseTensor): void {
    if (resultElements(this.problem) > 0) this.runReference(core, at, out);
  }

  runReference(core: Core, at: readonly number[], out: DenseTensor): void {
    const p = this.problem;
    const floats = core.heap.floats();
    const values = (index: number) => (this.inputs[index] ? floats.subarray(at[index]! >>> 2) : undefined);
    const operands = [values(0), values(1), values(2)].filter((list) => list !== undefined);
    const scalars = this.#scalars;
    if (p.op === 'map') referenceMap(p, operands, scalars, out.data);
    else if (p.op === 'move')
      referenceMove(p, operands[0]!.subarray(this.#first.from), out.data.subarray(this.#first.to));
    else if (p.op === 'take')
      referenceTake(p, operands[0]!, viewOf(core.heap, 'i32', at[1]!, p.count), out.data);
    else {
      const affine = { scale: values(1), bias: values(3), epsilon: scalars.epsilon };
      referenceLines(p, { x: operands[0]!, ...affine }, out.data);
    }
  }
}
