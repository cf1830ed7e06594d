/** Facts about this package itself: where it is, and which version. Works from the sources and from dist/. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NAME = 'tesserae';

export interface PackageFacts {
  readonly root: string;
  readonly version: string;
}

export function packageFacts(from = fileURLToPath(import.meta.url)): PackageFacts {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest)) {
      const { name, version } = JSON.parse(readFileSync(manifest, 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (name === NAME) return { root: folder, version: version ?? 'unknown' };
    }
    if (dirname(folder) === folder) return { root: process.cwd(), version: 'unknown' };
  }
}

export interface LibraryModule {
  readonly url: string;
  readonly what: string;
}

/**
 * The library as its users load it: the built file where there is one. From the sources a load would mostly
 * measure the translation from TypeScript, so it says which of the two it is.
 */
export function libraryModule({ root }: PackageFacts = packageFacts()): LibraryModule {
  const built = join(root, 'dist', 'index.js');
  if (existsSync(built)) {
    const when = statSync(built).mtime.toISOString();
    return {
      url: pathToFileURL(built).href,
      what: `dist/index.js, built ${when.slice(0, 16).replace('T', ' ')} UTC`,
    };
  }
  return {
    url: pathToFileURL(join(root, 'src', 'index.ts')).href,
    what: 'the TypeScript sources, translated while loading: run `npm run build` for a meaningful figure',
  };
}
