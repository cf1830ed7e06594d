/** An error as an exit code, as text and as JSON. */
import { TesseraeError } from '../index.ts';
import { EXIT, type ExitCode } from './exit.ts';
import { ShapeSyntaxError } from './shapes/index.ts';

/** The user's slip; shown without a stack even with --verbose. */
export class UsageError extends Error {
  readonly hint: string;

  constructor(message: string, hint = '') {
    super(message);
    this.name = 'UsageError';
    this.hint = hint;
  }
}

export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly values?: Readonly<Record<string, unknown>>;
  readonly stack?: string;
}

export function exitCodeOf(error: unknown): ExitCode {
  if (isAbort(error)) return EXIT.interrupted;
  if (error instanceof UsageError || error instanceof ShapeSyntaxError) return EXIT.usage;
  // A shape, number or option that the library refuses came from the command line.
  if (error instanceof TesseraeError && (error.code === 'E_ARGUMENT' || error.code === 'E_SHAPE'))
    return EXIT.usage;
  return EXIT.failed;
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

export function reportOf(error: unknown, verbose: boolean): ErrorReport {
  const stack = verbose && error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {};
  if (isAbort(error)) return { code: 'INTERRUPTED', message: 'interrupted' };
  if (error instanceof TesseraeError) {
    const { code, hint, values } = error;
    // The library's message repeats code and hint for those who only print it.
    const message = error.message.replace(` (${code}). ${hint}`, '');
    return { code, message, hint, values, ...stack };
  }
  if (error instanceof UsageError) {
    return { code: 'USAGE', message: error.message, ...(error.hint !== '' && { hint: error.hint }) };
  }
  if (error instanceof ShapeSyntaxError) return { code: 'USAGE', message: error.message };
  return { code: 'ERROR', message: error instanceof Error ? error.message : String(error), ...stack };
}
