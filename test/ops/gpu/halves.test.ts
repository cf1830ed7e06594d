/** Tensors that the GPU keeps as halves: what they hold, what computes with them as they are, and what widens them. */
import test from 'tape';
import { roundToHalf } from '../../../src/core/half.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime, RuntimeEvent } from '../../../src/ops/types.ts';
import { codeOf } from '../../support/faulty.ts';
import { workingGpu } from '../../support/gpu.ts';
import { ONE_ROW } from '../../support/gpu-profile.ts';
import { halfOf } from '../../support/halves.ts';
import { madeUpMachine } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const quarantined: string[] = [];

async function make(): Promise<Runtime | string> {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return gpu;
  const onEvent = (event: RuntimeEvent) => {
    if (event.type === 'quarantine') quarantined.push(event.reason);
  };
  const options = { threads: 1, wisdom: false, gpu: { gpu }, backend: 'webgpu', onEvent } as const;
  return createRuntimeWith(options, { machine: madeUpMachine(1), gpuProfile: ONE_ROW });
}

function random(count: number, seed: number): Float32Array {
  return new Random(seed).floats(count, 2);
}

/** Where values differ by more than sums may, or undefined. */
function differs(got: Float32Array, wanted: Float32Array | Float64Array): string | undefined {
  const at = wanted.findIndex((value, i) => !(Math.abs(got[i]! - value) <= 1e-4 * (1 + Math.abs(value))));
  return at < 0 ? undefined : `element ${at} is ${got[at]}, not ${wanted[at]}`;
}

/** Rows times columns in float64, of rounded operands. */
function product(a: Float32Array, b: Float32Array, m: number, k: number, n: number): Float64Array {
  const [left, right] = [a.map(roundToHalf), b.map(roundToHalf)];
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++)
      for (let x = 0; x < k; x++) out[i * n + j]! += left[i * k + x]! * right[x * n + j]!;
  return out;
}

test('gpu halves: every half comes back as it went, and floats between two as one of them', async (t) => {
  const rt = await make();
  if (typeof rt === 'string') return t.skip(rt);
  const all = Float32Array.from({ length: 65536 }, (_, bits) => halfOf(bits));
  const tensor = await rt.tensor(all, [65536]).to('gpu', { storage: 'f16' });
  t.equal(tensor.storage, 'f16');
  t.equal(tensor.location, 'gpu', 'the rounded values are there only');
  const back = await tensor.read();
  t.ok(
    all.every((value, i) => Object.is(back[i], value)),
    'all 65536',
  );
  t.equal(tensor.location, 'both');
  const values = random(1001, 7).map((value, i) => value * 2 ** ((i % 36) - 22));
  const rounded = await (await rt.tensor(values, [1001]).to('gpu', { storage: 'f16' })).read();
  const off = values.findIndex((value, i) => {
    const step = Math.max(2 ** -24, 2 ** (Math.floor(Math.log2(Math.abs(value))) - 10));
    return !(Math.abs(rounded[i]! - value) < step) || roundToHalf(rounded[i]!) !== rounded[i];
  });
  t.equal(off, -1, 'within one step, and a half');
  const odd = [65519, 65520, -1e9, Number.POSITIVE_INFINITY, Number.NaN];
  const ends = await (await rt.tensor(odd, [5]).to('gpu', { storage: 'f16' })).read();
  const most = Number.POSITIVE_INFINITY;
  t.deepEqual([...ends], [65504, most, -most, most, Number.NaN], 'beyond the range');
  await rt.close();
});

