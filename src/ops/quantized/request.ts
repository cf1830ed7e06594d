/** What all calls on 8-bit integers share: operands and parameters in memory, and the oracle where no kernel applies. */
import {
  operandElements,
  type Quantization,
  referenceQuantized,
} from '../../backends/reference/quantized.ts';
import { QUANTIZED, QUANTIZED_BYTES } from '../../backends/wasm/layout.ts';
import type { Shape } from '../../core/shape.ts';
import { findKernel } from '../../kernels/table.ts';
import { resultElements } from '../../problem/problem.ts';
import { depthOf, type QuantizedProblem } from '../../problem/quantized.ts';
import type { Execution } from '../../schedule/execute.ts';
import { pairPanelElements } from '../../schedule/lower/quantized.ts';
import type { Operands } from '../../schedule/operands.ts';
import { untrusted } from '../call.ts';
import type { Core } from '../core.ts';
import type { Request } from '../request.ts';
import { type DenseTensor, type Held, viewOf } from '../tensor.ts';
import type { DType, Tensor } from '../types.ts';
import { filterOperands, IntegerFilters } from './filters.ts';
import type { Parameters } from './operands.ts';

/** Row operand or image, column operand or weights, parameters, float bias, slope, panels. */
export type IntegerInputs = readonly [
  Held,
  Held | undefined,
  Parameters,
  Held | undefined,
  Held | undefined,
  Held | undefined,
];

export interface IntegerScalars {
  readonly p0: number;
  readonly p1: number;
}

/** The result of a call under its true type: requests know what they make, the way of a call does not. */
export function typed<D extends DType>(tensor: Tensor): Tensor<D> {
  return tensor as unknown as Tensor<D>;
}

export class IntegerRequest implements Request {
  readonly problem: QuantizedProblem;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly inputs: IntegerInputs;
  readonly out: DenseTensor | undefined;
  readonly isFleeting = true;
  readonly #quantization: () => Quantization;
  readonly #biasElements: number;
  readonly #scalars: IntegerScalars;

  constructor(
    problem: QuantizedProblem,
    shape: Shape,
    inputs: IntegerInputs,
    out: DenseTensor | undefined,
    quantization: () => Quantization,
    biasElements: number,
    scalars: IntegerScalars,
  ) {
    this.problem = problem;
    this.shape = shape;
    this.dtype = problem.output;
    this.inputs = inputs;
    this.out = out;
    this.#quantization = quantization;
    this.#biasElements = biasElements;
    this.#scalars = scalars;
  }

  get empty(): boolean {
    return resultElements(this.problem) === 0 || depthOf(this.problem) === 0;
  }

  operands(core: Core, planned: Execution | undefined, at: readonly number[], result: number): Operands {
    const [first, second, quantized, bias, slope, panels] = at as readonly [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const p = this.problem;
    const swapped = p.op === 'qconv' && p.plain.layout === 'nchw';
    const [a, b] = swapped ? [second, first] : [first, second];
    const packedB = panels === 0 ? undefined : panels + this.#panelsOffset(planned);
    const rest = { c: result, bias, slope, quantized, alpha: 1, beta: 0, ...this.#scalars };
    const filters = this.inputs[1];
    if (!(planned && p.op === 'qconv' && filters instanceof IntegerFilters))
      return { a, b, packedB, ...rest };
    return { ...filterOperands(filters.formFor(core, p, planned.plan), swapped, first, second), ...rest };
  }

  /** Panels of bytes stand behind those of 16-bit pairs. */
  #panelsOffset(planned: Execution | undefined): number {
    const p = this.problem;
    const bytes = planned && findKernel(planned.plan.kernel)?.dtype === 'i8';
    if (!bytes || p.op !== 'qmatmul' || !p.plain.panel) return 0;
    return 4 * pairPanelElements(p.plain.k, p.plain.n, p.plain.panel.nr);
  }

  /** Without anything to sum, what becomes of zeros is still to be found: the oracle is exact and there is little to do. */
  runEmpty(core: Core, at: readonly number[], out: DenseTensor): void {
    this.#refer(core, at, out);
  }

  /** Integers have but one answer: the oracle may stand in also in exact mode. */
  runReference(core: Core, at: readonly number[], out: DenseTensor): void {
    if (this.inputs[5]) throw untrusted(core);
    this.#refer(core, at, out);
  }

  #refer(core: Core, at: readonly number[], out: DenseTensor): void {
    const p = this.problem;
    const elements = elementsOf(p);
    const view = (index: number, dtype: DType, count: number) =>
      viewOf(core.heap, dtype, at[index] ?? 0, count);
    const params = viewOf(core.heap, 'i32', at[2]!, QUANTIZED_BYTES / 4);
    const integerBias = params[QUANTIZED.BIAS >>> 2]!;
    const bias =
      integerBias !== 0
        ? viewOf(core.heap, 'i32', integerBias, this.#biasElements)
        : at[3]
          ? view(3, 'f32', this.#biasElements)
          : undefined;
    const operands = {
      ...this.#quantization(),
      a: view(0, p.aType, elements.a),
      b: view(1, p.bType, elements.b),
      bias,
      ...this.#scalars,
    };
    referenceQuantized(p, operands, (out as DenseTensor<DType>).data);
  }
}

function elementsOf(p: QuantizedProblem): { a: number; b: number } {
  if (p.op === 'qconv') {
    const { batch, inC, inH, inW, outC, groups, kH, kW } = p.plain;
    return { a: batch * inC * inH * inW, b: (outC * inC * kH * kW) / groups };
  }
  return { a: operandElements(p.plain, 'a'), b: operandElements(p.plain, 'b') };
}
