/**
 * The library as one plain JavaScript file, for child processes and worker threads: they start in a fraction of the time
 * that a TypeScript loader takes, and with nothing else in the process.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string | undefined;

/** A folder of this test process's own; gone when it ends. */
export function temporaryFolder(): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'tesserae-child-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return folder;
}

let library: Promise<string> | undefined;

/** URL of a module with the public names, `InferenceSession`, `createRuntimeWith`, and the products and machines of faulty.ts. */
export function bundledLibrary(): Promise<string> {
  library ??= (async () => {
    const outfile = join(temporaryFolder(), 'library.mjs');
    const contents = [
      `export * from './src/index.ts';`,
      `export { createRuntimeWith } from './src/ops/runtime.ts';`,
      `export { InferenceSession } from './src/onnx/session.ts';`,
      `export { SLOW_MACHINE } from './test/support/faulty.ts';`,
      `export { wholeProduct, wrong, wrongAsync, wrongSync } from './test/support/products.ts';`,
    ].join('\n');
    await build({
      stdin: { contents, resolveDir: root, loader: 'ts' },
      bundle: true,
      outfile,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      logLevel: 'error',
    });
    return pathToFileURL(outfile).href;
  })();
  return library;
}

/** Writes a module that may use `lib`, the bundled library, and returns its path. */
export async function moduleFile(name: string, code: string): Promise<string> {
  const path = join(temporaryFolder(), `${name}.mjs`);
  writeFileSync(path, `import * as lib from ${JSON.stringify(await bundledLibrary())};\n${code}`);
  return path;
}

export interface ChildResult {
  /** Exit code, or the signal that ended it. */
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds from the last line that it printed to its end. */
  readonly lingeredMs: number;
}

let children = 0;

/** Runs code that may use `lib` in a process of its own. */
export async function runChild(
  code: string,
  options: { readonly nodeArgs?: readonly string[]; readonly timeoutMs?: number } = {},
): Promise<ChildResult> {
  const file = await moduleFile(`child-${++children}`, code);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...(options.nodeArgs ?? []), file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    let [stdout, stderr, spoke] = ['', '', performance.now()];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      spoke = performance.now();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      resolve({
        status: status ?? signal ?? 'unknown',
        stdout,
        stderr,
        lingeredMs: performance.now() - spoke,
      });
    });
  });
}
