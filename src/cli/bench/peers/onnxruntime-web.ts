/**
 * onnxruntime-web, WebAssembly execution provider.
 * A timed call is `session.run()`: it copies the inputs into its WebAssembly memory and the output out of it,
 * because this provider has no tensors that stay there. Weights of a prepacked shape are inside the model.
 */
import type { PeerAdapter } from '../types.ts';
import { loadOrt, type OrtProvider } from './onnxruntime.ts';

const WASM: OrtProvider = {
  package: 'onnxruntime-web',
  includes: 'session.run() on the wasm provider; copies inputs in and the output out',
  options: () => ({ executionProviders: ['wasm'], logSeverityLevel: 3 }),
  // It may lower the number at its first session where threads are not to be had; 1.30 in Node keeps it.
  setUp(ort, threads) {
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = 'error';
  },
};

export const onnxruntimeWeb: PeerAdapter = {
  id: 'onnxruntime-web',
  load: (options) => loadOrt('onnxruntime-web', WASM, options),
};
