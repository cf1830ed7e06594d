/** A model from wherever it is. */
import { TesseraeError } from '../core/errors.ts';
import { inNode, node } from '../core/node.ts';
import { externalFrom, noExternal } from './external.ts';
import { readModel } from './model/read.ts';
import type { Model } from './model/types.ts';

/** Bytes of one reading. */
const MOST_AT_ONCE = 2 ** 30;

/** From a file, a URL or bytes; constants in other files are found beside a file. */
export async function loadModel(source: string | URL | Uint8Array | ArrayBuffer): Promise<Model> {
  const { bytes, folder } = await bytesOf(source);
  const isOwn = !(source instanceof Uint8Array || source instanceof ArrayBuffer);
  return readModel(bytes, folder === undefined ? noExternal : externalFrom(folder), isOwn);
}

async function bytesOf(
  source: string | URL | Uint8Array | ArrayBuffer,
): Promise<{ readonly bytes: Uint8Array; readonly folder: string | undefined }> {
  if (source instanceof Uint8Array) return { bytes: source, folder: undefined };
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), folder: undefined };
  if (!(source instanceof URL) && typeof source !== 'string')
    throw new TesseraeError(
      'E_ARGUMENT',
      'the model is no path, URL or bytes',
      { source: typeof source },
      'Pass a path.',
    );
  const isFile = source instanceof URL ? source.protocol === 'file:' : /^file:/i.test(source);
  const isFetched = !isFile && (source instanceof URL || /^(https?|data|blob):/i.test(source) || !inNode());
  try {
    if (isFetched) return await fetched(source);
    return await readFrom(isFile ? node('node:url').fileURLToPath(source) : `${source}`);
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

/** Into one piece of memory of its own, where numbers can stay: reading a whole file at once gathers it twice. */
async function readFrom(path: string): Promise<{ readonly bytes: Uint8Array; readonly folder: string }> {
  const file = await node('node:fs/promises').open(path);
  try {
    const bytes = new Uint8Array((await file.stat()).size);
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, at, Math.min(MOST_AT_ONCE, bytes.length - at), at);
      if (bytesRead === 0) throw new Error('the file became shorter while it was read');
      at += bytesRead;
    }
    return { bytes, folder: node('node:path').dirname(path) };
  } finally {
    await file.close();
  }
}

async function fetched(
  source: string | URL,
): Promise<{ readonly bytes: Uint8Array; readonly folder: undefined }> {
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${source} answers ${response.status} ${response.statusText}`);
  const type = response.headers.get('content-type') ?? '';
  // servers of one-page applications answer with the page for whatever is not there
  if (/^text\/html/i.test(type)) throw new Error(`${source} answers with a page of HTML, not with a model`);
  return { bytes: new Uint8Array(await response.arrayBuffer()), folder: undefined };
}
