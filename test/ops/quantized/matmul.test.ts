/** Products of 8-bit integers: equal to exact sums, bit by bit, over random, extreme and saturating operands. */
import test from 'tape';
import type { Runtime } from '../../../src/ops/types.ts';
import { type MatmulProblem, matmulFromShapes } from '../../../src/problem/matmul.ts';
import type { IntegerOutput, QmatmulProblem } from '../../../src/problem/quantized.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, SEED, seeded } from '../../support/seed.ts';
import {
  type Asked,
  BYTE_TYPES,
  type ByteType,
  bytesOf,
  difference,
  exactAnswer,
  lowest,
  NO_SCALES,
  randomBytes,
  randomScales,
  randomZeros,
} from './support.ts';

const EXTENTS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 47, 64];
/** Below, at and above the depth to which floats are exact, and over several blocks of k. */
const DEPTHS = [1, 2, 3, 4, 7, 16, 31, 64, 257, 258, 259, 700, 1100];

interface Case {
  readonly shapeA: readonly number[];
  readonly shapeB: readonly number[];
  readonly transposeB: boolean;
  readonly aType: ByteType;
  readonly bType: ByteType;
  readonly plain: MatmulProblem;
  readonly shape: readonly number[];
  readonly asked: Asked;
}

function size(shape: readonly number[]): number {
  return shape.reduce((x, y) => x * y, 1);
}

function randomCase(random: Random): Case {
  // vectors have kernels of their own
  const extent = () => (random.chance(0.2) ? 1 : random.pick(EXTENTS));
  const [m, n, k] = [extent(), extent(), random.pick(DEPTHS)];
  const leading = random.chance(0.2) ? [random.int(1, 2), 3] : [];
  const shared = leading.length > 0 && random.chance(0.5);
  const transposeB = random.chance(0.4);
  const shapeA = [...leading, m, k];
  const shapeB = [...(shared ? [] : leading), ...(transposeB ? [n, k] : [k, n])];
  const [aType, bType] = [random.pick(BYTE_TYPES), random.pick(BYTE_TYPES)];
  const lines = (count: number) => (leading.length > 0 ? 1 : count);
  const { problem: plain, shape } = matmulFromShapes(shapeA, shapeB, { transposeB });
  const extreme = random.chance(0.35);
  const asked = {
    a: randomBytes(random, size(shapeA), aType, extreme),
    b: randomBytes(random, size(shapeB), bType, extreme),
    zeroA: randomZeros(random, aType, lines(m)),
    zeroB: randomZeros(random, bType, lines(n)),
    scaleA: randomScales(random, lines(m), 0.02),
    scaleB: randomScales(random, lines(n), 0.02),
    // from results that all saturate to results that are all alike
    scaleY: random.pick([0.001, 0.05, 0.5, 20]),
    zeroY: lowest(aType) + random.int(0, 255),
  };
  return { shapeA, shapeB, transposeB, aType, bType, plain, shape, asked };
}

async function faultOf(rt: Runtime, random: Random, c: Case): Promise<string | undefined> {
  const { a, b, zeroA, zeroB, scaleA, scaleB, scaleY, zeroY } = c.asked;
  const left = random.chance(0.5) ? rt.tensor(a as Uint8Array, c.shapeA) : bytesOf(a, c.shapeA);
  const right = bytesOf(b, c.shapeB);
  const { transposeB } = c;
  const packed = c.shapeB.length === 2 && random.chance(0.3);
  const w = packed
    ? rt.prepackInteger(right, { zeroPoint: zeroB, transposeB, m: random.int(0, 60) })
    : undefined;
  const requantised = random.chance(0.5);
  const output: IntegerOutput = requantised ? c.aType : 'i32';
  const rest = w ? {} : { transposeB };
  const zeroOfB = w ? {} : { zeroPoint: zeroB };
  const quantised = {
    a: { scale: scaleA, zeroPoint: zeroA },
    b: { scale: scaleB, ...zeroOfB },
    y: { scale: scaleY, zeroPoint: zeroY },
    ...rest,
  };
  const plain = { aZeroPoint: zeroA, ...(w ? {} : { bZeroPoint: zeroB }), ...rest };
  const sync = random.chance(0.5);
  const result = requantised
    ? sync
      ? rt.qlinearMatmulSync(left, w ?? right, quantised)
      : await rt.qlinearMatmul(left, w ?? right, quantised)
    : sync
      ? rt.matmulIntegerSync(left, w ?? right, plain)
      : await rt.matmulInteger(left, w ?? right, plain);
  const types = { aType: c.aType, bType: c.bType };
  const problem: QmatmulProblem = {
    op: 'qmatmul',
    plain: c.plain,
    bytePanels: false,
    ...types,
    output,
    exact: false,
  };
  const asked = requantised ? c.asked : { ...c.asked, ...NO_SCALES };
  const wrong = difference(result.data, exactAnswer(problem, asked, size(c.shape)));
  const dtype = result.dtype === output ? undefined : `a tensor of ${result.dtype}`;
  result.dispose();
  w?.dispose();
  if ('dispose' in left) left.dispose();
  const reason = wrong ?? dtype;
  return (
    reason && `${c.shapeA} x ${c.shapeB} ${c.aType} ${c.bType} ${output} ${packed ? 'packed' : ''}: ${reason}`
  );
}

