/**
 * A product in bands of rows, each handed over as soon as it is done: the whole result is never held, the first rows come after a few
 * milliseconds, and whoever has seen enough just stops. The right operand is packed once for all of them.
 */
import { roundUp } from '../core/math.ts';
import { type Shape, sizeOf } from '../core/shape.ts';
import { readSpread } from './apart/spread.ts';
import { ASYNC_NAMES, badArgument, checkAsync, checkFlag, checkOptions } from './arguments.ts';
import type { Core } from './core.ts';
import { matmul, readMatmul } from './matmul.ts';
import { type Operand, readOperand, readPrepacked } from './operands.ts';
import { prepack } from './prepack.ts';
import type { Panels } from './tensor.ts';
import type { Band, BandOptions, Prepacked, Tensor, TensorLike } from './types.ts';

const OPTIONS: ReadonlySet<string> = new Set<keyof BandOptions>([
  'transposeB',
  'bias',
  'activation',
  'alpha',
  'rows',
  'ahead',
  ...ASYNC_NAMES,
]);
/** How long a band takes if its height is left to us: long beside the cost of a call, short for who waits. */
const BAND_MS = 20;
/** Heights are multiples of it: whole blocks of every micro-kernel's rows but for a few. */
const ROWS_STEP = 48;

interface Stream {
  readonly core: Core;
  readonly a: Operand;
  /** A matrix, or as many as `a` has. */
  readonly b: Operand | undefined;
  readonly panels: Panels | undefined;
  readonly bias: Operand | undefined;
  readonly options: BandOptions;
  readonly members: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly rows: number;
}

/** Checks at once; computes when it is iterated over. */
export function matmulBands(
  core: Core,
  a: TensorLike,
  b: TensorLike | Prepacked,
  options: BandOptions = {},
): AsyncIterable<Band> {
  core.checkOpen('multiply');
  checkOptions(options, OPTIONS);
  checkAsync(options);
  const stream = readStream(core, a, b, options);
  return { [Symbol.asyncIterator]: () => bandsOf(stream) };
}

function readStream(core: Core, a: TensorLike, b: TensorLike | Prepacked, options: BandOptions): Stream {
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  if (readSpread(core.heap, b))
    throw badArgument('b', b, 'Its strips are columns; prepack it for bands of rows.');
  const left = readOperand(core.heap, a, 'a');
  const panels = readPrepacked(core.heap, b);
  const right = panels ? undefined : readOperand(core.heap, b as TensorLike, 'b');
  const bias = options.bias && readOperand(core.heap, options.bias, 'bias');
  const { activation, alpha } = options;
  const whole = {
    transposeB,
    ...(bias ? { bias: options.bias! } : {}),
    ...(activation === undefined ? {} : { activation }),
    ...(alpha === undefined ? {} : { alpha }),
  };
  const { problem, shape } = readMatmul(core, a, b, whole);
  const { k, n } = problem;
  const m = shape.at(-2)!;
  const shapeB = right ? right.shape : panels!.shape;
  const leading = (of: Shape) => sizeOf(of.slice(0, -2));
  const members = m * n === 0 ? 0 : leading(shape);
  if (leading(left.shape) !== leading(shape) || (shapeB.length > 2 && leading(shapeB) !== leading(shape)))
    throw badArgument(
      'b',
      shapeB,
      'One matrix for all, or one for each of a; other batches are not streamed.',
    );
  const { ahead = 1 } = options;
  if (!(Number.isSafeInteger(ahead) && ahead >= 0))
    throw badArgument('ahead', ahead, 'A whole number from 0 on.');
  const isEmpty = members === 0 || k === 0;
  const rows = options.rows ?? rowsFor(isEmpty ? 0 : core.plan(problem)?.ms, members * m);
  if (!(Number.isSafeInteger(rows) && rows >= 1))
    throw badArgument('rows', rows, 'A whole number from 1 on.');
  return {
    ...{ core, a: left, b: right, panels, bias, options, members, m, k, n, rows },
  };
}

function rowsFor(ms = BAND_MS, all: number): number {
  return roundUp(Math.max(1, Math.round((all * BAND_MS) / Math.max(ms, 1e-3))), ROWS_STEP);
}

async function* bandsOf(stream: Stream): AsyncGenerator<Band, void, void> {
  const { core, a, b, bias, options, members } = stream;
  const holds = [a, b, bias].map((operand) => operand?.hold());
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const begun: Promise<Band>[] = [];
  let panels: Prepacked | undefined;
  let done = 0;
  try {
    await Promise.all([a, b, bias].map((operand) => operand?.fetch()));
    for (let member = 0; member < members; member++) {
      core.checkOpen('multiply');
      signal.throwIfAborted();
      if (!stream.panels && (member === 0 || b!.shape.length > 2)) {
        panels?.dispose();
        panels = packed(stream, member);
      }
      for (let row = 0; row < stream.m; row += stream.rows) {
        begun.push(band(stream, stream.panels ?? panels!, { member, row }, signal));
        // who fails while another is waited for must not count as unheard
        begun.at(-1)!.catch(() => undefined);
        if (begun.length > (options.ahead ?? 1)) yield await next();
      }
      while (begun.length > 0 && b && b.shape.length > 2) yield await next();
    }
    while (begun.length > 0) yield await next();
  } finally {
    stop.abort();
    // memory is back when the loop has ended
    await Promise.allSettled(begun);
    panels?.dispose();
    for (const release of holds) release?.();
  }

  async function next(): Promise<Band> {
    const made = await begun.shift()!;
    done += made.rows;
    options.onProgress?.({ phase: 'run', done, total: members * stream.m });
    return made;
  }
}

/** One matrix of the right operand. */
function packed({ core, b, k, n, rows, options }: Stream, member: number): Prepacked {
  const { transposeB = false } = options;
  const data = b!.values().subarray(member * k * n, (member + 1) * k * n);
  return prepack(core, { data, shape: transposeB ? [n, k] : [k, n] }, { transposeB, m: rows });
}

async function band(
  { core, a, bias, options, m, k, n, rows: most }: Stream,
  panels: Prepacked,
  { member, row }: { readonly member: number; readonly row: number },
  signal: AbortSignal,
): Promise<Band> {
  const rows = Math.min(most, m - row);
  const part = (operand: Operand, width: number, first: number): TensorLike => ({
    data: operand.values().subarray(first * width, (first + rows) * width),
    shape: [rows, width],
  });
  const { activation, alpha, priority } = options;
  const byRow = bias && bias.shape.length === 2 && bias.shape[1] === 1 && bias.shape[0] === m;
  const tensor: Tensor = await matmul(core, part(a, k, member * m + row), panels, {
    signal,
    ...(priority ? { priority } : {}),
    ...(activation === undefined ? {} : { activation }),
    ...(alpha === undefined ? {} : { alpha }),
    ...(bias ? { bias: byRow ? part(bias, 1, row) : { data: bias.values(), shape: bias.shape } } : {}),
  });
  try {
    return { member, row, rows, columns: n, data: tensor.data.slice() };
  } finally {
    tensor.dispose();
  }
}
