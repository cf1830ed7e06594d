/** A job that the team was given, and the ways in which it can fail. */
import { TesseraeError } from '../../core/errors.ts';

export interface Flight {
  readonly id: number;
  readonly address: number;
  readonly threads: number;
  /** What it runs, for errors. */
  readonly kernel: string;
  readonly settle: (error: unknown) => void;
  failure: unknown;
  failed: boolean;
  settled: boolean;
  lastDone: number;
  silentTicks: number;
}

/** The first failure is the one that the caller gets. */
export function fail(flight: Flight, failure: unknown): void {
  if (flight.failed) return;
  flight.failed = true;
  flight.failure = failure;
}

export function closedError(): TesseraeError {
  return new TesseraeError(
    'E_CLOSED',
    'the runtime was closed while the call was running',
    {},
    'Await calls before close().',
  );
}

export function kernelError({ kernel }: Flight, cause: unknown): TesseraeError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new TesseraeError(
    'E_KERNEL',
    `a call with ${kernel} failed: ${message}`,
    { kernel, message },
    'The call is lost, the runtime works on; please report the shape.',
    cause,
  );
}

export function diedError(worker: number, reason: string): TesseraeError {
  return new TesseraeError(
    'E_WORKER_DIED',
    `worker ${worker} ended while it was computing: ${reason}`,
    { worker, reason },
    'The runtime has replaced it; call again.',
  );
}

export function timeoutError(workers: readonly number[], ms: number): TesseraeError {
  return new TesseraeError(
    'E_WORKER_TIMEOUT',
    `no thread made progress within ${ms} ms`,
    { workers, timeoutMs: ms },
    'The silent threads were replaced; call again, or raise workerTimeoutMs on a very busy machine.',
  );
}
