/** The kernels as they travel in the code, deflated and as text, and their way to compiled modules. */
import { TesseraeError } from '../../core/errors.ts';
import { deflatedWasm } from './gen/wasm-bytes.ts';
import type { Host } from './host.ts';
import { hasRelaxedSimd, hasSimd, type ModuleName, type Modules } from './module.ts';

/** A module as it was built; at once or later, as the host inflates. */
export function embeddedModule<R>(name: ModuleName, host: { inflate(bytes: Uint8Array): R }): R {
  return host.inflate(decodeBase64(deflatedWasm[name]!));
}

/** What a runtime takes on this engine. */
export function embeddedModules<R>(host: { inflate(bytes: Uint8Array): R }): R[] {
  const names: readonly ModuleName[] = hasRelaxedSimd() ? ['simd', 'relaxed'] : ['simd'];
  return names.map((name) => embeddedModule(name, host));
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** @throws `E_ENGINE`. */
export function checkSimd(): void {
  if (hasSimd()) return;
  throw new TesseraeError(
    'E_ENGINE',
    'this engine has no WebAssembly SIMD',
    {},
    'Node 20.16 or later, or a browser of 2023 or later is needed; --jitless turns WebAssembly off.',
  );
}

/** Modules by the flags that were set for them: what was compiled without a flag stays as it is when that is set. */
const compiled = new Map<string, Promise<Modules>>();

/** The embedded modules, compiled once for all runtimes of this thread: that takes longer than all else of making one. @throws `E_ENGINE`. */
export function loadModules(host: Pick<Host, 'inflate'>, flagsSet: readonly string[] = []): Promise<Modules> {
  checkSimd();
  const key = [hasRelaxedSimd(), ...flagsSet].join(' ');
  const known = compiled.get(key);
  if (known) return known;
  // engines give the same code for the same bytes while that is held
  if (flagsSet.length > 0) compiled.clear();
  const loading = Promise.all(embeddedModules(host)).then(compileAll);
  compiled.set(key, loading);
  // whoever comes later tries again
  loading.catch(() => compiled.delete(key));
  return loading;
}

/** The modules of one runtime from their bytes. @throws `E_ENGINE`. */
export async function compileAll(all: readonly Uint8Array<ArrayBuffer>[]): Promise<Modules> {
  return (await Promise.all(all.map(compile))) as unknown as Modules;
}

export async function compile(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new TesseraeError(
      'E_ENGINE',
      'this engine does not accept the kernels',
      { bytes: bytes.length, reason: cause instanceof Error ? cause.message : String(cause) },
      "An engine with WebAssembly SIMD and threads is needed; a page's Content-Security-Policy must allow 'wasm-unsafe-eval'.",
      cause,
    );
  }
}
