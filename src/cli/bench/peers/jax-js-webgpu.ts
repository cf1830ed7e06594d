/**
 * jax-js on its `webgpu` device, in Node through Dawn. Resident arrays as on its wasm device, or arrays made and read in each call.
 */
import type { PeerAdapter } from '../types.ts';
import { provideWebgpu } from './dawn.ts';
import { loadJax } from './jax-js.ts';

export const jaxJsWebgpu: PeerAdapter = {
  id: 'jax-js-webgpu',
  onGpu: true,
  async load({ searchFrom, resident = false }) {
    return (
      (await provideWebgpu(searchFrom)) ??
      loadJax({ id: 'jax-js-webgpu', device: 'webgpu', searchFrom, resident })
    );
  },
};
