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
  readonly client?: number | undefined;
}

export interface Flight extends Task {
  readonly id: number;
  readonly address: number;
  /** The smaller, the sooner. */
  readonly rank: number;
  /** Among those of a rank: the round in which it is this client's turn. */
  round: number;
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

/**
 * Jobs that wait for the team: the most urgent first, then in their order; one that was begun goes before others of its rank. Of several
 * clients each has one job in a round, so that whoever asks for many things keeps nobody waiting who asks for one (fair queueing:
 * Nagle, "On packet switches with infinite storage", 1987).
 */
export class FlightQueue {
  readonly #flights: Flight[] = [];
  /** The round of each client's last job, as far as it is not over. */
  readonly #rounds = new Map<number, number>();
  #round = 0;

  put(flight: Flight): void {
    const begun = flight.parkedAt !== undefined;
    if (!begun) {
      const { client = 0 } = flight;
      flight.round = Math.max(this.#round, (this.#rounds.get(client) ?? 0) + 1);
      this.#rounds.set(client, flight.round);
    }
    const isBehind = ({ rank, round }: Flight) =>
      rank > flight.rank || (rank === flight.rank && (begun || round > flight.round));
    const at = this.#flights.findIndex(isBehind);
    this.#flights.splice(at < 0 ? this.#flights.length : at, 0, flight);
  }

  /** The first, if it is more urgent than `rank`. */
  take(rank: number): Flight | undefined {
    const [first] = this.#flights;
    if (!first || first.rank >= rank) return undefined;
    this.#flights.shift();
    this.#round = Math.max(this.#round, first.round);
    if (this.#flights.length === 0) this.#rounds.clear();
    return first;
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
