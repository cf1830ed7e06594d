/**
 * tesserae as a backend of onnxruntime-common: import this once, and sessions that are made with `executionProviders: ['tesserae']` run
 * here. The package onnxruntime-common is the caller's own.
 * @example
 * import 'tesserae/ort';
 * import { InferenceSession } from 'onnxruntime-common';
 * const session = await InferenceSession.create('model.onnx', { executionProviders: ['tesserae'] });
 */
import {
  type Backend,
  type InferenceSessionHandler,
  registerBackend,
  type SessionHandler,
  Tensor,
} from 'onnxruntime-common';
import { InferenceSession } from './session.ts';
import type { TensorIn } from './tensor.ts';

type Feeds = SessionHandler.FeedsType;
type Fetches = SessionHandler.FetchesType;
type Returned = SessionHandler.ReturnType;

class Handler implements InferenceSessionHandler {
  readonly #session: InferenceSession;

  constructor(session: InferenceSession) {
    this.#session = session;
  }

  get inputNames(): readonly string[] {
    return this.#session.inputNames;
  }

  get outputNames(): readonly string[] {
    return this.#session.outputNames;
  }

  get inputMetadata(): InferenceSessionHandler['inputMetadata'] {
    return this.#session.inputMetadata.map(({ name, type, shape = [] }) => ({
      name,
      isTensor: true,
      type,
      shape,
    }));
  }

  get outputMetadata(): InferenceSessionHandler['outputMetadata'] {
    return this.#session.outputMetadata.map(({ name, type, shape = [] }) => ({
      name,
      isTensor: true,
      type,
      shape,
    }));
  }

  /** Only what is fetched is handed out; results go into tensors of the caller's where there are some. */
  async run(feeds: Feeds, fetches: Fetches): Promise<Returned> {
    const results = await this.#session.run(feeds as unknown as Readonly<Record<string, TensorIn>>);
    const returned: Record<string, Tensor> = {};
    for (const [name, given] of Object.entries(fetches)) {
      const { type, data, dims } = results[name]!;
      if (given && 'data' in given) (given.data as Float32Array).set(data as Float32Array);
      returned[name] = given ?? new Tensor(type as 'float32', data as Float32Array, dims);
    }
    return returned as Returned;
  }

  dispose(): Promise<void> {
    return this.#session.release();
  }

  startProfiling(): void {}

  endProfiling(): void {}
}

const backend: Backend = {
  init: async () => undefined,
  async createInferenceSessionHandler(source, options) {
    const level = options?.graphOptimizationLevel === 'disabled' ? 'none' : 'all';
    const threads = options?.intraOpNumThreads;
    const session = await InferenceSession.create(source, {
      graphOptimizationLevel: level,
      ...(threads ? { threads } : {}),
    });
    return new Handler(session);
  },
};

/** Below zero: only those who name it get it. */
registerBackend('tesserae', backend, -1);

export { backend };
