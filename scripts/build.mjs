// Builds dist/, the published package, from the sources:
//
//   index.js, index.cjs      the library, one file each, nothing foreign in it
//   index.d.ts, index.d.cts  its types, rolled into one file
//   cli.js (and cli-*.js)    the command with its libraries bundled; it imports ./index.js for the library, so
//                            the kernels are in the package once for each module system and no more
//   THIRD-PARTY-LICENSES.txt the licences of what is bundled into the command

import { existsSync } from 'node:fs';
import { chmod, copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { buildWasm } from './build-wasm.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const entry = join(root, 'src/index.ts');

/** Benchmark peers and the GPU are optional and never bundled: the command looks for them where it runs. */
const optional = ['onnxruntime-*', '@tensorflow/*', '@jax-js/*', 'gpu.js', 'webgpu'];

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
};

/** Everything is shrunk, but functions and classes of the ESM file keep their names, which a user's stack traces and profiles show.
 * The CommonJS one, a second copy of the same, gives them up for the package's size. */
async function buildLibrary() {
  for (const [format, outfile] of [
    ['esm', 'dist/index.js'],
    ['cjs', 'dist/index.cjs'],
  ]) {
    const { metafile } = await build({
      ...common,
      entryPoints: [entry],
      format,
      outfile,
      external: optional,
      minify: true,
      keepNames: format === 'esm',
      // In CommonJS `import.meta` would silently be empty.
      logOverride: { 'empty-import-meta': 'error' },
    });
    const foreign = packagesIn(metafile);
    if (foreign.length > 0)
      throw new Error(`${outfile} bundles ${foreign.join(', ')}; the core bundles nothing`);
  }
}

async function buildTypes() {
  const bundle = await rollup({
    input: entry,
    plugins: [dts({ tsconfig: join(root, 'tsconfig.json') })],
    external: [/^node:/],
  });
  await bundle.write({
    file: join(dist, 'index.d.ts'),
    format: 'es',
    // Symbol.dispose, for users whose own `lib` lacks it.
    banner: '/// <reference lib="esnext.disposable" />',
  });
  await bundle.close();
  // Named exports only, so the same text is right for both module systems.
  await copyFile(join(dist, 'index.d.ts'), join(dist, 'index.d.cts'));
}

async function buildCommand() {
  const libraryStaysOutside = {
    name: 'library-stays-outside',
    setup({ onResolve }) {
      onResolve({ filter: /(^tesserae$|\/index\.ts$)/ }, ({ path, resolveDir }) =>
        path === 'tesserae' || join(resolveDir, path) === entry
          ? { path: './index.js', external: true }
          : undefined,
      );
    },
  };
  const { metafile } = await build({
    ...common,
    entryPoints: { cli: join(root, 'src/cli/main.ts') },
    format: 'esm',
    outdir: 'dist',
    // What is imported dynamically (the bench suites) becomes a chunk of its own and does not slow the start.
    splitting: true,
    chunkNames: 'cli-[name]-[hash]',
    minify: true,
    external: optional,
    plugins: [libraryStaysOutside],
    // Bundled CommonJS packages call require() for Node's own modules.
    banner: {
      js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
    },
  });
  const embedded = Object.keys(metafile.inputs).filter((p) => p.includes('/wasm/gen/'));
  if (embedded.length > 0) {
    throw new Error(
      'the command reaches into the library instead of importing src/index.ts: it bundles the kernels again',
    );
  }
  const cli = join(dist, 'cli.js');
  const text = await readFile(cli, 'utf8');
  if (!text.startsWith('#!')) await writeFile(cli, `#!/usr/bin/env node\n${text}`);
  await chmod(cli, 0o755);
  await writeLicences(packagesIn(metafile));
}

/** The names of the npm packages among the inputs that end up in an output. */
function packagesIn({ outputs }) {
  const names = new Set();
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const at = path.lastIndexOf('node_modules/');
      if (at < 0 || bytesInOutput === 0) continue;
      const [scope, name] = path.slice(at + 'node_modules/'.length).split('/');
      names.add(
        path.slice(0, at + 'node_modules/'.length) + (scope.startsWith('@') ? `${scope}/${name}` : scope),
      );
    }
  }
  return [...names].sort();
}

async function writeLicences(folders) {
  const parts = ['The tesserae command contains the following packages.'];
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'));
    const file = (await readdir(join(root, folder))).find((f) => /^licen[cs]e/i.test(f));
    const text = file ? await readFile(join(root, folder, file), 'utf8') : `Licence: ${license}`;
    parts.push(`${'-'.repeat(80)}\n${name} ${version}\n\n${text.trim()}`);
  }
  await writeFile(join(dist, 'THIRD-PARTY-LICENSES.txt'), `${parts.join('\n\n')}\n`);
}

await buildWasm();
if (!existsSync(entry)) throw new Error('src/index.ts is missing');
await rm(dist, { recursive: true, force: true });
await buildLibrary();
await buildTypes();
await buildCommand();
for (const name of (await readdir(dist)).sort()) {
  console.log(`dist/${name}: ${((await readFile(join(dist, name))).length / 1024).toFixed(1)} KiB`);
}
