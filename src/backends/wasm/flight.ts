/** A job that the team was given, and the ways in which it can fail. */
import { TesseraeError } from '../../core/errors.ts';
import { PRIORITIES, type Priority } from '../types.ts';

/** What is wanted of the team for a job. */
export interface Task {
  /** Workers that take part, at most. */
  readonly threads: number;
  /** What it runs, for errors. */
  readonly kernel: string;
  readonly priority?: Priority | undefined;
}

export interface Flight extends Task {
  readonly id: number;
  readonly address: number;
  /** The smaller, the sooner. */
  readonly rank: number;
  readonly settle: (error: unknown) => void;
  /** The claim at which it goes on, while it stands aside. */
  parkedAt: number | undefined;
  failure: unknown;
  failed: boolean;
  settled: boolean;
  lastDone: number;
  silentTicks: number;
}

export function rankOf(priority: Priority): number {
  return PRIORITIES.indexOf(priority);
}

/** Jobs that wait for the team: the most urgent first, then in their order; one that was begun goes before others of its rank. */
export class FlightQueue {
  readonly #flights: Flight[] = [];

  put(flight: Flight): void {
    const begun = flight.parkedAt !== undefined;
    const at = this.#flights.findIndex(({ rank }) => (begun ? rank >= flight.rank : rank > flight.rank));
    this.#flights.splice(at < 0 ? this.#flights.length : at, 0, flight);
  }

  /** The first, if it is more urgent than `rank`. */
  take(rank: number): Flight | undefined {
    const [first] = this.#flights;
    return first && first.rank < rank ? this.#flights.shift() : undefined;
  }

  /** Whether it was there. */
  remove(flight: Flight): boolean {
    const at = this.#flights.indexOf(flight);
    if (at >= 0) this.#flights.splice(at, 1);
    return at >= 0;
  }

  find(is: (flight: Flight) => boolean): Flight | undefined {
    return this.#flights.find(is);
  }

  takeAll(): Flight[] {
    return this.#flights.splice(0);
  }
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

export function kernelError({ kernel }: Pick<Task, 'kernel'>, cause: unknown): TesseraeError {
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
