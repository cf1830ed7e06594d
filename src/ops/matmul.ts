/** matmul: arguments -> problem -> plan -> execution -> result. */

import { referenceMatmul } from '../backends/reference/matmul.ts';
import { TesseraeError } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import { readActivation } from '../problem/epilogue.ts';
import { type MatmulProblem, matmulFromShapes } from '../problem/matmul.ts';
import type { Execution } from '../schedule/execute.ts';
import type { Operands } from '../schedule/operands.ts';
import { readSpread, type SpreadMatrix } from './apart/spread.ts';
import { checkFlag, checkNumber, checkOptions, PLACED_NAMES } from './arguments.ts';
import { call, callSync, untrusted } from './call.ts';
import type { Core } from './core.ts';
import type { GpuForm } from './gpu/form.ts';
import { biasKind, type Operand, readOperand, readOut, readPrepacked, readSlope } from './operands.ts';
import type { KeptOperand, Request } from './request.ts';
import { Block, type DenseTensor, type Held, type Panels, type Source } from './tensor.ts';
import type { MatmulOptions, PlacedOptions, Prepacked, Tensor, TensorLike } from './types.ts';

const SYNC_OPTIONS: ReadonlySet<string> = new Set<keyof MatmulOptions>([
  'transposeA',
  'transposeB',
  'bias',
  'activation',
  'alpha',
  'beta',
  'out',
]);
const ASYNC_OPTIONS: ReadonlySet<string> = new Set([...SYNC_OPTIONS, ...PLACED_NAMES]);

function rowsOf(shape: Shape, transpose: boolean): number {
  return shape[shape.length - (transpose ? 1 : 2)] ?? 1;
}

function columnsOf(shape: Shape, transpose: boolean): number {
  return shape[shape.length - (transpose ? 2 : 1)] ?? 1;
}

/** Everything that can be wrong with a call is found here, before memory is taken. */
export function readMatmul(
  core: Core,
  a: TensorLike,
  b: TensorLike | Prepacked,
  options: MatmulOptions,
): MatmulRequest {
  core.checkOpen('multiply');
  const transposeA = checkFlag(options.transposeA, 'transposeA');
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const { kind: activation, p0, p1, slope: slopeValue } = readActivation(options.activation);
  const alpha = checkNumber(options.alpha, 1, 'alpha');
  const beta = checkNumber(options.beta, 0, 'beta');
  const operandA = readOperand(core.heap, a, 'a');
  const spread = readSpread(core.heap, b);
  const panels = readPrepacked(core.heap, b);
  const kept = spread ?? panels;
  if (kept && transposeB) {
    throw new TesseraeError(
      'E_ARGUMENT',
      'transposeB does not go with a prepacked b',
      { transposeB },
      'Say transposeB when prepacking.',
    );
  }
  const operandB = kept ? undefined : readOperand(core.heap, b as TensorLike, 'b');
  const bias = options.bias === undefined ? undefined : readOperand(core.heap, options.bias, 'bias');
  const shapeB = kept ? kept.shape : operandB!.shape;
  const columns = columnsOf(shapeB, transposeB);
  const slope = activation === 'prelu' ? readSlope(core.heap, slopeValue, columns) : undefined;
  const { problem, shape } = matmulFromShapes(operandA.shape, shapeB, {
    transposeA,
    transposeB,
    panel: kept?.panel,
    bias: bias ? biasKind(bias.shape, rowsOf(operandA.shape, transposeA), columns) : 'none',
    activation,
    scaled: alpha !== 1,
    accumulate: beta !== 0,
    exact: core.exact,
  });
  const out = readOut(core.heap, options.out, shape, [a, b, options.bias, slopeValue]);
  if (beta !== 0 && !out) {
    throw new TesseraeError(
      'E_ARGUMENT',
      `beta is ${beta} but there is no out`,
      { beta },
      'Pass the tensor that beta applies to as out.',
    );
  }
  const scalars = { alpha, beta, p0, p1 };
  return new MatmulRequest(problem, shape, operandA, operandB, panels, bias, slope, out, scalars, spread);
}

interface Scalars {
  readonly alpha: number;
  readonly beta: number;
  readonly p0: number;
  readonly p1: number;
}

