/** For the tests of the command: a stand-in for the runtime, and ways to run the command in and out of process. */
import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ConvOperands } from '../../src/cli/bench/operands.ts';
import { RACE_DEFAULTS } from '../../src/cli/bench/race.ts';
import { activate } from '../../src/cli/bench/verify.ts';
import type { Host } from '../../src/cli/host.ts';
import { runProgram } from '../../src/cli/program.ts';
import { type ConvShape, convExtents, parseShape } from '../../src/cli/shapes/index.ts';
import {
  type Explanation,
  type MachineReport,
  type MatmulOptions,
  type Plan,
  type ProblemSpec,
  type Runtime,
  type RuntimeInfo,
  type RuntimeOptions,
  type Tensor,
  TesseraeError,
  type TuneReport,
} from '../../src/index.ts';

type ConvOptions = NonNullable<Parameters<Runtime['conv2d']>[2]>;

/** Two rounds as short as can be; a first call may take any time, as shaders do that a processor compiles and runs. */
export const QUICK_RACE = {
  ...RACE_DEFAULTS,
  timeMs: 1,
  warmUpMs: 1,
  sampleMs: 0.1,
  minRounds: 2,
  maxRounds: 2,
  slowMs: Number.POSITIVE_INFINITY,
};

export const PLAN: Plan = {
  backend: 'wasm',
  algorithm: 'gemm',
  kernel: 'f32_gemm_4x8__simd',
  packing: 'ab',
  mc: 96,
  kc: 256,
  nc: 512,
  order: 'mn',
  threads: 1,
};

export const MACHINE: MachineReport = {
  peakGflops: 50,
  readGBs: 10,
  readGBsAllThreads: 15,
  wakeUs: 20,
  kernelGflops: { f32_gemm_4x8__simd: 45 },
};

export const INFO: RuntimeInfo = {
  version: '0.0.0',
  engine: { name: 'node', version: '20.0.0', v8: '11.3', arch: 'x64' },
  features: [
    { name: 'simd', on: true, reason: 'found by a test module' },
    { name: 'relaxed-simd', on: false, reason: 'the engine needs a flag' },
  ],
  threads: { requested: 1, actual: 1, memory: 'shared', reason: 'asked for' },
  numerics: 'fast',
  policy: 'auto',
  backends: [{ name: 'wasm', available: true, reason: 'SIMD found' }],
  engineFlags: [],
  gpu: undefined,
  machine: MACHINE,
  wisdom: { source: 'memory', entries: 0, signature: 'fake' },
  budget: { threads: 1, dutyCycle: 1, pauseOnBattery: false, nice: 0, paused: [], missing: [] },
  closed: false,
};

export interface FakeOptions {
  /** Changes the answer before it is handed out. */
  readonly spoil?: (result: Float32Array) => void;
  readonly quarantined?: Explanation['quarantined'];
}

/** What a test looks at afterwards. */
export interface FakeLog {
  readonly created: RuntimeOptions[];
  closed: number;
  matmuls: number;
  convs: number;
  tuned: number;
}

export function fakeLog(): FakeLog {
  return { created: [], closed: 0, matmuls: 0, convs: 0, tuned: 0 };
}

function unused(): never {
  throw new Error('the command does not use this');
}

function tensor(data: Float32Array, shape: readonly number[]): Tensor {
  const dispose = () => undefined;
  const made: Tensor = {
    dtype: 'f32',
    shape,
    size: data.length,
    data,
    location: 'wasm',
    storage: 'f32',
    read: async () => data,
    to: async () => made,
    share: () => ({ runtime: '', ticket: 0, shape, dtype: 'f32' }),
    disposed: false,
    dispose,
    [Symbol.dispose]: dispose,
  };
  return made;
}

/** Two-dimensional products without epilogue: all that these tests multiply. */
function multiply(a: Tensor, b: Tensor, out: Tensor): void {
  const [m = 0, k = 0] = a.shape;
  const n = b.shape[1] ?? 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += (a.data[i * k + p] ?? 0) * (b.data[p * n + j] ?? 0);
      out.data[i * n + j] = sum;
    }
  }
}

