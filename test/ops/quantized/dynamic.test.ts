/** Quantising floats on the fly, and products that do. */
import test from 'tape';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';
import { difference, lowest, randomBytes, randomScales, randomZeros } from './support.ts';

/** Round half to even. */
function even(x: number): number {
  const near = Math.round(x);
  return Math.abs(x % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

test('the examples of ONNX DynamicQuantizeLinear', async (t) => {
  const rt = await makeRuntime();
  const cases = [
    { x: [0, 2, -3, -2.5, 1.34, 0.5], scale: 0.0196078438, zero: 153, y: [153, 255, 0, 26, 221, 179] },
    { x: [-1, -2.1, -1.3, -2.5, -3.34, -4], scale: 0.0156862754, zero: 255, y: [191, 121, 172, 96, 42, 0] },
    {
      x: [1, 2.1, 1.3, 2.5, 3.34, 4, 1.5, 2.6, 3.9, 4, 3, 2.345],
      scale: 0.0156862754,
      zero: 0,
      y: [64, 134, 83, 159, 213, 255, 96, 166, 249, 255, 191, 149],
    },
  ];
  for (const { x, scale, zero, y } of cases) {
    const got = rt.quantizeDynamic({ data: Float32Array.from(x), shape: [x.length] });
    t.ok(Math.abs(got.scale - scale) < 1e-9, `scale ${got.scale}`);
    t.equal(got.zeroPoint, zero, 'zero point');
    t.deepEqual([...got.y.data], y, 'bytes');
  }
  const zeros = rt.quantizeDynamic({ data: new Float32Array(5), shape: [5] });
  t.deepEqual([zeros.scale, zeros.zeroPoint, ...zeros.y.data], [1, 0, 0, 0, 0, 0, 0], 'all zeros');
  await rt.close();
});

test(seeded('dynamic products: quantised, multiplied exactly, made floats again'), async (t) => {
  const random = new Random(83);
  const rt = await makeRuntime({}, 83);
  const faults: string[] = [];
  for (let i = 0; i < 60; i++) {
    const [m, k, n] = [random.int(1, 20), random.pick([1, 3, 17, 300, 513]), random.int(1, 40)];
    const x = random.floats(m * k, random.pick([0.001, 1, 1000]));
    const type = random.pick(['u8', 'i8'] as const);
    const w = randomBytes(random, k * n, type, random.chance(0.3));
    const wZeroPoint = randomZeros(random, type, n);
    const wScale = randomScales(random, n, 0.01);
    const bias = random.chance(0.5) ? random.floats(n) : undefined;
    const a = { data: x, shape: [m, k] };
    const { y, scale, zeroPoint } = rt.quantizeDynamic(a);
    const wanted = new Float32Array(m * n);
    for (let at = 0; at < m * n; at++) {
      const [row, column] = [Math.floor(at / n), at % n];
      let sum = 0;
      for (let p = 0; p < k; p++)
        sum +=
          (y.data[row * k + p]! - zeroPoint) *
          (w[p * n + column]! - wZeroPoint[wZeroPoint.length === 1 ? 0 : column]!);
      const by = Math.fround(Math.fround(scale) * Math.fround(wScale[wScale.length === 1 ? 0 : column]!));
      const value = Math.fround(Math.fround(sum) * by);
      wanted[at] = Math.max(0, bias ? Math.fround(value + bias[column]!) : value);
    }
    const right = { data: w as Uint8Array, shape: [k, n] };
    const packed = random.chance(0.5) ? rt.prepackInteger(right, { zeroPoint: wZeroPoint }) : undefined;
    const options = {
      wScale,
      activation: 'relu' as const,
      ...(packed ? {} : { wZeroPoint }),
      ...(bias ? { bias: { data: bias, shape: [n] } } : {}),
    };
    const result = random.chance(0.5)
      ? rt.matmulDynamicSync(a, packed ?? right, options)
      : await rt.matmulDynamic(a, packed ?? right, options);
    const fault = difference(result.data, wanted);
    if (fault) faults.push(`${m}x${k}x${n} ${type} ${packed ? 'packed' : ''}: ${fault}`);
  }
  t.deepEqual(faults.slice(0, 4), [], 'equal to the last bit');
  await rt.close();
});

test(seeded('bytes of floats of all sizes'), async (t) => {
  const random = new Random(84);
  const rt = await makeRuntime();
  for (const count of [1, 3, 4, 7, 8, 9, 1001]) {
    const x = random.floats(count, 10 ** random.int(-6, 6));
    const { y, scale, zeroPoint } = rt.quantizeDynamic({ data: x, shape: [count] });
    const wanted = Uint8Array.from(x, (value) => {
      const rounded = even(Math.fround(value / scale)) + zeroPoint;
      return Math.min(255, Math.max(lowest('u8'), rounded));
    });
    t.equal(difference(y.data, wanted), undefined, `${count} floats`);
  }
  await rt.close();
});
