/** conv2d and conv1d: arguments -> problem; the rest of the way is every call's. */
import { referenceConv } from '../backends/reference/conv.ts';
import { TesseraeError } from '../core/errors.ts';
import { type Shape, showShape } from '../core/shape.ts';
import {
  algorithmsFor,
  CONV_ALGORITHMS,
  type ConvAlgorithm,
  type ConvProblem,
  convProblem,
  imageShape,
  type Layout,
  readImage,
  readWeights,
  termsOf,
} from '../problem/conv.ts';
import { readActivation } from '../problem/epilogue.ts';
import { resultElements } from '../problem/problem.ts';
import { type Padding, type Pair, windowOf } from '../problem/window.ts';
import type { Execution } from '../schedule/execute.ts';
import type { Operands } from '../schedule/operands.ts';
import { badArgument, checkOptions, PLACED_NAMES } from './arguments.ts';
import { call, callSync, untrusted } from './call.ts';
import { ConvWeights, readConvWeights } from './conv-weights.ts';
import type { Core } from './core.ts';
import type { GpuForm } from './gpu/form.ts';
import { CopyOf, type Operand, readOperand, readOut, readSlope } from './operands.ts';
import type { KeptOperand, Request } from './request.ts';
import { Block, type DenseTensor, type Held, type Source } from './tensor.ts';
import type {
  Conv1dOptions,
  ConvOptions,
  PlacedOptions,
  PrepackedConv,
  Tensor,
  TensorLike,
} from './types.ts';
import { withKept } from './weight-store.ts';

const ONE_OPTIONS = [
  'stride',
  'padding',
  'dilation',
  'groups',
  'bias',
  'activation',
  'residual',
  'algorithm',
  'out',
];
const SYNC_1D: ReadonlySet<string> = new Set<string>(ONE_OPTIONS);
const ASYNC_1D: ReadonlySet<string> = new Set([...ONE_OPTIONS, ...PLACED_NAMES]);
const SYNC_2D: ReadonlySet<string> = new Set([...ONE_OPTIONS, 'layout']);
const ASYNC_2D: ReadonlySet<string> = new Set([...SYNC_2D, ...PLACED_NAMES]);

/** What the geometry of a convolution is read from. */
export interface ConvGeometry {
  readonly stride?: Pair | undefined;
  readonly padding?: Padding | undefined;
  readonly dilation?: Pair | undefined;
  readonly groups?: number | undefined;
  readonly layout?: Layout | undefined;
  readonly algorithm?: ConvAlgorithm | undefined;
}

export function readLayout(layout: Layout | undefined): Layout {
  if (layout === undefined) return 'nchw';
  if (layout === 'nchw' || layout === 'nhwc') return layout;
  throw badArgument('layout', layout, "Use 'nchw' or 'nhwc'.");
}

export function readGroups(groups: number | undefined): number {
  if (groups === undefined) return 1;
  if (Number.isSafeInteger(groups) && groups > 0) return groups;
  throw badArgument('groups', groups, 'A whole number from 1 up.');
}

export function checkRank(shape: Shape, rank: number, name: string, form: string): void {
  if (shape.length === rank) return;
  throw new TesseraeError(
    'E_SHAPE',
    `${name} has rank ${shape.length}, not ${rank}: ${showShape(shape)}`,
    { shape, rank },
    `The extents are ${form}.`,
  );
}

function checkAlgorithm(p: ConvProblem): ConvProblem {
  const { algorithm } = p;
  if (algorithm === undefined) return p;
  if (!CONV_ALGORITHMS.includes(algorithm))
    throw badArgument('algorithm', algorithm, `Use one of ${CONV_ALGORITHMS.join(', ')}.`);
  if (algorithmsFor(p).length > 0) return p;
  const able = algorithmsFor({ ...p, algorithm: undefined });
  throw badArgument('algorithm', algorithm, `It cannot compute this convolution; ${able.join(', ')} can.`);
}

