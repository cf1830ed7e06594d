// Builds dist/, the published package, from the sources:
//
//   index.js, onnx.js        the library and what runs models, over files that both share; nothing foreign in the library
//   index.cjs, onnx.cjs      the same for CommonJS, over core.cjs
//   ort.js, ort.cjs          the latter as a backend of onnxruntime-common, which is the user's own
//   *.d.ts, *.d.cts          their types, and types-*.d.ts, .d.cts what these have in common
//   cli.js (and cli-*.js)    the command with its libraries bundled; it imports ./index.js for the library, so
//                            the kernels are in the package once for each module system and no more
//   THIRD-PARTY-LICENSES.txt the licences of what is bundled into the command

import { existsSync } from 'node:fs';
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { buildWasm } from './build-wasm.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const entry = join(root, 'src/index.ts');
const onnx = join(root, 'src/onnx/index.ts');
const ort = join(root, 'src/onnx/ort.ts');

/** Benchmark peers and the GPU are optional and never bundled: the command looks for them where it runs. */
const optional = ['onnxruntime-*', '@tensorflow/*', '@jax-js/*', 'gpu.js', 'webgpu'];

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'es2022',
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
};

const library = { ...common, external: optional, minify: true };

/** Everything is shrunk, but functions and classes of the ESM file keep their names, which a user's stack traces and profiles show.
 * The CommonJS one, a second copy of the same, gives them up for the package's size. */
async function buildLibrary() {
  const { metafile } = await build({
    ...library,
    entryPoints: { index: entry, onnx, ort },
    format: 'esm',
    outdir: 'dist',
    splitting: true,
    chunkNames: 'core-[hash]',
    keepNames: true,
  });
  const isLibrary = (path) => !path.includes('onnx') && !readsModels(metafile, path);
  checkForeign(metafile, isLibrary);
  // CommonJS has no files in common: both entries are in one, and each hands out its own.
  const both = `export * as index from ${JSON.stringify(entry)}; export * as onnx from ${JSON.stringify(onnx)};`;
  await build({
    ...library,
    stdin: { contents: both, resolveDir: root },
    format: 'cjs',
    outfile: 'dist/core.cjs',
    // In CommonJS `import.meta` would silently be empty.
    logOverride: { 'empty-import-meta': 'error' },
  });
  for (const name of ['index', 'onnx'])
    await writeFile(join(dist, `${name}.cjs`), `module.exports=require('./core.cjs').${name};\n`);
  await buildOrt();
  await keepFromBundlers([...Object.keys(metafile.outputs), 'dist/core.cjs']);
  return packagesIn(metafile);
}

/** Tells bundlers to leave the one import whose name is no constant as it is (src/core/optional.ts): shrinking drops the comments that
 * say so. */
async function keepFromBundlers(paths) {
  let kept = 0;
  for (const path of paths) {
    const text = await readFile(join(root, path), 'utf8');
    const told = text.replaceAll(/(?<![.\w])import\((\w+)\)(?!\{)/g, (_, name) => {
      kept++;
      return `import(/* webpackIgnore: true */ /* @vite-ignore */ ${name})`;
    });
    if (told !== text) await writeFile(join(root, path), told);
  }
  if (kept !== 2) throw new Error(`${kept} imports by name, not one for each module system`);
}

/** Whether a file shared by entries has what reads models in it. */
function readsModels({ outputs }, path) {
  return Object.keys(outputs[path].inputs).some((input) => input.startsWith('src/onnx/'));
}

/** Apart from the others, because it requires onnxruntime-common, which not everyone has. */
async function buildOrt() {
  const sessionsStayOutside = {
    name: 'sessions-stay-outside',
    setup({ onResolve }) {
      onResolve({ filter: /session\.ts$/ }, () => ({ path: './onnx.cjs', external: true }));
    },
  };
  await build({
    ...library,
    entryPoints: { ort },
    format: 'cjs',
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    plugins: [sessionsStayOutside],
  });
}

/** The library bundles nothing; only what reads models has the wire format's reader in it. */
function checkForeign({ outputs }, isLibrary) {
  const own = Object.fromEntries(Object.entries(outputs).filter(([path]) => isLibrary(path)));
  const foreign = packagesIn({ outputs: own });
  if (foreign.length > 0) throw new Error(`the library bundles ${foreign.join(', ')}`);
}

/** What the entries' types have in common is in one file, beside those of each entry. */
async function buildTypes() {
  const bundle = await rollup({
    input: { index: entry, onnx, ort },
    plugins: [dts({ tsconfig: join(root, 'tsconfig.json') })],
    external: [/^node:/, 'onnxruntime-common'],
  });
  const { output } = await bundle.write({
    dir: dist,
    format: 'es',
    entryFileNames: '[name].d.ts',
    chunkFileNames: 'types-[hash].d.ts',
    // Symbol.dispose, for users whose own `lib` lacks it.
    banner: '/// <reference lib="esnext.disposable" />',
  });
  await bundle.close();
  // Named exports only, so the same text is right for both module systems, but for the files that it names.
  for (const { fileName, code } of output) {
    const forCommonJs = code.replaceAll(/(from '\.\/[\w-]+)\.js'/g, "$1.cjs'");
    await writeFile(join(dist, fileName.replace(/\.d\.ts$/, '.d.cts')), forCommonJs);
  }
}

async function buildCommand(alsoBundled) {
  const libraryStaysOutside = {
    name: 'library-stays-outside',
    setup({ onResolve }) {
      onResolve({ filter: /(^tesserae$|\/index\.ts$)/ }, ({ path, resolveDir }) => {
        const file = join(resolveDir, path);
        if (path === 'tesserae' || file === entry) return { path: './index.js', external: true };
        return file === onnx ? { path: './onnx.js', external: true } : undefined;
      });
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
  await writeLicences([...new Set([...alsoBundled, ...packagesIn(metafile)])].sort());
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
  const parts = ['The tesserae command and what reads models contain the following packages.'];
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
const bundled = await buildLibrary();
await buildTypes();
await buildCommand(bundled);
for (const name of (await readdir(dist)).sort()) {
  console.log(`dist/${name}: ${((await readFile(join(dist, name))).length / 1024).toFixed(1)} KiB`);
}
