// Installs the packed package, offline and without install scripts, into new projects of each kind a user may
// have, and uses it there with zero options. Needs dist/ (npm run build); runs with the Node that starts it.
// Arguments such as bun=/path/to/bun name engines that some of it is run in as well.
// The last line is `N passed, N failed`; the status is 1 when anything failed.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeResolve } from '@rollup/plugin-node-resolve';
import { build, buildSync } from 'esbuild';
import { rollup } from 'rollup';
import { build as vite } from 'vite';
import webpack from 'webpack';
import { noBrowser, visit } from './pages.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
const typeRoots = [join(root, 'node_modules/@types')];
const temporary = mkdtempSync(join(tmpdir(), 'tesserae-consumers-'));
/** A process that is still there after this time has not ended by itself. */
const PROCESS_MS = 60_000;

// Small integers: every product and sum is exact in f32, so the answer can be compared with ===.
const body = `
  const n = 64;
  const left = Float32Array.from({ length: n * n }, (_, i) => (i * 7) % 11);
  const right = Float32Array.from({ length: n * n }, (_, i) => (i * 5) % 13);
  const rt = await createRuntime();
  const a = rt.tensor(left, [n, n]);
  const b = rt.tensor(right, [n, n]);
  const c = await rt.matmul(a, b);
  for (const [row, column] of [[0, 0], [3, 61], [63, 63]] as const) {
    let expected = 0;
    for (let k = 0; k < n; k++) expected += left[row * n + k]! * right[k * n + column]!;
    const got: number | undefined = c.data[row * n + column];
    if (got !== expected) throw new Error(\`[\${row}, \${column}] is \${got}, not \${expected}\`);
  }
  const shape: readonly number[] = c.shape;
  if (shape.join('x') !== '64x64') throw new Error(\`the shape is \${shape.join('x')}\`);
  await rt.close();
`;
const plainBody = body
  .replaceAll(' as const', '')
  .replaceAll(/]!/g, ']')
  .replaceAll(/: (readonly )?number[^=]*=/g, ' =');
const js = `async function main() {${plainBody}}\n`;
const ts = `async function main(): Promise<void> {${body}}\n`;
const finish = "main().then(() => console.log('right'));\n";

/** Other engines to try, as name=path. */
const engines = process.argv.slice(2).map((word) => word.split('='));
const ENGINE_ARGUMENTS = { deno: ['run', '--allow-all'] };

let passed = 0;
let failed = 0;
let project = '';

function check(ok, what, detail = '') {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
  if (!ok && detail) console.log(detail.trimEnd().replace(/^/gm, '     | '));
  if (ok) passed++;
  else failed++;
  return ok;
}

function run(command, args, cwd = project) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: PROCESS_MS,
    killSignal: 'SIGKILL',
    env: {
      ...process.env,
      // A first use on a machine without wisdom, and the Node under test for what npx starts.
      XDG_CACHE_HOME: join(temporary, 'cache'),
      PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
      NODE_OPTIONS: '',
      NODE_PATH: '',
    },
  });
  const end =
    result.error?.message ?? (result.signal ? `killed by ${result.signal}` : `exit code ${result.status}`);
  return {
    ok: result.status === 0,
    stdout: result.stdout ?? '',
    detail: `${end}\n${result.stdout}\n${result.stderr}`,
  };
}

/** Starts a program of the project; it must say that its answer is right and then end by itself. */
function runs(what, file, ...args) {
  runsWith(what, process.execPath, [file, ...args]);
}

/** The same in every other engine that was named. */
function runsElsewhere(what, file) {
  for (const [name, path] of engines)
    runsWith(`${what} in ${name}`, path, [...(ENGINE_ARGUMENTS[name] ?? []), file]);
}

function runsWith(what, command, args) {
  const result = run(command, args);
  check(
    result.ok && result.stdout.includes('right'),
    `${what}: right, and the process ends by itself`,
    result.detail,
  );
}

/** A new project with the package installed and these files in it. */
function projectWith(name, type, files) {
  project = join(temporary, name);
  mkdirSync(project);
  const manifest = { name, version: '1.0.0', private: true, type };
  for (const [file, content] of Object.entries({ 'package.json': manifest, ...files })) {
    writeFileSync(
      join(project, file),
      typeof content === 'string' ? content : JSON.stringify(content, null, 2),
    );
  }
  const flags = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund'];
  const installed = run('npm', ['install', ...flags, tarball]);
  return check(installed.ok, `${name}: installs offline`, installed.detail);
}

function compiles(name) {
  const compiled = run(process.execPath, [tsc, '-p', '.']);
  return check(compiled.ok, `${name}: compiles`, compiled.detail);
}

