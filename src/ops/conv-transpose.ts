/**
 * convTranspose2d: arguments -> a product, and the fold of its columns. A transposed convolution is the gradient of a
 * convolution by its input: out = fold(W^T x). The product is planned as any other of its extents and shares their wisdom;
 * folding has nothing to tune. Images are taken a few at a time, so that the columns have a bound.
 */
import { referenceConvTranspose } from '../backends/reference/conv-transpose.ts';
import { systemClock } from '../core/clock.ts';
import { TesseraeError } from '../core/errors.ts';
import { type Shape, showShape } from '../core/shape.ts';
import type { Plan } from '../plan/plan.ts';
import { type ConvProblem, convProblem, imageShape, readImage } from '../problem/conv.ts';
import { readActivation } from '../problem/epilogue.ts';
import { columnElements, type FoldProblem, foldFlops, foldKey, transposeWindowOf } from '../problem/fold.ts';
import { type MatmulProblem, matmulFromShapes } from '../problem/matmul.ts';
import { resultElements } from '../problem/problem.ts';
import { windowOf } from '../problem/window.ts';
import type { Execution } from '../schedule/execute.ts';
import { lowerTapFilters } from '../schedule/lower/fold.ts';
import { NO_OPERANDS, type Operands } from '../schedule/operands.ts';
import { stretchesOf } from '../schedule/tiles.ts';
import { ASYNC_NAMES, checkAsync, checkOptions } from './arguments.ts';
import { fetchAll, holdAll, isAway } from './away.ts';
import { untrusted } from './call.ts';
import {
  checkRank,
  readChannelBias,
  readGroups,
  readLayout,
  readResidual,
  referenceOperands,
} from './conv.ts';
import type { Core } from './core.ts';
import { readOperand, readOut, readSlope } from './operands.ts';
import { Placement } from './placement.ts';
import type { Placed } from './request.ts';
import { Block, type DenseTensor, type Held } from './tensor.ts';
import type { AsyncOptions, ConvTransposeOptions, Tensor, TensorLike } from './types.ts';

const SYNC_OPTIONS: ReadonlySet<string> = new Set<keyof ConvTransposeOptions>([
  'stride',
  'padding',
  'dilation',
  'outputPadding',
  'groups',
  'bias',
  'activation',
  'residual',
  'layout',
  'out',
]);
const ASYNC_OPTIONS: ReadonlySet<string> = new Set([...SYNC_OPTIONS, ...ASYNC_NAMES]);

/** Columns that are held at once (64 MiB), or those of one image if that is more. */
const COLUMN_ELEMENTS = 16 * 1024 * 1024;
/** Elements of the result in one step of a fold: some tens of microseconds of work. */
const STEP_ELEMENTS = 8192;
/** Values that a thread folds in a microsecond, and what is worth waking the team. */
const VALUES_PER_US = 1000;
const TEAM_MS = 1;
const PROGRESS_MS = 50;
/** Parts of an execution that progress is counted in. */
const PARTS = 1000;

/** The first half: weights times pixels. Its `inC` is the call's. */
type ColumnsProblem = MatmulProblem | ConvProblem;

interface TransposeRequest extends Placed {
  readonly fold: FoldProblem;
  readonly inC: number;
  readonly scalars: { readonly p0: number; readonly p1: number };
}

/** One of the executions that a call consists of. */
interface Stage {
  readonly execution: Execution;
  readonly operands: Operands;
}

function readChannels(weights: Shape, inC: number, groups: number): number {
  if (weights[0] === inC && inC % groups === 0) return weights[1]! * groups;
  throw new TesseraeError(
    'E_SHAPE',
    `weights ${showShape(weights)} in ${groups} groups do not fit an input of ${inC} channels`,
    { weights, groups, inC },
    'Weights are [inC, outC / groups, kH, kW] in both layouts, inC a multiple of groups.',
  );
}

