/** Node.js as a host: worker_threads, V8 flags, what machine this is. */
import { node } from '../../core/node.ts';
import { workerSource } from './gen/worker-source.ts';
import type { EngineReport, Host, WorkerHandle, WorkerMessage, WorkerStart } from './host.ts';
import { watchPower } from './power.ts';
import { quotaCores } from './quota.ts';

/** Bun and Deno answer as Node does, and name themselves besides. */
function engineName(): { readonly name: string; readonly version: string } {
  const { bun, deno, node: version } = process.versions as NodeJS.ProcessVersions & { deno?: string };
  if (bun) return { name: 'bun', version: bun };
  return deno ? { name: 'deno', version: deno } : { name: 'node', version };
}

function readText(path: string): string | undefined {
  try {
    return node('node:fs').readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Those that this process may run on, and has time on. Deno would ask its user whether the files may be read. */
function availableCores(): number {
  const cores = node('node:os').availableParallelism();
  const isAsked = process.platform === 'linux' && engineName().name !== 'deno';
  return Math.min(cores, (isAsked ? quotaCores(readText) : undefined) ?? cores);
}

function engineReport(): EngineReport {
  const { cpus } = node('node:os');
  return {
    ...engineName(),
    v8: process.versions.v8,
    arch: process.arch,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableCores(),
  };
}

/** A worker from its source text (bundled at build time from worker.ts): it needs no file that a bundler could lose.
 *  execArgv is emptied so that the host's loaders and inspectors are not started again in every thread. */
function startWorker(start: WorkerStart): WorkerHandle {
  const { Worker } = node('node:worker_threads');
  const worker = new Worker(workerSource, {
    eval: true,
    execArgv: [],
    name: `tesserae ${start.index}`,
    workerData: start,
    stdout: false,
    stderr: false,
  });
  let error = '';
  let kept = false;
  worker.on('error', (cause: unknown) => {
    error = cause instanceof Error ? cause.message : String(cause);
  });
  worker.unref();
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    onMessage: (listener) => {
      worker.on('message', (message: WorkerMessage) => listener(message));
      // a listener makes the port hold the process, whatever was said before
      if (!kept) worker.unref();
    },
    onExit: (listener) =>
      worker.once('exit', (code) => listener(error || `the thread ended with code ${code}`)),
    keepAlive: (on) => {
      kept = on;
      if (on) worker.ref();
      else worker.unref();
    },
    terminate: async () => {
      await worker.terminate();
    },
  };
}

const RELAXED_SIMD = '--experimental-wasm-relaxed-simd';
/** What this library has set: the engine has from then on what was missing, and later runtimes have it for the same reason. */
const flagsOfProcess = new Set<string>();

/** The engine's relaxed SIMD switch (V8 before 11.4 has it behind a flag), and 256-bit revectorisation, which works from
 *  V8 13 on x86-64 (earlier versions have the flag, but packed nothing of these kernels when measured). */
function setEngineFlags(missing: { relaxedSimd: boolean }): { set: string[]; reason: string } {
  const set: string[] = [];
  const major = Number.parseInt(process.versions.v8, 10);
  if (missing.relaxedSimd || flagsOfProcess.has(RELAXED_SIMD)) set.push(RELAXED_SIMD);
  if (major >= 13 && process.arch === 'x64') set.push('--experimental-wasm-revectorize');
  for (const flag of set.filter((one) => !flagsOfProcess.has(one))) {
    node('node:v8').setFlagsFromString(flag);
    flagsOfProcess.add(flag);
  }
  return {
    set,
    reason: set.length
      ? `V8 ${process.versions.v8}`
      : `V8 ${process.versions.v8} on ${process.arch} has no flag that helps`,
  };
}

let engine: EngineReport | undefined;

export const nodeHost = {
  get engine(): EngineReport {
    engine ??= engineReport();
    return engine;
  },
  noThreads: undefined,
  noWorkers: undefined,
  mayWait: true,
  startWorker,
  setEngineFlags,
  // elsewhere the call would be about the whole process
  get noNice(): string | undefined {
    return process.platform === 'linux' ? undefined : `${process.platform} knows no priority of a thread`;
  },
  watchPower,
  inflate: (bytes: Uint8Array): Uint8Array<ArrayBuffer> => node('node:zlib').inflateRawSync(bytes),
  yieldToEvents: () => new Promise<void>((resolve) => setImmediate(resolve)),
} satisfies Host;
