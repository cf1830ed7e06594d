/** matmul: arguments -> problem -> plan -> execution -> result. */

import { referenceMatmul } from '../backends/reference/matmul.ts';
import { TesseraeError } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import { type Activation, readActivation } from '../problem/epilogue.ts';
import { type MatmulProblem, matmulFromShapes } from '../problem/matmul.ts';
import type { Operands } from '../schedule/execute.ts';
import { checkAsync, checkFlag, checkNumber, checkOptions } from './arguments.ts';
import type { Core } from './core.ts';
import { biasKind, type Operand, readOperand, readOut, readPrepacked } from './operands.ts';
import { Block, DenseTensor, type Panels } from './tensor.ts';
import type { AsyncOptions, MatmulOptions, Prepacked, Tensor, TensorLike } from './types.ts';

interface Request {
  readonly problem: MatmulProblem;
  readonly shape: Shape;
  readonly a: Operand;
  readonly b: Operand | undefined;
  readonly panels: Panels | undefined;
  readonly bias: Operand | undefined;
  readonly out: DenseTensor | undefined;
  readonly alpha: number;
  readonly beta: number;
  readonly clipMin: number;
  readonly clipMax: number;
}

const SYNC_OPTIONS: ReadonlySet<string> = new Set<keyof MatmulOptions>([
  'transposeA',
  'transposeB',
  'bias',
  'activation',
  'alpha',
  'beta',
  'out',
]);
const ASYNC_OPTIONS: ReadonlySet<string> = new Set([...SYNC_OPTIONS, 'signal', 'onProgress']);

function rowsOf(shape: Shape, transpose: boolean): number {
  return shape[shape.length - (transpose ? 1 : 2)] ?? 1;
}

function columnsOf(shape: Shape, transpose: boolean): number {
  return shape[shape.length - (transpose ? 2 : 1)] ?? 1;
}

/** Everything that can be wrong with a call is found here, before memory is taken. */
function readRequest(core: Core, a: TensorLike, b: TensorLike | Prepacked, options: MatmulOptions): Request {
  core.checkOpen('multiply');
  const transposeA = checkFlag(options.transposeA, 'transposeA');
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const activation: { kind: MatmulProblem['activation']; min: number; max: number } = readActivation(
    options.activation as Activation | undefined,
  );
  const alpha = checkNumber(options.alpha, 1, 'alpha');
  const beta = checkNumber(options.beta, 0, 'beta');
  const operandA = readOperand(core.heap, a, 'a');
  const panels = readPrepacked(core.heap, b);
  if (panels && transposeB) {
    throw new TesseraeError(
      'E_ARGUMENT',
      'transposeB does not go with a prepacked b',
      { transposeB },
      'Say transposeB when prepacking.',
    );
  }
  const operandB = panels ? undefined : readOperand(core.heap, b as TensorLike, 'b');
  const bias = options.bias === undefined ? undefined : readOperand(core.heap, options.bias, 'bias');
  const shapeB = panels ? panels.shape : operandB!.shape;
  const kind = bias
    ? biasKind(bias.shape, rowsOf(operandA.shape, transposeA), columnsOf(shapeB, transposeB))
    : 'none';
  const { problem, shape } = matmulFromShapes(operandA.shape, shapeB, {
    transposeA,
    transposeB,
    panel: panels?.panel,
    bias: kind,
    activation: activation.kind,
    scaled: alpha !== 1,
    accumulate: beta !== 0,
    exact: core.exact,
  });
  const out = readOut(core.heap, options.out, shape, [a, b, options.bias]);
  if (beta !== 0 && !out) {
    throw new TesseraeError(
      'E_ARGUMENT',
      `beta is ${beta} but there is no out`,
      { beta },
      'Pass the tensor that beta applies to as out.',
    );
  }
  return {
    problem,
    shape,
    a: operandA,
    b: operandB,
    panels,
    bias,
    out,
    alpha,
    beta,
    clipMin: activation.min,
    clipMax: activation.max,
  };
}

/** A call's memory: operands in place, the result made. `release` gives back whatever was taken, after a failure also a
 *  result that nobody will see. */
class Placement {
  readonly #request: Request;
  /** How many of a, b, bias, panels, in this order, are held. */
  #held = 0;
  #made: DenseTensor | undefined;
  #out: DenseTensor | undefined;
  operands!: Operands;

  constructor(core: Core, request: Request) {
    this.#request = request;
    try {
      this.#take(core, request);
    } catch (error) {
      this.release(true);
      throw error;
    }
  }

  get out(): DenseTensor {
    return this.#out!;
  }

