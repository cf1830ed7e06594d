/** What the two ONNX Runtime packages share: how they are found, and one model on their API. */
import type { Operands } from '../operands.ts';
import type { Absent, Peer, PeerOptions, Prepared, Unsupported } from '../types.ts';
import type { Result } from '../verify.ts';
import { onnxModel } from './onnx-model.ts';
import type { Ort } from './onnxruntime-api.ts';
import { prepareResidentOrt } from './onnxruntime-resident.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

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

/** What one of the providers is, beyond its package. */
export interface OrtProvider {
  readonly package: string;
  readonly includes: string;
  /** Threads that a row says, where it is not those asked for. */
  readonly threads?: number;
  options(threads: number): Readonly<Record<string, unknown>>;
  /** Before the first session. */
  setUp?(ort: Ort, threads: number): void;
  /** A session that is tried at once, for a provider that may find nothing to run on. */
  readonly tries?: Operands;
}

const RESIDENT = 'session.run() on tensors that stay on the GPU; one element is read at the end of a row';

/** A provider as a peer; absent with the reason where it cannot be used. */
export async function loadOrt(
  id: string,
  provider: OrtProvider,
  { threads, searchFrom, resident = false }: PeerOptions,
): Promise<Peer | Absent> {
  const found = findPackage(provider.package, searchFrom);
  if ('absent' in found) return found;
  try {
    const ort = await importPackage<Ort>(found, 'InferenceSession');
    provider.setUp?.(ort, threads);
    const options = provider.options(threads);
    if (provider.tries) {
      const tried = await prepareOrt(ort, provider.tries, options);
      if ('dispose' in tried) tried.dispose();
    }
    return {
      info: {
        id,
        version: found.version,
        threads: provider.threads ?? threads,
        includes: resident ? RESIDENT : provider.includes,
      },
      prepare: (operands) => (resident ? prepareResidentOrt : prepareOrt)(ort, operands, options),
      dispose: async () => undefined,
    };
  } catch (error) {
    return cannotLoad(found, error);
  }
}