test(seeded('integer products are exact, whatever plan is taken'), async (t) => {
  const random = new Random(81);
  const kernels = new Set<string>();
  const faults: string[] = [];
  for (let turn = 0; turn < 10; turn++) {
    const numerics = random.pick(['fast', 'exact'] as const);
    const rt = await makeRuntime({ threads: random.int(1, 2), numerics }, SEED + turn);
    for (let i = 0; i < 40; i++) {
      const asked = randomCase(random);
      const fault = await faultOf(rt, random, asked);
      if (fault) faults.push(fault);
    }
    for (const m of [1, 33]) kernels.add(rt.explain({ op: 'matmulInteger', m, k: 700, n: 64 }).plan.kernel);
    await rt.close();
  }
  t.deepEqual(faults.slice(0, 5), [], 'every element equal');
  const names = [...kernels];
  t.ok(
    names.every((name) => name.startsWith('i16_')),
    'deep sums are never made in floats',
  );
  const some = (start: string) => names.some((name) => name.startsWith(start));
  t.ok(some('i16_gemv') && some('i16_gemm'), 'vectors and blocks');
});

test('the example of ONNX MatMulInteger', async (t) => {
  const rt = await makeRuntime();
  const a = rt.tensor(Uint8Array.of(11, 7, 3, 10, 6, 2, 9, 5, 1, 8, 4, 0), [4, 3]);
  const b = rt.tensor(Uint8Array.of(1, 4, 2, 5, 3, 6), [3, 2]);
  const y = await rt.matmulInteger(a, b, { aZeroPoint: 12 });
  t.deepEqual([...y.data], [-38, -83, -44, -98, -50, -113, -56, -128]);
  await rt.close();
});

test('the example of ONNX QLinearMatMul', async (t) => {
  const rt = await makeRuntime();
  const a = rt.tensor(Uint8Array.of(208, 236, 0, 238, 3, 214, 255, 29), [2, 4]);
  const b = rt.tensor(Uint8Array.of(152, 51, 244, 60, 26, 255, 0, 127, 246, 127, 254, 247), [4, 3]);
  const y = rt.qlinearMatmulSync(a, b, {
    a: { scale: 0.0066, zeroPoint: 113 },
    b: { scale: 0.00705, zeroPoint: 114 },
    y: { scale: 0.0107, zeroPoint: 118 },
  });
  t.deepEqual([...y.data], [168, 115, 255, 1, 66, 151]);
  await rt.close();
});

test('extents of zero', async (t) => {
  const rt = await makeRuntime();
  const empty = rt.matmulIntegerSync(
    rt.tensor(new Uint8Array(0), [0, 3]),
    rt.tensor(new Int8Array(6), [3, 2]),
  );
  t.deepEqual([empty.shape, empty.size], [[0, 2], 0], 'no rows');
  const none = await rt.matmulInteger(
    rt.tensor(new Uint8Array(0), [2, 0]),
    rt.tensor(new Int8Array(0), [0, 3]),
  );
  t.deepEqual([...none.data], [0, 0, 0, 0, 0, 0], 'no terms: zeros');
  const quantised = rt.qlinearMatmulSync(
    rt.tensor(new Uint8Array(0), [1, 0]),
    rt.tensor(new Int8Array(0), [0, 2]),
    { a: { scale: 1 }, b: { scale: 1 }, y: { scale: 1, zeroPoint: 7 } },
  );
  t.deepEqual([...quantised.data], [7, 7], 'no terms, quantised: the zero point');
  await rt.close();
});

test('rounding is to even and results saturate', async (t) => {
  const rt = await makeRuntime();
  const a = rt.tensor(Int8Array.of(1, 3, 5, -1, -3, -5, 127, -128), [8, 1]);
  const one = rt.tensor(Int8Array.of(1), [1, 1]);
  const y = rt.qlinearMatmulSync(a, one, { a: { scale: 0.5 }, b: { scale: 1 }, y: { scale: 1 } });
  t.deepEqual([...y.data], [0, 2, 2, 0, -2, -2, 64, -64], 'half to even');
  const wide = rt.qlinearMatmulSync(a, one, {
    a: { scale: 1000 },
    b: { scale: 1000 },
    y: { scale: 0.001, zeroPoint: 3, dtype: 'u8' },
  });
  t.deepEqual([...wide.data], [255, 255, 255, 0, 0, 0, 255, 0], 'saturated');
  await rt.close();
});
