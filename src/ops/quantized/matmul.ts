/** matmulInteger, qlinearMatmul and matmulDynamic: arguments -> problem; the rest of the way is every call's. */
import type { Quantization } from '../../backends/reference/quantized.ts';
import { TesseraeError } from '../../core/errors.ts';
import { type Shape, showShape } from '../../core/shape.ts';
import { readActivation } from '../../problem/epilogue.ts';
import { matmulFromShapes } from '../../problem/matmul.ts';
import type { IntegerOutput, IntegerType, QmatmulProblem } from '../../problem/quantized.ts';
import { ASYNC_NAMES, badArgument, checkFlag, checkOptions } from '../arguments.ts';
import { call, callSync } from '../call.ts';
import type { Core } from '../core.ts';
import { readOperand, readOut, readSlope } from '../operands.ts';
import type { DenseTensor, Held } from '../tensor.ts';
import type { AsyncOptions, DType, Tensor, TensorLike } from '../types.ts';
import { DynamicOperand } from './dynamic.ts';
import { Parameters, readBytes, readScales, readZeros } from './operands.ts';
import { type IntegerPanels, readIntegerPanels } from './prepack.ts';
import { IntegerRequest, typed } from './request.ts';
import type {
  ByteTensor,
  ByteTensorLike,
  MatmulDynamicOptions,
  MatmulIntegerOptions,
  PrepackedInteger,
  QlinearMatmulOptions,
  QuantizeTo,
  Values,
} from './types.ts';

function known(...names: string[]): { sync: ReadonlySet<string>; async: ReadonlySet<string> } {
  return { sync: new Set(names), async: new Set([...names, ...ASYNC_NAMES]) };
}

const INTEGER = known('aZeroPoint', 'bZeroPoint', 'transposeB', 'out');
const QLINEAR = known('a', 'b', 'y', 'transposeB', 'out');
const DYNAMIC = known('wScale', 'wZeroPoint', 'transposeB', 'bias', 'activation', 'out');

/** A left operand: its shape and type, and how it gets into memory. */
interface Left extends Held {
  readonly shape: Shape;
  readonly dtype: IntegerType;
}

/** A right operand with its shape as stored, and the panels if it is packed. */
interface Right {
  readonly shape: Shape;
  readonly dtype: IntegerType;
  readonly columns: number;
  readonly operand: Held | undefined;
  readonly panels: IntegerPanels | undefined;
  readonly zeros: readonly number[];
}

export function rowsOf(shape: Shape): number {
  return shape[shape.length - 2] ?? 1;
}

function checkPerLine(values: readonly number[], shape: Shape, name: string): void {
  if (values.length === 1 || shape.length === 2) return;
  throw new TesseraeError(
    'E_SHAPE',
    `${name} has one value for each line of ${showShape(shape)}, which is no matrix`,
    { shape },
    'Of a batch all matrices have one zero point and scale, or multiply them one by one.',
  );
}

function readRight(
  core: Core,
  b: ByteTensorLike | PrepackedInteger,
  transposeB: boolean,
  zeroPoint: Values | undefined,
  name: string,
): Right {
  const panels = readIntegerPanels(core.heap, b);
  if (panels) {
    if (transposeB) throw badArgument('transposeB', transposeB, 'Say transposeB when prepacking.');
    if (zeroPoint !== undefined)
      throw badArgument(name, zeroPoint, 'A prepacked operand has the zero points of its making.');
    const { shape, dtype, zeros } = panels;
    return { shape, dtype, columns: shape[1], operand: undefined, panels, zeros };
  }
  const operand = readBytes(core.heap, b, 'b');
  const { shape, dtype } = operand;
  const columns = shape[shape.length - (transposeB ? 2 : 1)] ?? 1;
  const zeros = readZeros(zeroPoint, dtype, name, columns, 'column');
  checkPerLine(zeros, shape, name);
  return { shape, dtype, columns, operand, panels: undefined, zeros };
}

