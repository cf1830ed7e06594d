/** What the two ONNX Runtime packages share: the part of their API that is used here, and one product on it. */
import type { Operands } from '../operands.ts';
import type { Prepared, Unsupported } from '../types.ts';
import { canExpress, onnxProduct } from './onnx-model.ts';

interface OrtTensor {
  readonly data: Float32Array;
}

interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

export interface Ort {
  readonly env: { readonly wasm: { numThreads?: number; proxy?: boolean }; logLevel?: string };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
}

/** The session is made untimed; a run takes JavaScript arrays in and gives a fresh one out. */
export async function prepareOrt(
  ort: Ort,
  operands: Operands,
  sessionOptions: Readonly<Record<string, unknown>>,
): Promise<Prepared | Unsupported> {
  if (!canExpress(operands)) return { unsupported: 'no single ONNX operator for this activation' };
  const { model, inputs, dims } = onnxProduct(operands);
  const session = await ort.InferenceSession.create(model, sessionOptions);
  const data = { A: operands.a, B: operands.b };
  const feeds = Object.fromEntries(
    inputs.map((name) => [name, new ort.Tensor('float32', data[name], dims[name])]),
  );
  let latest: Float32Array | undefined;
  return {
    run: async () => {
      const { C } = await session.run(feeds);
      latest = C?.data;
    },
    result: async () => latest ?? new Float32Array(0),
    dispose: () => void session.release(),
  };
}