/** Everything that can be wrong with a call is found here, before memory is taken. */
function readRequest(
  core: Core,
  x: TensorLike,
  w: TensorLike,
  options: ConvTransposeOptions,
): TransposeRequest {
  core.checkOpen('convolve');
  const input = readOperand(core.heap, x, 'x');
  const weights = readOperand(core.heap, w, 'w');
  checkRank(input.shape, 4, 'x', '[n, c, h, w], or [n, h, w, c] with layout nhwc');
  checkRank(weights.shape, 4, 'w', '[inC, outC / groups, kH, kW]');
  const layout = readLayout(options.layout);
  const groups = readGroups(options.groups);
  const { kind: activation, p0, p1, slope: slopeValue } = readActivation(options.activation);
  const image = readImage(input.shape, layout);
  const outC = readChannels(weights.shape, image.channels, groups);
  const [kH, kW] = weights.shape.slice(2) as [number, number];
  const fold: FoldProblem = {
    op: 'fold',
    dtype: 'f32',
    layout,
    batch: image.batch,
    groups,
    outC,
    ...transposeWindowOf(image, { kH, kW }, options),
    bias: options.bias !== undefined,
    activation,
    residual: options.residual !== undefined,
    exact: core.exact,
  };
  const shape = imageShape(layout, fold.batch, outC, fold.outH, fold.outW);
  const bias = readChannelBias(core, options.bias, outC);
  const slope = activation === 'prelu' ? readSlope(core.heap, slopeValue, outC) : undefined;
  const residual = readResidual(core, options.residual, shape, options.out);
  const out = readOut(core.heap, options.out, shape, [x, w, options.bias, slopeValue]);
  const inputs: readonly (Held | undefined)[] = [input, weights, bias, slope, residual];
  return { fold, inC: image.channels, shape, inputs, out, scalars: { p0, p1 } };
}

/** NCHW: W^T [outC / groups * taps, inC / groups] x X [inC / groups, pixels] for each image and group. NHWC: a 1x1 convolution. */
function columnsProblem({ fold: p, inC }: TransposeRequest, images: number): ColumnsProblem {
  const { groups, outC, exact } = p;
  const [channels, pixels, rows] = [inC / groups, p.inH * p.inW, (outC / groups) * p.kH * p.kW];
  if (p.layout === 'nchw') {
    const shapes = [
      [groups, channels, rows],
      [images, groups, channels, pixels],
    ] as const;
    return matmulFromShapes(...shapes, { transposeA: true, exact }).problem;
  }
  const window = windowOf({ height: p.inH, width: p.inW }, { kH: 1, kW: 1 }, {});
  return convProblem({ batch: images, inC, outC: rows * groups }, window, { layout: 'nhwc', groups, exact });
}

function foldPlan(p: FoldProblem, threads: number): Plan {
  const blocks = { mc: 1, kc: p.kH * p.kW, nc: STEP_ELEMENTS, order: 'mn' } as const;
  // what a gemm needs after its product
  return {
    backend: 'wasm',
    kernel: 'f32_fold',
    algorithm: 'gemm',
    packing: 'none',
    ...blocks,
    threads,
  };
}

function foldOf(core: Core, problem: FoldProblem): Execution {
  const ms = (foldFlops(problem) + resultElements(problem)) / VALUES_PER_US / 1e3;
  return { key: foldKey(problem), problem, plan: foldPlan(problem, core.threadsFor(ms, TEAM_MS)), ms };
}

function productOf(core: Core, problem: ColumnsProblem): Execution {
  const planned = core.plan(problem);
  if (!planned) throw untrusted(core);
  return planned;
}

/** Images that are taken at a time: even parts of the batch. */
function imagesAtATime(p: FoldProblem): number {
  const most = Math.max(1, Math.floor(COLUMN_ELEMENTS / Math.max(1, columnElements(p))));
  return Math.ceil(p.batch / Math.ceil(p.batch / most));
}

/** Whether the result has no terms, only bias, residual and activation: what folding does where it is told of no columns. */
function hasNoTerms({ fold: p, inC }: TransposeRequest): boolean {
  return inC === 0 || columnElements(p) === 0;
}

/** The weights as filters of a 1x1 convolution: no more work than the product of some ten pixels, so it is done here and now. */
function placeFilters(core: Core, request: TransposeRequest, weights: number): Block {
  const { fold: p, inC } = request;
  core.tape?.spoil('filters are turned at each call');
  const filters = new Block(core.heap, 4 * (inC / p.groups) * p.outC * p.kH * p.kW, 'scratch');
  try {
    const program = lowerTapFilters(p, foldPlan(p, 1), inC);
    core.executor.runOnce(program, { ...NO_OPERANDS, b: weights, packedB: filters.address });
    return filters;
  } catch (error) {
    filters.dispose();
    throw error;
  }
}

