/**
 * What ran, where and when: calls, their steps, and the threads that did them. While a profile is taken every step is timed, calls on a GPU
 * wait for their end, and nothing else changes.
 */
import { sharedNow } from '../core/clock.ts';
import type { Executor, ObservedRun } from '../schedule/execute.ts';
import type { BackendName, Profile, Span, TraceEvent } from './report-types.ts';

/** Chrome's trace event format wants a process; threads are numbered from 0, the one that calls. */
const PROCESS = 1;
const STEP_DETAILS = ['m0', 'rows', 'n0', 'cols', 'k0', 'ks'] as const;

/** A GPU, as far as it keeps time. */
export interface GpuClock {
  stopwatch(work: () => Promise<unknown>): Promise<number | undefined>;
  settle(): Promise<void>;
}

/** What a call is, for whoever times it as a whole. */
export interface Timed {
  readonly name: string;
  readonly problem: string;
  readonly backend: BackendName;
  readonly kernel: string;
  /** What it is for. */
  readonly label?: string;
}

/** The profiles that are being taken of one runtime. */
export class Profiling {
  readonly #executor: Executor;
  readonly #gpu: GpuClock | undefined;
  readonly #open = new Set<Profiler>();

  constructor(executor: Executor, gpu: GpuClock | undefined) {
    this.#executor = executor;
    this.#gpu = gpu;
  }

  get isOn(): boolean {
    return this.#open.size > 0;
  }

  async profile<T>(work: () => T | Promise<T>): Promise<Profile<Awaited<T>>> {
    const profiler = new Profiler();
    const end = this.#executor.observe(profiler.observe);
    this.#open.add(profiler);
    try {
      const result = await work();
      const [ms, spans] = [profiler.now, profiler.spans()];
      return {
        result,
        ms,
        spans,
        chromeTrace: () => ({ traceEvents: traceEvents(spans), displayTimeUnit: 'ms' }),
      };
    } finally {
      this.#open.delete(profiler);
      end();
    }
  }

  /** Adds work of so many milliseconds that has just ended. */
  add(timed: Timed, ms: number): void {
    for (const profiler of this.#open) profiler.add(timed, ms);
  }

  /** Times work that is done when it returns. */
  here<T>(timed: () => Timed, work: () => T): T {
    if (!this.isOn) return work();
    const start = sharedNow();
    const result = work();
    this.add(timed(), sharedNow() - start);
    return result;
  }

  /** Times work elsewhere; on a GPU until that has done it. */
  async around<T>(timed: () => Timed, work: () => Promise<T>): Promise<T> {
    if (!this.isOn) return work();
    const what = timed();
    const start = sharedNow();
    let result: T | undefined;
    const run = async () => {
      result = await work();
    };
    const gpuMs = what.backend === 'webgpu' ? await this.#gpu?.stopwatch(run) : await run();
    if (what.backend === 'webgpu') await this.#gpu?.settle();
    const more = typeof gpuMs === 'number' ? { gpuMs } : {};
    // what was not done there after all is done, and told, elsewhere
    if (result !== undefined)
      for (const profiler of this.#open) profiler.add(what, sharedNow() - start, more);
    return result as T;
  }
}

/** Collects spans until `stop`. */
export class Profiler {
  readonly #begin = sharedNow();
  readonly #spans: Span[] = [];
  #ops = 0;

  get now(): number {
    return sharedNow() - this.#begin;
  }

  /** In the order of their beginnings. */
  spans(): Span[] {
    return this.#spans.toSorted((x, y) => x.startMs - y.startMs || (x.kind === 'op' ? -1 : 1));
  }

  /** A run on the threads: an operation for each call, with its steps. */
  observe = ({ calls, asked, trace }: ObservedRun): void => {
    let first = 0;
    for (const { planned, program } of calls) {
      const { execution, label, before } = planned;
      const op = this.#ops++;
      const steps = program.steps.flatMap((step, index): Span[] => {
        const time = trace.at(first + index);
        if (!time) return [];
        const details = Object.fromEntries(STEP_DETAILS.map((name) => [name, step[name]]));
        return [
          {
            kind: 'step',
            op,
            name: step.op,
            backend: 'wasm',
            thread: time.thread,
            startMs: time.start - this.#begin,
            ms: time.end - time.start,
            details,
          },
        ];
      });
      first += program.steps.length;
      if (steps.length === 0) continue;
      const startMs = steps.reduce((least, span) => Math.min(least, span.startMs), Number.POSITIVE_INFINITY);
      const endMs = steps.reduce((most, span) => Math.max(most, span.startMs + span.ms), 0);
      const { key: problem } = execution;
      const { plan } = program;
      const details = {
        problem,
        kernel: `${plan.algorithm} ${plan.kernel}`,
        steps: steps.length,
        waitedMs: Math.max(0, startMs - (asked - this.#begin)),
        ...(before ? { before: before.execution.key } : {}),
        ...(label ? { label } : {}),
      };
      const { op: name } = execution.problem;
      this.#spans.push({ kind: 'op', op, name, backend: 'wasm', startMs, ms: endMs - startMs, details });
      this.#spans.push(...steps);
    }
  };

  /** An operation that has just ended and was timed from outside. */
  add({ name, backend, ...about }: Timed, ms: number, more: Readonly<Record<string, number>> = {}): void {
    const op = this.#ops++;
    const details = { ...about, ...more };
    this.#spans.push({ kind: 'op', op, name, backend, startMs: this.now - ms, ms, details });
  }
}

/**
 * Spans as Chrome's trace events, which Perfetto opens: operations overlap and are async events, steps are complete events on their threads.
 * "Trace Event Format" (Duca & Sinclair, 2016). Times are microseconds.
 */
export function traceEvents(spans: readonly Span[]): TraceEvent[] {
  const threads = [...new Set(spans.flatMap(({ thread }) => (thread === undefined ? [] : [thread])))].sort(
    (x, y) => x - y,
  );
  const names = threads.map((tid) => ({
    name: 'thread_name',
    ph: 'M' as const,
    ts: 0,
    pid: PROCESS,
    tid,
    args: { name: tid === 0 ? 'calling thread' : `worker ${tid}` },
  }));
  const process = {
    name: 'process_name',
    ph: 'M' as const,
    ts: 0,
    pid: PROCESS,
    tid: 0,
    args: { name: 'tesserae' },
  };
  const events = spans.flatMap(
    ({ kind, op, name, backend, thread = 0, startMs, ms, details }): TraceEvent[] => {
      const common = { name, cat: backend, pid: PROCESS, tid: thread, args: details };
      const [ts, end] = [1000 * startMs, 1000 * (startMs + ms)];
      if (kind === 'step') return [{ ...common, ph: 'X', ts, dur: end - ts }];
      return [
        { ...common, ph: 'b', ts, id: op },
        { ...common, ph: 'e', ts: end, id: op },
      ];
    },
  );
  return [process, ...names, ...events];
}