/** How a result becomes what was asked for. */
interface Finish {
  readonly output: IntegerOutput;
  readonly bias?: Held | undefined;
  readonly slope?: Held | undefined;
  readonly activation?: QmatmulProblem['plain']['activation'];
  readonly p0: number;
  readonly p1: number;
}

const NO_SCALARS = { p0: 0, p1: 0 };

function requestOf(
  core: Core,
  left: Left,
  right: Right,
  transposeB: boolean,
  quantization: () => Quantization,
  finish: Finish,
  out: Tensor<DType> | undefined,
  inputs: readonly unknown[],
): IntegerRequest {
  const { panels } = right;
  const { output, activation = 'none', bias, slope, p0, p1 } = finish;
  const { problem: plain, shape } = matmulFromShapes(left.shape, right.shape, {
    transposeB,
    panel: panels?.panel,
    bias: bias ? 'row' : 'none',
    activation,
    exact: core.exact,
  });
  const problem: QmatmulProblem = {
    op: 'qmatmul',
    plain,
    aType: left.dtype,
    bType: right.dtype,
    output,
    exact: core.exact,
    bytePanels: panels?.hasBytes === true && plain.batch === 1,
  };
  const parameters = new Parameters(core.heap, quantization, { swapped: false });
  const result = readOut(core.heap, out, shape, inputs, output);
  return new IntegerRequest(
    problem,
    shape,
    [left, right.operand, parameters, bias, slope, panels],
    result as DenseTensor | undefined,
    quantization,
    right.columns,
    { p0, p1 },
  );
}

const ONE = [1];

function readInteger(
  core: Core,
  a: ByteTensorLike,
  b: ByteTensorLike | PrepackedInteger,
  options: MatmulIntegerOptions,
): IntegerRequest {
  core.checkOpen('multiply');
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const left = readBytes(core.heap, a, 'a');
  const right = readRight(core, b, transposeB, options.bZeroPoint, 'bZeroPoint');
  const zeroA = readZeros(options.aZeroPoint, left.dtype, 'aZeroPoint', rowsOf(left.shape), 'row');
  checkPerLine(zeroA, left.shape, 'aZeroPoint');
  const quantization = () => ({ zeroA, zeroB: right.zeros, scaleA: ONE, scaleB: ONE, scaleY: 1, zeroY: 0 });
  const finish = { output: 'i32', ...NO_SCALARS } as const;
  return requestOf(core, left, right, transposeB, quantization, finish, options.out, [a, b]);
}

/** The type, scale and zero point of a quantised result. */
export function readTarget(
  y: QuantizeTo | undefined,
  fallback: IntegerType,
): { output: IntegerType; scaleY: number; zeroY: number } {
  if (typeof y !== 'object' || y === null)
    throw badArgument('y', y, 'Say { scale, zeroPoint } of the result.');
  const output = y.dtype ?? fallback;
  if (output !== 'u8' && output !== 'i8') throw badArgument('y.dtype', output, 'Use u8 or i8.');
  const scaleY = readScales(y.scale, 'y.scale', 1, 'result')[0]!;
  const zeroY = readZeros(y.zeroPoint, output, 'y.zeroPoint', 1, 'result')[0]!;
  return { output, scaleY, zeroY };
}

function readQlinear(
  core: Core,
  a: ByteTensorLike,
  b: ByteTensorLike | PrepackedInteger,
  options: QlinearMatmulOptions,
): IntegerRequest {
  core.checkOpen('multiply');
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const left = readBytes(core.heap, a, 'a');
  const right = readRight(core, b, transposeB, options.b?.zeroPoint, 'b.zeroPoint');
  const rows = rowsOf(left.shape);
  const zeroA = readZeros(options.a?.zeroPoint, left.dtype, 'a.zeroPoint', rows, 'row');
  const scaleA = readScales(options.a?.scale, 'a.scale', rows, 'row');
  const scaleB = readScales(options.b?.scale, 'b.scale', right.columns, 'column');
  checkPerLine(zeroA, left.shape, 'a.zeroPoint');
  checkPerLine(scaleA, left.shape, 'a.scale');
  const { output, scaleY, zeroY } = readTarget(options.y, left.dtype);
  const quantization = () => ({ zeroA, zeroB: right.zeros, scaleA, scaleB, scaleY, zeroY });
  const finish = { output, ...NO_SCALARS };
  return requestOf(core, left, right, transposeB, quantization, finish, options.out, [a, b]);
}

