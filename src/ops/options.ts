/** Runtime options, checked and completed. */

import type { GpuRequest } from '../backends/webgpu/open.ts';
import { TesseraeError } from '../core/errors.ts';
import { show } from '../core/show.ts';
import type { WisdomStore } from '../plan/stores/types.ts';
import { checkFlag } from './arguments.ts';
import type { RuntimeOptions, WasmFiles } from './types.ts';

const MiB = 1024 * 1024;
/** A team larger than this gains nothing on one memory, and its words have a fixed place. */
const MAX_THREADS = 63;

export type Settings = Required<
  Omit<RuntimeOptions, 'threads' | 'wisdom' | 'memory' | 'gpu' | 'wasm' | 'worker'>
> & {
  /** Undefined where none was asked for. */
  readonly gpu: GpuRequest | undefined;
  readonly threads: number | undefined;
  readonly wasm: WasmFiles | undefined;
  readonly worker: string | URL | undefined;
  readonly wisdom: string | WisdomStore | false | undefined;
  readonly memory: { readonly initial: number; readonly maximum: number; readonly shared: boolean };
};

function bad(name: string, value: unknown, hint: string): TesseraeError {
  return new TesseraeError('E_ARGUMENT', `option ${name} is ${show(value)}`, { [name]: value }, hint);
}

function oneOf<T extends string>(name: string, value: T | undefined, choices: readonly T[]): T {
  if (value === undefined) return choices[0]!;
  if (choices.includes(value)) return value;
  throw bad(name, value, `Use one of ${choices.join(', ')}.`);
}

function inRange(
  name: string,
  value: number | undefined,
  fallback: number,
  low: number,
  high: number,
  unit: string,
): number {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && Number.isFinite(value) && value >= low && value <= high) return value;
  throw bad(name, value, `It must be a number of ${unit} from ${low} to ${high}.`);
}

const KNOWN: readonly (keyof RuntimeOptions)[] = [
  'threads',
  'numerics',
  'policy',
  'effort',
  'wisdom',
  'memory',
  'engineFlags',
  'gpu',
  'backend',
  'wasm',
  'worker',
  'workerTimeoutMs',
  'onEvent',
];

const GPU_FIELDS: readonly (keyof GpuRequest)[] = [
  'device',
  'gpu',
  'gpujs',
  'powerPreference',
  'experimental',
];

/** The package is an object of names or, in its build for pages, a class that has them. */
function isModule(value: unknown): boolean {
  return typeof value === 'function' || (typeof value === 'object' && value !== null);
}

function readGpu({ gpu, backend }: RuntimeOptions): GpuRequest | undefined {
  if (gpu === undefined || gpu === false) return backend === 'webgpu' || backend === 'gpujs' ? {} : undefined;
  if (gpu === true) return {};
  const hint = 'Use true, false, or { device }, { gpu }, { gpujs }, { powerPreference } or { experimental }.';
  if (typeof gpu !== 'object' || gpu === null) throw bad('gpu', gpu, hint);
  const unknown = Object.keys(gpu).find((name) => !(GPU_FIELDS as readonly string[]).includes(name));
  if (unknown !== undefined) throw bad(`gpu.${unknown}`, (gpu as Record<string, unknown>)[unknown], hint);
  if (gpu.device !== undefined && typeof gpu.device?.createBuffer !== 'function')
    throw bad('gpu.device', gpu.device, 'A GPUDevice.');
  if (gpu.gpu !== undefined && typeof gpu.gpu?.requestAdapter !== 'function')
    throw bad('gpu.gpu', gpu.gpu, 'A GPU, as navigator.gpu is.');
  if (gpu.gpujs !== undefined && !isModule(gpu.gpujs))
    throw bad('gpu.gpujs', gpu.gpujs, "The package: await import('gpu.js').");
  if (gpu.experimental !== undefined && typeof gpu.experimental !== 'boolean')
    throw bad('gpu.experimental', gpu.experimental, 'true or false.');
  return gpu;
}

