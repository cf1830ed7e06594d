/** The other side of a race of models: one engine in a process of its own, one model at a time. */
import type { RuntimeOptions } from '../../../index.ts';
import { InferenceSession, Tensor } from '../../../onnx/index.ts';
import { answerAll } from '../child.ts';
import { randomSource } from '../operands.ts';
import { cannotLoad, findPackage, importPackage } from '../peers/resolve.ts';
import { median } from '../stats.ts';
import type { Absent } from '../types.ts';

export const OURS = 'tesserae';
export const MODEL_PEERS = ['onnxruntime-web', 'onnxruntime-node'] as const;

/** Sessions that are made of a model, of which the last one stays. */
const CREATIONS = 5;

export interface EngineOptions {
  readonly threads: number;
  readonly searchFrom: readonly string[];
  /** Ours. */
  readonly runtime: RuntimeOptions;
}

export interface OpenRequest {
  readonly file: string;
  /** Shapes of all inputs, which are floats. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Milliseconds for measuring plans, of those who do. */
  readonly tuneMs: number;
}

export interface Opened {
  /** Of making a session: the middle one of some times, and the first time, when engines compile. */
  readonly createMs: number;
  readonly createFirstMs: number;
  readonly firstMs: number;
  /** What it gives for the inputs that all engines get. */
  readonly outputs: Readonly<Record<string, Output>>;
}

export interface Output {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

export type ModelRequest =
  | { readonly op: 'load'; readonly engine: string; readonly options: EngineOptions }
  | ({ readonly op: 'open' } & OpenRequest)
  | { readonly op: 'run'; readonly ms: number }
  | { readonly op: 'release' }
  | { readonly op: 'close' };

export interface EngineInfo {
  readonly id: string;
  readonly version: string;
}

/** An open model. */
interface Session {
  run(
    feeds: Feeds,
  ): Promise<Readonly<Record<string, { readonly dims: readonly number[]; readonly data: unknown }>>>;
  prepare?(feeds: Feeds, tuneMs: number): Promise<void>;
  release(): Promise<void>;
}

type Feeds = Readonly<Record<string, { readonly data: Float32Array; readonly dims: readonly number[] }>>;

interface Engine {
  readonly info: EngineInfo;
  create(file: string): Promise<Session>;
}

function ours({ threads, runtime }: EngineOptions): Engine {
  return {
    info: { id: OURS, version: '' },
    async create(file) {
      const session = await InferenceSession.create(file, { ...runtime, threads });
      const tensors = (feeds: Feeds) =>
        Object.fromEntries(
          Object.entries(feeds).map(([name, { data, dims }]) => [name, new Tensor('float32', data, dims)]),
        );
      return {
        run: (feeds) => session.run(tensors(feeds)),
        prepare: (feeds, tuneMs) => session.prepare(tensors(feeds), { tuneMs }),
        release: () => session.release(),
      };
    },
  };
}

/** The part of the API of the ONNX Runtime packages that is used here. */
interface Ort {
  readonly env: { readonly wasm: { numThreads?: number }; logLevel?: string };
  readonly Tensor: new (type: string, data: Float32Array, dims: readonly number[]) => never;
  readonly InferenceSession: {
    create(
      file: string,
      options: object,
    ): Promise<{
      run(feeds: object): Promise<Record<string, { dims: readonly number[]; data: unknown }>>;
      release(): Promise<void>;
    }>;
  };
}

async function onnxruntime(id: string, { threads, searchFrom }: EngineOptions): Promise<Engine | Absent> {
  const found = findPackage(id, searchFrom);
  if ('absent' in found) return found;
  try {
    const ort = await importPackage<Ort>(found, 'InferenceSession');
    ort.env.logLevel = 'error';
    if (id === 'onnxruntime-web') ort.env.wasm.numThreads = threads;
    const providers = id === 'onnxruntime-web' ? ['wasm'] : ['cpu'];
    const options = { executionProviders: providers, logSeverityLevel: 3, intraOpNumThreads: threads };
    return {
      info: { id, version: found.version },
      async create(file) {
        const session = await ort.InferenceSession.create(file, options);
        return {
          run: (feeds) =>
            session.run(
              Object.fromEntries(
                Object.entries(feeds).map(([name, { data, dims }]) => [
                  name,
                  new ort.Tensor('float32', data, dims),
                ]),
              ),
            ),
          release: () => session.release(),
        };
      },
    };
  } catch (error) {
    return cannotLoad(found, error);
  }
}

class Host {
  #engine: Engine | undefined;
  #session: Session | undefined;
  #feeds: Feeds = {};

  async answer(request: ModelRequest): Promise<unknown> {
    switch (request.op) {
      case 'load': {
        const { engine, options } = request;
        const loaded = engine === OURS ? ours(options) : await onnxruntime(engine, options);
        if ('absent' in loaded) return loaded;
        this.#engine = loaded;
        return loaded.info;
      }
      case 'open':
        return this.#open(request);
      case 'run':
        return this.#run(request.ms);
      case 'release':
        return this.#release();
      case 'close':
        return this.#release();
      default:
        return request satisfies never;
    }
  }

  async #open(request: OpenRequest): Promise<Opened> {
    const { session, samples } = await this.#create(request.file);
    this.#session = session;
    this.#feeds = Object.fromEntries(
      Object.entries(request.inputs).map(([name, dims], index) => {
        const next = randomSource(index + 1);
        const count = dims.reduce((x, y) => x * y, 1);
        return [name, { data: new Float32Array(count).map(() => 2 * next() - 1), dims }];
      }),
    );
    const first = performance.now();
    const results = await session.run(this.#feeds);
    const firstMs = performance.now() - first;
    await session.prepare?.(this.#feeds, request.tuneMs);
    const outputs = Object.entries(results).map(([name, { dims, data }]) => [
      name,
      { dims: [...dims], data: Float64Array.from(data as ArrayLike<number>, Number) },
    ]);
    return {
      createMs: median(samples),
      createFirstMs: samples[0]!,
      firstMs,
      outputs: Object.fromEntries(outputs),
    };
  }

  /** Single times differ by a factor of two and more, for both engines. */
  async #create(file: string): Promise<{ session: Session; samples: readonly number[] }> {
    const samples: number[] = [];
    for (;;) {
      const start = performance.now();
      const session = await this.#engine!.create(file);
      samples.push(performance.now() - start);
      if (samples.length === CREATIONS) return { session, samples };
      await session.release();
    }
  }

  /** Milliseconds of a run, over as many as fit; one goes before that does not count. */
  async #run(ms: number): Promise<number> {
    const session = this.#session!;
    await session.run(this.#feeds);
    const start = performance.now();
    let count = 0;
    do {
      await session.run(this.#feeds);
      count++;
    } while (performance.now() - start < ms);
    return (performance.now() - start) / count;
  }

  async #release(): Promise<void> {
    await this.#session?.release();
    this.#session = undefined;
  }
}

export function hostModels(): void {
  const host = new Host();
  answerAll((request: ModelRequest) => host.answer(request));
}