/** Has the types of models checked as well. */
const MODEL_TYPES = "export type { InferenceSession } from 'tesserae/onnx';\n";

/** Whatever a strict user may have switched on, and the library's own types are checked too. */
const strict = {
  target: 'ES2022',
  strict: true,
  skipLibCheck: false,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  rootDir: '.',
  outDir: 'out',
};

const PAGE_BODY = `
import { createRuntime } from 'tesserae';
${js}
globalThis.report = main().then(() => 'right', String);
`;
const page = (script) =>
  `<!doctype html><link rel="icon" href="data:,">${script}<script type="module" src="page.js"></script>`;

/** Bundlers with no options but what goes in and out. */
const BUNDLERS = {
  esbuild: (folder) =>
    build({
      absWorkingDir: folder,
      entryPoints: ['main.js'],
      bundle: true,
      format: 'esm',
      outfile: 'esbuild/page.js',
    }),
  rollup: async (folder) => {
    const bundle = await rollup({ input: join(folder, 'main.js'), plugins: [nodeResolve()] });
    await bundle.write({ file: join(folder, 'rollup/page.js'), format: 'es', inlineDynamicImports: true });
    await bundle.close();
  },
  vite: (folder) =>
    vite({
      root: folder,
      logLevel: 'error',
      build: {
        outDir: 'vite',
        rolldownOptions: { input: join(folder, 'main.js'), output: { entryFileNames: 'page.js' } },
      },
    }),
  webpack: (folder) =>
    new Promise((resolve, reject) => {
      const options = { mode: 'production', context: folder, entry: './main.js' };
      const compiler = webpack({
        ...options,
        output: { path: join(folder, 'webpack'), filename: 'page.js' },
      });
      compiler.run((error, stats) => {
        const faults = stats?.toJson({ all: false, errors: true, warnings: true });
        const said = [...(faults?.errors ?? []), ...(faults?.warnings ?? [])]
          .map(({ message }) => message)
          // that it is large is what the library is
          .filter((message) => !/limit/.test(message));
        compiler.close(() =>
          error || said.length > 0 ? reject(error ?? new Error(said.join('\n'))) : resolve(),
        );
      });
    }),
};

/** The package as pages use it: a plain script, and what four bundlers make of it. */
async function pages() {
  if (noBrowser) {
    console.log(`skip pages: ${noBrowser}`);
    return;
  }
  if (!projectWith('page', 'module', { 'main.js': PAGE_BODY })) return;
  const map = { imports: { tesserae: './node_modules/tesserae/dist/index.js' } };
  writeFileSync(join(project, 'page.js'), PAGE_BODY);
  writeFileSync(
    join(project, 'plain.html'),
    page(`<script type="importmap">${JSON.stringify(map)}</script>`),
  );
  const looks = async (what, path) => {
    for (const isolated of [false, true]) {
      const { report, errors } = await visit(project, path, { isolated });
      check(
        report === 'right' && errors.length === 0,
        `page, ${what}${isolated ? ', isolated' : ''}: right, and nothing to complain of`,
        `${report}\n${errors.join('\n')}`,
      );
    }
  };
  await looks('a plain module', 'plain.html');
  for (const [name, bundle] of Object.entries(BUNDLERS)) {
    mkdirSync(join(project, name), { recursive: true });
    const built = await bundle(project).then(
      () => undefined,
      (error) => String(error),
    );
    writeFileSync(join(project, name, 'index.html'), page(''));
    if (check(built === undefined, `page, ${name}: builds`, built)) await looks(name, `${name}/index.html`);
  }
}

