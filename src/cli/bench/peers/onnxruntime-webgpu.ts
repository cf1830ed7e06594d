/**
 * onnxruntime-node's WebGPU provider, with its own Dawn. A timed call is `session.run()`: inputs go to the GPU, the output comes back.
 */
import { parseShape } from '../../shapes/index.ts';
import { makeOperands } from '../operands.ts';
import type { PeerAdapter } from '../types.ts';
import { loadOrt, type OrtProvider } from './onnxruntime.ts';

const WEBGPU: OrtProvider = {
  package: 'onnxruntime-node',
  includes: 'session.run() on the native WebGPU provider; copies inputs there and the output back',
  threads: 1,
  options: () => ({ executionProviders: ['webgpu'], logSeverityLevel: 3 }),
  // it finds out that there is no adapter when a session is made
  tries: makeOperands(parseShape('4x4x4')),
};

export const onnxruntimeWebgpu: PeerAdapter = {
  id: 'onnxruntime-webgpu',
  onGpu: true,
  load: (options) => loadOrt('onnxruntime-webgpu', WEBGPU, options),
};
