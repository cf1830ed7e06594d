/** What the commands share: their common options, a runtime that is always closed, and output as table or JSON. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { BackendChoice, Runtime, RuntimeEvent, RuntimeOptions } from '../index.ts';
import { type Colors, colorsFor } from './colors.ts';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { ProgressBar as Bar, type ProgressBar } from './progress.ts';

export interface CommonOptions {
  readonly threads?: number;
  readonly engineFlags?: boolean;
  readonly exact?: boolean;
  readonly gpu?: boolean;
  readonly gpuExperimental?: boolean;
  readonly backend?: BackendChoice;
  readonly wisdom?: string | false;
  readonly json?: boolean | string;
  readonly verbose?: boolean;
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`"${text}" is no whole number from 1 up`);
  return value;
}

export function parseSize(text: string): readonly [width: number, height: number] {
  const match = /^([1-9]\d*)x([1-9]\d*)$/.exec(text);
  if (!match) throw new UsageError(`"${text}" is no size`, 'Write width x height, for instance 320x320.');
  return [Number(match[1]), Number(match[2])];
}

/** `--json` takes a file only where a command says so itself. */
export function addJson(command: Command): Command {
  return command.option('--json', 'print JSON on stdout, and nothing else there');
}

export function addVerbose(command: Command): Command {
  return command.option('--verbose', 'show the stack of an error, and events of the runtime');
}

export function addRuntimeOptions(command: Command): Command {
  return command
    .addOption(new Option('--threads <n>', 'threads that compute (default: all cores)').argParser(parseCount))
    .option('--engine-flags', 'let the library set V8 flags in this process (relaxed SIMD, 256-bit vectors)')
    .option('--gpu', 'compute on the GPU as well, where that is cheaper (Node: needs the package webgpu)')
    .option('--gpu-experimental', 'the same with what Dawn holds back: matrix units, halves on NVIDIA')
    .addOption(
      new Option('--backend <name>', 'send every call there that has a kernel for it').choices([
        'auto',
        'wasm',
        'webgpu',
        'gpujs',
      ]),
    )
    .option('--exact', 'bit-exact arithmetic: the same bytes on any machine')
    .option('--wisdom <file>', "keep measured plans in this file (default: the user's cache folder)")
    .option('--no-wisdom', 'neither read nor keep measured plans');
}

/** What the common options ask of a runtime. */
export function runtimeOptionsOf(options: CommonOptions, cwd: string): RuntimeOptions {
  const { threads, engineFlags, exact, wisdom, gpu, gpuExperimental, backend } = options;
  return {
    ...(threads !== undefined && { threads }),
    ...(engineFlags && { engineFlags: 'allow' }),
    ...(exact && { numerics: 'exact' }),
    ...(gpu && { gpu: true }),
    ...(gpuExperimental && { gpu: { experimental: true } }),
    ...(backend !== undefined && { backend }),
    ...(wisdom !== undefined && { wisdom: wisdom && resolve(cwd, wisdom) }),
  };
}

export class Session {
  readonly host: Host;
  readonly #options: CommonOptions;
  readonly colors: Colors;

  constructor(host: Host, options: CommonOptions) {
    this.host = host;
    this.#options = options;
    this.colors = colorsFor(host.stdoutIsTTY);
  }

  get json(): boolean {
    return this.#options.json !== undefined && this.#options.json !== false;
  }

  get signal(): AbortSignal {
    return this.host.signal;
  }

  progress(label: string): ProgressBar {
    return new Bar(this.host, label);
  }

  /** One result: JSON if that was asked for, the text else. */
  print(document: object, text: string): void {
    this.host.out(this.json ? `${JSON.stringify(document, null, 2)}\n` : text);
  }

  note(text: string): void {
    this.host.err(`${text}\n`);
  }

  /** Gives `use` a runtime made from the common options, and closes it whatever happens. */
  async withRuntime<T>(use: (runtime: Runtime) => Promise<T>, extra: RuntimeOptions = {}): Promise<T> {
    this.signal.throwIfAborted();
    const runtime = await this.host.createRuntime({
      ...runtimeOptionsOf(this.#options, this.host.cwd),
      onEvent: (event) => this.#hear(event),
      ...extra,
    });
    try {
      return await use(runtime);
    } finally {
      await runtime.close();
    }
  }

  #hear(event: RuntimeEvent): void {
    const warning = warningOf(event);
    if (warning !== undefined) this.note(`warning: ${warning}`);
    else if (this.#options.verbose) this.note(`event: ${JSON.stringify(event)}`);
  }
}

/** What a user must see even without --verbose. */
function warningOf(event: RuntimeEvent): string | undefined {
  switch (event.type) {
    case 'quarantine':
      return `kernel ${event.kernel} is set aside: ${event.reason}`;
    case 'wisdom-refused':
      return `wisdom from ${event.source} was refused: ${event.reason}`;
    case 'worker-lost':
      return `worker ${event.worker} was lost: ${event.reason}`;
    case 'gpu-lost':
      return `the GPU was lost: ${event.reason}`;
    default:
      return undefined;
  }
}
