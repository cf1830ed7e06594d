/** The WebAssembly bytes: which of the two modules this engine takes, compiled once, instantiated once per thread. */
import { TesseraeError } from '../../core/errors.ts';
import { KERNELS } from '../../kernels/table.ts';

export type ModuleName = 'simd' | 'relaxed';

/** The exports that both modules have besides kernels. */
export interface KernelExports {
  readonly table: WebAssembly.Table;
  drain(job: number, worker: number, scratch: number, patience: number): number;
  takePart(job: number, index: number, worker: number, scratch: number): number;
  closeJob(job: number, reason: number): void;
  failRecord(job: number): number;
  awaitJob(job: number, spins: number): number;
  awaitSignal(team: number, seen: number, spins: number): number;
  apply_activation(kind: number, p0: number, p1: number, at: number, count: number, slope: number): void;
  float_range(from: number, count: number, to: number): void;
  quantize_floats(from: number, count: number, scale: number, zero: number, to: number): void;
  probe_peak_simd(turns: number, at: number): number;
  probe_dot?(a: number, b: number, to: number): void;
  probe_peak_relaxed?(turns: number, at: number): number;
  probe_copy(from: number, to: number, bytes: number): void;
  probe_read(from: number, bytes: number): number;
}

export type MicroKernel = (
  k: number,
  a: number,
  lda: number,
  b: number,
  ldb: number,
  cin: number,
  ldcin: number,
  c: number,
  ldc: number,
) => void;

/** `f32x4.relaxed_madd` in the smallest module that holds it. Whether it validates says whether the engine has relaxed SIMD. */
const RELAXED_PROBE = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  5,
  1,
  96,
  0,
  1,
  123,
  3,
  2,
  1,
  0,
  10,
  19,
  1,
  17,
  0,
  65,
  0,
  253,
  15,
  65,
  0,
  253,
  15,
  65,
  0,
  253,
  15,
  253,
  133,
  2,
  11,
);
/** The same with plain `f32x4.add`. */
const SIMD_PROBE = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  5,
  1,
  96,
  0,
  1,
  123,
  3,
  2,
  1,
  0,
  10,
  15,
  1,
  13,
  0,
  65,
  0,
  253,
  15,
  65,
  0,
  253,
  15,
  253,
  228,
  1,
  11,
);

export function hasSimd(): boolean {
  return WebAssembly.validate(SIMD_PROBE);
}

export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(RELAXED_PROBE);
}

/** Instantiates a compiled module and puts every kernel of the table into its function table, in table order. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): { exports: KernelExports; kernels: ReadonlyMap<string, number> } {
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const exports = instance.exports as unknown as KernelExports;
  const present = KERNELS.filter((kernel) => typeof instance.exports[kernel.name] === 'function');
  const base = exports.table.grow(present.length);
  const kernels = new Map<string, number>();
  present.forEach((kernel, index) => {
    exports.table.set(base + index, instance.exports[kernel.name]);
    kernels.set(kernel.name, base + index);
  });
  return { exports, kernels };
}

/** Compiles the embedded bytes of one module. */
export function compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    throw new TesseraeError(
      'E_ENGINE',
      'this engine does not accept the kernels',
      { bytes: bytes.length },
      'Node 20 or later, or another engine with WebAssembly SIMD and threads, is needed.',
      cause,
    );
  }
}
