/**
 * Node's own modules, for the few files that need them. They are asked for when they are used, not imported: so the same files load in
 * browsers, and no bundler has to be told that Node's modules are not to be looked for. Bun and Deno answer too.
 */
import { TesseraeError } from './errors.ts';

/** Those that the library uses. */
interface NodeModules {
  readonly 'node:crypto': typeof import('node:crypto');
  readonly 'node:fs': typeof import('node:fs');
  readonly 'node:fs/promises': typeof import('node:fs/promises');
  readonly 'node:os': typeof import('node:os');
  readonly 'node:path': typeof import('node:path');
  readonly 'node:url': typeof import('node:url');
  readonly 'node:v8': typeof import('node:v8');
  readonly 'node:worker_threads': typeof import('node:worker_threads');
  readonly 'node:zlib': typeof import('node:zlib');
}

type GetModule = (name: string) => unknown;

/** `process.getBuiltinModule` (Node 20.16): absent in browsers, also where a bundler puts a `process` of its own. */
function getModule(): GetModule | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: GetModule } };
  return process?.getBuiltinModule?.bind(process);
}

export function inNode(): boolean {
  return getModule() !== undefined;
}

/** @throws `E_ENGINE` elsewhere. */
export function node<N extends keyof NodeModules>(name: N): NodeModules[N] {
  const module = getModule()?.(name);
  if (module) return module as NodeModules[N];
  throw new TesseraeError(
    'E_ENGINE',
    `${name} is needed, which is not there`,
    { name },
    'Node 20.16 or later has it; browsers have no files: pass bytes or a URL.',
  );
}
