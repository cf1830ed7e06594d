// Checks the packed package: its size, publint and "are the types wrong?". Needs dist/ (npm run build).
// The last line is `N passed, N failed`; the status is 1 when anything failed.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const KIB = 1024;
/** What the README promises: see "Speed to reach" and the package's own limits there. */
const MAX_CORE_GZIPPED = 231 * KIB;
/** What reads models, beyond the core; in the CommonJS build both are one file. */
const MAX_MODELS_GZIPPED = 49 * KIB;
const MAX_UNPACKED = 1908 * KIB;

let passed = 0;
let failed = 0;
function check(ok, what, detail = '') {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
  if (!ok && detail) console.log(detail);
  if (ok) passed++;
  else failed++;
  return ok;
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options });
  return {
    ok: result.status === 0,
    out: `${result.stdout ?? ''}${result.stderr ?? result.error}`,
    stdout: result.stdout,
  };
}

/** The script behind a development tool's command. */
function tool(name, command) {
  const folder = join(root, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return join(folder, typeof bin === 'string' ? bin : bin[command]);
}

const temporary = mkdtempSync(join(tmpdir(), 'tesserae-pack-'));
try {
  const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', temporary]);
  check(packed.ok, 'npm pack', packed.out);
  if (packed.ok) {
    // npm 12 answers with an object keyed by name, earlier ones with a list.
    const [report] = Object.values(JSON.parse(packed.stdout));
    const tarball = join(temporary, report.filename);
    const size = report.unpackedSize;
    check(size <= MAX_UNPACKED, `unpacked: ${(size / KIB).toFixed(0)} KiB, at most ${MAX_UNPACKED / KIB}`);
    const names = report.files.map((f) => f.path);
    const foreign = names.filter(
      (n) => !/^(dist\/|package\.json$|README\.md$|LICENSE$)/.test(n) || n.endsWith('.map'),
    );
    check(
      foreign.length === 0,
      'only dist, README and LICENSE are packed, no source maps',
      foreign.join('\n'),
    );
    for (const name of ['index', 'onnx', 'ort'].flatMap((n) => [`dist/${n}.js`, `dist/${n}.cjs`]))
      check(names.includes(name), `${name} is packed`);
    // what both entries share: the library and its kernels
    const cores = names.filter((n) => /^dist\/core[-.]/.test(n));
    check(cores.length > 1, `shared by all entries: ${cores.join(', ')}`);
    for (const name of cores) {
      const gzipped = gzipSync(readFileSync(join(root, name)), { level: 9 }).length;
      const most = MAX_CORE_GZIPPED + (name.endsWith('.cjs') ? MAX_MODELS_GZIPPED : 0);
      check(gzipped <= most, `${name} gzipped: ${(gzipped / KIB).toFixed(0)} KiB, at most ${most / KIB}`);
    }
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    check(Object.keys(manifest.dependencies ?? {}).length === 0, 'no dependencies');
    const publint = run(process.execPath, [tool('publint', 'publint'), tarball, '--strict']);
    check(publint.ok, 'publint', publint.out);
    const attw = run(process.execPath, [
      tool('@arethetypeswrong/cli', 'attw'),
      tarball,
      '--no-emoji',
      '--no-color',
      // Resolution from before package exports is none that Node 20 has.
      '--profile',
      'node16',
    ]);
    check(attw.ok, 'are the types wrong?', attw.out);
  }
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
