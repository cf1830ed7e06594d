/**
 * The WebAssembly modules: one that every engine takes, and one with the kernels that need relaxed SIMD. Each is compiled once
 * and instantiated once per thread, over one memory; kernels of both are called through the first one's function table.
 */
import { sharedNow } from '../../core/clock.ts';
import { KERNELS } from '../../kernels/table.ts';

export type ModuleName = 'simd' | 'relaxed';

/** What the first module exports besides kernels. */
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
  probe_copy(from: number, to: number, bytes: number): void;
  probe_read(from: number, bytes: number): number;
}

/** What the second one does. */
export interface RelaxedExports {
  probe_dot(a: number, b: number, to: number): void;
  probe_peak_relaxed(turns: number, at: number): number;
}

/** The modules of one runtime: the one of plain SIMD first, then that of relaxed SIMD where the engine takes it. */
export type Modules = readonly [simd: WebAssembly.Module, relaxed?: WebAssembly.Module];

export interface Instances {
  readonly exports: KernelExports;
  readonly relaxed: RelaxedExports | undefined;
  /** Places in the function table. */
  readonly kernels: ReadonlyMap<string, number>;
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
  blocks: number,
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

/** Instantiates the modules and puts every kernel that they have into the function table, in the order of the kernel table. */
export function instantiate([simd, relaxed]: Modules, memory: WebAssembly.Memory): Instances {
  const imports = { env: { memory, now: sharedNow } };
  const base = new WebAssembly.Instance(simd, imports).exports;
  const more = relaxed && new WebAssembly.Instance(relaxed, imports).exports;
  const exports = base as unknown as KernelExports;
  const codeOf = (name: string) => base[name] ?? more?.[name];
  const present = KERNELS.filter(({ name }) => typeof codeOf(name) === 'function');
  const first = exports.table.grow(present.length);
  const kernels = new Map<string, number>();
  for (const [index, { name }] of present.entries()) {
    exports.table.set(first + index, codeOf(name));
    kernels.set(name, first + index);
  }
  return { exports, relaxed: more as unknown as RelaxedExports | undefined, kernels };
}
