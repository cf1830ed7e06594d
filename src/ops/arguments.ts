/** Checks of what methods take besides operands: a misspelt option must not be an option silently left out. */
import { PRIORITIES } from '../backends/types.ts';
import { TesseraeError } from '../core/errors.ts';
import { show } from '../core/show.ts';
import type { PlacedOptions, ProblemSpec } from './types.ts';

/** Options of every call that returns a promise, and of those that a GPU may compute. */
export const ASYNC_NAMES = ['signal', 'onProgress', 'priority'] as const;
export const PLACED_NAMES = [...ASYNC_NAMES, 'result'] as const;

export function badArgument(name: string, value: unknown, hint: string): TesseraeError {
  return new TesseraeError('E_ARGUMENT', `${name} is ${show(value)}`, { [name]: value }, hint);
}

/** Options are an object whose every key is known. */
export function checkOptions(options: object, known: ReadonlySet<string>): void {
  if (typeof options !== 'object' || options === null) {
    throw badArgument('options', options, 'Pass an object, or nothing.');
  }
  for (const name in options) {
    if (known.has(name)) continue;
    const value = (options as Record<string, unknown>)[name];
    throw badArgument(name, value, `There is no such option; known are ${[...known].join(', ')}.`);
  }
}

export function checkAsync({ signal, onProgress, priority, result }: PlacedOptions): void {
  if (signal !== undefined && (typeof signal !== 'object' || !(signal instanceof AbortSignal))) {
    throw badArgument('signal', signal, 'The signal of an AbortController.');
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw badArgument('onProgress', onProgress, 'A function.');
  }
  if (priority !== undefined && !PRIORITIES.includes(priority))
    throw badArgument('priority', priority, `Use ${PRIORITIES.join(', ')}.`);
  if (result !== undefined && result !== 'wasm' && result !== 'gpu')
    throw badArgument('result', result, "Use 'wasm' or 'gpu'.");
}

export function checkFlag(value: boolean | undefined, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  throw badArgument(name, value, `${name} must be true or false.`);
}

export function checkNumber(value: number | undefined, fallback: number, name: string): number {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw badArgument(name, value, `${name} must be a finite number.`);
}

export function checkProblems(problems: readonly ProblemSpec[]): readonly ProblemSpec[] {
  if (Array.isArray(problems)) return problems;
  throw badArgument('problems', problems, "An array such as ['64x64x64'].");
}
