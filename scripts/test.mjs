// Runs test/**/*.test.ts, each file in a process of its own, with the Node that runs this script:
//
//   node scripts/test.mjs [pattern ...] [--jobs 1|2] [--timeout seconds] [--verbose]
//
// A pattern is part of a file's path. The last line is `N passed, N failed, N skipped` in assertions; the status
// is 1 when anything failed, when a file asserted nothing, or when no file was found.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect, parseArgs } from 'node:util';
import { Parser } from 'tap-parser';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options, positionals: patterns } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string', default: '1' },
    timeout: { type: 'string', default: '300' },
    verbose: { type: 'boolean', default: false },
  },
});
// More than two at a time would let the thread teams under test starve one another.
const jobs = Math.min(2, Math.max(1, Number(options.jobs) || 1));
const timeoutMs = 1000 * (Number(options.timeout) || 300);

// The tests must neither read nor write the wisdom of the person who runs them.
const cache = mkdtempSync(join(tmpdir(), 'tesserae-test-'));
const env = { ...process.env, XDG_CACHE_HOME: cache, LOCALAPPDATA: cache, NO_COLOR: '1' };

const running = new Set();
/** A test file may have started processes of its own: end its whole process group. */
function kill(child) {
  try {
    if (process.platform === 'win32') child.kill('SIGKILL');
    else process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended in the meantime.
  }
}
process.on('exit', () => {
  for (const child of running) kill(child);
  rmSync(cache, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** Runs one file and resolves to its counts and to the lines that a person should see. */
function runFile(file) {
  return new Promise((resolve) => {
    const totals = { passed: 0, failed: 0, skipped: 0 };
    const report = [];
    const started = performance.now();
    // tape writes a test's title and a t.comment() (a seed, say) alike: all comments since the last assertion.
    let context = [];
    let asserted = false;
    let timedOut = false;
    let stderr = '';

    const fail = (what, detail) => {
      totals.failed++;
      report.push(`  not ok ${what}`);
      if (detail) report.push(detail.trimEnd().replace(/^/gm, '      '));
    };

    const parser = new Parser();
    parser.on('comment', (text) => {
      const comment = text.replace(/^#\s*/, '').trim();
      // tape marks a whole test that is skipped, `test(name, { skip: reason }, ...)`, with a comment alone.
      if (/^SKIP\b/.test(comment)) {
        totals.skipped++;
        report.push(`  skip ${comment.slice(4).trim()}`);
      } else if (!/^(tests|pass|fail|skip|todo) +\d+$|^ok$/.test(comment)) {
        context = asserted ? [comment] : [...context, comment];
        asserted = false;
      }
    });
    parser.on('assert', (result) => {
      asserted = true;
      const name = [...context, result.name].join(': ');
      if (result.skip || result.todo) {
        totals.skipped++;
        const reason = [result.skip, result.todo].filter((r) => typeof r === 'string').join(' ');
        report.push(`  ${result.skip ? 'skip' : 'todo'} ${name} ${reason}`.trimEnd());
      } else if (result.ok) totals.passed++;
      else fail(name, result.diag ? inspect(result.diag, { depth: 6, breakLength: 100 }) : '');
    });
    // What is printed beside the TAP (a seed, a stray log line) helps with a failure and is noise otherwise.
    const extra = [];
    parser.on('extra', (text) => extra.push(text));

    const child = spawn(process.execPath, ['--import', 'tsx', file], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    });
    running.add(child);
    const timer = setTimeout(() => {
      timedOut = true;
      kill(child);
    }, timeoutMs);
    child.stdout.pipe(parser);
    if (options.verbose) child.stdout.pipe(process.stdout, { end: false });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
      if (options.verbose) process.stderr.write(text);
    });

    let status = '';
    let parsed;
    const finish = () => {
      if (parsed === undefined || status === '') return;
      clearTimeout(timer);
      running.delete(child);
      if (timedOut) fail(`killed after ${timeoutMs / 1000} s`);
      else if (totals.failed === 0 && status !== '0') fail(`the process ended with ${status}`);
      else if (totals.failed === 0 && totals.passed + totals.skipped === 0) fail('no assertion was made');
      else if (totals.failed === 0 && !parsed.ok) {
        fail('the TAP is broken', parsed.failures.map((f) => f.tapError ?? f.name).join('\n'));
      }
      if (totals.failed > 0 && !options.verbose) {
        if (extra.length > 0) report.push(extra.join('').trimEnd().replace(/^/gm, '    out| '));
        if (stderr) report.push(stderr.trimEnd().replace(/^/gm, '    err| '));
      }
      resolve({ ...totals, report, seconds: (performance.now() - started) / 1000 });
    };
    parser.on('complete', (results) => {
      parsed = results;
      finish();
    });
    child.on('error', (error) => {
      status = error.message;
      parser.end();
      finish();
    });
    child.on('close', (code, signal) => {
      status ||= signal ?? String(code);
      finish();
    });
  });
}

async function findFiles() {
  const entries = await readdir(join(root, 'test'), { recursive: true }).catch(() => []);
  return entries
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) =>
      relative(root, join(root, 'test', name))
        .split(sep)
        .join('/'),
    )
    .filter((name) => patterns.length === 0 || patterns.some((p) => name.includes(p)))
    .sort();
}

const sum = { passed: 0, failed: 0, skipped: 0 };
const files = await findFiles();
if (!existsSync(join(root, 'src/backends/wasm/gen/wasm-bytes.ts'))) {
  console.error('The kernels are not built: run `npm run build:wasm` first.');
  sum.failed++;
} else if (files.length === 0) {
  console.error(`No test file matches ${patterns.length > 0 ? patterns.join(', ') : 'test/**/*.test.ts'}.`);
  sum.failed++;
} else {
  console.log(`Node ${process.version}, ${files.length} test files`);
  const queue = [...files];
  const lane = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const { passed, failed, skipped, report, seconds } = await runFile(file);
      const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`;
      console.log(`${failed > 0 ? 'FAIL' : 'ok  '} ${file}: ${counts} (${seconds.toFixed(1)} s)`);
      if (report.length > 0) console.log(report.join('\n'));
      sum.passed += passed;
      sum.failed += failed;
      sum.skipped += skipped;
    }
  };
  await Promise.all(Array.from({ length: jobs }, lane));
}
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 ? 1 : 0;
