/** All peers, in the order of the tables; a new one is a file and a line here. */
import type { PeerAdapter } from '../types.ts';
import { jaxJs } from './jax-js.ts';
import { onnxruntimeNode } from './onnxruntime-node.ts';
import { onnxruntimeWeb } from './onnxruntime-web.ts';
import { onnxruntimeWebgpu } from './onnxruntime-webgpu.ts';
import { plainJs } from './plain-js.ts';
import { tfjsWasm } from './tfjs-wasm.ts';

export const PEERS: readonly PeerAdapter[] = [
  onnxruntimeWeb,
  tfjsWasm,
  jaxJs,
  plainJs,
  onnxruntimeNode,
  onnxruntimeWebgpu,
];

export function peerAdapter(id: string): PeerAdapter | undefined {
  return PEERS.find((peer) => peer.id === id);
}
