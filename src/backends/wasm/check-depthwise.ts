/** The self-check of depthwise kernels: rows of one channel against float64. */
import { numbersOf } from '../../core/random.ts';
import { holdsWeights } from '../../kernels/depthwise.ts';
import type { Kernel } from '../../kernels/table.ts';
import type { WasmBackend } from './backend.ts';
import type { MicroKernel } from './module.ts';

/** Rows that take every block: the widest on the left and between, narrower ones on the left, all on the right. */
const COLUMNS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 14, 17, 19, 22, 29, 35];
/** Rows that go into panels of so many lanes: blocks on both sides and between, of eight columns and of sixteen. */
const IN_PANELS = [
  { columns: 24, lanes: 8, outside: [0, 0] },
  { columns: 32, lanes: 16, outside: [0, 0] },
] as const;
/** With rows that do not count, for kernels that leave them out: so many that loops begin late and end early, or do not run at all. */
const OVER_THE_EDGE = [
  { columns: 10, lanes: 0, outside: [1, 2] },
  { columns: 22, lanes: 0, outside: [2, 2] },
] as const;
/** Elements from row to row of images; of results two thirds of that. */
const PITCH = 96;
const OUT_PITCH = 64;
/** The row of the image that is zeros. */
const ZERO_ROW = 12;
const GUARD = 1234.5;
/** What the general kernel is checked with. */
const GENERAL = { kH: 3, kW: 2 };

/** Rows of a result, in which panels they lie, none where `lanes` is 0, and how many input rows are above the image and below it. */
interface Rows {
  readonly columns: number;
  readonly lanes: number;
  readonly outside: readonly [number, number];
}

/** Where column x of a row lies: panels have room for a second channel. */
function placeIn({ lanes }: Rows, x: number): number {
  return lanes ? x + Math.floor(x / lanes) * lanes : x;
}

interface Places {
  readonly weights: number;
  readonly image: number;
  readonly table: number;
  readonly bounds: number;
  readonly masks: number;
  readonly out: number;
}

/**
 * One call of a kernel. Output (row, column) sees under a tap the element `rowStart(row, kh) + columnAt(column, kw)` of the image, or nothing where
 * `columnAt` is undefined.
 */
interface Trial {
  readonly kH: number;
  readonly kW: number;
  readonly call: (columns: number) => void;
  readonly bias: number;
  readonly bounds: readonly [number, number];
  readonly rowStart: (row: number, kh: number) => number;
  readonly columnAt: (column: number, kw: number) => number | undefined;
}

function words(backend: WasmBackend, address: number, count: number): Int32Array {
  return new Int32Array(backend.view(address, count).buffer, address, count);
}

/** Rows in place, one of them elsewhere, the first and the last column of the image masked where filters hang over. */
function inPlaceTrial(
  backend: WasmBackend,
  call: MicroKernel,
  { size, stride }: NonNullable<Kernel['taps']>,
  { mr }: Kernel,
  { columns, lanes, outside }: Rows,
  at: Places,
): Trial {
  const panelBits = lanes && Math.log2(4 * lanes);
  const half = size >> 1;
  const width = (columns - 1) * stride + 1;
  const rows = (mr - 1) * stride + size;
  const [from, until] = [outside[0], rows - outside[1]];
  // upside down, so that nothing is found by adding a pitch
  const place = (i: number) => (i >= from && i < until ? rows - 1 - i : ZERO_ROW) * PITCH + half;
  backend.view(at.image + 4 * ZERO_ROW * PITCH, PITCH).fill(0);
  const table = words(backend, at.table, rows);
  for (let i = 0; i < rows; i++) table[i] = at.image + 4 * (place(i) - half);
  const masks = words(backend, at.masks, 8 * size);
  const column = (x: number, kw: number) => x * stride + kw - half;
  // sums may be left as they are; and bounds that are often met hide wrong ones, so some trials have bounds that never are
  const bare = columns % 3 === 0;
  const bias = bare ? 0 : 0.25;
  const [low, high] = bare || columns % 2 === 0 ? ([-64, 64] as const) : ([-1.5, 1.25] as const);
  backend.view(at.bounds, 3).set([bias, low, high]);
  words(backend, at.bounds, 4)[3] = bare ? 0 : 1;
  for (let kw = 0; kw < size; kw++) {
    for (let lane = 0; lane < 4; lane++) {
      masks[4 * kw + lane] = column(lane, kw) >= 0 ? -1 : 0;
      masks[4 * (size + kw) + lane] = column(columns - 4 + lane, kw) < width ? -1 : 0;
    }
  }
  return {
    kH: size,
    kW: size,
    bias,
    bounds: [low, high],
    call: () =>
      call(
        columns,
        at.weights,
        at.bounds,
        at.table,
        2 * panelBits,
        at.masks,
        4 * lanes,
        at.out,
        4 * OUT_PITCH,
        (until << 8) | from,
      ),
    rowStart: (row, kh) => place(row * stride + kh),
    columnAt: (x, kw) => {
      const from = column(x, kw);
      return from >= 0 && from < width ? from : undefined;
    },
  };
}

function stripTrial(backend: WasmBackend, call: MicroKernel, columns: number, at: Places): Trial {
  const { kH, kW } = GENERAL;
  const table = words(backend, at.table, kH * kW);
  // columns of taps in an order that no kernel could guess
  const columnAt = (x: number, kw: number) => ((kw * 3 + 1) % 7) + x;
  for (let tap = 0; tap < kH * kW; tap++)
    table[tap] = 4 * (Math.floor(tap / kW) * PITCH + columnAt(0, tap % kW));
  return {
    kH,
    kW,
    bias: 0,
    bounds: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
    call: () => call(columns, at.weights, kH * kW, at.image, 0, at.table, 0, at.out, 4 * OUT_PITCH, 1),
    rowStart: (_row, kh) => kh * PITCH,
    columnAt,
  };
}

