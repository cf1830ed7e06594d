// Makes everything the sources need before they can run: kernels -> WebAssembly -> TypeScript modules.
//
//   1. assembly/generate.ts expands the kernel table into assembly/gen/
//   2. asc compiles each target of asconfig.json into build/, skipped while nothing it reads has changed
//   3. scripts/embed.mjs writes the bytes and the worker's source into src/backends/wasm/gen/
//
// A target may name its own `entries`; asc itself knows them only at the top level of asconfig.json.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { embed } from './embed.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const asc = join(dirname(require.resolve('assemblyscript/package.json')), 'bin', 'asc.js');
const stampFile = join(root, 'build', '.stamp');

/** Runs node with these arguments in the repository root; rejects when it fails. */
function node(args, title) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' });
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`${title} failed (${signal ?? `exit code ${code}`})`)),
    );
  });
}

/** One digest over all that asc reads: its own version, the configuration, this script, every assembly source. */
async function digestOfInputs() {
  const entries = await readdir(join(root, 'assembly'), { recursive: true, withFileTypes: true });
  const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath ?? e.path, e.name));
  const hash = createHash('sha256').update(require('assemblyscript/package.json').version);
  for (const file of [...files.sort(), join(root, 'asconfig.json'), fileURLToPath(import.meta.url)]) {
    hash.update(`\0${file.slice(root.length)}\0`).update(await readFile(file));
  }
  return hash.digest('hex');
}

async function compile(targets) {
  await rm(join(root, 'build'), { recursive: true, force: true });
  await mkdir(join(root, 'build'), { recursive: true });
  const queue = Object.entries(targets);
  // asc is single threaded: one process for each core.
  const lanes = Array.from({ length: Math.min(availableParallelism(), queue.length) }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [name, { entries = [] }] = next;
      const started = performance.now();
      // With --enable-source-maps asc runs in this process instead of starting another one.
      await node(
        ['--enable-source-maps', asc, ...entries, '--config', 'asconfig.json', '--target', name],
        `asc, target ${name},`,
      );
      console.log(`asc: ${name} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    }
  });
  await Promise.all(lanes);
}

export async function buildWasm() {
  await node(['--import', 'tsx', 'assembly/generate.ts'], 'assembly/generate.ts');
  const { targets } = JSON.parse(await readFile(join(root, 'asconfig.json'), 'utf8'));
  const stamp = await digestOfInputs();
  const known = existsSync(stampFile) ? await readFile(stampFile, 'utf8') : '';
  const complete = Object.values(targets).every((t) => t.outFile && existsSync(join(root, t.outFile)));
  if (stamp !== known || !complete) {
    await compile(targets);
    await writeFile(stampFile, stamp);
  }
  await embed();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await buildWasm().catch((error) => {
    console.error(`build:wasm: ${error.message}`);
    process.exitCode = 1;
  });
}