let tarball = '';
try {
  const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', temporary], root);
  if (check(packed.ok, 'npm pack', packed.detail)) {
    // npm 12 answers with an object keyed by name, earlier ones with a list.
    tarball = join(temporary, Object.values(JSON.parse(packed.stdout))[0].filename);

    if (
      projectWith('esm', 'module', { 'main.js': `import { createRuntime } from 'tesserae';\n${js}${finish}` })
    ) {
      runs('esm', 'main.js');
      runsElsewhere('esm', 'main.js');
      const doctor = run('npx', ['--no-install', 'tesserae', 'doctor', '--json']);
      let parsed;
      try {
        parsed = JSON.parse(doctor.stdout);
      } catch {
        // Reported below, with what was printed instead.
      }
      const valid = doctor.ok && typeof parsed === 'object' && parsed !== null;
      check(valid, 'esm: npx tesserae doctor --json prints JSON', doctor.detail);
    }

    // the smallest model: y = relu(x) of two numbers
    const model = 'CAg6NgoMCgF4EgF5IgRSZWx1EgR0aW55Wg8KAXgSCgoICAESBAoCCAJiDwoBeRIKCggIARIECgIIAkIECgAQEQ==';
    const models = `
  const session = await InferenceSession.create(Buffer.from('${model}', 'base64'));
  const { y } = await session.run({ x: new Tensor('float32', Float32Array.of(-1, 2), [2]) });
  if (y.data[0] !== 0 || y.data[1] !== 2) throw new Error(String(y.data));
  await session.release();`;
    const esm = `import { InferenceSession, Tensor } from 'tesserae/onnx';\nasync function main() {${models}}\n${finish}`;
    if (projectWith('onnx-esm', 'module', { 'main.js': esm })) {
      runs('onnx-esm', 'main.js');
      runsElsewhere('onnx-esm', 'main.js');
    }
    const cjs = `const { InferenceSession, Tensor } = require('tesserae/onnx');\nasync function main() {${models}}\n${finish}`;
    if (projectWith('onnx-cjs', 'commonjs', { 'main.js': cjs })) runs('onnx-cjs', 'main.js');

    if (
      projectWith('cjs', 'commonjs', {
        'main.js': `const { createRuntime } = require('tesserae');\n${js}${finish}`,
      })
    ) {
      runs('cjs', 'main.js');
    }

    for (const module of ['nodenext', 'node16']) {
      const name = `ts-${module}`;
      const made = projectWith(name, 'module', {
        'main.ts': `import { createRuntime } from 'tesserae';\n${MODEL_TYPES}${ts}${finish}`,
        'old.cts': `import tesserae = require('tesserae');\nconst { createRuntime } = tesserae;\n${ts}${finish}`,
        'tsconfig.json': {
          // Node's types and no DOM.
          compilerOptions: { ...strict, module, lib: ['ES2022'], types: ['node'], typeRoots },
          files: ['main.ts', 'old.cts'],
        },
      });
      if (!made || !compiles(name)) continue;
      runs(`${name}, ESM`, 'out/main.js');
      runs(`${name}, CJS`, 'out/old.cjs');
    }

    const bundler = projectWith('ts-bundler', 'module', {
      'main.ts': `import { createRuntime } from 'tesserae';\n${MODEL_TYPES}${ts}${finish}`,
      'tsconfig.json': {
        // The DOM and no Node types.
        compilerOptions: {
          ...strict,
          module: 'esnext',
          moduleResolution: 'bundler',
          lib: ['ES2022', 'DOM'],
          types: [],
        },
        files: ['main.ts'],
      },
    });
    if (bundler && compiles('ts-bundler')) {
      const options = { bundle: true, minify: true, platform: 'node', logLevel: 'error' };
      // Away from node_modules: a bundle has to carry all that the library needs.
      for (const [format, extension] of [
        ['esm', 'mjs'],
        ['cjs', 'cjs'],
      ]) {
        const outfile = join(temporary, `bundle.${extension}`);
        buildSync({ ...options, absWorkingDir: project, entryPoints: ['main.ts'], format, outfile });
        runs(`ts-bundler, one ${format} file`, outfile);
      }
    }

    const threads = projectWith('worker-threads', 'module', {
      'worker.js': `import { parentPort } from 'node:worker_threads';
import { createRuntime } from 'tesserae';
${js}
main().then(() => parentPort.postMessage('right'));
`,
      'main.js': `import { Worker } from 'node:worker_threads';
const answer = () => new Promise((resolve, reject) => {
  const worker = new Worker(new URL('worker.js', import.meta.url));
  let message;
  worker.on('message', (m) => { message = m; });
  worker.on('error', reject);
  worker.on('exit', (code) => (code === 0 && message ? resolve(message) : reject(new Error('exit code ' + code))));
});
const answers = await Promise.all([answer(), answer()]);
console.log(answers.every((a) => a === 'right') ? 'right' : answers);
`,
    });
    if (threads) runs('worker-threads, two at once', 'main.js');
    const examples = ['main.mjs', 'worker.mjs', 'pool-worker.mjs'];
    const files = examples.map((name) => [name, readFileSync(join(root, 'examples/workers', name), 'utf8')]);
    if (projectWith('examples-workers', 'module', Object.fromEntries(files))) {
      symlinkSync(join(root, 'node_modules/piscina'), join(project, 'node_modules/piscina'));
      runs('worker threads on one runtime', 'main.mjs');
      runs('piscina on one runtime', 'main.mjs', 'piscina');
      runsElsewhere('worker threads on one runtime', 'main.mjs');
    }
    await pages();
  }
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
