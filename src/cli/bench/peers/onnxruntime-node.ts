/**
 * onnxruntime-node, the native library: no WebAssembly, the widest vectors that the CPU has. The outer limit.
 * A timed call is `session.run()`; inputs are read in place, the output is allocated anew.
 */
import type { PeerAdapter } from '../types.ts';
import { type Ort, prepareOrt } from './onnxruntime.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

export const onnxruntimeNode: PeerAdapter = {
  id: 'onnxruntime-node',
  async load({ threads, searchFrom }) {
    const found = findPackage('onnxruntime-node', searchFrom);
    if ('absent' in found) return found;
    try {
      const ort = await importPackage<Ort>(found, 'InferenceSession');
      const info = {
        id: 'onnxruntime-node',
        version: found.version,
        threads,
        includes: 'session.run() on the native CPU provider; a fresh output each time',
      };
      const options = {
        executionProviders: ['cpu'],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
        // Before AVX-VNNI its products of u8 and i8 saturate at 16 bits; this takes its slower, right way there.
        extra: { session: { x64quantprecision: '1' } },
      };
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
