/** A model from wherever it is. */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TesseraeError } from '../core/errors.ts';
import { externalFrom, noExternal } from './external.ts';
import { readModel } from './model/read.ts';
import type { Model } from './model/types.ts';

/** From a file, a `file:` URL or bytes; constants in other files are found beside a file. */
export async function loadModel(source: string | URL | Uint8Array | ArrayBuffer): Promise<Model> {
  const { bytes, folder } = await bytesOf(source);
  return readModel(bytes, folder === undefined ? noExternal : externalFrom(folder));
}

async function bytesOf(
  source: string | URL | Uint8Array | ArrayBuffer,
): Promise<{ readonly bytes: Uint8Array; readonly folder: string | undefined }> {
  if (source instanceof Uint8Array) return { bytes: source, folder: undefined };
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), folder: undefined };
  const isUrl = source instanceof URL || (typeof source === 'string' && source.startsWith('file:'));
  if (!isUrl && typeof source !== 'string')
    throw new TesseraeError(
      'E_ARGUMENT',
      'the model is no path, URL or bytes',
      { source: typeof source },
      'Pass a path.',
    );
  const path = isUrl ? fileURLToPath(source) : source;
  try {
    return { bytes: new Uint8Array(await readFile(path)), folder: dirname(path) };
  } catch (error) {
    throw new TesseraeError(
      'E_MODEL',
      `the model cannot be read: ${error instanceof Error ? error.message : error}`,
      { path },
      'Check the path.',
      error,
    );
  }
}
