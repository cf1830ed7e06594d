/** Transposition: every order of axes, whole blocks and edges, by every way that moves are made. */
import test from 'tape';
import { denseStrides } from '../../../src/core/strided.ts';
import { moveProblem } from '../../../src/problem/move.ts';
import { lowerMove } from '../../../src/schedule/lower/move.ts';
import { guarded, indexOf, placeOf } from '../../support/arrays.ts';
import { codeOf } from '../../support/faulty.ts';
import { array, sizeOf } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

function orders(rank: number): number[][] {
  if (rank === 0) return [[]];
  return orders(rank - 1).flatMap((rest) =>
    Array.from({ length: rank }, (_, at) => [...rest.slice(0, at), rank - 1, ...rest.slice(at)]),
  );
}

test(seeded('transpose: every order of up to four axes'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(521);
  for (const shape of [
    [5],
    [4, 4],
    [7, 9],
    [33, 130],
    [1, 6],
    [2, 3, 5],
    [8, 4, 12],
    [3, 70, 65],
    [2, 3, 4, 5],
    [3, 1, 8, 9],
  ]) {
    const faults: string[] = [];
    for (const order of orders(shape.length)) {
      const x = array(random, shape);
      const turned = order.map((axis) => shape[axis]!);
      const { out, fault, dispose } = guarded((extents) => rt.zeros(extents), turned);
      if (random.chance(0.5)) rt.transposeSync(x, order, { out });
      else await rt.transpose(x, order, { out });
      const wrong = Array.from({ length: sizeOf(turned) }, (_, i) => i).find((i) => {
        const place = placeOf(turned, i);
        const from = shape.map((_, axis) => place[order.indexOf(axis)]!);
        return out.data[i] !== x.data[indexOf(shape, from)];
      });
      if (wrong !== undefined || fault()) faults.push(`[${order}]: ${fault() ?? `element ${wrong}`}`);
      dispose();
    }
    t.deepEqual(faults.slice(0, 2), [], `[${shape}]`);
  }
  await rt.close();
});

test('transpose: large ones by the team; runs, planes and single elements are all used', async (t) => {
  const rt = await makeRuntime();
  // few long lines, as the channels of an image: several steps turn parts of them
  for (const shape of [
    [40_009, 3],
    [3, 40_009],
  ] as const) {
    const image = rt.tensor(
      Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => i),
      shape,
    );
    const planes = await rt.transpose(image);
    t.ok(
      planes.data.every((value, i) => value === (i % shape[0]) * shape[1] + Math.floor(i / shape[0])),
      `[${shape}]`,
    );
  }
  const [rows, columns] = [1031, 517];
  const x = rt.tensor(
    Float32Array.from({ length: rows * columns }, (_, i) => i),
    [rows, columns],
  );
  const y = await rt.transpose(x);
  t.deepEqual(y.shape, [columns, rows], 'reversed unless told otherwise');
  const back = await rt.transpose(y);
  t.ok(
    y.data.every((value, i) => value === (i % rows) * columns + Math.floor(i / rows)),
    'every element where it belongs',
  );
  t.ok(Buffer.from(back.data).equals(Buffer.from(x.data)), 'and back again');
  const plan = { backend: 'wasm', kernel: 'f32_move', algorithm: 'fixed', packing: 'none' } as const;
  const wayOf = (extents: number[], from: number[], to: number[]) =>
    lowerMove(moveProblem(extents, from, to), { ...plan, mc: 1, kc: 1, nc: 4096, order: 'mn', threads: 1 })
      .constants.kind;
  t.equal(wayOf([4, 5, 6], [30, 6, 1], denseStrides([4, 5, 6])), 0, 'what lies alike is copied');
  t.equal(wayOf([6, 4], [1, 6], [4, 1]), 1, 'a plane is turned');
  t.equal(wayOf([6, 4], [2, 12], [4, 1]), 2, 'nothing to hold on to: one by one');
  await rt.close();
});

test('transpose: empty, scalar, and what is refused', async (t) => {
  const rt = await makeRuntime();
  t.deepEqual(rt.transposeSync(rt.zeros([0, 3])).shape, [3, 0], 'no elements');
  t.deepEqual([...rt.transposeSync(rt.tensor([5], [])).data], [5], 'no axes');
  const x = rt.zeros([2, 2]);
  t.equal(await codeOf(rt.transpose(x, [0])), 'E_ARGUMENT', 'too few axes');
  t.equal(await codeOf(rt.transpose(x, [0, 0])), 'E_ARGUMENT', 'one twice');
  t.equal(await codeOf(rt.transpose(x, [0, 2])), 'E_ARGUMENT', 'one beyond');
  t.equal(await codeOf(rt.transpose(x, [1, 0], { out: x })), 'E_ARGUMENT', 'onto itself');
  await rt.close();
});
