/**
 * A right operand that is larger than a memory may be: strips of its columns, as panels, in the memories of threads that each have their own.
 * A product sends its left operand to all of them and gets strips of the result; no sum is split, so that the bytes are those of one memory.
 */
import type { Priority } from '../../backends/types.ts';
import { abortReason, TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import { checkShape, type Shape, showShape } from '../../core/shape.ts';
import { type MatmulProblem, matmulProblem } from '../../problem/matmul.ts';
import type { ApartExecutor, Keeper } from '../../schedule/apart.ts';
import { lowerPackB } from '../../schedule/lower/gemm.ts';
import { NO_OPERANDS } from '../../schedule/operands.ts';
import { ASYNC_NAMES, checkAsync, checkFlag, checkOptions } from '../arguments.ts';
import type { Core } from '../core.ts';
import { checkKept, readOperand } from '../operands.ts';
import { checkRows, packPlan, panelFor } from '../prepack.ts';
import { DenseTensor, type Heap } from '../tensor.ts';
import type { ColumnSource, Spread, SpreadOptions, TensorLike } from '../types.ts';
import type { ApartPlace } from './place.ts';

/** Of values on their way to a thread, in one piece. */
const STRIP_BYTES = 32 * 1024 * 1024;
/** A memory holds a strip twice while it is packed, and must have room for others. */
const STRIPS_IN_MEMORY = 8;

const OPTIONS: ReadonlySet<string> = new Set<keyof SpreadOptions>(['transposeB', 'm', ...ASYNC_NAMES]);

type Panel = NonNullable<MatmulProblem['panel']>;

/** Columns that one thread has. */
export interface Strip {
  readonly first: number;
  readonly columns: number;
  readonly thread: number;
}

interface Matrix {
  readonly shape: readonly [number, number];
  readonly transposeB: boolean;
  readonly panel: Panel;
  /** Row-major: k x count, or count x k where the matrix is given transposed. */
  readonly columns: (first: number, count: number) => Float32Array | Promise<Float32Array>;
}

/** Made by `spread`. */
export class SpreadMatrix implements Spread, Keeper {
  readonly shape: readonly [number, number];
  readonly panel: Panel;
  readonly parts: readonly Strip[];
  readonly bytes: number;
  readonly core: Core;
  readonly place: ApartPlace;
  /** What the threads keep the strips for. It outlives this object, so that a forgotten one can be told from one in use. */
  readonly keeper = new SpreadKeeper();
  readonly #matrix: Matrix;
  #calls = 0;
  #isGone = false;

  constructor(core: Core, place: ApartPlace, matrix: Matrix, parts: readonly Strip[]) {
    this.core = core;
    this.place = place;
    this.#matrix = matrix;
    this.shape = matrix.shape;
    this.panel = matrix.panel;
    this.parts = parts;
    this.bytes = parts.reduce((sum, { columns }) => sum + this.#stripBytes(columns), 0);
    this.keeper.bytes = this.bytes;
    this.keeper.onDispose = () => place.sweep();
    core.heap.watch(this, this.keeper, this.shape);
  }

  get disposed(): boolean {
    return this.#isGone;
  }

  dispose(): void {
    if (this.disposed) return;
    this.#isGone = true;
    this.core.heap.unwatch(this.keeper);
    if (this.#calls === 0) this.keeper.dispose();
  }

  /** Keeps the strips until the returned function is called, whatever their owner does. */
  hold(): () => void {
    this.#calls++;
    return () => {
      if (--this.#calls === 0 && this.#isGone) this.keeper.dispose();
    };
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Brings a strip to its thread, which may be another one than at first: one that was lost has taken its memory along. */
  async fill({ first, columns, thread }: Strip, priority: Priority): Promise<void> {
    const values = await this.#matrix.columns(first, columns);
    const elements = this.shape[0] * columns;
    if (!(values instanceof Float32Array) || values.length !== elements) {
      throw new TesseraeError(
        'E_SHAPE',
        `columns ${first} to ${first + columns - 1} are not a Float32Array of ${elements} elements`,
        { first, columns, elements, got: values?.length },
        'One row after the other: k x count, or count x k with transposeB.',
      );
    }
    await this.place.onThread(thread, priority, (executor) => this.#pack(executor, first, columns, values));
  }

  #stripBytes(columns: number): number {
    return 4 * this.shape[0] * roundUp(columns, this.panel.nr);
  }

  #pack(executor: ApartExecutor, first: number, columns: number, values: Float32Array): Promise<void> {
    let made: Promise<void> = Promise.resolve();
    executor.keep(this.keeper, stripName(first), this.#stripBytes(columns), (packedB) => {
      made = executor.lend((take) => {
        const raw = take(values.byteLength);
        executor.backend.write(raw, values);
        const { transposeB } = this.#matrix;
        const problem = matmulProblem({ m: 1, n: columns, k: this.shape[0] }, { transposeB });
        const program = lowerPackB(problem, packPlan(this.core, problem, this.panel));
        return executor.runOnce(program, { ...NO_OPERANDS, b: raw, packedB });
      });
    });
    made.catch(() => executor.forget(this.keeper));
    return made;
  }
}

/** @throws `E_FOREIGN`, `E_DISPOSED`. */
export function readSpread(heap: Heap, value: object): SpreadMatrix | undefined {
  if (!(value instanceof SpreadMatrix)) return undefined;
  checkKept(value, value.core.heap === heap, 'spread');
  return value;
}

class SpreadKeeper {
  readonly owner = 'prepacked';
  bytes = 0;
  disposed = false;
  onDispose = (): void => undefined;

  dispose(): void {
    this.disposed = true;
    this.onDispose();
  }
}

export function stripName(first: number): string {
  return `columns ${first}`;
}

/** Resolves when every strip is where it is going to be used. What was sent is given back after a failure. */
export async function spread(
  core: Core,
  b: TensorLike | ColumnSource,
  options: SpreadOptions,
): Promise<Spread> {
  core.checkOpen('spread');
  checkOptions(options, OPTIONS);
  checkAsync(options);
  checkRows(options.m);
  const matrix = readMatrix(core, b, options);
  options.signal?.throwIfAborted();
  const place = core.threadsApart();
  if (!place) throw noThreadsApart(core.host.noWorkers ?? 'none can be made');
  const reason = await place.open();
  if (reason !== undefined) throw noThreadsApart(reason);
  core.checkOpen('spread');
  const made = new SpreadMatrix(core, place, matrix, stripsOf(matrix, place));
  try {
    await fillAll(made, options);
    return made;
  } catch (error) {
    made.dispose();
    throw error;
  }
}

export function noThreadsApart(reason: string): TesseraeError {
  return new TesseraeError(
    'E_FALLBACK',
    `there are no threads with memories of their own: ${reason}`,
    { reason },
    'Prepack the matrix where one memory holds it.',
  );
}

async function fillAll(made: SpreadMatrix, options: SpreadOptions): Promise<void> {
  const { signal, onProgress, priority = 'normal' } = options;
  const { core, parts, place } = made;
  const failed = new AbortController();
  let done = 0;
  const lane = async (thread: number) => {
    for (const part of parts.filter((strip) => strip.thread === thread)) {
      if (failed.signal.aborted) return;
      if (signal?.aborted) throw abortReason(signal);
      const work = () => made.fill(part, priority);
      await core.pacer.during({ priority, signal }, work, 1 / place.size);
      onProgress?.({ phase: 'prepare', done: ++done, total: parts.length });
    }
  };
  const lanes = Array.from({ length: place.size }, (_, thread) => lane(thread));
  try {
    await Promise.all(lanes);
  } catch (error) {
    failed.abort();
    // a strip that is under way may not arrive after what keeps it is gone
    await Promise.allSettled(lanes);
    throw error;
  }
}

/** As many strips for each thread, none larger than a memory can take on the way. */
function stripsOf({ shape: [k, n], panel: { nr } }: Matrix, place: ApartPlace): Strip[] {
  if (k === 0 || n === 0) return [];
  const most = Math.min(STRIP_BYTES, place.maximumMemory / STRIPS_IN_MEMORY);
  const widest = nr * Math.max(1, Math.floor(most / (4 * k * nr)));
  const wide = roundUp(Math.ceil(n / roundUp(Math.ceil(n / widest), place.size)), nr);
  const strips: Strip[] = [];
  for (let first = 0; first < n; first += wide)
    strips.push({ first, columns: Math.min(wide, n - first), thread: strips.length % place.size });
  return strips;
}

function readMatrix(core: Core, b: TensorLike | ColumnSource, options: SpreadOptions): Matrix {
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const isSource = typeof b === 'object' && b !== null && 'columns' in b && typeof b.columns === 'function';
  const shape = isSource ? checkShape(b.shape, 'b') : readOperand(core.heap, b as TensorLike, 'b').shape;
  if (shape.length !== 2) {
    throw new TesseraeError(
      'E_SHAPE',
      `b has shape ${showShape(shape)}, spread takes a matrix`,
      { shape },
      'Spread each matrix of a batch by itself.',
    );
  }
  const [k, n] = (transposeB ? [shape[1], shape[0]] : shape) as [number, number];
  const problem = matmulProblem({ m: 1, n, k }, { transposeB, exact: core.exact });
  const panel = panelFor(core, problem, options.m);
  const columns = isSource
    ? (first: number, count: number) => b.columns(first, count)
    : columnsOf(b as TensorLike, shape, transposeB);
  return { shape: [k, n], transposeB, panel, columns };
}

/** Columns of what lies in memory or in an array; the array is looked at again when a strip was lost. */
function columnsOf(b: TensorLike, [rows, wide]: Shape, transposeB: boolean): Matrix['columns'] {
  return (first, count) => {
    const data = b instanceof DenseTensor ? (b.data as Float32Array) : (b as { data: Float32Array }).data;
    if (transposeB) return data.subarray(first * wide!, (first + count) * wide!);
    return gatherColumns(data, { rows: rows!, wide: wide!, first, count });
  };
}

/** Some columns of a matrix that is `wide`. */
interface Columns {
  readonly rows: number;
  readonly wide: number;
  readonly first: number;
  readonly count: number;
}

export function gatherColumns(data: Float32Array, { rows, wide, first, count }: Columns): Float32Array {
  const values = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    const from = row * wide + first;
    values.set(data.subarray(from, from + count), row * count);
  }
  return values;
}

export function scatterColumns(
  values: Float32Array,
  data: Float32Array,
  { rows, wide, first, count }: Columns,
): void {
  for (let row = 0; row < rows; row++)
    data.set(values.subarray(row * count, (row + 1) * count), row * wide + first);
}
