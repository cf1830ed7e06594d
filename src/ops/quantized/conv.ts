/** convInteger and qlinearConv: arguments -> problem; the rest of the way is every call's. */
import type { Quantization } from '../../backends/reference/quantized.ts';
import { TesseraeError } from '../../core/errors.ts';
import { showShape } from '../../core/shape.ts';
import { imageShape } from '../../problem/conv.ts';
import { type IntegerOutput, mostOf, type QconvProblem } from '../../problem/quantized.ts';
import { ASYNC_NAMES, badArgument, checkOptions } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import { type ConvGeometry, convFromShapes } from '../conv.ts';
import type { Core } from '../core.ts';
import { readOut } from '../operands.ts';
import type { DenseTensor } from '../tensor.ts';
import type { AsyncOptions, DType, Tensor } from '../types.ts';
import { IntegerFilters, readIntegerFilters } from './filters.ts';
import { readTarget } from './matmul.ts';
import {
  type IntegerOperand,
  Parameters,
  readBytes,
  readIntegers,
  readScales,
  readZeros,
} from './operands.ts';
import { IntegerRequest, typed } from './request.ts';
import type {
  ByteTensor,
  ByteTensorLike,
  ConvIntegerOptions,
  PrepackedFilters,
  QlinearConvOptions,
  Values,
} from './types.ts';

const GEOMETRY = ['stride', 'padding', 'dilation', 'groups', 'layout', 'out'];
const INTEGER = [...GEOMETRY, 'xZeroPoint', 'wZeroPoint'];
const QLINEAR = [...GEOMETRY, 'x', 'w', 'y', 'bias'];
const KNOWN = {
  integer: { sync: new Set(INTEGER), async: new Set([...INTEGER, ...ASYNC_NAMES]) },
  qlinear: { sync: new Set(QLINEAR), async: new Set([...QLINEAR, ...ASYNC_NAMES]) },
} as const;

type Bytes = ReturnType<typeof readBytes>;
type Filters = ByteTensorLike | PrepackedFilters;

/** Filters of a call with their zero points. */
interface Weights {
  readonly operand: Bytes | IntegerFilters;
  readonly zeros: readonly number[];
}

function readWeights(core: Core, w: Filters, zeroPoint: Values | undefined, name: string): Weights {
  const kept = readIntegerFilters(core.heap, w);
  if (kept) {
    if (zeroPoint !== undefined)
      throw badArgument(name, zeroPoint, 'Prepacked filters have the zero points of their making.');
    return { operand: kept, zeros: kept.zeros };
  }
  const operand = readBytes(core.heap, w, 'w');
  return { operand, zeros: readZeros(zeroPoint, operand.dtype, name, operand.shape[0] ?? 1, 'channel') };
}

function requestOf(
  core: Core,
  x: Bytes,
  w: Bytes | IntegerFilters,
  options: ConvGeometry & { readonly out?: Tensor<DType> | undefined },
  output: IntegerOutput,
  quantization: Quantization,
  bias: IntegerOperand | undefined,
  inputs: readonly unknown[],
): IntegerRequest {
  const prepacked = w instanceof IntegerFilters;
  const traits = { bias: bias !== undefined, residual: false, activation: 'none', prepacked } as const;
  const { stride, padding, dilation, groups, layout } = options;
  const plain = convFromShapes(core, x.shape, w.shape, { stride, padding, dilation, groups, layout }, traits);
  const problem: QconvProblem = {
    op: 'qconv',
    plain,
    aType: x.dtype,
    bType: w.dtype,
    output,
    exact: core.exact,
    aMost: mostOf(x.dtype, quantization.zeroA),
    bMost: mostOf(w.dtype, quantization.zeroB),
  };
  const { batch, outC, outH, outW } = plain;
  if (bias && !(bias.shape.length === 1 && bias.shape[0] === outC))
    throw new TesseraeError(
      'E_SHAPE',
      `bias has shape ${showShape(bias.shape)}, there are ${outC} output channels`,
      { shape: bias.shape, channels: outC },
      `Use [${outC}].`,
    );
  const shape = imageShape(plain.layout, batch, outC, outH, outW);
  const sides = { swapped: plain.layout === 'nchw' };
  const parameters = new Parameters(core.heap, () => quantization, sides, bias);
  const out = readOut(core.heap, options.out, shape, inputs, output);
  return new IntegerRequest(
    problem,
    shape,
    [x, w, parameters, undefined, undefined, undefined],
    out as DenseTensor | undefined,
    () => quantization,
    outC,
    { p0: 0, p1: 0 },
  );
}

const ONE = [1];

function readInteger(core: Core, x: ByteTensorLike, w: Filters, options: ConvIntegerOptions): IntegerRequest {
  core.checkOpen('convolve');
  const image = readBytes(core.heap, x, 'x');
  const weights = readWeights(core, w, options.wZeroPoint, 'wZeroPoint');
  const zeroA = readZeros(options.xZeroPoint, image.dtype, 'xZeroPoint', 1, 'image');
  const quantization = { zeroA, zeroB: weights.zeros, scaleA: ONE, scaleB: ONE, scaleY: 1, zeroY: 0 };
  return requestOf(core, image, weights.operand, options, 'i32', quantization, undefined, [x, w]);
}

function readQlinear(core: Core, x: ByteTensorLike, w: Filters, options: QlinearConvOptions): IntegerRequest {
  core.checkOpen('convolve');
  const image = readBytes(core.heap, x, 'x');
  const weights = readWeights(core, w, options.w?.zeroPoint, 'w.zeroPoint');
  const channels = weights.operand.shape[0] ?? 1;
  const zeroA = readZeros(options.x?.zeroPoint, image.dtype, 'x.zeroPoint', 1, 'image');
  const scaleA = readScales(options.x?.scale, 'x.scale', 1, 'image');
  const scaleB = readScales(options.w?.scale, 'w.scale', channels, 'channel');
  const { output, scaleY, zeroY } = readTarget(options.y, image.dtype);
  const bias =
    options.bias === undefined ? undefined : readIntegers(core.heap, options.bias, 'bias', ['i32']);
  const quantization = { zeroA, zeroB: weights.zeros, scaleA, scaleB, scaleY, zeroY };
  return requestOf(core, image, weights.operand, options, output, quantization, bias, [x, w, options.bias]);
}

export function convIntegerSync(
  core: Core,
  x: ByteTensorLike,
  w: Filters,
  options: ConvIntegerOptions,
): Tensor<'i32'> {
  checkOptions(options, KNOWN.integer.sync);
  return typed(callSync(core, readInteger(core, x, w, options)));
}

export async function convInteger(
  core: Core,
  x: ByteTensorLike,
  w: Filters,
  options: ConvIntegerOptions & AsyncOptions,
): Promise<Tensor<'i32'>> {
  return typed(await call(core, options, KNOWN.integer.async, () => readInteger(core, x, w, options)));
}

export function qlinearConvSync(
  core: Core,
  x: ByteTensorLike,
  w: Filters,
  options: QlinearConvOptions,
): ByteTensor {
  checkOptions(options, KNOWN.qlinear.sync);
  return typed<'u8'>(callSync(core, readQlinear(core, x, w, options)));
}

export async function qlinearConv(
  core: Core,
  x: ByteTensorLike,
  w: Filters,
  options: QlinearConvOptions & AsyncOptions,
): Promise<ByteTensor> {
  return typed<'u8'>(await call(core, options, KNOWN.qlinear.async, () => readQlinear(core, x, w, options)));
}