test(
  seeded('gpu halves: products, convolutions and everything else compute with the rounded values'),
  async (t) => {
    const rt = await make();
    if (typeof rt === 'string') return t.skip(rt);
    for (const [m, k, n] of [
      [20, 36, 24],
      [7, 13, 9],
    ] as const) {
      const [a, b] = [random(m * k, 1), random(k * n, 2)];
      const left = await rt.tensor(a, [m, k]).to('gpu', { storage: 'f16' });
      const right = await rt.tensor(b, [k, n]).to('gpu', { storage: 'f16' });
      const wanted = product(a, b, m, k, n);
      const result = await rt.matmul(left, right);
      t.equal(result.storage, 'f32', 'results are floats');
      t.equal(differs(await result.read(), wanted), undefined, `${m}x${k}x${n}, both`);
      const rounded = b.map(roundToHalf);
      const mixed = await rt.matmul(left, rt.tensor(rounded, [k, n]));
      t.equal(differs(await mixed.read(), wanted), undefined, 'one of them');
      const sum = await rt.binary('add', left, left);
      t.equal(
        differs(
          await sum.read(),
          a.map((value) => 2 * roundToHalf(value)),
        ),
        undefined,
        'widened to be added',
      );
      const out = await rt.tensor(new Float32Array(m * n).fill(1.5), [m, n]).to('gpu', { storage: 'f16' });
      await rt.matmul(left, right, { out, beta: 2 });
      t.equal(out.storage, 'f32');
      t.equal(
        differs(
          await out.read(),
          wanted.map((value) => value + 3),
        ),
        undefined,
        'added to halves',
      );
    }
    const [x, w] = [random(2 * 8 * 6 * 6, 3), random(4 * 8 * 9, 4)];
    const call = async (storage: 'f32' | 'f16') => {
      const image = await rt.tensor(x.map(roundToHalf), [2, 8, 6, 6]).to('gpu', { storage });
      const weights = await rt.tensor(w.map(roundToHalf), [4, 8, 3, 3]).to('gpu', { storage });
      return (await (await rt.conv2d(image, weights, { padding: 1 })).read()).slice();
    };
    t.equal(differs(await call('f16'), await call('f32')), undefined, 'a convolution');
    const deep = async (storage: 'f32' | 'f16') => {
      const image = await rt.tensor(x.map(roundToHalf), [2, 8, 6, 6]).to('gpu', { storage });
      const weights = rt.tensor(w.slice(0, 72), [8, 1, 3, 3]);
      return (await (await rt.conv2d(image, weights, { padding: 1, groups: 8 })).read()).slice();
    };
    t.equal(differs(await deep('f16'), await deep('f32')), undefined, 'a depthwise one, which gets floats');
    t.deepEqual(quarantined, [], 'by shaders that were right');
    await rt.close();
  },
);

test('gpu halves: back to floats, written over, and asked for wrongly', async (t) => {
  const rt = await make();
  if (typeof rt === 'string') return t.skip(rt);
  const tensor = rt.tensor([1 / 3, 2], [2]);
  t.equal(tensor.storage, 'f32');
  await tensor.to('gpu', { storage: 'f16' });
  await tensor.to('gpu');
  t.equal(tensor.storage, 'f16', 'stays as it is');
  await tensor.to('gpu', { storage: 'f32' });
  t.equal(tensor.storage, 'f32');
  t.deepEqual([...(await tensor.read())], [roundToHalf(1 / 3), 2], 'what was rounded stays so');
  tensor.data[0] = 1 / 3;
  t.equal(tensor.location, 'wasm');
  const [{ used }] = [rt.info.gpu!.memory];
  await tensor.to('gpu', { storage: 'f16' });
  tensor.dispose();
  t.equal(rt.info.gpu!.memory.used, used, 'nothing is left behind');
  const other = rt.tensor([1], [1]);
  const wrong = [
    ['gpu', { storage: 'f64' }],
    ['wasm', { storage: 'f16' }],
    ['gpu', { store: 'f16' }],
  ] as const;
  for (const [where, options] of wrong)
    t.equal(await codeOf(() => other.to(where, options as never)), 'E_ARGUMENT', JSON.stringify(options));
  const explained = rt.explain({ m: 64, n: 64, k: 64, storage: 'f16' });
  t.ok(explained.key.includes('f16=ab'), explained.key);
  t.throws(() => rt.explain({ m: 1, n: 1, k: 1, storage: 'f8' as never }), /storage/);
  await rt.close();
});
