/** All peers, in the order of the tables; a new one is a file and a line here. */
import type { PeerAdapter } from '../types.ts';
import { gpujsWebgpu } from './gpujs.ts';
import { jaxJs } from './jax-js.ts';
import { jaxJsWebgpu } from './jax-js-webgpu.ts';
import { onnxruntimeNode } from './onnxruntime-node.ts';
import { onnxruntimeWeb } from './onnxruntime-web.ts';
import { onnxruntimeWebgpu } from './onnxruntime-webgpu.ts';
import { plainJs } from './plain-js.ts';
import { tfjsWasm } from './tfjs-wasm.ts';
import { tfjsWebgpu } from './tfjs-webgpu.ts';

export const PEERS: readonly PeerAdapter[] = [
  onnxruntimeWeb,
  tfjsWasm,
  jaxJs,
  plainJs,
  onnxruntimeNode,
  onnxruntimeWebgpu,
  tfjsWebgpu,
  jaxJsWebgpu,
  gpujsWebgpu,
];

export function peerAdapter(id: string): PeerAdapter | undefined {
  return PEERS.find((peer) => peer.id === id);
}
