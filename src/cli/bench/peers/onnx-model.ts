/** One matrix product, of floats or of integers, or one convolution as an ONNX model, with its bias and activation as an exporter writes them. */
import { convExtents, printShape, type ShapeActivation } from '../../shapes/index.ts';
import type { ConvOperands, MatmulOperands, Operands, QmatmulOperands } from '../operands.ts';
import {
  type Edge,
  type Field,
  floatAttribute,
  initializer,
  intAttribute,
  intsAttribute,
  model,
  node,
  type Values,
} from './onnx-proto.ts';

export interface OnnxModel {
  readonly model: Uint8Array;
  /** What is fed at each run; constants are inside the model. */
  readonly feeds: readonly (Edge & { readonly values: Values })[];
  readonly output: string;
}

/** The result's name, and that of the first operand. */
const OUTPUT = 'Y';
const INPUT = 'X';

/** One operator in a chain from INPUT to OUTPUT. */
interface Step {
  readonly op: string;
  /** Inputs besides the result of the step before. */
  readonly extra?: readonly string[];
  readonly attributes?: readonly Field[];
  /** The result of the step before is the second input as well: see silu. */
  readonly gated?: boolean;
}

/** undefined where opset 17 has no operators that an exporter would write for it. */
export function onnxModel(operands: Operands): OnnxModel | undefined {
  if (operands.kind === 'qmatmul') return qmatmulModel(operands);
  const last = activationSteps(operands.shape.activation);
  if (last === undefined) return undefined;
  return operands.kind === 'conv' ? convModel(operands, last) : matmulModel(operands, last);
}

interface Last {
  readonly steps: readonly Step[];
  readonly constants: readonly Field[];
}

/** Operators without attributes. */
const PLAIN: Readonly<Record<string, string>> = {
  relu: 'Relu',
  tanh: 'Tanh',
  sigmoid: 'Sigmoid',
  hardSwish: 'HardSwish',
  hardSigmoid: 'HardSigmoid',
};

function activationSteps(activation: ShapeActivation | undefined): Last | undefined {
  if (activation === undefined || activation === 'none') return { steps: [], constants: [] };
  if (typeof activation === 'string') {
    // x * sigmoid(x) is two operators up to opset 23; exported models have it so.
    if (activation === 'silu') return { steps: [{ op: 'Sigmoid', gated: true }], constants: [] };
    const op = PLAIN[activation];
    return op === undefined ? undefined : { steps: [{ op }], constants: [] };
  }
  if (activation.kind === 'leakyRelu') {
    const attributes = [floatAttribute('alpha', activation.slope)];
    return { steps: [{ op: 'LeakyRelu', attributes }], constants: [] };
  }
  const { min, max } = activation;
  const constants = [constant('min', [], Float32Array.of(min)), constant('max', [], Float32Array.of(max))];
  return { steps: [{ op: 'Clip', extra: ['min', 'max'] }], constants };
}

function constant(name: string, dims: readonly number[], values: Float32Array): Field {
  return initializer(edge(name, dims), values);
}

function edge(name: string, dims: readonly number[]): Edge {
  return { name, type: 'float32', dims };
}

function convModel({ shape, x, w, bias }: ConvOperands, last: Last): OnnxModel {
  const { batch, inC, inH, inW, outC, kH, kW, stride, padding, dilation, groups } = shape;
  const { outH, outW } = convExtents(shape);
  const input = edge(INPUT, [batch, inC, inH, inW]);
  const constants = [constant('W', [outC, inC / groups, kH, kW], w)];
  if (bias !== undefined) constants.push(constant('bias', [outC], bias));
  const conv: Step = {
    op: 'Conv',
    extra: bias === undefined ? ['W'] : ['W', 'bias'],
    attributes: [
      intsAttribute('kernel_shape', [kH, kW]),
      intsAttribute('strides', stride),
      intsAttribute('pads', padding),
      intsAttribute('dilations', dilation),
      intAttribute('group', groups),
    ],
  };
  const bytes = model({
    name: printShape(shape),
    nodes: chain([conv, ...last.steps]),
    constants: [...constants, ...last.constants],
    inputs: [input],
    output: edge(OUTPUT, [batch, outC, outH, outW]),
  });
  return { model: bytes, feeds: [{ ...input, values: x }], output: OUTPUT };
}