/** The problem of operands of rank 4. */
export function convFromShapes(
  core: Core,
  input: Shape,
  weights: Shape,
  options: ConvGeometry,
  traits: {
    bias: boolean;
    residual: boolean;
    activation: ConvProblem['activation'];
    prepacked: boolean;
  },
): ConvProblem {
  checkRank(input, 4, 'the input', '[n, c, h, w], or [n, h, w, c] with layout nhwc');
  checkRank(weights, 4, 'the weights', '[outC, inC / groups, kH, kW]');
  const layout = readLayout(options.layout);
  const groups = readGroups(options.groups);
  const { batch, channels, height, width } = readImage(input, layout);
  const { outC, kH, kW } = readWeights(weights, channels, groups);
  const window = windowOf({ height, width }, { kH, kW }, options);
  const { algorithm } = options;
  return checkAlgorithm(
    convProblem({ batch, inC: channels, outC }, window, {
      bias: traits.bias,
      residual: traits.residual,
      activation: traits.activation,
      prepacked: traits.prepacked,
      layout,
      groups,
      algorithm,
      exact: core.exact,
    }),
  );
}

/** One bias for each output channel. */
export function readChannelBias(
  core: Core,
  bias: TensorLike | undefined,
  channels: number,
): Operand | undefined {
  if (bias === undefined) return undefined;
  const operand = readOperand(core.heap, bias, 'bias');
  if (operand.shape.length === 1 && operand.shape[0] === channels) return operand;
  throw new TesseraeError(
    'E_SHAPE',
    `bias has shape ${showShape(operand.shape)}, there are ${channels} output channels`,
    { shape: operand.shape, channels },
    `Use [${channels}].`,
  );
}

/**
 * What is added to the result: a tensor of its shape, or of fewer channels where it `mayBeFewer`. Where it is the result's own tensor, its values
 * are copied first.
 */
export function readResidual(
  core: Core,
  residual: TensorLike | undefined,
  shape: Shape,
  out: Tensor | undefined,
  mayBeFewer = false,
): (Held & Source) | undefined {
  if (residual === undefined) return undefined;
  const operand = readOperand(core.heap, residual, 'residual');
  const fits = (extent: number, axis: number) =>
    extent === shape[axis] || (mayBeFewer && axis === 1 && extent > 0 && extent < shape[axis]!);
  if (operand.shape.length !== shape.length || !operand.shape.every(fits)) {
    throw new TesseraeError(
      'E_SHAPE',
      `residual has shape ${showShape(operand.shape)}, the result ${showShape(shape)}`,
      { residual: operand.shape, result: shape },
      'It is added element by element.',
    );
  }
  return residual === out ? new CopyOf(core.heap, operand) : operand;
}

/** x, weights, bias, slope, residual. */
type Input = Held & Source;
type Inputs = readonly [Input, Input, Input | undefined, Input | undefined, Input | undefined];

/** Operands for the oracle, which stands in where no kernel may be trusted: not in exact mode, for it is not bit-exact. */
export function referenceOperands(
  core: Core,
  p: Pick<ConvProblem, 'bias' | 'activation' | 'residual' | 'residualC' | 'batch' | 'outC' | 'outH' | 'outW'>,
  at: readonly number[],
) {
  if (core.exact) throw untrusted(core);
  const floats = core.heap.floats();
  const from = (address: number) => floats.subarray(address >>> 2);
  const [x, w, bias, slope, residual] = at as readonly [number, number, number, number, number];
  const old = p.batch * (p.residualC ?? p.outC) * p.outH * p.outW;
  return {
    x: from(x),
    w: from(w),
    bias: p.bias ? from(bias) : undefined,
    slope: p.activation === 'prelu' ? from(slope) : undefined,
    // a copy: the residual may be the result's own tensor
    residual: p.residual ? from(residual).slice(0, old) : undefined,
  };
}

