/** Pooling: arguments -> problem. There is one way to pool and nothing to tune, so the plan is made here. */
import { referencePool } from '../backends/reference/pool.ts';
import type { Shape } from '../core/shape.ts';
import type { Plan } from '../plan/plan.ts';
import { imageShape, type Layout, readImage } from '../problem/conv.ts';
import { type PoolKind, type PoolProblem, poolFlops, poolKey } from '../problem/pool.ts';
import { resultElements } from '../problem/problem.ts';
import { type Pair, readPair, type Window, windowOf } from '../problem/window.ts';
import { NO_OPERANDS, type Operands } from '../schedule/operands.ts';
import { badArgument, checkFlag, checkOptions, PLACED_NAMES } from './arguments.ts';
import { call, callSync } from './call.ts';
import { checkRank, readLayout } from './conv.ts';
import type { Core } from './core.ts';
import type { GpuForm } from './gpu/form.ts';
import { type Operand, readOperand, readOut } from './operands.ts';
import type { Request } from './request.ts';
import type { DenseTensor } from './tensor.ts';
import type {
  AveragePoolOptions,
  GlobalPoolOptions,
  PlacedOptions,
  PoolOptions,
  Tensor,
  TensorLike,
} from './types.ts';

const WINDOW_OPTIONS = ['stride', 'padding', 'dilation', 'ceil', 'layout', 'out'];
const GLOBAL_OPTIONS = ['layout', 'out'];
const KNOWN = {
  max: { sync: new Set(WINDOW_OPTIONS), async: new Set([...WINDOW_OPTIONS, ...PLACED_NAMES]) },
  average: {
    sync: new Set([...WINDOW_OPTIONS, 'countPadding']),
    async: new Set([...WINDOW_OPTIONS, 'countPadding', ...PLACED_NAMES]),
  },
  global: { sync: new Set(GLOBAL_OPTIONS), async: new Set([...GLOBAL_OPTIONS, ...PLACED_NAMES]) },
} as const;

/** Elements of the result in one step: some tens of microseconds of work. */
const STEP_PIXELS = 8192;
/** Additions or comparisons a microsecond, a row's beginning and end in nanoseconds, and what is worth waking the team. */
const OPS_PER_US = 4000;
const ROW_NS = 15;
const TEAM_MS = 1;

/** The plan of every pooling. */
function poolPlan(p: PoolProblem, threads: number): Plan {
  const blocks = { mc: 1, kc: p.kH * p.kW, nc: STEP_PIXELS, order: 'mn' } as const;
  return {
    backend: 'wasm',
    kernel: 'f32_pool',
    algorithm: 'fixed',
    packing: 'none',
    ...blocks,
    threads,
  };
}

class PoolRequest implements Request {
  readonly problem: PoolProblem;
  readonly shape: Shape;
  readonly inputs: readonly [Operand];
  readonly out: DenseTensor | undefined;

  constructor(problem: PoolProblem, shape: Shape, x: Operand, out: DenseTensor | undefined) {
    this.problem = problem;
    this.shape = shape;
    this.inputs = [x];
    this.out = out;
  }

  get empty(): boolean {
    return resultElements(this.problem) === 0;
  }

  plan(core: Core) {
    const problem = this.problem;
    const { batch, channels, outH } = problem;
    const ms = poolFlops(problem) / OPS_PER_US / 1e3 + (batch * channels * outH * ROW_NS) / 1e6;
    return { key: poolKey(problem), problem, plan: poolPlan(problem, core.threadsFor(ms, TEAM_MS)), ms };
  }

  operands(_core: Core, _plan: unknown, at: readonly number[], result: number): Operands {
    // the threads read the image as B, the GPU as A
    return { ...NO_OPERANDS, a: at[0]!, b: at[0]!, c: result };
  }

  gpu(): GpuForm {
    const scalars = { alpha: 1, beta: 0, p0: 0, p1: 0 };
    const none = { b: undefined, bias: undefined, slope: undefined, residual: undefined };
    return { a: this.inputs[0], ...none, scalars };
  }

