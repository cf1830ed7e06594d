/**
 * Sizes around cache blocks and beyond, where float64 for every element would take too long: C x is compared with
 * A (B x) for a random vector x of signs. One wrong element changes a sum by its error.
 */
import test from 'tape';
import type { Tensor } from '../../src/ops/types.ts';
import { EPS } from '../support/compare.ts';
import { array } from '../support/oracle.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

type Matrix = { readonly data: Float32Array; readonly shape: readonly number[] };

function times(matrix: Matrix, x: Float64Array, transpose: boolean): Float64Array {
  const [rows, cols] = matrix.shape as [number, number];
  const y = new Float64Array(transpose ? cols : rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      if (transpose) y[j]! += matrix.data[i * cols + j]! * x[i]!;
      else y[i]! += matrix.data[i * cols + j]! * x[j]!;
    }
  }
  return y;
}

/** Rounding errors of n elements add like a random walk: about eps k sqrt(n) / 6 for operands in [-1, 1). */
function vectorFault(
  random: Random,
  a: Matrix,
  b: Matrix,
  c: Tensor,
  transposeA: boolean,
  transposeB: boolean,
): string | undefined {
  const [, n] = c.shape as [number, number];
  const k = transposeA ? a.shape[0]! : a.shape[1]!;
  const x = Float64Array.from({ length: n }, () => (random.chance(0.5) ? 1 : -1));
  const want = times(a, times(b, x, transposeB), transposeA);
  const got = times({ data: c.data, shape: c.shape }, x, false);
  const bound = 2 * EPS * (k + 2) * Math.sqrt(n);
  let worst = 0;
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i]! - want[i]!);
    // the comparison is turned round so that NaN counts as worst
    if (!(error <= Math.abs(got[worst]! - want[worst]!))) worst = i;
  }
  const error = Math.abs(got[worst]! - want[worst]!);
  return error <= bound
    ? undefined
    : `row ${worst}: ${got[worst]}, want ${want[worst]}, bound ${bound}, seed ${SEED}`;
}

const SHAPES = [
  [255, 257, 256],
  [256, 256, 256],
  [257, 255, 511],
  [120, 512, 1024],
  [121, 513, 257],
  [48, 129, 769],
  [1000, 3, 1000],
  [3, 1000, 999],
  [1021, 17, 64],
  [509, 521, 523],
  [700, 700, 8],
] as const;

for (const [salt, threads] of [
  [21, 1],
  [22, 2],
  [23, 3],
] as const) {
  test(seeded(`large products on ${threads} threads: random-vector check`), async (t) => {
    const rt = await makeRuntime({ threads }, salt);
    const random = new Random(800 + salt);
    for (const [m, n, k] of SHAPES) {
      const [transposeA, transposeB] = [random.chance(0.4), random.chance(0.4)];
      const a = array(random, transposeA ? [k, m] : [m, k]);
      const b = array(random, transposeB ? [n, k] : [k, n]);
      const c = await rt.matmul(a, b, { transposeA, transposeB });
      t.equal(
        vectorFault(random, a, b, c, transposeA, transposeB),
        undefined,
        `${m}x${k}x${n} ${transposeA ? 't' : 'n'}${transposeB ? 't' : 'n'}`,
      );
      c.dispose();
    }
    await rt.close();
    t.end();
  });
}

test(seeded('matrix times vector, both ways, both storages'), async (t) => {
  const rt = await makeRuntime({ threads: 2 }, 24);
  const random = new Random(830);
  for (const [long, k] of [
    [1000, 1000],
    [1023, 257],
    [5, 3001],
    [3001, 5],
    [1, 4096],
    [4097, 1],
  ] as const) {
    for (const transpose of [false, true]) {
      const row = array(random, [1, k]);
      const b = array(random, transpose ? [long, k] : [k, long]);
      const c = await rt.matmul(row, b, { transposeB: transpose });
      t.equal(
        vectorFault(random, row, b, c, false, transpose),
        undefined,
        `1x${k}x${long} ${transpose ? 't' : 'n'}`,
      );
      const a = array(random, transpose ? [k, long] : [long, k]);
      const column = array(random, [k, 1]);
      const d = rt.matmulSync(a, column, { transposeA: transpose });
      t.equal(
        vectorFault(random, a, column, d, transpose, false),
        undefined,
        `${long}x${k}x1 ${transpose ? 't' : 'n'}`,
      );
      c.dispose();
      d.dispose();
    }
  }
  await rt.close();
  t.end();
});

test(seeded('a large product with prepacked weights'), async (t) => {
  const rt = await makeRuntime({ threads: 2 }, 25);
  const random = new Random(831);
  const b = array(random, [1025, 517]);
  const packed = rt.prepack(b, { m: 300 });
  for (const m of [1, 300]) {
    const a = array(random, [m, 1025]);
    t.equal(vectorFault(random, a, b, await rt.matmul(a, packed), false, false), undefined, `${m} rows`);
  }
  await rt.close();
  t.end();
});

test(seeded('the random-vector check finds one wrong element'), async (t) => {
  const rt = await makeRuntime({ threads: 1 }, 26);
  const random = new Random(832);
  const [a, b] = [array(random, [257, 256]), array(random, [256, 255])];
  const c = rt.matmulSync(a, b);
  t.equal(vectorFault(random, a, b, c, false, false), undefined);
  c.data[200 * 255 + 100]! += 0.01;
  t.match(vectorFault(random, a, b, c, false, false) ?? '', /row 200/, 'an error of 0.01 in one of 65 535');
  await rt.close();
  t.end();
});
