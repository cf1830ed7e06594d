/**
 * The self-check: a kernel is compared with a float64 sum on the user's own machine before it is trusted. A broken engine,
 * a wrong flag or a miscompiled loop shows here, not in somebody's results.
 */
import { numbersOf } from '../../core/random.ts';
import { findKernel, type Kernel } from '../../kernels/table.ts';
import type { WasmBackend } from './backend.ts';
import { checkDepthwise } from './check-depthwise.ts';
import { checkIntegers } from './check-integers.ts';
import { ZEROS_ADDRESS } from './layout.ts';
import type { MicroKernel } from './module.ts';

/** k below, at and above what any kernel unrolls by, and a longer one. */
const K_VALUES = [1, 2, 3, 4, 5, 8, 9, 37];
/** A prime above all of them. */
const K_MOST = 41;
/** Where the offset kernels' table stands in the buffer of B: behind all rows. */
const TABLE_AT = 4096 - 64;
/** Elements of an operand that any kernel looks at: 37 lines of 52 are the most. */
const NUMBERS = 2048;
const GUARD = 1234.5;
const GUARDS = 8;
/** Rows of a dot product, or columns of an axpy: 47 = 5 x 8 + 4 + 3 goes through every loop that a kernel has for them. */
const LINES = 47;
/** Blocks that one call of a product's kernel computes, one below the other. */
const BLOCKS = 2;

interface Geometry {
  readonly blocks: number;
  readonly rows: number;
  readonly cols: number;
  readonly lda: number;
  readonly ldb: number;
  /** Element indices of a(i, p) and b(p, j). */
  a(i: number, p: number): number;
  b(p: number, j: number): number;
}

function geometryOf(kernel: Kernel, k: number): Geometry {
  const { mr, nr, family } = kernel;
  const product = { blocks: BLOCKS, rows: BLOCKS * mr, cols: nr };
  const vector = { blocks: 1, rows: 1, cols: LINES, lda: LINES };
  const lda = k + 3;
  switch (family) {
    case 'packed':
      return {
        ...product,
        lda: 4 * lda,
        ldb: 0,
        a: (i, p) => (i - (i % mr)) * lda + p * mr + (i % mr),
        b: (p, j) => p * nr + j,
      };
    case 'direct': {
      const ldb = nr + 5;
      return {
        ...product,
        lda: 4 * lda,
        ldb: 4 * ldb,
        a: (i, p) => i * lda + p,
        b: (p, j) => p * ldb + j,
      };
    }
    case 'offset':
      return {
        ...product,
        lda: 4 * lda,
        ldb: 0,
        a: (i, p) => i * lda + p,
        // rows of B in no order that a kernel could guess
        b: (p, j) => ((p * 7 + 3) % K_MOST) * (nr + 5) + j,
      };
    case 'axpy': {
      const ldb = LINES + 5;
      return { ...vector, ldb: 4 * ldb, a: (_i, p) => p, b: (p, j) => p * ldb + j };
    }
    case 'dot': {
      const ldb = k + 3;
      return { ...vector, ldb: 4 * ldb, a: (_i, p) => p, b: (p, j) => j * ldb + p };
    }
    case 'depthwise':
      throw new Error('depthwise kernels are checked by themselves');
    default:
      throw new Error(`unknown family ${family satisfies never}`);
  }
}

interface Buffers {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly elements: number;
}

/** Sums of products, and of their absolute values. */
interface Sums {
  readonly sums: Float64Array;
  readonly sizes: Float64Array;
}

/** In loops that call little: this runs once for each kernel, before engines make it fast. */
function sumsOf(
  { rows, cols, a: indexA, b: indexB }: Geometry,
  k: number,
  a: Float32Array,
  b: Float32Array,
): Sums {
  const sums = new Float64Array(rows * cols);
  const sizes = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let p = 0; p < k; p++) {
      const left = a[indexA(i, p)]!;
      for (let j = 0; j < cols; j++) {
        const term = left * b[indexB(p, j)]!;
        sums[i * cols + j]! += term;
        sizes[i * cols + j]! += Math.abs(term);
      }
    }
  }
  return { sums, sizes };
}