function readDynamic(
  core: Core,
  a: TensorLike,
  w: ByteTensorLike | PrepackedInteger,
  options: MatmulDynamicOptions,
): IntegerRequest {
  core.checkOpen('multiply');
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const left = new DynamicOperand(core, readOperand(core.heap, a, 'a'));
  const right = readRight(core, w, transposeB, options.wZeroPoint, 'wZeroPoint');
  const scaleB = readScales(options.wScale, 'wScale', right.columns, 'column');
  const bias = options.bias === undefined ? undefined : readOperand(core.heap, options.bias, 'bias');
  if (bias && !(bias.shape.length === 1 && bias.shape[0] === right.columns))
    throw new TesseraeError(
      'E_SHAPE',
      `bias has shape ${showShape(bias.shape)}, there are ${right.columns} columns`,
      { shape: bias.shape, columns: right.columns },
      `Use [${right.columns}].`,
    );
  const { kind: activation, p0, p1, slope: value } = readActivation(options.activation);
  const slope = activation === 'prelu' ? readSlope(core.heap, value, right.columns) : undefined;
  const quantization = () => ({
    zeroA: [left.zeroPoint],
    zeroB: right.zeros,
    scaleA: [left.scale],
    scaleB,
    scaleY: 1,
    zeroY: 0,
  });
  const finish = { output: 'f32', bias, slope, activation, p0, p1 } as const;
  const inputs = [a, w, options.bias, value];
  return requestOf(core, left, right, transposeB, quantization, finish, options.out, inputs);
}

export function matmulIntegerSync(
  core: Core,
  a: ByteTensorLike,
  b: ByteTensorLike | PrepackedInteger,
  options: MatmulIntegerOptions,
): Tensor<'i32'> {
  checkOptions(options, INTEGER.sync);
  return typed(callSync(core, readInteger(core, a, b, options)));
}

export async function matmulInteger(
  core: Core,
  a: ByteTensorLike,
  b: ByteTensorLike | PrepackedInteger,
  options: MatmulIntegerOptions & AsyncOptions,
): Promise<Tensor<'i32'>> {
  return typed(await call(core, options, INTEGER.async, () => readInteger(core, a, b, options)));
}

export function qlinearMatmulSync(
  core: Core,
  a: ByteTensorLike,
  b: ByteTensorLike | PrepackedInteger,
  options: QlinearMatmulOptions,
): ByteTensor {
  checkOptions(options, QLINEAR.sync);
  return typed<'u8'>(callSync(core, readQlinear(core, a, b, options)));
}

export async function qlinearMatmul(
  core: Core,
  a: ByteTensorLike,
  b: ByteTensorLike | PrepackedInteger,
  options: QlinearMatmulOptions & AsyncOptions,
): Promise<ByteTensor> {
  return typed<'u8'>(await call(core, options, QLINEAR.async, () => readQlinear(core, a, b, options)));
}

export function matmulDynamicSync(
  core: Core,
  a: TensorLike,
  w: ByteTensorLike | PrepackedInteger,
  options: MatmulDynamicOptions,
): Tensor {
  checkOptions(options, DYNAMIC.sync);
  return callSync(core, readDynamic(core, a, w, options));
}

export function matmulDynamic(
  core: Core,
  a: TensorLike,
  w: ByteTensorLike | PrepackedInteger,
  options: MatmulDynamicOptions & AsyncOptions,
): Promise<Tensor> {
  return call(core, options, DYNAMIC.async, () => readDynamic(core, a, w, options));
}
