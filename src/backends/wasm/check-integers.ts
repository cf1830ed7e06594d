/** The self-check of kernels on words of two or four integers: exact against integers, also with the largest that can occur. */
import { randomFrom } from '../../core/random.ts';
import type { Kernel } from '../../kernels/table.ts';
import type { WasmBackend } from './backend.ts';
import { ZEROS_ADDRESS } from './layout.ts';
import type { MicroKernel } from './module.ts';

/** Words of k below, at and above what kernels unroll by, and a longer run. */
const K_VALUES = [1, 2, 3, 4, 5, 8, 9, 37];
const GUARD = 0x5a5a5a5a;
const GUARDS = 8;
const ELEMENTS = 4096;
/** A value of a word of two: a byte less its zero point. */
const LIMIT = 255;
/** Blocks that one call of a product's kernel computes, one below the other. */
const BLOCKS = 2;

/** How many integers an operand's word holds, and between what they lie. Bytes of B are what every 8-bit dot product can do. */
interface Reading {
  readonly perWord: 2 | 4;
  readonly a: readonly [low: number, high: number];
  readonly b: readonly [low: number, high: number];
}

const PAIRS: Reading = { perWord: 2, a: [-LIMIT, LIMIT], b: [-LIMIT, LIMIT] };
const BYTES: Reading = { perWord: 4, a: [-128, 127], b: [0, 127] };

interface Buffers {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** Fills integers with values of all sizes, or only with those at the ends of the range. */
function fill(
  integers: Int16Array | Int8Array,
  [low, high]: readonly [number, number],
  extreme: boolean,
  seed: number,
): void {
  const next = randomFrom(seed);
  for (let i = 0; i < integers.length; i++)
    integers[i] = extreme ? (next() < 0.5 ? low : high) : low + Math.floor(next() * (high - low + 1));
}

function faultAt(
  backend: WasmBackend,
  kernel: Kernel,
  k: number,
  accumulate: boolean,
  buffers: Buffers,
): string | undefined {
  const { mr, nr } = kernel;
  const direct = kernel.family === 'direct';
  const [lda, ldb, ldc] = [k + 3, direct ? nr + 5 : nr, nr + GUARDS];
  const { buffer } = backend.floats();
  const { perWord } = readingOf(kernel);
  const [a, b] = [integersAt(kernel, buffer, buffers.a), integersAt(kernel, buffer, buffers.b)];
  const rows = BLOCKS * mr;
  const c = new Int32Array(buffer, buffers.c, rows * ldc);
  c.fill(GUARD);
  if (accumulate) for (let i = 0; i < rows; i++) c.fill(7, i * ldc, i * ldc + nr);
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  const cin = accumulate ? buffers.c : ZEROS_ADDRESS;
  call(k, buffers.a, 4 * lda, buffers.b, 4 * ldb, cin, accumulate ? 4 * ldc : 0, buffers.c, 4 * ldc, BLOCKS);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < ldc; j++) {
      const got = c[i * ldc + j]!;
      if (j >= nr) {
        if (got !== GUARD) return `wrote past column ${nr} of row ${i}`;
        continue;
      }
      let sum = accumulate ? 7 : 0;
      for (let p = 0; p < k; p++) {
        const left = perWord * (direct ? i * lda + p : (i - (i % mr)) * lda + p * mr + (i % mr));
        const right = perWord * (p * ldb + j);
        for (let t = 0; t < perWord; t++) sum += a[left + t]! * b[right + t]!;
      }
      if (got !== sum) return `k=${k}: element [${i}, ${j}] is ${got}, not ${sum}`;
    }
  }
  return undefined;
}

/** Lines of a matrix of bytes: more than kernels take at once, and some. */
const LINES = 47;
const DEPTHS = [1, 2, 3, 8, 16, 17, 33, 70];