  runEmpty(): void {}

  runReference(core: Core, at: readonly number[], out: DenseTensor): void {
    referencePool(this.problem, core.heap.floats().subarray(at[0]! >>> 2), out.data);
  }
}

interface PoolArguments {
  readonly kind: PoolKind;
  readonly layout?: Layout | undefined;
  readonly countPadding?: boolean | undefined;
  readonly out?: Tensor | undefined;
}

function readRequest(
  core: Core,
  x: TensorLike,
  options: PoolArguments,
  windowFor: (image: { height: number; width: number }) => Window,
): Request {
  core.checkOpen('pool');
  const input = readOperand(core.heap, x, 'x');
  checkRank(input.shape, 4, 'x', '[n, c, h, w], or [n, h, w, c] with layout nhwc');
  const layout = readLayout(options.layout);
  const { batch, channels, height, width } = readImage(input.shape, layout);
  const problem: PoolProblem = {
    op: 'pool',
    dtype: 'f32',
    kind: options.kind,
    layout,
    batch,
    channels,
    ...windowFor({ height, width }),
    countPadding: checkFlag(options.countPadding, 'countPadding'),
    exact: core.exact,
  };
  const shape = imageShape(layout, batch, channels, problem.outH, problem.outW);
  return new PoolRequest(problem, shape, input, readOut(core.heap, options.out, shape, [x]));
}

/** A window that lies in the padding altogether has no value. */
function checkPadding(w: Window): Window {
  const high = (w.kH - 1) * w.dilationH + 1;
  const wide = (w.kW - 1) * w.dilationW + 1;
  if (Math.max(w.padTop, w.padBottom) < high && Math.max(w.padLeft, w.padRight) < wide) return w;
  const padding = [w.padTop, w.padLeft, w.padBottom, w.padRight];
  throw badArgument('padding', padding, `It must be less than the window, which spans ${high} x ${wide}.`);
}

function pooling(
  core: Core,
  kind: PoolKind,
  x: TensorLike,
  size: Pair,
  options: AveragePoolOptions,
): Request {
  if (size === undefined) throw badArgument('size', size, 'A number, or [vertical, horizontal].');
  const [kH, kW] = readPair(size, 1, 'size');
  const ceil = checkFlag(options.ceil, 'ceil');
  return readRequest(core, x, { ...options, kind }, (image) =>
    checkPadding(windowOf(image, { kH, kW }, { ...options, ceil })),
  );
}

function globalPooling(core: Core, kind: PoolKind, x: TensorLike, options: GlobalPoolOptions): Request {
  if (kind !== 'max' && kind !== 'average') throw badArgument('kind', kind, "Use 'max' or 'average'.");
  return readRequest(core, x, { ...options, kind }, (image) =>
    windowOf(image, { kH: image.height, kW: image.width }, {}),
  );
}

export function pool2dSync(
  core: Core,
  kind: PoolKind,
  x: TensorLike,
  size: Pair,
  options: PoolOptions | AveragePoolOptions,
): Tensor {
  checkOptions(options, KNOWN[kind].sync);
  return callSync(core, pooling(core, kind, x, size, options));
}

export function pool2d(
  core: Core,
  kind: PoolKind,
  x: TensorLike,
  size: Pair,
  options: (PoolOptions | AveragePoolOptions) & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, KNOWN[kind].async, () => pooling(core, kind, x, size, options));
}

export function globalPool2dSync(
  core: Core,
  x: TensorLike,
  kind: PoolKind,
  options: GlobalPoolOptions,
): Tensor {
  checkOptions(options, KNOWN.global.sync);
  return callSync(core, globalPooling(core, kind, x, options));
}

export function globalPool2d(
  core: Core,
  x: TensorLike,
  kind: PoolKind,
  options: GlobalPoolOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, KNOWN.global.async, () => globalPooling(core, kind, x, options));
}
