/**
 * V8 13 and later can turn pairs of vectors into 256-bit ones where the caller allows it (`engineFlags`), by an experimental pass of its compiler
 * that has ended whole processes: V8 13.6 meets "unreachable code" where a packed pair of equal vectors is used outside of its loop. The
 * exams are sat once more with that pass on and code compiled after a few calls, so that every function goes through it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'tape';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FLAGS = ['--experimental-wasm-revectorize', '--wasm-tiering-budget=1000'];
const EXAMS = [
  ...['kernels/table', 'kernels/edges', 'kernels/integers', 'ops/activations', 'ops/exact'],
  ...[
    'ops/conv/epilogue',
    'ops/conv/fuzz',
    'ops/conv/winograd',
    'ops/conv/wide-depthwise',
    'ops/conv/pooling',
  ],
  ...['ops/array/map', 'ops/array/lines', 'ops/array/move'],
  ...['ops/quantized/matmul', 'ops/quantized/conv', 'ops/quantized/dynamic', 'onnx/models'],
];

const hasPass = process.arch === 'x64' && Number.parseInt(process.versions.v8, 10) >= 13;
const skip = hasPass ? false : `V8 ${process.versions.v8} on ${process.arch} has no such pass`;

test('wide vectors: every exam is passed with them, and no process ends', { skip }, (t) => {
  for (const exam of EXAMS) {
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      [...FLAGS, '--import', 'tsx', `test/${exam}.test.ts`],
      { cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 26 },
    );
    const faults = stdout.split('\n').filter((line) => line.startsWith('not ok'));
    t.deepEqual([status ?? signal, faults], [0, []], `${exam} ${status === 0 ? '' : stderr.slice(0, 500)}`);
  }
  t.end();
});
