/** What the two ONNX Runtime packages share: the part of their API that is used here, and one model on it. */
import type { Operands } from '../operands.ts';
import type { Prepared, Unsupported } from '../types.ts';
import type { Result } from '../verify.ts';
import { onnxModel } from './onnx-model.ts';
import type { ElementType, Values } from './onnx-proto.ts';

interface OrtTensor {
  readonly data: Result;
}

interface OrtSession {
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

/** The session is made untimed; a run takes JavaScript arrays in and gives a fresh one out. */
export async function prepareOrt(
  ort: Ort,
  operands: Operands,
  sessionOptions: Readonly<Record<string, unknown>>,
): Promise<Prepared | Unsupported> {
  const written = onnxModel(operands);
  if (written === undefined) return { unsupported: 'no ONNX operator of opset 17 for this activation' };
  const session = await ort.InferenceSession.create(written.model, sessionOptions);
  const feeds = Object.fromEntries(
    written.feeds.map(({ name, type, values, dims }) => [name, new ort.Tensor(type, values, dims)]),
  );
  let latest: Result | undefined;
  return {
    run: async () => {
      latest = (await session.run(feeds))[written.output]?.data;
    },
    result: async () => latest ?? new Float32Array(0),
    dispose: () => void session.release(),
  };
}