/**
 * A convolution written the other way round than the check's: each pixel is added to all the results that see it.
 * `w` may be any array of the weights' size, so that a test can spoil it.
 */
export function convolve({ shape, x, bias }: ConvOperands, w: Float32Array): Float32Array {
  const { batch, inC, inH, inW, outC, kH, kW, stride, padding, dilation, groups } = shape;
  const { outH, outW, output } = convExtents(shape);
  const [inPer, outPer] = [inC / groups, outC / groups];
  const sums = Float64Array.from(
    { length: output },
    (_, i) => bias?.[Math.floor(i / (outH * outW)) % outC] ?? 0,
  );
  for (let from = 0; from < batch * inC * inH * inW; from++) {
    const [row, column] = [Math.floor(from / inW) % inH, from % inW];
    const plane = Math.floor(from / (inW * inH));
    const [image, channel] = [Math.floor(plane / inC), plane % inC];
    for (let tap = 0; tap < outPer * kH * kW; tap++) {
      const o = Math.floor(channel / inPer) * outPer + Math.floor(tap / (kH * kW));
      const [i, j] = [Math.floor(tap / kW) % kH, tap % kW];
      const y = (row + padding[0] - i * dilation[0]) / stride[0];
      const z = (column + padding[1] - j * dilation[1]) / stride[1];
      if (!Number.isInteger(y) || !Number.isInteger(z) || y < 0 || y >= outH || z < 0 || z >= outW) continue;
      const to = ((image * outC + o) * outH + y) * outW + z;
      const weight = w[((o * inPer + (channel % inPer)) * kH + i) * kW + j] ?? 0;
      sums[to] = (sums[to] ?? 0) + (x[from] ?? 0) * weight;
    }
  }
  return Float32Array.from(sums, (sum) => activate(shape.activation, sum));
}

