/**
 * TensorFlow.js on its WebAssembly backend.
 * A timed call is `tf.matMul`, `tf.conv2d` or `tf.depthwiseConv2d` (or the fused form) and the disposal of its result.
 * Operands are resident in its memory; the call is synchronous, and the answer is complete when it returns. In Node it has
 * one thread.
 */
import { join, sep } from 'node:path';
import type { MatmulOperands, Operands } from '../operands.ts';
import type { PeerAdapter, Prepared, Unsupported } from '../types.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';
import type { FusedActivation, Tf, TfTensor } from './tfjs.ts';
import { prepareConv } from './tfjs-conv.ts';

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
      return { info, prepare: async (operands) => prepare(tf, operands), dispose: async () => undefined };
    } catch (error) {
      return cannotLoad(backend, error);
    }
  },
};

function prepare(tf: Tf, operands: Operands): Prepared | Unsupported {
  switch (operands.kind) {
    case 'conv':
      return prepareConv(tf, operands);
    case 'matmul':
      return prepareMatmul(tf, operands);
    case 'qmatmul':
      return { unsupported: 'it has no product of 8-bit integers' };
    default:
      return operands satisfies never;
  }
}

function prepareMatmul(tf: Tf, operands: MatmulOperands): Prepared | Unsupported {
  const { shape, batch } = operands;
  const { m, k, n, transposeB = false } = shape;
  const activation = fusedActivation(shape.activation);
  if (activation === undefined || shape.bias === 'column')
    return { unsupported: 'its fused matMul has no such epilogue' };
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const a = tf.tensor(operands.a, stacked(m, k), 'float32');
  const b = tf.tensor(operands.b, transposeB ? stacked(n, k) : stacked(k, n), 'float32');
  const bias = operands.bias && tf.tensor(operands.bias, [n], 'float32');
  const plain = bias === undefined && activation === 'linear';
  const call = plain
    ? () => tf.matMul(a, b, false, transposeB)
    : () => tf.fused.matMul({ a, b, transposeA: false, transposeB, bias, activation });
  let latest: TfTensor | undefined;
  return {
    run: () => {
      latest?.dispose();
      latest = call();
    },
    result: async () => (latest ? await latest.data() : new Float32Array(0)),
    dispose: () => {
      for (const tensor of [a, b, bias, latest]) tensor?.dispose();
    },
  };
}

function fusedActivation(activation: MatmulOperands['shape']['activation']): FusedActivation | undefined {
  if (activation === undefined || activation === 'none') return 'linear';
  if (activation === 'relu') return 'relu';
  const relu6 = typeof activation === 'object' && activation.kind === 'clip';
  return relu6 && activation.min === 0 && activation.max === 6 ? 'relu6' : undefined;
}
