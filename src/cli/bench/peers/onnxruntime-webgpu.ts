/**
 * onnxruntime-node's WebGPU provider, with its own Dawn. A timed call is `session.run()`: inputs go to the GPU, the output comes back.
 */
import { parseShape } from '../../shapes/index.ts';
import { makeOperands } from '../operands.ts';
import type { PeerAdapter } from '../types.ts';
import { type Ort, prepareOrt } from './onnxruntime.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

export const onnxruntimeWebgpu: PeerAdapter = {
  id: 'onnxruntime-webgpu',
  onGpu: true,
  async load({ searchFrom }) {
    const found = findPackage('onnxruntime-node', searchFrom);
    if ('absent' in found) return found;
    try {
      const ort = await importPackage<Ort>(found, 'InferenceSession');
      const info = {
        id: 'onnxruntime-webgpu',
        version: found.version,
        threads: 1,
        includes: 'session.run() on the native WebGPU provider; copies inputs there and the output back',
      };
      const options = { executionProviders: ['webgpu'], logSeverityLevel: 3 };
      // it finds out that there is no adapter when a session is made
      const tried = await prepareOrt(ort, makeOperands(parseShape('4x4x4')), options);
      if ('dispose' in tried) tried.dispose();
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
