/**
 * The signature of a configuration: measured plans are only trusted where everything that decides their speed
 * or their meaning is the same as when they were measured (FFTW refuses wisdom of another solver table likewise).
 * Pure: the caller says what it found out about the machine.
 */
import { hashText } from '../core/hash.ts';

export interface FingerprintParts {
  /** Version of the plan and wisdom format; see `WISDOM_SCHEMA`. */
  readonly schema: number;
  /** Hash over the kernel table and the compiled kernels. */
  readonly kernelTable: string;
  /** `v8` is the version of the compiler, which decides how well a kernel's registers are allotted. */
  readonly engine: {
    readonly name: string;
    readonly version: string;
    readonly v8: string;
    readonly arch?: string;
  };
  /** Names of the features that are on, and of the engine flags that were set; order and repeats do not matter. */
  readonly features: readonly string[];
  readonly engineFlags: readonly string[];
  readonly cpu: { readonly model: string; readonly cores: number };
  /** Most threads that a plan may use. */
  readonly threadCap: number;
  /** Adapter names of the GPUs in use; absent where there is none. */
  readonly gpu?: readonly string[];
}

function asSet(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}

/** Vendors pad the model name with blanks, differently between firmware versions. */
function tidy(name: string): string {
  return name.trim().replace(/\s+/g, ' ');
}

/** For example `s1-9b5b7ba2ef3f7866889adeaf00f3f98e`: the schema stays readable, the rest is hashed. */
export function signature(parts: FingerprintParts): string {
  const { schema, kernelTable, engine, features, engineFlags, cpu, threadCap, gpu } = parts;
  // JSON keeps the borders between parts: no two different lists of parts give the same text.
  const text = JSON.stringify([
    schema,
    kernelTable,
    [engine.name, engine.version, engine.v8, engine.arch ?? ''],
    asSet(features),
    asSet(engineFlags),
    [tidy(cpu.model), cpu.cores],
    threadCap,
    asSet((gpu ?? []).map(tidy)),
  ]);
  return `s${schema}-${hashText(text)}`;
}
