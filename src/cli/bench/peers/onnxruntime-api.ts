/** The part of the API of the ONNX Runtime packages that is used here. */
import type { Result } from '../verify.ts';
import type { ElementType, Values } from './onnx-proto.ts';

export interface OrtTensor {
  readonly data: Result;
  readonly dims: readonly number[];
  dispose(): void;
}

export interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

export interface Ort {
  readonly env: { readonly wasm: { numThreads?: number; proxy?: boolean }; logLevel?: string };
  readonly Tensor: new (type: ElementType, data: Values, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
}
