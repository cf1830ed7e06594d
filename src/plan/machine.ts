/** What the short probe found out about the machine: the numbers that the cost model starts from. */

export interface MachineProfile {
  /** GFLOP/s of a register-only 128-bit multiply-add loop on one thread: the ceiling of percentages. */
  readonly peakGflops: number;
  /** GB/s that one thread reads from memory beyond the caches, and all threads together. */
  readonly readGBs: number;
  readonly readGBsAllThreads: number;
  /** Microseconds from posting a job to a sleeping team until a worker runs it. */
  readonly wakeUs: number;
  /** Microseconds of one wait for the end of a phase, where these are not the usual ones. No measured profile has them. */
  readonly phaseUs?: number;
  /** GFLOP/s of each kernel on one block in cache. */
  readonly kernelGflops: Readonly<Record<string, number>>;
}

export type FieldChecks<T> = { readonly [K in keyof T]-?: (value: unknown) => boolean };

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A measured quantity: finite and not negative. */
export function isQuantity(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/**
 * Why `value` has not exactly the fields of `checks`, or undefined if it has. An unknown field is refused too:
 * dropping one would load a plan that is not the plan that was measured.
 */
export function fieldFault<T>(value: unknown, checks: FieldChecks<T>, what: string): string | undefined {
  if (!isRecord(value)) return `${what} is not an object`;
  const tests: Readonly<Record<string, (value: unknown) => boolean>> = checks;
  for (const [name, isGood] of Object.entries(tests)) {
    if (!isGood(value[name])) return `${what} has ${name} = ${JSON.stringify(value[name])}`;
  }
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(tests, name));
  return unknown === undefined ? undefined : `${what} has the unknown field ${unknown}`;
}

const MACHINE_FIELDS: FieldChecks<Omit<MachineProfile, 'phaseUs'>> = {
  peakGflops: isQuantity,
  readGBs: isQuantity,
  readGBsAllThreads: isQuantity,
  wakeUs: isQuantity,
  kernelGflops: (value) => isRecord(value) && Object.values(value).every(isQuantity),
};

/** Why `value` is no machine profile, or undefined if it is one. */
export function machineFault(value: unknown): string | undefined {
  return fieldFault(value, MACHINE_FIELDS, 'machine');
}