/** a, b, bias, slope, panels. */
type MatmulInputs = readonly [
  Operand,
  Operand | undefined,
  Operand | undefined,
  (Held & Source) | undefined,
  Panels | undefined,
];

/** A class, not an object of closures: a product of small matrices takes about as long as making a few objects. */
class MatmulRequest implements Request {
  readonly problem: MatmulProblem;
  readonly shape: Shape;
  readonly inputs: MatmulInputs;
  readonly out: DenseTensor | undefined;
  readonly spread: SpreadMatrix | undefined;
  readonly #scalars: Scalars;

  constructor(
    problem: MatmulProblem,
    shape: Shape,
    a: Operand,
    b: Operand | undefined,
    panels: Panels | undefined,
    bias: Operand | undefined,
    slope: (Held & Source) | undefined,
    out: DenseTensor | undefined,
    scalars: Scalars,
    spread: SpreadMatrix | undefined,
  ) {
    this.problem = problem;
    this.shape = shape;
    this.inputs = [a, b, bias, slope, panels];
    this.out = out;
    this.#scalars = scalars;
    this.spread = spread;
  }

  get empty(): boolean {
    const { batch, m, n, k } = this.problem;
    return batch === 0 || m === 0 || n === 0 || k === 0;
  }

  operands(_core: Core, _planned: Execution | undefined, at: readonly number[], result: number): Operands {
    const [a, b, bias, slope, panels] = at as readonly [number, number, number, number, number];
    const { alpha, beta, p0, p1 } = this.#scalars;
    const packedB = panels === 0 ? undefined : panels;
    return { a, b, c: result, bias, slope, packedB, alpha, beta, p0, p1 };
  }

  kept(): KeptOperand | undefined {
    const panels = this.inputs[4];
    return panels && { name: 'packedB', keeper: panels.block };
  }

  gpu(): GpuForm | undefined {
    const [a, b, bias, slope, panels] = this.inputs;
    if (panels || !b) return undefined;
    return { a, b, bias, slope, residual: undefined, scalars: this.#scalars };
  }

  /** Where only k is zero, every sum is zero but bias, beta and activation still apply: one step of zeros through the kernels,
   *  so that the bits are those of any other product. */
  runEmpty(core: Core, at: readonly number[], out: DenseTensor): void {
    const p = this.problem;
    if (p.batch === 0 || p.m === 0 || p.n === 0) return;
    const zeros = new Block(core.heap, 4 * Math.max(p.m, p.n), 'scratch');
    try {
      core.heap.floats().fill(0, zeros.address >>> 2, (zeros.address + zeros.bytes) >>> 2);
      const one = { sharedA: true, sharedB: true, leading: undefined, prepackedB: false, panel: undefined };
      const planned = core.plan({ ...p, ...one, k: 1, transposeA: false, transposeB: false });
      if (!planned) throw untrusted(core);
      const operands = this.operands(core, planned, at, out.block.address);
      core.executor.runSync(planned, { ...operands, a: zeros.address, b: zeros.address, packedB: undefined });
    } finally {
      zeros.dispose();
    }
  }

  runReference(core: Core, at: readonly number[], out: DenseTensor): void {
    const p = this.problem;
    if (p.panel || core.exact) throw untrusted(core);
    const floats = core.heap.floats();
    const from = (address: number) => floats.subarray(address >>> 2);
    const [a, b, bias, slope] = at as readonly [number, number, number, number];
    const values = {
      a: from(a),
      b: from(b),
      bias: p.bias === 'none' ? undefined : from(bias),
      slope: p.activation === 'prelu' ? from(slope) : undefined,
      c0: out.data.slice(),
      ...this.#scalars,
    };
    referenceMatmul(p, values, out.data);
  }
}

export function matmulSync(
  core: Core,
  a: TensorLike,
  b: TensorLike | Prepacked,
  options: MatmulOptions,
): Tensor {
  checkOptions(options, SYNC_OPTIONS);
  return callSync(core, readMatmul(core, a, b, options));
}

/** Starts at once; a call that is short enough is finished when this returns. */
export function matmul(
  core: Core,
  a: TensorLike,
  b: TensorLike | Prepacked,
  options: MatmulOptions & PlacedOptions,
): Promise<Tensor> {
  return call(core, options, ASYNC_OPTIONS, () => readMatmul(core, a, b, options));
}
