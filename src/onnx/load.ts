/** A model from wherever it is. */
import { TesseraeError } from '../core/errors.ts';
import { inNode, node } from '../core/node.ts';
import { externalFrom, noExternal } from './external.ts';
import { readOutline } from './model/outline.ts';
import { readModel } from './model/read.ts';
import type { Model } from './model/types.ts';
import { PartFile } from './part-file.ts';

/** A model, and what it needs until its constants have all been used. */
export interface Loaded {
  readonly model: Model;
  release(): void;
}

/** From a file, a URL or bytes; constants in other files are found beside a file. */
export async function loadModel(source: string | URL | Uint8Array | ArrayBuffer): Promise<Loaded> {
  if (source instanceof Uint8Array) return fromBytes(source, false);
  if (source instanceof ArrayBuffer) return fromBytes(new Uint8Array(source), false);
  if (!(source instanceof URL) && typeof source !== 'string')
    throw new TesseraeError(
      'E_ARGUMENT',
      'the model is no path, URL or bytes',
      { source: typeof source },
      'Pass a path.',
    );
  const isFile = source instanceof URL ? source.protocol === 'file:' : /^file:/i.test(source);
  const isFetched = !isFile && (source instanceof URL || /^(https?|data|blob):/i.test(source) || !inNode());
  if (isFetched) return fromBytes(await reached(source, () => fetched(source)), true);
  return fromFile(source, isFile ? node('node:url').fileURLToPath(source) : `${source}`);
}

function fromBytes(bytes: Uint8Array, ownsBytes: boolean): Loaded {
  return { model: readModel(bytes, noExternal, { ownsBytes }), release: () => undefined };
}

async function fromFile(source: string | URL, path: string): Promise<Loaded> {
  const file = await reached(source, async () => new PartFile(path));
  try {
    const again = (offset: number, bytes: Uint8Array) => file.read(offset, bytes);
    const bytes = await reached(source, async () => readOutline(file.size, again));
    const model = readModel(bytes, externalFrom(node('node:path').dirname(path)), { again });
    return { model, release: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

async function reached<T>(source: string | URL, reach: () => Promise<T>): Promise<T> {
  try {
    return await reach();
  } catch (error) {
    throw new TesseraeError(
      'E_MODEL',
      `the model cannot be read: ${error instanceof Error ? error.message : error}`,
      { source: String(source) },
      'Check the path.',
      error,
    );
  }
}

async function fetched(source: string | URL): Promise<Uint8Array> {
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${source} answers ${response.status} ${response.statusText}`);
  const type = response.headers.get('content-type') ?? '';
  // servers of one-page applications answer with the page for whatever is not there
  if (/^text\/html/i.test(type)) throw new Error(`${source} answers with a page of HTML, not with a model`);
  return new Uint8Array(await response.arrayBuffer());
}