/** Why the kernel's answer for one k is wrong, or undefined if it is right. */
function faultAt(
  backend: WasmBackend,
  kernel: Kernel,
  k: number,
  geometry: Geometry,
  { sums, sizes }: Sums,
  accumulate: boolean,
  buffers: Buffers,
): string | undefined {
  const { blocks, rows, cols, lda, ldb, b: indexB } = geometry;
  const b = backend.view(buffers.b, buffers.elements);
  const ldc = cols + GUARDS;
  const c = backend.view(buffers.c, rows * ldc + GUARDS);
  c.fill(accumulate ? 0.5 : Number.NaN);
  for (let i = 0; i < rows; i++) c.fill(GUARD, i * ldc + cols, (i + 1) * ldc);
  const vector = kernel.family === 'axpy' || kernel.family === 'dot';
  // vector kernels have no zeros to start from: their callers clear the result
  if (vector && !accumulate) c.fill(0, 0, cols);
  const cin = accumulate || vector ? buffers.c : ZEROS_ADDRESS;
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  const offset = kernel.family === 'offset';
  if (offset) {
    const table = new Int32Array(b.buffer, b.byteOffset + 4 * TABLE_AT, k);
    for (let p = 0; p < k; p++) table[p] = 4 * indexB(p, 0);
  }
  const ldcin = kernel.family === 'dot' ? 4 : accumulate ? 4 * ldc : 0;
  call(
    k,
    buffers.a,
    lda,
    buffers.b,
    offset ? buffers.b + 4 * TABLE_AT : ldb,
    cin,
    ldcin,
    buffers.c,
    4 * ldc,
    blocks,
  );
  const before = accumulate ? 0.5 : 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < ldc; j++) {
      const got = c[i * ldc + j]!;
      if (j >= cols) {
        if (got !== GUARD) return `wrote past column ${cols} of row ${i}`;
        continue;
      }
      const sum = before + sums[i * cols + j]!;
      const size = before + sizes[i * cols + j]!;
      if (!(Math.abs(got - sum) <= 2 ** -23 * (k + 2) * size + 1e-30))
        return `k=${k}: element [${i}, ${j}] is ${got}, not ${sum}`;
    }
  }
  return undefined;
}

/** Runs one kernel against float64. Returns the reason if it must not be used: a wrong answer, a stray write, or a trap. */
export function checkKernel(backend: WasmBackend, name: string): string | undefined {
  const kernel = findKernel(name);
  if (!kernel) return 'not in the kernel table';
  if (!backend.kernels.has(name)) return 'not in the loaded module';
  if (kernel.family === 'depthwise') return checkDepthwise(backend, kernel);
  if (kernel.dtype !== undefined) return checkIntegers(backend, kernel);
  const elements = 4096;
  const buffers = {
    a: backend.allocate(4 * elements, 'scratch'),
    b: backend.allocate(4 * elements, 'scratch'),
    c: backend.allocate(4 * elements, 'scratch'),
    elements,
  };
  try {
    const a = backend.view(buffers.a, elements);
    const b = backend.view(buffers.b, elements);
    a.set(numbersOf(1, NUMBERS));
    b.set(numbersOf(2, NUMBERS));
    for (const k of K_VALUES) {
      const geometry = geometryOf(kernel, k);
      const sums = sumsOf(geometry, k, a, b);
      for (const accumulate of [false, true]) {
        const fault = faultAt(backend, kernel, k, geometry, sums, accumulate, buffers);
        if (fault) return fault;
      }
    }
    return undefined;
  } catch (error) {
    return `trapped: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    for (const address of [buffers.a, buffers.b, buffers.c]) backend.free(address);
  }
}
