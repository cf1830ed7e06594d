/** A call in parts on threads that each have a memory of their own. */
import type { Address, Priority } from '../../backends/types.ts';
import { abortReason } from '../../core/errors.ts';
import type { Cut } from '../../plan/cut.ts';
import type { ApartExecutor, Keeper } from '../../schedule/apart.ts';
import type { Execution } from '../../schedule/execute.ts';
import { lowerWeights } from '../../schedule/lower/conv.ts';
import { weightForm } from '../../schedule/lower/weights.ts';
import { NO_OPERANDS, type Operands } from '../../schedule/operands.ts';
import type { Core } from '../core.ts';
import { Placement } from '../placement.ts';
import type { KeptOperand, Request } from '../request.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import type { ApartPlace, Part } from './place.ts';

/** What is computed in parts: values and result are in this thread's memory, and stay there meanwhile. */
export interface ApartCall {
  readonly cut: Cut;
  readonly ms: number;
  readonly operands: Operands;
  readonly kept: KeptOperand | undefined;
}

/** Undefined where no thread came up: the call is then computed here. */
export async function runApart(
  core: Core,
  place: ApartPlace,
  request: Request,
  { cut, ms, options }: { readonly cut: Cut; readonly ms: number; readonly options: PlacedOptions },
): Promise<Tensor | undefined> {
  if ((await place.open()) !== undefined) return undefined;
  core.checkOpen('compute');
  options.signal?.throwIfAborted();
  return inMemory(core, request, (operands) =>
    runParts(core, place, { cut, ms, operands, kept: request.kept?.() }, options),
  );
}

/** Work that reads operands where they lie in this thread's memory, and writes the result there. */
export async function inMemory(
  core: Core,
  request: Request,
  work: (operands: Operands) => Promise<void>,
): Promise<Tensor> {
  const placed = new Placement(core, request);
  let failed = true;
  try {
    await work(request.operands(core, undefined, placed.at, placed.out.block.address));
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}

/** Resolves when the whole result is here. Aborted, it does not wait for parts that were sent: what they find is not looked at. */
export async function runParts(
  core: Core,
  place: ApartPlace,
  call: ApartCall,
  { signal, onProgress, priority = 'normal' }: PlacedOptions,
): Promise<void> {
  const parts = place.partsOf(call.cut, call.ms);
  const state = { disposed: false };
  let done = 0;
  const one = async (part: Part, nth: number) => {
    await runPart(core, place, call, { part, nth, priority, signal, state });
    if (!state.disposed) onProgress?.({ phase: 'run', done: ++done, total: parts.length });
  };
  try {
    await orAborted(Promise.all(parts.map(one)), signal);
  } finally {
    state.disposed = true;
    place.sweep();
  }
}

/** What the work gives, unless the signal comes first. */
export async function orAborted(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return void (await work);
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(abortReason(signal));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
    // of several failures one is told
    work.catch(() => undefined);
  }
}

interface PartRun {
  readonly part: Part;
  readonly nth: number;
  readonly priority: Priority;
  readonly signal: AbortSignal | undefined;
  /** Once the call is over, nothing of its memory may be touched. It keeps what all of its parts read. */
  readonly state: Keeper;
}

async function runPart(
  core: Core,
  place: ApartPlace,
  { cut, operands, kept }: ApartCall,
  { part: { first, units }, nth, priority, signal, state }: PartRun,
): Promise<void> {
  const share = 1 / place.threads;
  const view = (address: Address, elements: number) =>
    core.heap.floats().subarray(address >>> 2, (address >>> 2) + elements);
  const { c: result, ...read } = cut.shares;
  const send = (executor: ApartExecutor): Promise<void> => {
    // while it waited for its turn
    if (state.disposed) return Promise.resolve();
    const planned = core.plan(cut.part(units));
    if (!planned) throw new Error('no kernel for a part');
    return executor.lend((take) => {
      const at: Partial<Record<keyof Operands, Address>> = {};
      const made: Promise<void>[] = [];
      for (const [key, { fixed, stride }] of Object.entries(read)) {
        const name = key as keyof typeof read;
        const elements = fixed + stride * units;
        const values = () => view(operands[name]! + 4 * stride * first, elements);
        const range = stride === 0 ? name : `${name} ${first}+${units}`;
        if (kept?.name === name) {
          at[name] = keepValues(executor, kept.keeper, range, 4 * elements, values);
          Object.assign(at, formsOf(executor, kept, { range, planned, raw: at[name], made }));
        } else if (stride === 0) at[name] = keepValues(executor, state, range, 4 * elements, values);
        else {
          at[name] = take(4 * elements);
          executor.backend.write(at[name], values());
        }
      }
      const bytes = 4 * (result.fixed + result.stride * units);
      const c = take(bytes);
      const done = executor.run(planned, { ...operands, packedA: undefined, ...at, c });
      const arrived = executor.backend.read(c, bytes, (floats) => {
        if (!state.disposed) view(operands.c + 4 * result.stride * first, floats.length).set(floats);
      });
      arrived.catch(() => undefined);
      return Promise.all([...made, done]).then(() => arrived);
    });
  };
  const work = () => place.on(nth, priority, send);
  await core.pacer.during({ priority, signal }, work, share);
}

export function keepValues(
  executor: ApartExecutor,
  keeper: Keeper,
  name: string,
  bytes: number,
  values: () => Float32Array,
): Address {
  return executor.keep(keeper, name, bytes, (address) => executor.backend.write(address, values()));
}

interface Wanted {
  readonly range: string;
  readonly planned: Execution;
  /** Where the filters lie as they were given. */
  readonly raw: Address;
  /** Gets what is made on the way. */
  readonly made: Promise<void>[];
}

/** Filters in the form that a plan wants, made over there. */
function formsOf(
  executor: ApartExecutor,
  { name, keeper }: KeptOperand,
  { range, planned: { problem, plan }, raw, made }: Wanted,
): Partial<Operands> {
  if (problem.op !== 'conv') return {};
  const form = weightForm(problem, plan);
  if (!form) return {};
  const packed = name === 'a' ? 'packedA' : 'packedB';
  const address = executor.keep(keeper, `${range} ${form.name}`, 4 * form.elements, (to) => {
    const making = executor.runOnce(lowerWeights(problem, plan)!, {
      ...NO_OPERANDS,
      [name]: raw,
      [packed]: to,
    });
    making.catch(() => executor.forget(keeper));
    made.push(making);
  });
  return { [packed]: address };
}
