/**
 * What the ways to call cost, shape by shape: awaited, synchronous, without `out`, and plain JavaScript beside them.
 * Other libraries are compared by `npm run bench`, which keeps each in a process of its own.
 *
 *     npm run bench -- matmul [shape list, default quick]
 */
import b from 'benny';
import { flopsOf, makeOperands } from '../src/cli/bench/operands.ts';
import { ours } from '../src/cli/bench/ours.ts';
import { plainJs } from '../src/cli/bench/peers/plain-js.ts';
import { isAbsent } from '../src/cli/bench/types.ts';
import { type MatmulShape, printShape } from '../src/cli/shapes/index.ts';
import { createRuntime, type Runtime } from '../src/index.ts';
import { addCase, conclude, prepareVerified, shapesNamed } from './support.ts';

/** Above this, plain JavaScript takes most of a second a call and tells nothing new. */
const PLAIN_JS_FLOPS = 1e8;

export async function main([list = 'quick']: readonly string[]): Promise<void> {
  const shapes = shapesNamed(list).filter((shape) => shape.kind !== 'conv' && shape.kind !== 'qmatmul');
  if (shapes.length === 0) throw new Error(`The list "${list}" has no matrix products.`);
  const runtime = await createRuntime();
  try {
    for (const shape of shapes) await suite(runtime, shape);
  } finally {
    await runtime.close();
  }
}

async function suite(runtime: Runtime, shape: MatmulShape): Promise<void> {
  const operands = makeOperands(shape);
  const { a, b: right, batch } = operands;
  const { m, k, n, transposeB = false } = shape;
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const awaited = await prepareVerified(ours(runtime), operands);
  const tensors = [
    runtime.tensor(a, stacked(m, k)),
    runtime.tensor(right, transposeB ? stacked(n, k) : stacked(k, n)),
  ] as const;
  const out = runtime.zeros(stacked(m, n));
  const cases = [
    addCase('await rt.matmul, out reused', () => awaited.run()),
    addCase('rt.matmulSync, out reused', () => void runtime.matmulSync(...tensors, { transposeB, out })),
    addCase('rt.matmulSync, fresh result', () => runtime.matmulSync(...tensors, { transposeB }).dispose()),
  ];
  const peer = await plainJs.load({ threads: 1, searchFrom: [] });
  if (!isAbsent(peer) && flopsOf(shape) <= PLAIN_JS_FLOPS) {
    const plain = await prepareVerified(peer, operands);
    cases.push(addCase('plain JavaScript', () => void plain.run()));
  }
  const title = `matmul ${printShape(shape)}`;
  await b.suite(title, ...cases, ...conclude(title.replaceAll(/\W+/g, '-')));
  awaited.dispose();
  for (const tensor of [...tensors, out]) tensor.dispose();
}
