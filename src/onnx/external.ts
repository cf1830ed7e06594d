/** Constants that lie in files beside the model. Paths may not leave its folder. */
import { TesseraeError } from '../core/errors.ts';
import { node } from '../core/node.ts';
import type { ExternalPlace, ReadExternal } from './model/tensor-proto.ts';
import { corrupt } from './model/wire.ts';
import { PartFile } from './part-file.ts';

export const noExternal: ReadExternal = (place, name) => {
  throw new TesseraeError(
    'E_MODEL',
    `${name} lies in the file ${place.location}`,
    { name, location: place.location },
    'Pass the path of the model, so that files beside it are found.',
  );
};

function isInside(folder: string, path: string): boolean {
  const { isAbsolute, relative } = node('node:path');
  const way = relative(folder, path);
  return way !== '' && !way.startsWith('..') && !isAbsolute(way);
}

/** @throws `E_MODEL` for paths that lead out of the folder, and for files that are too short. */
export function externalFrom(folder: string): ReadExternal {
  const { realpathSync, statSync } = node('node:fs');
  const { resolve } = node('node:path');
  return ({ location, offset, length }: ExternalPlace, name) => {
    const path = resolve(folder, location);
    if (!isInside(resolve(folder), path))
      throw corrupt(`${name} lies in ${location}, outside of the model's folder`, { name, location });
    let real: string;
    let size: number;
    try {
      real = realpathSync(path);
      size = statSync(real).size;
    } catch (error) {
      throw corrupt(`${name} lies in ${location}, which is not there`, {
        name,
        location,
        cause: String(error),
      });
    }
    // a link may lead elsewhere
    if (!isInside(realpathSync(resolve(folder)), real))
      throw corrupt(`${name} lies in ${location}, outside of the model's folder`, { name, location });
    const count = length ?? size - offset;
    if (offset + count > size || count < 0)
      throw corrupt(`${name} ends beyond the file ${location}`, {
        name,
        location,
        offset,
        length: count,
        size,
      });
    const read = (bytes = new Uint8Array(count)) => {
      const file = new PartFile(real);
      try {
        return file.read(offset, bytes);
      } finally {
        file.close();
      }
    };
    return { length: count, read };
  };
}