/** The call's executions one after the other; its scratch memory lives as long as they do. */
function* stagesOf(
  core: Core,
  request: TransposeRequest,
  at: readonly number[],
  result: number,
): Generator<Stage> {
  const { fold: p, inC, scalars } = request;
  const [x, w, bias, slope, c0] = at as readonly [number, number, number, number, number];
  const finish = { bias, slope, alpha: 1, beta: 1, ...scalars };
  if (hasNoTerms(request)) {
    const execution = foldOf(core, { ...p, inH: 0, inW: 0 });
    yield { execution, operands: { ...finish, a: 0, b: 0, c: result, c0 } };
    return;
  }
  const most = imagesAtATime(p);
  const held: Block[] = [];
  const hold = (block: Block): number => held.push(block) && block.address;
  try {
    const columns = hold(new Block(core.heap, 4 * most * columnElements(p), 'scratch'));
    const left = p.layout === 'nchw' ? w : hold(placeFilters(core, request, w));
    for (const { from, length } of stretchesOf(p.batch, most)) {
      const image = x + 4 * from * inC * p.inH * p.inW;
      const [a, b] = p.layout === 'nchw' ? [left, image] : [image, left];
      const product = productOf(core, columnsProblem(request, length));
      yield { execution: product, operands: { ...NO_OPERANDS, a, b, c: columns } };
      const skipped = 4 * from * p.outC * p.outH * p.outW;
      const operands = { ...finish, a: 0, b: columns, c: result + skipped, c0: c0 + skipped };
      yield { execution: foldOf(core, { ...p, batch: length }), operands };
    }
  } finally {
    for (const block of held) block.dispose();
  }
}

function runReference(
  core: Core,
  { fold: p, inC, scalars }: TransposeRequest,
  at: readonly number[],
  out: DenseTensor,
): void {
  const operands = { ...referenceOperands(core, p, at), ...scalars };
  referenceConvTranspose({ ...p, inC }, operands, out.data);
}

/** Whether the product has no kernel that may be trusted. */
function mustRefer(core: Core, request: TransposeRequest): boolean {
  return !hasNoTerms(request) && !core.plan(columnsProblem(request, imagesAtATime(request.fold)));
}

export function convTranspose2dSync(
  core: Core,
  x: TensorLike,
  w: TensorLike,
  options: ConvTransposeOptions,
): Tensor {
  checkOptions(options, SYNC_OPTIONS);
  const request = readRequest(core, x, w, options);
  const placed = new Placement(core, request);
  let failed = true;
  try {
    const { at, out } = placed;
    if (resultElements(request.fold) > 0) {
      if (mustRefer(core, request)) {
        core.tape?.spoil('a kernel is not trusted');
        runReference(core, request, at, out);
      } else
        for (const { execution, operands } of stagesOf(core, request, at, out.block.address))
          core.runSync(execution, operands);
    }
    failed = false;
    return out;
  } finally {
    placed.release(failed);
  }
}

function executionsOf(request: TransposeRequest): number {
  const { fold } = request;
  return hasNoTerms(request) ? 1 : 2 * Math.ceil(fold.batch / imagesAtATime(fold));
}

/** Reports the progress of several executions as that of one, with a pause between two reports. */
function progressOf({ onProgress }: AsyncOptions, executions: number) {
  if (!onProgress) return undefined;
  let last = systemClock.now();
  return (index: number, done: number, total: number) => {
    const now = systemClock.now();
    const all = (index + done / total) * PARTS;
    if (now - last < PROGRESS_MS && all < executions * PARTS) return;
    last = now;
    onProgress({ phase: 'run', done: Math.floor(all), total: executions * PARTS });
  };
}

async function runStages(
  core: Core,
  request: TransposeRequest,
  placed: Placement,
  options: AsyncOptions,
): Promise<void> {
  const { signal, priority } = options;
  const report = progressOf(options, executionsOf(request));
  let index = 0;
  for (const { execution, operands } of stagesOf(core, request, placed.at, placed.out.block.address)) {
    if (index > 0) {
      signal?.throwIfAborted();
      core.checkOpen('convolve');
    }
    const onProgress = report && ((done: number, total: number) => report(index, done, total));
    const pending = core.executor.run(execution, operands, { signal, onProgress, priority });
    if (pending) await pending;
    index++;
  }
}

async function placedLater(
  core: Core,
  request: TransposeRequest,
  fetched: Promise<void>,
): Promise<Placement> {
  const release = holdAll(request);
  try {
    await fetched;
    core.checkOpen('convolve');
    return new Placement(core, request);
  } finally {
    release();
  }
}

export async function convTranspose2d(
  core: Core,
  x: TensorLike,
  w: TensorLike,
  options: ConvTransposeOptions & AsyncOptions,
): Promise<Tensor> {
  checkOptions(options, ASYNC_OPTIONS);
  checkAsync(options);
  options.signal?.throwIfAborted();
  const request = readRequest(core, x, w, options);
  const away = { ...request, problem: request.fold };
  const placed = isAway(away)
    ? await placedLater(core, request, fetchAll(away))
    : new Placement(core, request);
  let failed = true;
  try {
    if (resultElements(request.fold) > 0) {
      if (mustRefer(core, request)) runReference(core, request, placed.at, placed.out);
      else {
        if (core.effort !== 'estimate' && !hasNoTerms(request))
          await core.tuneFirst(columnsProblem(request, imagesAtATime(request.fold)), options.signal);
        await runStages(core, request, placed, options);
      }
    }
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}