/** A vector of words times a matrix of bytes, signed or not, with a zero point for each line. */
function vectorFaultAt(
  backend: WasmBackend,
  kernel: Kernel,
  depth: number,
  signed: boolean,
  buffers: Buffers & { readonly zeros: number },
): string | undefined {
  const { buffer } = backend.floats();
  const vector = new Int16Array(buffer, buffers.a, 2 * Math.ceil(depth / 2));
  const bytes = signed ? new Int8Array(buffer, buffers.b) : new Uint8Array(buffer, buffers.b);
  const zeros = new Int32Array(buffer, buffers.zeros, LINES);
  const c = new Int32Array(buffer, buffers.c, LINES + GUARDS);
  c.fill(GUARD);
  if (depth % 2 === 1) vector[depth] = 0;
  const ld = kernel.family === 'axpy' ? LINES + 5 : depth + 3;
  const at = (line: number, p: number) => (kernel.family === 'axpy' ? p * ld + line : line * ld + p);
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  call(depth, buffers.a, LINES, buffers.b, ld, signed ? 1 : 0, buffers.zeros, buffers.c, 4, 1);
  for (let line = 0; line < LINES; line++) {
    let sum = 0;
    for (let p = 0; p < depth; p++) sum += vector[p]! * (bytes[at(line, p)]! - zeros[line]!);
    if (c[line] !== sum) return `k=${depth}: line ${line} is ${c[line]}, not ${sum}`;
  }
  return c.subarray(LINES).every((value) => value === GUARD) ? undefined : 'wrote past the last line';
}

function checkVector(backend: WasmBackend, kernel: Kernel): string | undefined {
  const take = () => backend.allocate(4 * ELEMENTS, 'scratch');
  const buffers = { a: take(), b: take(), c: take(), zeros: take() };
  try {
    for (const extreme of [false, true]) {
      const { buffer } = backend.floats();
      fill(new Int16Array(buffer, buffers.a, 2 * ELEMENTS), PAIRS.a, extreme, 1);
      const next = randomFrom(3);
      const bytes = new Uint8Array(buffer, buffers.b, 4 * ELEMENTS);
      for (let i = 0; i < bytes.length; i++) bytes[i] = extreme ? (next() < 0.5 ? 0 : 255) : 256 * next();
      const zeros = new Int32Array(buffer, buffers.zeros, LINES);
      for (let i = 0; i < LINES; i++) zeros[i] = Math.floor(256 * next()) - 128;
      for (const depth of DEPTHS) {
        for (const signed of [false, true]) {
          const fault = vectorFaultAt(backend, kernel, depth, signed, buffers);
          if (fault) return fault;
        }
      }
    }
    return undefined;
  } catch (error) {
    return `trapped: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    for (const address of Object.values(buffers)) backend.free(address);
  }
}

function readingOf({ dtype }: Kernel): Reading {
  return dtype === 'i8' ? BYTES : PAIRS;
}

function integersAt({ dtype }: Kernel, buffer: ArrayBufferLike, at: number): Int16Array | Int8Array {
  return dtype === 'i8'
    ? new Int8Array(buffer, at, BYTES.perWord * ELEMENTS)
    : new Int16Array(buffer, at, PAIRS.perWord * ELEMENTS);
}

/** Why a kernel may not be used, or undefined. */
export function checkIntegers(backend: WasmBackend, kernel: Kernel): string | undefined {
  if (kernel.family === 'axpy' || kernel.family === 'dot') return checkVector(backend, kernel);
  const [a, b, c] = [0, 1, 2].map(() => backend.allocate(4 * ELEMENTS, 'scratch')) as [
    number,
    number,
    number,
  ];
  try {
    for (const extreme of [false, true]) {
      const { buffer } = backend.floats();
      const reading = readingOf(kernel);
      fill(integersAt(kernel, buffer, a), reading.a, extreme, 1);
      fill(integersAt(kernel, buffer, b), reading.b, extreme, 2);
      for (const k of K_VALUES) {
        const buffers = { a, b, c };
        const fault =
          faultAt(backend, kernel, k, false, buffers) ?? faultAt(backend, kernel, k, true, buffers);
        if (fault) return fault;
      }
    }
    return undefined;
  } catch (error) {
    return `trapped: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    for (const address of [a, b, c]) backend.free(address);
  }
}
