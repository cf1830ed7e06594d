/** A product with a right operand that lies in strips on threads with memories of their own. */
import type { Address } from '../../backends/types.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import type { ApartExecutor } from '../../schedule/apart.ts';
import type { Operands } from '../../schedule/operands.ts';
import type { Core } from '../core.ts';
import type { Request } from '../request.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import { inMemory, keepValues, orAborted } from './run.ts';
import {
  gatherColumns,
  noThreadsApart,
  type SpreadMatrix,
  type Strip,
  scatterColumns,
  stripName,
} from './spread.ts';

/** Of rows of `a`, or of a strip of their results, that are sent at a time: a memory that is full of weights has not much room. */
const ROWS_BYTES = 16 * 1024 * 1024;
const ROWS_IN_MEMORY = 16;

/** Rows of the result that are computed before the next ones are sent. */
interface Rows {
  readonly first: number;
  readonly problem: MatmulProblem;
  readonly operands: Operands;
  /** Over when these rows are done, or nobody wants them any more. It keeps what all strips on a thread read. */
  readonly state: { disposed: boolean };
}

export async function runSpread(
  core: Core,
  matrix: SpreadMatrix,
  request: Request,
  options: PlacedOptions,
): Promise<Tensor> {
  const reason = await matrix.place.open();
  if (reason !== undefined) throw noThreadsApart(reason);
  core.checkOpen('compute');
  options.signal?.throwIfAborted();
  return inMemory(core, request, (operands) =>
    multiply(core, matrix, request.problem as MatmulProblem, operands, options),
  );
}

async function multiply(
  core: Core,
  matrix: SpreadMatrix,
  problem: MatmulProblem,
  operands: Operands,
  options: PlacedOptions,
): Promise<void> {
  const blocks = rowsOf(matrix, problem);
  const total = blocks.length * matrix.parts.length;
  let done = 0;
  const report = () => options.onProgress?.({ phase: 'run', done: ++done, total });
  for (const { first, rows } of blocks) {
    const state = { disposed: false };
    const part = blocks.length > 1 ? { ...problem, m: rows } : problem;
    const work = runRows(core, matrix, { first, problem: part, operands, state }, options, report);
    try {
      await orAborted(work, options.signal);
    } finally {
      state.disposed = true;
      matrix.place.sweep();
    }
  }
}

function rowsOf({ place, parts }: SpreadMatrix, p: MatmulProblem): { first: number; rows: number }[] {
  if (p.batch > 1 || p.transposeA) return [{ first: 0, rows: p.m }];
  const widest = Math.max(p.k, ...parts.map(({ columns }) => columns));
  const most = Math.min(ROWS_BYTES, place.maximumMemory / ROWS_IN_MEMORY);
  const step = Math.max(1, Math.floor(most / (4 * widest)));
  const blocks: { first: number; rows: number }[] = [];
  for (let first = 0; first < p.m; first += step) blocks.push({ first, rows: Math.min(step, p.m - first) });
  return blocks;
}

/** Strips stay where they lie; as many threads work at a time as the budget allows. */
async function runRows(
  core: Core,
  matrix: SpreadMatrix,
  rows: Rows,
  { signal, priority = 'normal' }: PlacedOptions,
  report: () => void,
): Promise<void> {
  const { place, parts } = matrix;
  const one = async (strip: Strip) => {
    const work = async () => {
      const send = (executor: ApartExecutor) => sendStrip(core, matrix, rows, strip, executor);
      for (;;) {
        if (rows.state.disposed) return;
        const sent = await place.onThread(strip.thread, priority, send);
        if (sent !== 'missing') break;
        await matrix.fill(strip, priority);
      }
      if (!rows.state.disposed) report();
    };
    await core.pacer.during({ priority, signal }, work, 1 / place.threads);
  };
  const lane = async (nth: number) => {
    for (let thread = nth; thread < place.size; thread += place.threads)
      await Promise.all(parts.filter((strip) => strip.thread === thread).map(one));
  };
  await Promise.all(Array.from({ length: place.threads }, (_, nth) => lane(nth)));
}

/** `missing` where the thread has not got the strip, because it is not the one that got it. */
function sendStrip(
  core: Core,
  { keeper }: SpreadMatrix,
  { first, problem, operands, state }: Rows,
  strip: Strip,
  executor: ApartExecutor,
): Promise<'missing' | 'done'> {
  const packedB = executor.kept(keeper, stripName(strip.first));
  if (packedB === undefined) return Promise.resolve('missing');
  if (state.disposed) return Promise.resolve('done');
  const planned = core.plan({ ...problem, n: strip.columns });
  if (!planned) throw new Error('no kernel for a strip');
  const { batch, m, n, k, sharedA } = problem;
  const { backend } = executor;
  const view = (address: Address, elements: number) =>
    core.heap.floats().subarray(address >>> 2, (address >>> 2) + elements);
  const kept = (name: string, address: Address, elements: number) =>
    keepValues(executor, state, name, 4 * elements, () => view(address, elements));
  const columns = { rows: batch * m, wide: n, first: strip.first, count: strip.columns };
  const result = () => view(operands.c + 4 * first * n, batch * m * n);
  return executor.lend((take) => {
    const sent = (values: Float32Array): Address => {
      const at = take(values.byteLength);
      backend.write(at, values);
      return at;
    };
    const ofColumns = (address: Address) => sent(view(address + 4 * strip.first, strip.columns));
    const { bias } = operands;
    const bytes = 4 * batch * m * strip.columns;
    const c = problem.accumulate ? sent(gatherColumns(result(), columns)) : take(bytes);
    const done = executor.run(planned, {
      ...operands,
      a: kept('a', operands.a + 4 * first * k, (sharedA ? 1 : batch) * m * k),
      b: 0,
      packedB,
      bias: problem.bias === 'row' ? ofColumns(bias) : bias && kept('bias', bias + 4 * first, m),
      slope: problem.activation === 'prelu' ? ofColumns(operands.slope) : operands.slope,
      c,
    });
    const arrived = backend.read(c, bytes, (values) => {
      if (!state.disposed) scatterColumns(values, result(), columns);
    });
    arrived.catch(() => undefined);
    return done.then(() => arrived).then(() => 'done' as const);
  });
}
