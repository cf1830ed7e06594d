/** Networks that optional npm packages hold. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from './errors.ts';

function foldersFrom(start: string): string[] {
  const parent = dirname(start);
  return parent === start ? [start] : [start, ...foldersFrom(parent)];
}

/** A folder of a package, found upwards from where the user is, then from where this file is. */
export function packageFolder(cwd: string, name: string, folder: string): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const found = [...foldersFrom(cwd), ...foldersFrom(here)]
    .map((start) => join(start, 'node_modules', name, folder))
    .find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new UsageError(`the package ${name} is not installed`, `Run: npm install ${name}`);
}
