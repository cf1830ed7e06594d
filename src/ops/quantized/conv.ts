/** convInteger and qlinearConv: arguments -> problem; the rest of the way is every call's. */
import type { Quantization } from '../../backends/reference/quantized.ts';
import { TesseraeError } from '../../core/errors.ts';
import { showShape } from '../../core/shape.ts';
import { imageShape } from '../../problem/conv.ts';
import { type IntegerOutput, mostOf, type QconvProblem } from '../../problem/quantized.ts';
import { checkOptions } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import { type ConvGeometry, convFromShapes } from '../conv.ts';
import type { Core } from '../core.ts';
import { readOut } from '../operands.ts';
import type { DenseTensor } from '../tensor.ts';
import type { AsyncOptions, DType, Tensor } from '../types.ts';
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
import type { ByteTensor, ByteTensorLike, ConvIntegerOptions, QlinearConvOptions } from './types.ts';

const GEOMETRY = ['stride', 'padding', 'dilation', 'groups', 'layout', 'out'];
const ASYNC = ['signal', 'onProgress'];
const INTEGER = [...GEOMETRY, 'xZeroPoint', 'wZeroPoint'];
const QLINEAR = [...GEOMETRY, 'x', 'w', 'y', 'bias'];
const KNOWN = {
  integer: { sync: new Set(INTEGER), async: new Set([...INTEGER, ...ASYNC]) },
  qlinear: { sync: new Set(QLINEAR), async: new Set([...QLINEAR, ...ASYNC]) },
} as const;

type Bytes = ReturnType<typeof readBytes>;

function requestOf(
  core: Core,
  x: Bytes,
  w: Bytes,
  options: ConvGeometry & { readonly out?: Tensor<DType> | undefined },
  output: IntegerOutput,
  quantization: Quantization,
  bias: IntegerOperand | undefined,
  inputs: readonly unknown[],
): IntegerRequest {
  const traits = { bias: bias !== undefined, residual: false, activation: 'none', prepacked: false } as const;
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

function readInteger(
  core: Core,
  x: ByteTensorLike,
  w: ByteTensorLike,
  options: ConvIntegerOptions,
): IntegerRequest {
  core.checkOpen('convolve');
  const image = readBytes(core.heap, x, 'x');
  const weights = readBytes(core.heap, w, 'w');
  const zeroA = readZeros(options.xZeroPoint, image.dtype, 'xZeroPoint', 1, 'image');
  const zeroB = readZeros(options.wZeroPoint, weights.dtype, 'wZeroPoint', weights.shape[0] ?? 1, 'channel');
  const quantization = { zeroA, zeroB, scaleA: ONE, scaleB: ONE, scaleY: 1, zeroY: 0 };
  return requestOf(core, image, weights, options, 'i32', quantization, undefined, [x, w]);
}

function readQlinear(
  core: Core,
  x: ByteTensorLike,
  w: ByteTensorLike,
  options: QlinearConvOptions,
): IntegerRequest {
  core.checkOpen('convolve');
  const image = readBytes(core.heap, x, 'x');
  const weights = readBytes(core.heap, w, 'w');
  const channels = weights.shape[0] ?? 1;
  const zeroA = readZeros(options.x?.zeroPoint, image.dtype, 'x.zeroPoint', 1, 'image');
  const zeroB = readZeros(options.w?.zeroPoint, weights.dtype, 'w.zeroPoint', channels, 'channel');
  const scaleA = readScales(options.x?.scale, 'x.scale', 1, 'image');
  const scaleB = readScales(options.w?.scale, 'w.scale', channels, 'channel');
  const { output, scaleY, zeroY } = readTarget(options.y, image.dtype);
  const bias =
    options.bias === undefined ? undefined : readIntegers(core.heap, options.bias, 'bias', ['i32']);
  const quantization = { zeroA, zeroB, scaleA, scaleB, scaleY, zeroY };
  return requestOf(core, image, weights, options, output, quantization, bias, [x, w, options.bias]);
}

export function convIntegerSync(
  core: Core,
  x: ByteTensorLike,
  w: ByteTensorLike,
  options: ConvIntegerOptions,
): Tensor<'i32'> {
  checkOptions(options, KNOWN.integer.sync);
  return typed(callSync(core, readInteger(core, x, w, options)));
}

export async function convInteger(
  core: Core,
  x: ByteTensorLike,
  w: ByteTensorLike,
  options: ConvIntegerOptions & AsyncOptions,
): Promise<Tensor<'i32'>> {
  return typed(await call(core, options, KNOWN.integer.async, () => readInteger(core, x, w, options)));
}

export function qlinearConvSync(
  core: Core,
  x: ByteTensorLike,
  w: ByteTensorLike,
  options: QlinearConvOptions,
): ByteTensor {
  checkOptions(options, KNOWN.qlinear.sync);
  return typed<'u8'>(callSync(core, readQlinear(core, x, w, options)));
}

export async function qlinearConv(
  core: Core,
  x: ByteTensorLike,
  w: ByteTensorLike,
  options: QlinearConvOptions & AsyncOptions,
): Promise<ByteTensor> {
  return typed<'u8'>(await call(core, options, KNOWN.qlinear.async, () => readQlinear(core, x, w, options)));
}
