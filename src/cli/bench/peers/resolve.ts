/**
 * Finds and imports a peer that the user's project, or this package's own checkout, has installed. The names stay
 * strings until run time: a bundler must neither follow them nor complain that they are missing.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Absent } from '../types.ts';

export interface FoundPackage {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
  /** What `import name` loads in Node. */
  readonly entry: string;
}

interface Manifest {
  readonly version?: string;
  readonly main?: string;
  readonly exports?: unknown;
}

/** Node's own conditions for `import`, in no particular order: the manifest's order decides. */
const CONDITIONS = new Set(['node', 'import', 'module-sync', 'default']);

export function findPackage(name: string, searchFrom: readonly string[]): FoundPackage | Absent {
  for (const start of searchFrom) {
    for (const folder of upwards(resolve(start))) {
      const found = join(folder, 'node_modules', name);
      if (existsSync(join(found, 'package.json'))) return describePackage(name, found);
    }
  }
  return { absent: `not installed (npm install --save-dev ${name})` };
}

function* upwards(folder: string): Generator<string> {
  for (let here = folder; ; here = dirname(here)) {
    yield here;
    if (dirname(here) === here) return;
  }
}

function describePackage(name: string, folder: string): FoundPackage | Absent {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
  const entry = entryOf(manifest);
  if (entry === undefined) return { absent: `installed, but its package.json names no entry for import` };
  return { name, version: manifest.version ?? 'unknown', folder, entry: join(folder, entry) };
}

function entryOf({ exports, main }: Manifest): string | undefined {
  if (exports === undefined) return main ?? 'index.js';
  const root = typeof exports === 'object' && exports !== null && '.' in exports ? exports['.'] : exports;
  return pickCondition(root);
}

function pickCondition(target: unknown): string | undefined {
  if (typeof target === 'string') return target;
  if (typeof target !== 'object' || target === null) return undefined;
  for (const [condition, value] of Object.entries(target)) {
    const picked = CONDITIONS.has(condition) ? pickCondition(value) : undefined;
    if (picked !== undefined) return picked;
  }
  return undefined;
}

/** CommonJS arrives in `default`; an ES module may have a `default` of its own that lacks the named exports. */
export async function importPackage<T>(found: FoundPackage, probe: keyof T & string): Promise<T> {
  const url = pathToFileURL(found.entry).href;
  const loaded = (await import(url)) as Partial<T> & { readonly default?: Partial<T> };
  const shape = probe in loaded ? loaded : loaded.default;
  if (shape === undefined || !(probe in shape))
    throw new Error(`${found.name} ${found.version} exports no ${probe}`);
  return shape as T;
}

/** The reason in one line, for the row of a peer that is installed and still cannot be used. */
export function cannotLoad(found: FoundPackage, error: unknown): Absent {
  const message = error instanceof Error ? error.message.split('\n')[0] : String(error);
  return { absent: `installed (${found.version}), but does not load: ${message}` };
}
