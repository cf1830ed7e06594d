/**
 * TensorFlow.js on its WebGPU backend, in Node through Dawn. With operands that stay on the GPU a timed call is the operator and the disposal
 * of its result, and a row of calls ends when the device is through; else operands are sent and the result is read in each call.
 */
import type { Operands } from '../operands.ts';
import type { PeerAdapter, Prepared, Unsupported } from '../types.ts';
import type { Result } from '../verify.ts';
import { provideWebgpu } from './dawn.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';
import type { Tf } from './tfjs.ts';
import { prepareTf } from './tfjs-call.ts';

interface TfWebgpu extends Tf {
  backend(): {
    /** What was recorded and not submitted; nothing after a submit. */
    readonly commandEncoder: object | null;
    endComputePassEncoder(): void;
    submitQueue(): void;
    readonly queue: { onSubmittedWorkDone(): Promise<unknown> };
  };
}

export const tfjsWebgpu: PeerAdapter = {
  id: 'tfjs-webgpu',
  onGpu: true,
  async load({ searchFrom, resident = false }) {
    const core = findPackage('@tensorflow/tfjs-core', searchFrom);
    if ('absent' in core) return core;
    const backend = findPackage('@tensorflow/tfjs-backend-webgpu', searchFrom);
    if ('absent' in backend) return backend;
    const absent = await provideWebgpu(searchFrom);
    if (absent) return absent;
    try {
      const tf = await importPackage<TfWebgpu>(core, 'setBackend');
      await importPackage<{ webgpu_util: object }>(backend, 'webgpu_util');
      if (!(await tf.setBackend('webgpu')))
        return { absent: `installed (${backend.version}), but its backend did not start` };
      const info = {
        id: 'tfjs-webgpu',
        version: backend.version,
        threads: 1,
        includes: resident
          ? 'tf.matMul() or tf.conv2d() in its own NHWC; resident tensors, a fresh output each time'
          : 'tf.tensor() of both operands, tf.matMul() and data()',
      };
      const prepare = resident ? prepareResident : prepareWhole;
      return { info, prepare: async (operands) => prepare(tf, operands), dispose: async () => undefined };
    } catch (error) {
      return cannotLoad(backend, error);
    }
  },
};

function prepareResident(tf: TfWebgpu, operands: Operands): Prepared | Unsupported {
  const prepared = prepareTf(tf, operands);
  if ('unsupported' in prepared) return prepared;
  const finish = async () => {
    const backend = tf.backend();
    if (backend.commandEncoder) {
      backend.endComputePassEncoder();
      backend.submitQueue();
    }
    await backend.queue.onSubmittedWorkDone();
  };
  return { ...prepared, finish };
}

/** Everything in the call. Its images have another order than those of the others: turning them would be timed as well. */
function prepareWhole(tf: Tf, operands: Operands): Prepared | Unsupported {
  if (operands.kind === 'conv') return { unsupported: 'its images lie in NHWC: compared with --resident' };
  const tried = prepareTf(tf, operands);
  if ('unsupported' in tried) return tried;
  tried.dispose();
  let latest: Result = new Float32Array(0);
  return {
    run: async () => {
      const one = prepareTf(tf, operands) as Prepared;
      one.run();
      latest = await one.result();
      one.dispose();
    },
    result: async () => latest,
    dispose: () => undefined,
  };
}