class ConvRequest implements Request {
  readonly problem: ConvProblem;
  readonly shape: Shape;
  readonly inputs: Inputs;
  readonly out: DenseTensor | undefined;
  readonly #scalars: { readonly p0: number; readonly p1: number };

  constructor(
    problem: ConvProblem,
    shape: Shape,
    inputs: Inputs,
    out: DenseTensor | undefined,
    scalars: { p0: number; p1: number },
  ) {
    this.problem = problem;
    this.shape = shape;
    this.inputs = inputs;
    this.out = out;
    this.#scalars = scalars;
  }

  get empty(): boolean {
    return resultElements(this.problem) === 0 || termsOf(this.problem) === 0;
  }

  operands(core: Core, planned: Execution | undefined, at: readonly number[], result: number): Operands {
    const [x, placed, bias, slope, c0] = at as readonly [number, number, number, number, number];
    const p = this.problem;
    const keeper = this.inputs[1];
    const isKept = keeper instanceof ConvWeights && planned !== undefined;
    const form = isKept ? keeper.formFor(core, p, planned.plan) : undefined;
    const weights = isKept && form === undefined ? keeper.raw() : placed;
    const isFirst = p.layout === 'nchw';
    const { p0, p1 } = this.#scalars;
    return {
      a: isFirst ? weights : x,
      b: isFirst ? x : weights,
      packedA: isFirst ? form : undefined,
      packedB: isFirst ? undefined : form,
      c: result,
      bias,
      slope,
      c0,
      alpha: 1,
      beta: 1,
      p0,
      p1,
    };
  }

  kept(): KeptOperand | undefined {
    const weights = this.inputs[1];
    if (!(weights instanceof ConvWeights)) return undefined;
    return { name: this.problem.layout === 'nchw' ? 'a' : 'b', keeper: weights.store };
  }