function matmulModel({ shape, batch, a, b, bias }: MatmulOperands, last: Last): OnnxModel {
  const { m, k, n, transposeB = false, prepacked = false } = shape;
  const batched = shape.batch !== undefined;
  const stacked = (rows: number, columns: number) => (batched ? [batch, rows, columns] : [rows, columns]);
  const left = edge(INPUT, stacked(m, k));
  const right = edge('B', transposeB ? stacked(n, k) : stacked(k, n));
  // Constant weights are an initializer, which ONNX Runtime packs when the session is made: its form of prepacking.
  const constants = prepacked ? [initializer(right, b)] : [];
  const steps = Array.from({ length: shape.chain ?? 1 }, () => productStep(batched, transposeB));
  if (bias !== undefined) {
    constants.push(constant('bias', shape.bias === 'column' ? [m, 1] : [n], bias));
    steps.push({ op: 'Add', extra: ['bias'] });
  }
  // Two-dimensional transposes go into Gemm; batched ones are a Transpose that the runtime fuses into its MatMul.
  const before =
    batched && transposeB ? [node('Transpose', ['B'], 'Bt', [intsAttribute('perm', [0, 2, 1])])] : [];
  const feeds = [{ ...left, values: a }, ...(prepacked ? [] : [{ ...right, values: b }])];
  const bytes = model({
    name: printShape(shape),
    nodes: [...before, ...chain([...steps, ...last.steps])],
    constants: [...constants, ...last.constants],
    inputs: feeds.map(({ name, type, dims }) => ({ name, type, dims })),
    output: edge(OUTPUT, stacked(m, n)),
  });
  return { model: bytes, feeds, output: OUTPUT };
}

/** Zero points are constants too, as an exporter writes them. */
function qmatmulModel({ shape, a, b }: QmatmulOperands): OnnxModel {
  const { m, k, n, aZeroPoint, bZeroPoint } = shape;
  const input: Edge = { name: INPUT, type: 'uint8', dims: [m, k] };
  const constants = [
    initializer({ name: 'B', type: 'int8', dims: [k, n] }, b),
    initializer({ name: 'a_zero', type: 'uint8', dims: [] }, Uint8Array.of(aZeroPoint)),
    initializer({ name: 'b_zero', type: 'int8', dims: [] }, Int8Array.of(bZeroPoint)),
  ];
  const bytes = model({
    name: printShape(shape),
    nodes: chain([{ op: 'MatMulInteger', extra: ['B', 'a_zero', 'b_zero'] }]),
    constants,
    inputs: [input],
    output: { name: OUTPUT, type: 'int32', dims: [m, n] },
  });
  return { model: bytes, feeds: [{ ...input, values: a }], output: OUTPUT };
}

function productStep(batched: boolean, transposeB: boolean): Step {
  if (!transposeB) return { op: 'MatMul', extra: ['B'] };
  if (!batched) return { op: 'Gemm', extra: ['B'], attributes: [intAttribute('transB', 1)] };
  return { op: 'MatMul', extra: ['Bt'] };
}

/** INPUT -> step -> step -> OUTPUT. */
function chain(steps: readonly Step[]): readonly Field[] {
  let input = INPUT;
  return steps.flatMap(({ op, extra = [], attributes, gated = false }, index) => {
    const output = index === steps.length - 1 ? OUTPUT : `step${index}`;
    const from = input;
    input = output;
    if (!gated) return [node(op, [from, ...extra], output, attributes)];
    return [node(op, [from], `gate${index}`), node('Mul', [from, `gate${index}`], output)];
  });
}