function readWasm({ wasm }: RuntimeOptions): WasmFiles | undefined {
  if (wasm === undefined) return undefined;
  const hint = 'Use { simd, relaxed }, each a URL, a Response, bytes or a WebAssembly.Module.';
  if (typeof wasm === 'string') return { simd: wasm };
  if (typeof wasm !== 'object' || wasm === null) throw bad('wasm', wasm, hint);
  // anything but a plain object is a source itself
  if (Object.getPrototypeOf(wasm) !== Object.prototype) return { simd: wasm };
  for (const [name, source] of Object.entries(wasm)) {
    if (name !== 'simd' && name !== 'relaxed') throw bad(`wasm.${name}`, source, hint);
    if (!['string', 'object'].includes(typeof source) || source === null)
      throw bad(`wasm.${name}`, source, hint);
  }
  if (!('simd' in wasm) || wasm.simd === undefined) throw bad('wasm.simd', undefined, hint);
  return wasm as WasmFiles;
}

function readWorker({ worker }: RuntimeOptions): string | URL | undefined {
  if (worker === undefined || worker instanceof URL || (typeof worker === 'string' && worker !== ''))
    return worker;
  throw bad('worker', worker, 'The URL of a file with what embeddedWorker() gave.');
}

export function readOptions(options: RuntimeOptions): Settings {
  if (typeof options !== 'object' || options === null)
    throw bad('options', options, 'Pass an object, or nothing.');
  for (const name of Object.keys(options)) {
    if (!(KNOWN as readonly string[]).includes(name))
      throw bad(
        name,
        (options as Record<string, unknown>)[name],
        `There is no such option; known are ${KNOWN.join(', ')}.`,
      );
  }
  const { threads, wisdom, onEvent, memory } = options;
  const isMemory = typeof memory === 'object' && memory !== null;
  if (memory !== undefined && !isMemory) throw bad('memory', memory, 'An object with initial and maximum.');
  if (threads !== undefined && !(Number.isSafeInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw bad('threads', threads, `A whole number from 1 to ${MAX_THREADS}.`);
  }
  const isStore =
    typeof wisdom === 'object' &&
    wisdom !== null &&
    typeof wisdom.read === 'function' &&
    typeof wisdom.write === 'function';
  if (wisdom !== undefined && wisdom !== false && (typeof wisdom !== 'string' || wisdom === '') && !isStore) {
    throw bad('wisdom', wisdom, 'A file path, a store with read and write, or false.');
  }
  if (onEvent !== undefined && typeof onEvent !== 'function') throw bad('onEvent', onEvent, 'A function.');
  const maximum = inRange(
    'memory.maximum',
    options.memory?.maximum,
    4096 * MiB,
    1 * MiB,
    4096 * MiB,
    'bytes',
  );
  const initial = inRange(
    'memory.initial',
    options.memory?.initial,
    Math.min(16 * MiB, maximum),
    0,
    maximum,
    'bytes',
  );
  return {
    threads,
    wisdom,
    numerics: oneOf('numerics', options.numerics, ['fast', 'exact']),
    policy: oneOf('policy', options.policy, ['auto', 'strict']),
    effort: oneOf('effort', options.effort, ['estimate', 'measure', 'exhaustive']),
    gpu: readGpu(options),
    wasm: readWasm(options),
    worker: readWorker(options),
    backend: oneOf('backend', options.backend, ['auto', 'wasm', 'webgpu', 'gpujs']),
    engineFlags: oneOf('engineFlags', options.engineFlags, ['off', 'allow']),
    workerTimeoutMs: inRange(
      'workerTimeoutMs',
      options.workerTimeoutMs,
      30_000,
      10,
      3_600_000,
      'milliseconds',
    ),
    onEvent: onEvent ?? (() => undefined),
    memory: { initial, maximum, shared: checkFlag(memory?.shared ?? true, 'memory.shared') },
  };
}