  #take(core: Core, { a, b, bias, panels, shape, out, alpha, beta, clipMin, clipMax }: Request): void {
    const addressA = a.place();
    this.#held = 1;
    const addressB = b ? b.place() : 0;
    this.#held = 2;
    const addressBias = bias ? bias.place() : 0;
    this.#held = 3;
    panels?.block.hold();
    this.#held = 4;
    if (!out) this.#made = new DenseTensor(core.heap, shape);
    const result = out ?? this.#made!;
    result.block.hold();
    this.#out = result;
    const packedB = panels?.block.address;
    this.operands = {
      a: addressA,
      b: addressB,
      c: result.block.address,
      bias: addressBias,
      packedB,
      alpha,
      beta,
      clipMin,
      clipMax,
    };
  }

  release(failed: boolean): void {
    const { a, b, bias, panels } = this.#request;
    if (this.#held > 0) a.done();
    if (this.#held > 1) b?.done();
    if (this.#held > 2) bias?.done();
    if (this.#held > 3) panels?.block.release();
    this.#out?.block.release();
    if (failed) this.#made?.dispose();
  }
}

/** Extents of zero. Where only k is zero, every sum is zero but bias, beta and activation still apply: one step of zeros
 *  through the kernels, so that the bits are those of any other product. */
function runEmpty(core: Core, { problem: p }: Request, placed: Placement): void {
  if (p.batch === 0 || p.m === 0 || p.n === 0) return;
  const zeros = new Block(core.heap, 4 * Math.max(p.m, p.n), 'scratch');
  try {
    core.heap.floats().fill(0, zeros.address >> 2, (zeros.address + zeros.bytes) >> 2);
    const one = { sharedA: true, sharedB: true, leading: undefined, prepackedB: false, panel: undefined };
    const planned = core.plan({ ...p, ...one, k: 1, transposeA: false, transposeB: false });
    if (!planned) throw untrusted(core);
    const operands = { ...placed.operands, a: zeros.address, b: zeros.address, packedB: undefined };
    core.executor.runSync(planned, operands);
  } finally {
    zeros.dispose();
  }
}

function untrusted(core: Core): TesseraeError {
  return new TesseraeError(
    'E_KERNEL',
    'no kernel that could do this may be trusted on this device',
    { quarantined: core.quarantined },
    "The float64 reference cannot stand in here: it reads no panels and is not bit-exact. Use numerics 'fast' and plain tensors.",
  );
}

/** The oracle as a last resort, where no kernel may be trusted. */
function runReference(core: Core, request: Request, placed: Placement): void {
  const { problem: p, a, b, bias } = request;
  const floats = core.heap.floats();
  const slice = (address: number, shape: Shape) =>
    floats.slice(address >> 2, (address >> 2) + shape.reduce((x, y) => x * y, 1));
  if (!b || core.exact) throw untrusted(core);
  const { operands, out } = placed;
  const { alpha, beta, clipMin, clipMax } = operands;
  const values = {
    a: slice(operands.a, a.shape),
    b: slice(operands.b, b.shape),
    bias: bias && slice(operands.bias, bias.shape),
    c0: out.data.slice(),
    alpha,
    beta,
    clipMin,
    clipMax,
  };
  referenceMatmul(p, values, out.data);
}

function isEmpty(p: MatmulProblem): boolean {
  return p.batch === 0 || p.m === 0 || p.n === 0 || p.k === 0;
}

export function matmulSync(
  core: Core,
  a: TensorLike,
  b: TensorLike | Prepacked,
  options: MatmulOptions,
): Tensor {
  checkOptions(options, SYNC_OPTIONS);
  const request = readRequest(core, a, b, options);
  const placed = new Placement(core, request);
  let failed = true;
  try {
    if (isEmpty(request.problem)) runEmpty(core, request, placed);
    else {
      const planned = core.plan(request.problem);
      if (planned) core.executor.runSync(planned, placed.operands);
      else runReference(core, request, placed);
    }
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}

/** Starts at once; a call that is short enough is finished when this returns. */
export function matmul(
  core: Core,
  a: TensorLike,
  b: TensorLike | Prepacked,
  options: MatmulOptions & AsyncOptions,
): Promise<Tensor> {
  let placed: Placement | undefined;
  try {
    checkOptions(options, ASYNC_OPTIONS);
    checkAsync(options);
    options.signal?.throwIfAborted();
    const request = readRequest(core, a, b, options);
    placed = new Placement(core, request);
    const pending = startCall(core, request, placed, options);
    if (pending) return finishCall(pending, placed);
    placed.release(false);
    return Promise.resolve(placed.out);
  } catch (error) {
    placed?.release(true);
    return Promise.reject(error);
  }
}

function startCall(
  core: Core,
  request: Request,
  placed: Placement,
  { signal, onProgress }: AsyncOptions,
): void | Promise<void> {
  const { problem } = request;
  if (isEmpty(problem)) return runEmpty(core, request, placed);
  const run = (): void | Promise<void> => {
    const planned = core.plan(problem);
    if (!planned) return runReference(core, request, placed);
    const report = onProgress && ((done: number, total: number) => onProgress({ phase: 'run', done, total }));
    return core.executor.run(planned, placed.operands, { signal, onProgress: report });
  };
  return core.effort === 'estimate' ? run() : core.tuneFirst(problem, signal).then(run);
}

async function finishCall(pending: Promise<void>, placed: Placement): Promise<Tensor> {
  let failed = true;
  try {
    await pending;
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}
