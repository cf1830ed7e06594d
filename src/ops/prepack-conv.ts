/** Weights of a convolution, checked and copied. */

import { TesseraeError } from '../core/errors.ts';
import { type Shape, showShape, sizeOf } from '../core/shape.ts';
import { CONV_ALGORITHMS, type ConvAlgorithm, multipliesLess } from '../problem/conv.ts';
import { readActivation } from '../problem/epilogue.ts';
import { weightForm } from '../schedule/lower/weights.ts';
import { badArgument, checkOptions } from './arguments.ts';
import { convFromShapes } from './conv.ts';
import { ConvWeights } from './conv-weights.ts';
import type { Core } from './core.ts';
import { readOperand } from './operands.ts';
import type { ConvOptions, PrepackConvOptions, PrepackedConv, TensorLike } from './types.ts';
import type { Fill } from './weight-store.ts';

const OPTIONS: ReadonlySet<string> = new Set(['op', 'algorithm']);

export function prepackConv(core: Core, w: TensorLike, options: PrepackConvOptions): PrepackedConv {
  core.checkOpen('prepack');
  core.tape?.spoil('weights are packed on the way');
  checkOptions(options, OPTIONS);
  const { algorithm } = options;
  if (algorithm !== undefined && !CONV_ALGORITHMS.includes(algorithm))
    throw badArgument('algorithm', algorithm, `Use one of ${CONV_ALGORITHMS.join(', ')}.`);
  const operand = readOperand(core.heap, w, 'w');
  if (operand.shape.length !== 4 && operand.shape.length !== 3) {
    throw new TesseraeError(
      'E_SHAPE',
      `w has shape ${showShape(operand.shape)}`,
      { shape: operand.shape },
      'Weights are [outC, inC / groups, kH, kW], or [outC, inC / groups, k].',
    );
  }
  const from = operand.place() >>> 2;
  try {
    const copy = (floats: Float32Array) =>
      floats.set(core.heap.floats().subarray(from, from + floats.length));
    return keepFilters(core, operand.shape, copy, { algorithm });
  } finally {
    operand.done();
  }
}

/** Bytes that kept filters would take beyond their own, in the form that a convolution of an image of shape `x` reads: none but by
 *  Winograd's methods and Strassen's. */
export function bytesBeyond(core: Core, x: Shape, w: Shape, options: ConvOptions): number {
  const { kind: activation } = readActivation(options.activation);
  const [bias, residual] = [options.bias !== undefined, options.residual !== undefined];
  const p = convFromShapes(core, x, w, options, { bias, residual, activation, prepacked: true });
  const plan = core.plan(p)?.plan;
  if (!plan || !multipliesLess(plan.algorithm)) return 0;
  return 4 * (weightForm(p, plan)!.elements - sizeOf(w));
}

/**
 * Filters of a shape that was checked, written by `fill`, which takes none of the runtime's memory meanwhile. Where it `canRepeat` they are
 * written when they are wanted: to be packed, for a moment, or to stay where something reads them as they are.
 */
export function keepFilters(
  core: Core,
  shape: Shape,
  fill: Fill,
  { algorithm, canRepeat = false }: { algorithm?: ConvAlgorithm | undefined; canRepeat?: boolean } = {},
): ConvWeights {
  const weights = new ConvWeights(core.heap, shape, algorithm, canRepeat ? fill : undefined);
  try {
    if (!canRepeat) fill(weights.values());
    return weights;
  } catch (error) {
    weights.dispose();
    throw error;
  }
}