  gpu(): GpuForm {
    const [x, w, bias, slope, residual] = this.inputs;
    const [a, b] = this.problem.layout === 'nchw' ? [w, x] : [x, w];
    return { a, b, bias, slope, residual, scalars: { alpha: 1, beta: 1, ...this.#scalars } };
  }

  /** Without channels to sum over, bias, residual and activation still apply: a 1x1 filter of zeros over zeros, so that the bits
   *  are those of any other convolution. */
  runEmpty(core: Core, at: readonly number[], out: DenseTensor): void {
    const p = this.problem;
    if (resultElements(p) === 0) return;
    const one = { height: p.outH, width: p.outW };
    const window = windowOf(one, { kH: 1, kW: 1 }, {});
    const zeros = new Block(core.heap, 4 * Math.max(p.outC, p.batch * p.groups * p.outH * p.outW), 'scratch');
    try {
      core.heap.floats().fill(0, zeros.address >>> 2, (zeros.address + zeros.bytes) >>> 2);
      const planned = core.plan({ ...p, ...window, inC: p.groups, prepacked: false, algorithm: undefined });
      if (!planned) throw untrusted(core);
      const operands = this.operands(core, undefined, at, out.block.address);
      core.executor.runSync(planned, { ...operands, a: zeros.address, b: zeros.address });
    } finally {
      zeros.dispose();
    }
  }

  runReference(core: Core, at: readonly number[], out: DenseTensor): void {
    const [x, weights, ...rest] = at as [number, number, ...number[]];
    withKept(core.heap, weights, (w) => {
      const operands = { ...referenceOperands(core, this.problem, [x, w, ...rest]), ...this.#scalars };
      referenceConv(this.problem, operands, out.data);
    });
  }
}

function readWeightsOperand(core: Core, w: TensorLike | PrepackedConv): Operand | ConvWeights {
  return readConvWeights(core.heap, w) ?? readOperand(core.heap, w as TensorLike, 'w');
}

/** Everything that can be wrong with a call is found here, before memory is taken. `one` has the extents of rank 3. */
function readRequest(
  core: Core,
  x: TensorLike,
  w: TensorLike | PrepackedConv,
  options: ConvOptions,
  one: boolean,
): Request {
  core.checkOpen('convolve');
  const input = readOperand(core.heap, x, 'x');
  const weights = readWeightsOperand(core, w);
  if (one) {
    checkRank(input.shape, 3, 'x', '[n, c, length]');
    checkRank(weights.shape, 3, 'w', '[outC, inC / groups, k]');
  }
  const flat = (shape: Shape) => (one ? [...shape.slice(0, 2), 1, shape[2]!] : shape);
  const { kind: activation, p0, p1, slope: slopeValue } = readActivation(options.activation);
  const prepacked = weights instanceof ConvWeights;
  const pinned = prepacked ? weights.algorithm : undefined;
  const algorithm = options.algorithm === undefined ? pinned : options.algorithm;
  const traits = {
    bias: options.bias !== undefined,
    residual: options.residual !== undefined,
    activation,
    prepacked,
  };
  const whole = convFromShapes(
    core,
    flat(input.shape),
    flat(weights.shape),
    { ...options, algorithm },
    traits,
  );
  const { layout, batch, outC, outH, outW } = whole;
  const pixels = outH * outW;
  const shape = one ? [batch, outC, outW] : imageShape(layout, batch, outC, outH, outW);
  const bias = readChannelBias(core, options.bias, outC);
  const slope = activation === 'prelu' ? readSlope(core.heap, slopeValue, outC) : undefined;
  const isImage = !one && layout === 'nchw' && batch === 1 && pixels > 1;
  const residual = readResidual(core, options.residual, shape, options.out, isImage);
  const isFewer = residual !== undefined && residual.elements < batch * outC * pixels;
  const problem = isFewer ? { ...whole, residualC: residual.elements / pixels } : whole;
  const out = readOut(core.heap, options.out, shape, [x, w, options.bias, slopeValue]);
  return new ConvRequest(problem, shape, [input, weights, bias, slope, residual], out, { p0, p1 });
}

/** The options of one extent as those of two: along the width, with a height of 1. */
function flatOptions(options: Conv1dOptions): ConvOptions {
  const { stride, dilation, padding, ...rest } = options;
  for (const [name, value] of Object.entries({ stride, dilation }))
    if (value !== undefined && typeof value !== 'number') throw badArgument(name, value, 'A whole number.');
  const sides = typeof padding === 'number' ? ([padding, padding] as const) : padding;
  if (Array.isArray(sides) && sides.length !== 2)
    throw badArgument('padding', padding, 'A number, or [before, after].');
  return {
    ...rest,
    ...(stride === undefined ? {} : { stride: [1, stride] as const }),
    ...(dilation === undefined ? {} : { dilation: [1, dilation] as const }),
    ...(sides === undefined
      ? {}
      : { padding: typeof sides === 'string' ? sides : ([0, sides[0], 0, sides[1]] as const) }),
  };
}

export function conv2dSync(
  core: Core,
  x: TensorLike,
  w: TensorLike | PrepackedConv,
  options: ConvOptions,
): Tensor {
  checkOptions(options, SYNC_2D);
  return callSync(core, readRequest(core, x, w, options, false));
}

export function conv2d(
  core: Core,
  x: TensorLike,
  w: TensorLike | PrepackedConv,
  options: ConvOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC_2D, () => readRequest(core, x, w, options, false));
}

export function conv1dSync(
  core: Core,
  x: TensorLike,
  w: TensorLike | PrepackedConv,
  options: Conv1dOptions,
): Tensor {
  checkOptions(options, SYNC_1D);
  return callSync(core, readRequest(core, x, w, flatOptions(options), true));
}

export function conv1d(
  core: Core,
  x: TensorLike,
  w: TensorLike | PrepackedConv,
  options: Conv1dOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC_1D, () => readRequest(core, x, w, flatOptions(options), true));
}