export function fakeRuntime(log: FakeLog, { spoil, quarantined = [] }: FakeOptions = {}): Runtime {
  const explain = (problem: ProblemSpec): Explanation => {
    if (typeof problem !== 'string' && 'k' in problem && problem.k === 13) {
      throw new TesseraeError('E_MEMORY', 'no memory for it', { bytes: 13 }, 'Close something.');
    }
    const candidates = [
      { plan: PLAN, estimateMs: 1, measuredMs: 0.9 },
      { plan: { ...PLAN, kc: 128 }, estimateMs: 1.2, rejected: 'slower' },
    ];
    const asked = { op: 'matmul' } as Explanation['problem'];
    return {
      key: 'fake',
      problem: asked,
      plan: PLAN,
      source: 'estimate',
      effort: 'estimate',
      candidates,
      quarantined,
    };
  };
  const close = async () => {
    log.closed++;
  };
  const matmul = async (a: Tensor, b: Tensor, { out }: MatmulOptions = {}) => {
    log.matmuls++;
    const result =
      out ??
      tensor(new Float32Array((a.shape[0] ?? 0) * (b.shape[1] ?? 0)), [a.shape[0] ?? 0, b.shape[1] ?? 0]);
    multiply(a, b, result);
    spoil?.(result.data);
    return result;
  };
  /** Only the few options that the tests' shapes have. */
  const conv2d = async (x: Tensor, w: Tensor, { padding, bias, out }: ConvOptions = {}) => {
    log.convs++;
    const [batch, inC, inH, inW] = x.shape;
    const [outC, , kH, kW] = w.shape;
    const text = `conv ${batch}x${inC}x${inH}x${inW} ${outC} ${kH}x${kW} p${[padding].flat().join('.')}`;
    const shape = parseShape(`${text}${bias ? ' bias' : ''}`) as ConvShape;
    const values = {
      kind: 'conv',
      shape,
      x: x.data,
      w: w.data,
      bias: (bias as Tensor | undefined)?.data,
    } as const;
    const result = out as Tensor;
    result.data.set(convolve(values, w.data));
    spoil?.(result.data);
    return result;
  };
  return {
    info: INFO,
    tensor: ((data: ArrayLike<number>, shape: readonly number[]) =>
      tensor(Float32Array.from(data), shape)) as Runtime['tensor'],
    zeros: (shape) => tensor(new Float32Array(shape.reduce((x, y) => x * y, 1)), shape),
    matmul: matmul as Runtime['matmul'],
    matmulSync: unused,
    prepack: ((b: Tensor) => ({
      ...b,
      bytes: 0,
      disposed: false,
      dispose: () => undefined,
    })) as unknown as Runtime['prepack'],
    explain,
    conv2d: conv2d as Runtime['conv2d'],
    ...{ matmulInteger: unused, matmulIntegerSync: unused, qlinearMatmul: unused, qlinearMatmulSync: unused },
    ...{ matmulDynamic: unused, matmulDynamicSync: unused, convInteger: unused, convIntegerSync: unused },
    ...{ qlinearConv: unused, qlinearConvSync: unused, quantizeDynamic: unused, prepackInteger: unused },
    ...{ conv2dSync: unused, conv1d: unused, conv1dSync: unused },
    ...{ convTranspose2d: unused, convTranspose2dSync: unused, maxPool2d: unused, maxPool2dSync: unused },
    ...{ averagePool2d: unused, averagePool2dSync: unused, globalPool2d: unused, globalPool2dSync: unused },
    ...{
      unary: unused,
      unarySync: unused,
      binary: unused,
      binarySync: unused,
      where: unused,
      whereSync: unused,
    },
    ...{ reduce: unused, reduceSync: unused, softmax: unused, softmaxSync: unused },
    ...{ layerNorm: unused, layerNormSync: unused, transpose: unused, transposeSync: unused },
    prepare: unused,
    fromGpu: unused,
    gpuBuffer: unused,
    settle: unused,
    spread: unused,
    budget: unused,
    profile: unused,
    pause: unused,
    resume: unused,
    share: unused,
    adopt: unused,
    gpuTime: unused,
    kernel: unused,
    get gpuDevice() {
      return unused();
    },
    tune: async (problems, options) => {
      log.tuned += problems.length;
      return problems.map((_, i): TuneReport => {
        options?.onProgress?.({ phase: 'tune', done: i + 1, total: problems.length });
        return { key: `fake ${i}`, plan: PLAN, ms: 1, estimateMs: 1.5, measured: 3, candidates: 9 };
      });
    },
    measureMachine: async () => MACHINE,
    wisdom: {
      list: () => [{ key: 'fake', effort: 'measure', ms: 1, plan: PLAN }],
      export: () => '{"fake":1}',
      import: importFake,
      clear: () => undefined,
    },
    memory: unused,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function importFake(text: string): number {
  if (text !== '{"fake":1}')
    throw new TesseraeError('E_WISDOM', 'the signature is wrong', {}, 'Measure again.');
  return 1;
}

export interface CliResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface InProcess extends FakeOptions {
  readonly log?: FakeLog;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
  readonly input?: Readable;
  /** In place of a fake one. */
  readonly createRuntime?: Host['createRuntime'];
}

/** Runs the program in this process, on a fake runtime. */
export async function runFake(argv: readonly string[], options: InProcess = {}): Promise<CliResult> {
  const { log = fakeLog(), cwd = process.cwd(), signal = new AbortController().signal } = options;
  let [out, err] = ['', ''];
  const host: Host = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    input: options.input ?? Readable.from([]),
    stdoutIsTTY: false,
    stderrIsTTY: false,
    cwd,
    signal,
    createRuntime: async (given = {}) => {
      log.created.push(given);
      return options.createRuntime?.(given) ?? fakeRuntime(log, options);
    },
  };
  return { code: await runProgram(argv, host), out, err };
}

export const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** How the bench starts its child processes when a test is the parent. */
export const SELF = { entry: MAIN, execArgv: ['--import', 'tsx'] };

export interface SpawnOptions {
  readonly cwd?: string;
  /** Called with everything printed on stderr so far; may send a signal. */
  readonly onErr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs the command as a user does, from the sources. */
export function runCli(argv: readonly string[], { cwd, onErr }: SpawnOptions = {}): Promise<CliResult> {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const tsx = import.meta.resolve('tsx');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', tsx, MAIN, ...argv], { cwd: cwd ?? root });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
      onErr?.(err, (signal) => child.kill(signal));
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}
