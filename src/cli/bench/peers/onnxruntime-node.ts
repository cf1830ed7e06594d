/**
 * onnxruntime-node, the native library: no WebAssembly, the widest vectors that the CPU has. The outer limit.
 * A timed call is `session.run()`; inputs are read in place, the output is allocated anew.
 */
import type { PeerAdapter } from '../types.ts';
import { loadOrt, type OrtProvider } from './onnxruntime.ts';

const NATIVE: OrtProvider = {
  package: 'onnxruntime-node',
  includes: 'session.run() on the native CPU provider; a fresh output each time',
  options: (threads) => ({
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    // Before AVX-VNNI its products of u8 and i8 saturate at 16 bits; this takes its slower, right way there.
    extra: { session: { x64quantprecision: '1' } },
  }),
};

export const onnxruntimeNode: PeerAdapter = {
  id: 'onnxruntime-node',
  load: (options) => loadOrt('onnxruntime-node', NATIVE, options),
};
