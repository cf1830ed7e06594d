/**
 * onnxruntime-web, WebAssembly execution provider.
 * A timed call is `session.run()`: it copies the inputs into its WebAssembly memory and the output out of it,
 * because this provider has no tensors that stay there. Weights of a prepacked shape are inside the model.
 */
import type { PeerAdapter } from '../types.ts';
import { type Ort, prepareOrt } from './onnxruntime.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

export const onnxruntimeWeb: PeerAdapter = {
  id: 'onnxruntime-web',
  async load({ threads, searchFrom }) {
    const found = findPackage('onnxruntime-web', searchFrom);
    if ('absent' in found) return found;
    try {
      const ort = await importPackage<Ort>(found, 'InferenceSession');
      ort.env.wasm.numThreads = threads;
      ort.env.logLevel = 'error';
      const info = {
        id: 'onnxruntime-web',
        version: found.version,
        // It may lower the number at its first session where threads are not to be had; 1.30 in Node keeps it.
        threads,
        includes: 'session.run() on the wasm provider; copies inputs in and the output out',
      };
      const options = { executionProviders: ['wasm'], logSeverityLevel: 3 };
      return {
        info,
        prepare: (operands) => prepareOrt(ort, operands, options),
        dispose: async () => undefined,
      };
    } catch (error) {
      return cannotLoad(found, error);
    }
  },
};
