/**
 * TensorFlow.js on its WebAssembly backend.
 * A timed call is `tf.matMul`, `tf.conv2d` or `tf.depthwiseConv2d` (or the fused form) and the disposal of its result.
 * Operands are resident in its memory; the call is synchronous, and the answer is complete when it returns. In Node it has
 * one thread.
 */
import { join, sep } from 'node:path';
import type { PeerAdapter } from '../types.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';
import type { Tf } from './tfjs.ts';
import { prepareTf } from './tfjs-call.ts';

interface TfWasm {
  setWasmPaths(prefix: string): void;
  setThreadsCount(threads: number): void;
  getThreadsCount(): number;
}

export const tfjsWasm: PeerAdapter = {
  id: 'tfjs-wasm',
  async load({ threads, searchFrom }) {
    const core = findPackage('@tensorflow/tfjs-core', searchFrom);
    if ('absent' in core) return core;
    const backend = findPackage('@tensorflow/tfjs-backend-wasm', searchFrom);
    if ('absent' in backend) return backend;
    try {
      const tf = await importPackage<Tf>(core, 'setBackend');
      const wasm = await importPackage<TfWasm>(backend, 'setWasmPaths');
      wasm.setWasmPaths(join(backend.folder, 'dist') + sep);
      wasm.setThreadsCount(threads);
      if (!(await tf.setBackend('wasm')))
        return { absent: `installed (${backend.version}), but its backend did not start` };
      const info = {
        id: 'tfjs-wasm',
        version: backend.version,
        // Its threaded build needs a browser; asked for more in Node, it stays on one.
        threads: 1,
        includes: 'tf.matMul() or tf.conv2d() in its own NHWC; resident tensors, a fresh output each time',
      };
      return { info, prepare: async (operands) => prepareTf(tf, operands), dispose: async () => undefined };
    } catch (error) {
      return cannotLoad(backend, error);
    }
  },
};
