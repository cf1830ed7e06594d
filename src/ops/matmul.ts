/** matmul: arguments -> problem -> plan -> execution -> result. */
import { TesseraeError } from '../core/errors.ts';
import { referenceActivation, referenceMatmul } from '../backends/reference/matmul.ts';
import { type Activation, readActivation } from '../problem/epilogue.ts';
import { type MatmulProblem, matmulFromShapes } from '../problem/matmul.ts';
import type { Shape } from '../core/shape.ts';
import type { Operands } from '../schedule/execute.ts';
import type { Core } from './core.ts';
import { biasKind, type Operand, readOperand, readOut, readPrepacked } from './operands.ts';
import { DenseTensor, type Panels } from './tensor.ts';
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

function readNumber(value: number | undefined, fallback: number, name: string): number {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new TesseraeError('E_ARGUMENT', `${name} is ${String(value)}`, { [name]: value }, `${name} must be a finite number.`);
}

function readFlag(value: boolean | undefined, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  throw new TesseraeError('E_ARGUMENT', `${name} is ${String(value)}`, { [name]: value }, `${name} must be true or false.`);
}

/** Everything that can be wrong with a call is found here, before memory is taken. */
function readRequest(core: Core, a: TensorLike, b: TensorLike | Prepacked, options: MatmulOptions): Request {
  core.checkOpen('multiply');
  const transposeA = readFlag(options.transposeA, 'transposeA');
  const transposeB = readFlag(options.transposeB, 'transposeB');
  const activation: { kind: MatmulProblem['activation']; min: number; max: number } = readActivation(options.activation as Activation | undefined);
  const alpha = readNumber(options.alpha, 1, 'alpha');
  const beta = readNumber(options.beta, 0, 'beta');
  const operandA = readOperand(core.heap, a, 'a');
  const panels = readPrepacked(core.heap, b);
  if (panels && transposeB) {
    throw new TesseraeError('E_ARGUMENT', 'transposeB does not go with a prepacked b', { transposeB }, 'Say transposeB when prepacking.');
  }
  const operandB = panels ? undefined : readOperand(core.heap, b as TensorLike, 'b');
  const bias = options.bias === undefined ? undefined : readOperand(core.heap, options.bias, 'bias');
  const shapeB = panels ? panels.shape : operandB!.shape;
  const traits = {
    transposeA, transposeB,
    activation: activation.kind, scaled: alpha !== 1, accumulate: beta !== 0, exact: core.exact,
    ...(panels ? { panel: { nr: panels.nr, kc: panels.kc } } : {}),
  };
  const bare = matmulFromShapes(operandA.shape, shapeB, traits);
  const [m, n] = bare.shape.slice(-2) as [number, number];
  const kind = bias ? biasKind(bias.shape, m, n) : 'none';
  const { problem, shape } = kind === 'none' ? bare : matmulFromShapes(operandA.shape, shapeB, { ...traits, bias: kind });
  const out = readOut(core.heap, options.out, shape, [a, b, options.bias]);
  if (beta !== 0 && !out) {
    throw new TesseraeError('E_ARGUMENT', `beta is ${beta} but there is no out`, { beta }, 'Pass the tensor that beta applies to as out.');
  }
  return { problem, shape, a: operandA, b: operandB, panels, bias, out, alpha, beta, clipMin: activation.min, clipMax: activation.max };
}

interface Placed {
  readonly operands: Operands;
  readonly out: DenseTensor;
  /** Lets go of everything; after a failure also of a result that nobody will see. */
  done(failed: boolean): void;
}

/** Brings operands into memory and makes the result; if memory runs out, all of it is given back. */
function place(core: Core, request: Request): Placed {
  const { a, b, panels, bias } = request;
  const undo: (() => void)[] = [];
  let made: DenseTensor | undefined;
  const release = (failed: boolean) => {
    for (const step of undo) step();
    if (failed) made?.dispose();
  };
  const put = (operand: Operand | undefined): number => {
    if (!operand) return 0;
    const block = operand.place();
    undo.push(() => operand.done());
    return block.address;
  };
  try {
    const addresses = { a: put(a), b: put(b), bias: put(bias) };
    const out = request.out ?? (made = new DenseTensor(core.heap, request.shape));
    out.block.hold();
    undo.push(() => out.block.release());
    if (panels) {
      panels.block.hold();
      undo.push(() => panels.block.release());
    }
    const { alpha, beta, clipMin, clipMax } = request;
    const operands: Operands = {
      ...addresses, c: out.block.address, alpha, beta, clipMin, clipMax,
      ...(panels ? { packedB: panels.block.address } : {}),
    };
    return { operands, out, done: release };
  } catch (error) {
    release(true);
    throw error;
  }
}

/** Extents of zero: no product, but bias, beta and activation still apply when only k is zero. */
function runEmpty(core: Core, request: Request, placed: Placed): void {
  const { problem: p } = request;
  const floats = core.heap.floats();
  const { c, bias, beta, clipMin, clipMax } = placed.operands;
  for (let at = 0; at < p.batch * p.m * p.n; at++) {
    const i = Math.floor(at / p.n) % p.m;
    const added = p.bias === 'row' ? floats[(bias >> 2) + (at % p.n)]! : p.bias === 'column' ? floats[(bias >> 2) + i]! : 0;
    const old = beta === 0 ? 0 : beta * floats[(c >> 2) + at]!;
    floats[(c >> 2) + at] = referenceActivation(p.activation, old + added, clipMin, clipMax);
  }
}

/** The oracle as a last resort, where no kernel may be trusted. */
function runReference(core: Core, request: Request, placed: Placed): void {
  const { problem: p, a, b, bias } = request;
  const floats = core.heap.floats();
  const slice = (address: number, shape: Shape) => floats.slice(address >> 2, (address >> 2) + shape.reduce((x, y) => x * y, 1));
  if (!b) throw new TesseraeError('E_KERNEL', 'no kernel that reads these panels may be trusted on this device', { kernels: [...core.filter.quarantined.keys()] }, 'Pass b as a tensor instead of prepacked.');
  const { operands, out } = placed;
  const { alpha, beta, clipMin, clipMax } = operands;
  const values = { a: slice(operands.a, a.shape), b: slice(operands.b, b.shape), bias: bias && slice(operands.bias, bias.shape), c0: out.data.slice(), alpha, beta, clipMin, clipMax };
  referenceMatmul(p, values, out.data);
}

function isEmpty(p: MatmulProblem): boolean {
  return p.batch === 0 || p.m === 0 || p.n === 0 || p.k === 0;
}

export function matmulSync(core: Core, a: TensorLike, b: TensorLike | Prepacked, options: MatmulOptions): Tensor {
  const request = readRequest(core, a, b, options);
  const placed = place(core, request);
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
    placed.done(failed);
  }
}

export async function matmul(core: Core, a: TensorLike, b: TensorLike | Prepacked, options: MatmulOptions & AsyncOptions): Promise<Tensor> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const request = readRequest(core, a, b, options);
  const placed = place(core, request);
  let failed = true;
  try {
    if (isEmpty(request.problem)) runEmpty(core, request, placed);
    else {
      if (core.effort !== 'estimate') await core.tuneFirst(request.problem, signal);
      const planned = core.plan(request.problem);
      const report = onProgress && ((done: number, total: number) => onProgress({ phase: 'run', done, total }));
      if (planned) await core.executor.run(planned, placed.operands, { signal, onProgress: report });
      else runReference(core, request, placed);
    }
    failed = false;
    return placed.out;
  } finally {
    placed.done(failed);
  }
}
