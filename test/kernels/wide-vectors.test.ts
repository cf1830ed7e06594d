/**
 * V8 13 and later can turn pairs of vectors into 256-bit ones where the caller allows it (`engineFlags`), by an experimental pass of its compiler
 * that has ended whole processes: V8 13.6 meets "unreachable code" where a packed pair of equal vectors is used outside of its loop. The
 * exams are sat once more with that pass on and code compiled after a few calls, so that every function goes through it.
 */
import { execFile } from 'node:child_process';
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

interface Outcome {
  readonly end: number | string;
  readonly faults: readonly string[];
  readonly complaint: string;
}

function sit(exam: string): Promise<Outcome> {
  const argv = [...FLAGS, '--import', 'tsx', `test/${exam}.test.ts`];
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { cwd: ROOT, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      const faults = stdout.split('\n').filter((line) => line.startsWith('not ok'));
      resolve({
        end: error?.signal ?? error?.code ?? 0,
        faults,
        complaint: error ? stderr.slice(0, 500) : '',
      });
    });
  });
}

test('wide vectors: every exam is passed with them, and no process ends', { skip }, async (t) => {
  const left = [...EXAMS];
  const room = async () => {
    for (let exam = left.shift(); exam !== undefined; exam = left.shift()) {
      const { end, faults, complaint } = await sit(exam);
      t.deepEqual([end, faults], [0, []], `${exam} ${complaint}`);
    }
  };
  await Promise.all([room(), room()]);
});
