/** The way of every call: a checked request -> operands in memory -> plan -> execution -> result. */
import { TesseraeError } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import type { Problem } from '../problem/problem.ts';
import type { Execution, Operands } from '../schedule/execute.ts';
import { checkAsync, checkOptions } from './arguments.ts';
import type { Core } from './core.ts';
import { DenseTensor, type Held } from './tensor.ts';
import type { AsyncOptions, DType, Tensor } from './types.ts';

/** A call whose arguments have been checked: nothing can be wrong with it any more but memory and threads. */
export interface Request {
  readonly problem: Problem;
  readonly shape: Shape;
  /** Of the result; floats unless given. Callers know the type that they asked for. */
  readonly dtype?: DType;
  readonly inputs: readonly (Held | undefined)[];
  readonly out: DenseTensor | undefined;
  /** Whether an extent is 0, which no kernel takes. */
  readonly empty: boolean;
  /** The plan, where the planner is not asked. */
  plan?(core: Core): Execution;
  /** Addresses and scalars for a plan; `at` are the inputs' addresses in their order. */
  operands(core: Core, planned: Execution | undefined, at: readonly number[], result: number): Operands;
  /** The result where an extent is 0. */
  runEmpty(core: Core, at: readonly number[], out: DenseTensor): void;
  /** The result by the oracle, where no kernel may be trusted. */
  runReference(core: Core, at: readonly number[], out: DenseTensor): void;
}

/** What of a request lies in memory. */
export type Placed = Pick<Request, 'inputs' | 'shape' | 'dtype' | 'out'>;

/** A call's memory: inputs in place, the result made. `release` gives back whatever was taken, after a failure also a
 *  result that nobody will see. */
export class Placement {
  readonly #request: Placed;
  readonly at: number[] = [];
  #made: DenseTensor | undefined;
  #out: DenseTensor | undefined;

  constructor(core: Core, request: Placed) {
    this.#request = request;
    try {
      for (const input of request.inputs) this.at.push(input ? input.place() : 0);
      if (!request.out)
        this.#made = new DenseTensor<DType>(core.heap, request.shape, request.dtype) as DenseTensor;
      const result = request.out ?? this.#made!;
      result.block.hold();
      this.#out = result;
    } catch (error) {
      this.release(true);
      throw error;
    }
  }

  get out(): DenseTensor {
    return this.#out!;
  }

  release(failed: boolean): void {
    const { inputs } = this.#request;
    for (let i = 0; i < this.at.length; i++) inputs[i]?.done();
    this.#out?.block.release();
    if (failed) this.#made?.dispose();
  }
}

export function untrusted(core: Core): TesseraeError {
  return new TesseraeError(
    'E_KERNEL',
    'no kernel that could do this may be trusted on this device',
    { quarantined: core.quarantined },
    "The float64 reference cannot stand in here: it reads no panels and is not bit-exact. Use numerics 'fast' and plain tensors.",
  );
}

function planOf(core: Core, request: Request): Execution | undefined {
  return request.plan ? request.plan(core) : core.plan(request.problem);
}

/** Computes before it returns. */
export function callSync(core: Core, request: Request): Tensor {
  const placed = new Placement(core, request);
  let failed = true;
  try {
    if (request.empty) request.runEmpty(core, placed.at, placed.out);
    else {
      const planned = planOf(core, request);
      if (planned)
        core.executor.runSync(planned, request.operands(core, planned, placed.at, placed.out.block.address));
      else request.runReference(core, placed.at, placed.out);
    }
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}

/** Starts at once; a call that is short enough is finished when this returns. `read` checks the arguments. */
export function call(
  core: Core,
  options: AsyncOptions,
  known: ReadonlySet<string>,
  read: () => Request,
): Promise<Tensor> {
  let placed: Placement | undefined;
  try {
    checkOptions(options, known);
    checkAsync(options);
    options.signal?.throwIfAborted();
    const request = read();
    placed = new Placement(core, request);
    const pending = start(core, request, placed, options);
    if (pending) return finish(pending, placed);
    placed.release(false);
    return Promise.resolve(placed.out);
  } catch (error) {
    placed?.release(true);
    return Promise.reject(error);
  }
}

function start(
  core: Core,
  request: Request,
  placed: Placement,
  { signal, onProgress }: AsyncOptions,
): void | Promise<void> {
  const { problem } = request;
  if (request.empty) return request.runEmpty(core, placed.at, placed.out);
  const run = (): void | Promise<void> => {
    const planned = planOf(core, request);
    if (!planned) return request.runReference(core, placed.at, placed.out);
    const report = onProgress && ((done: number, total: number) => onProgress({ phase: 'run', done, total }));
    const operands = request.operands(core, planned, placed.at, placed.out.block.address);
    return core.executor.run(planned, operands, { signal, onProgress: report });
  };
  return core.effort === 'estimate' || request.plan ? run() : core.tuneFirst(problem, signal).then(run);
}

async function finish(pending: Promise<void>, placed: Placement): Promise<Tensor> {
  let failed = true;
  try {
    await pending;
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}
