/**
 * One model on onnxruntime's WebGPU provider with operands and results that stay on the GPU. Its API hands out GPU tensors only as outputs, so
 * operands pass through an Identity first; it has no call that waits for the device, so a row of runs ends by reading one element; and a
 * result is read through an Identity, because reading a GPU tensor itself ends the process (1.30).
 */
import type { Operands } from '../operands.ts';
import type { Prepared, Unsupported } from '../types.ts';
import type { Result } from '../verify.ts';
import { onnxModel } from './onnx-model.ts';
import { type Edge, initializer, model, node } from './onnx-proto.ts';
import type { Ort, OrtSession, OrtTensor } from './onnxruntime-api.ts';

type Options = Readonly<Record<string, unknown>>;

const STAYS = { preferredOutputLocation: 'gpu-buffer' };

function identity(edge: Edge): Uint8Array {
  const output = { ...edge, name: 'out' };
  const input = { ...edge, name: 'in' };
  return model({
    name: 'identity',
    nodes: [node('Identity', ['in'], 'out')],
    constants: [],
    inputs: [input],
    output,
  });
}

/** The first element of an array. */
function first(edge: Edge): Uint8Array {
  const list = (name: string, value: number) =>
    initializer(
      { name, type: 'int32', dims: [edge.dims.length] },
      new Int32Array(edge.dims.length).fill(value),
    );
  const output = { ...edge, name: 'out', dims: edge.dims.map(() => 1) };
  return model({
    name: 'first',
    nodes: [node('Slice', ['in', 'from', 'to'], 'out')],
    constants: [list('from', 0), list('to', 1)],
    inputs: [{ ...edge, name: 'in' }],
    output,
  });
}

async function only(session: OrtSession, feeds: Readonly<Record<string, OrtTensor>>): Promise<OrtTensor> {
  const [value] = Object.values(await session.run(feeds));
  if (!value) throw new Error('a session without a result');
  return value;
}

export async function prepareResidentOrt(
  ort: Ort,
  operands: Operands,
  options: Options,
): Promise<Prepared | Unsupported> {
  const written = onnxModel(operands);
  if (written === undefined || operands.kind === 'qmatmul')
    return { unsupported: 'no ONNX operator of opset 17 for this' };
  const made: OrtSession[] = [];
  const open = async (bytes: Uint8Array, more: Options = {}) => {
    const session = await ort.InferenceSession.create(bytes, { ...options, ...more });
    made.push(session);
    return session;
  };
  const feeds: Record<string, OrtTensor> = {};
  for (const { name, type, values, dims } of written.feeds) {
    const send = await open(identity({ name, type, dims }), STAYS);
    feeds[name] = await only(send, { in: new ort.Tensor(type, values, dims) });
  }
  const session = await open(written.model, STAYS);
  let latest = await only(session, feeds);
  const edge: Edge = { name: 'in', type: 'float32', dims: latest.dims };
  const [read, look] = [await open(identity(edge)), await open(first(edge))];
  return {
    run: async () => {
      latest.dispose();
      latest = await only(session, feeds);
    },
    finish: async () => {
      await only(look, { in: latest });
    },
    result: async () => (await only(read, { in: latest })).data as Result,
    dispose: () => {
      latest.dispose();
      for (const tensor of Object.values(feeds)) tensor.dispose();
      for (const one of made) void one.release();
    },
  };
}
