/** The self-check of depthwise kernels: rows of one channel against float64. */
import { fillRandom } from '../../core/random.ts';
import type { Kernel } from '../../kernels/table.ts';
import type { WasmBackend } from './backend.ts';
import type { MicroKernel } from './module.ts';

/** Columns around a vector and two of them. */
const COLUMNS = [1, 2, 3, 4, 5, 7, 8, 9, 19, 32];
const PITCH = 48;
const GUARD = 1234.5;
/** What the kernel without unrolled taps is checked with. */
const GENERAL = { kH: 3, kW: 2, strideH: 2 };

interface Places {
  readonly weights: number;
  readonly strip: number;
  readonly table: number;
  readonly out: number;
}

function faultAt(backend: WasmBackend, kernel: Kernel, columns: number, at: Places): string | undefined {
  const { kH, kW } = kernel.taps ?? GENERAL;
  // kernels of one row take any stride
  const strideH = kernel.taps?.strideH || GENERAL.strideH;
  const { mr } = kernel;
  const taps = kH * kW;
  const w = backend.view(at.weights, taps);
  const strip = backend.view(at.strip, PITCH * (kH + (mr - 1) * strideH));
  const out = backend.view(at.out, PITCH * mr);
  out.fill(GUARD);
  const table = new Int32Array(out.buffer, at.table, taps);
  // columns of taps in an order that no kernel could guess
  const column = (kw: number) => (kw * 3 + 1) % 7;
  for (let tap = 0; tap < taps; tap++) {
    const row = kernel.taps ? 0 : Math.floor(tap / kW) * PITCH;
    table[tap] = 4 * (row + column(tap % kW));
  }
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  const row = 4 * PITCH;
  call(columns, at.weights, taps, at.strip, row, at.table, row * strideH, at.out, row);
  for (let r = 0; r < mr; r++) {
    for (let x = 0; x < PITCH; x++) {
      const got = out[r * PITCH + x]!;
      if (x >= columns) {
        if (got !== GUARD) return `wrote past column ${columns} of row ${r}`;
        continue;
      }
      let sum = 0;
      let size = 0;
      for (let tap = 0; tap < taps; tap++) {
        const kh = Math.floor(tap / kW);
        const term = w[tap]! * strip[(r * strideH + kh) * PITCH + x + column(tap % kW)]!;
        sum += term;
        size += Math.abs(term);
      }
      if (!(Math.abs(got - sum) <= 2 ** -23 * (taps + 2) * size))
        return `${columns} columns: element [${r}, ${x}] is ${got}, not ${sum}`;
    }
  }
  return undefined;
}

const TAPS = 5;

/** Kernels whose lanes are channels: vectors of four in place of numbers, pixels two vectors apart. */
function lanesFaultAt(backend: WasmBackend, kernel: Kernel, pixels: number, at: Places): string | undefined {
  const w = backend.view(at.weights, 4 * TAPS);
  const image = backend.view(at.strip, 8 * (pixels + TAPS));
  const out = backend.view(at.out, 4 * (pixels + 4));
  out.fill(GUARD);
  const table = new Int32Array(out.buffer, at.table, TAPS);
  for (let tap = 0; tap < TAPS; tap++) table[tap] = 16 * ((tap * 3 + 1) % TAPS);
  const call = backend.exports.table.get(backend.kernels.get(kernel.name)!) as MicroKernel;
  call(pixels, at.weights, TAPS, at.strip, 32, at.table, 0, at.out, 0);
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

/** Why the kernel must not be used, or undefined. */
export function checkDepthwise(backend: WasmBackend, kernel: Kernel): string | undefined {
  const elements = 4096;
  const base = backend.allocate(4 * elements, 'scratch');
  try {
    fillRandom(backend.view(base, elements), 3);
    const at = { weights: base, strip: base + 512, table: base + 10240, out: base + 12288 };
    const check = kernel.lanes ? lanesFaultAt : faultAt;
    for (const columns of COLUMNS) {
      const fault = check(backend, kernel, columns, at);
      if (fault) return fault;
    }
    return undefined;
  } catch (error) {
    return `trapped: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    backend.free(base);
  }
}