/** What a result should be that is not the sum over the columns that it sees, in each of its filter's rows; undefined for one that is. */
function wantedInstead(
  { kH, kW, bias, bounds: [low, high], rowStart }: Trial,
  w: Float32Array,
  image: Float32Array,
) {
  return (got: number, row: number, seen: readonly (number | undefined)[]): number | undefined => {
    let sum = bias;
    let size = bias;
    for (let kh = 0; kh < kH; kh++) {
      const start = rowStart(row, kh);
      for (let kw = 0; kw < kW; kw++) {
        const column = seen[kw];
        if (column === undefined) continue;
        const term = w[kh * kW + kw]! * image[start + column]!;
        sum += term;
        size += Math.abs(term);
      }
    }
    const expected = Math.min(Math.max(sum, low), high);
    return Math.abs(got - expected) <= 2 ** -23 * (kH * kW + 2) * size ? undefined : expected;
  };
}

function faultAt(backend: WasmBackend, kernel: Kernel, rows: Rows, at: Places): string | undefined {
  const { mr, taps } = kernel;
  const { columns } = rows;
  const micro = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  // in place a filter of 5 may hang over one side only, which takes 6 columns
  if (taps && columns < 4 + (taps.size >> 1)) return undefined;
  const trial = taps
    ? inPlaceTrial(backend, micro, taps, kernel, rows, at)
    : stripTrial(backend, micro, columns, at);
  const { kH, kW } = trial;
  const w = backend.view(at.weights, kH * kW);
  const image = backend.view(at.image, PITCH * 16);
  const out = backend.view(at.out, OUT_PITCH * mr);
  out.fill(GUARD);
  trial.call(columns);
  const instead = wantedInstead(trial, w, image);
  for (let x = 0; x < columns; x++) {
    // looked up once for all rows: this runs before engines make it fast
    const seen = Array.from({ length: kW }, (_, kw) => trial.columnAt(x, kw));
    for (let r = 0; r < mr; r++) {
      const place = r * OUT_PITCH + placeIn(rows, x);
      const got = out[place]!;
      out[place] = GUARD;
      const wanted = instead(got, r, seen);
      if (wanted !== undefined) return `${columns} columns: element [${r}, ${x}] is ${got}, not ${wanted}`;
    }
  }
  // no callback for each of some thousands of elements
  for (let place = 0; place < out.length; place++)
    if (out[place] !== GUARD) return `wrote past column ${columns}`;
  return undefined;
}

const TAPS = 5;

/** Kernels whose lanes are channels: vectors of four in place of numbers, pixels two vectors apart. */
function lanesFaultAt(backend: WasmBackend, kernel: Kernel, pixels: number, at: Places): string | undefined {
  const w = backend.view(at.weights, 4 * TAPS);
  const image = backend.view(at.image, 8 * (pixels + TAPS));
  const out = backend.view(at.out, 4 * (pixels + 4));
  out.fill(GUARD);
  const table = new Int32Array(out.buffer, at.table, TAPS);
  for (let tap = 0; tap < TAPS; tap++) table[tap] = 16 * ((tap * 3 + 1) % TAPS);
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  call(pixels, at.weights, TAPS, at.image, 32, at.table, 0, at.out, 0, 1);
  for (let i = 0; i < 4 * (pixels + 4); i++) {
    if (i >= 4 * pixels) {
      if (out[i] !== GUARD) return `wrote past pixel ${pixels}`;
      continue;
    }
    let sum = 0;
    let size = 0;
    for (let tap = 0; tap < TAPS; tap++) {
      const term = w[4 * tap + (i % 4)]! * image[8 * Math.floor(i / 4) + table[tap]! / 4 + (i % 4)]!;
      sum += term;
      size += Math.abs(term);
    }
    if (!(Math.abs(out[i]! - sum) <= 2 ** -23 * (TAPS + 2) * size))
      return `${pixels} pixels: element ${i} is ${out[i]}, not ${sum}`;
  }
  return undefined;
}

function firstFault<T>(trials: readonly T[], faultOf: (trial: T) => string | undefined): string | undefined {
  for (const trial of trials) {
    const fault = faultOf(trial);
    if (fault) return fault;
  }
  return undefined;
}

/** Why the kernel must not be used, or undefined. */
export function checkDepthwise(backend: WasmBackend, kernel: Kernel): string | undefined {
  const elements = 4096;
  const base = backend.allocate(4 * elements, 'scratch');
  try {
    backend.view(base, elements).set(numbersOf(3, elements / 2));
    const at = {
      weights: base,
      masks: base + 512,
      bounds: base + 960,
      table: base + 1024,
      image: base + 2048,
      out: base + 2048 + 4 * 16 * PITCH,
    };
    if (kernel.lanes) return firstFault(COLUMNS, (pixels) => lanesFaultAt(backend, kernel, pixels, at));
    const plain = COLUMNS.map((columns) => ({ columns, lanes: 0, outside: [0, 0] as const }));
    const panels = kernel.taps ? IN_PANELS : [];
    const edges = kernel.taps && !holdsWeights(kernel.taps) ? OVER_THE_EDGE : [];
    return firstFault<Rows>([...plain, ...panels, ...edges], (one) => faultAt(backend, kernel, one, at));
  } catch (error) {
    return `trapped: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    backend.free(base);
  }
}
