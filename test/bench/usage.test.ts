/** `npm run bench -- SUITE`: how the measurements of bench/ are asked for. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'tape';

const MAIN = fileURLToPath(new URL('../../bench/main.ts', import.meta.url));

interface Outcome {
  readonly code: number | string;
  readonly out: string;
  readonly err: string;
}

function bench(...argv: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', 'tsx', MAIN, ...argv], (error, out, err) =>
      resolve({ code: error?.code ?? 0, out, err }),
    );
  });
}

test('bench suites: --help says what one measures and how', async (t) => {
  const { code, out, err } = await bench('memory', '--help');
  t.deepEqual([code, err], [0, '']);
  t.match(out, /^What a model's weights take/);
  t.match(out, /^ {4}npm run bench -- memory \[--kind/m);
});

test('bench suites: an option that one has not ends with 2, a sentence and its usage', async (t) => {
  const { code, out, err } = await bench('limits', '--nope');
  t.deepEqual([code, out], [2, '']);
  t.match(err, /^Unknown option '--nope'/);
  t.match(err, /npm run bench -- limits/);
  t.doesNotMatch(err, /\n +at /, 'no stack');
});

test('bench suites: a name that none has', async (t) => {
  const { code, err } = await bench('memmory');
  t.equal(code, 2);
  t.match(err, /There is no suite "memmory"; there are matmul,/);
});
