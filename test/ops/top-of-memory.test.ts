/**
 * A memory of 4 GiB up to its last block: addresses that are negative as 32-bit integers, and the border between both kinds. What lies below
 * is never touched, so that it takes addresses and no room.
 */
import test from 'tape';
import type { TesseraeError } from '../../src/core/errors.ts';
import { InferenceSession } from '../../src/onnx/index.ts';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeOptions, Tensor } from '../../src/ops/types.ts';
import { bytesHash } from '../support/compare.ts';
import { algorithmsOf, answersTo, convFault, randomConv, withEpilogue } from '../support/conv-problems.ts';
import { exactHashes, GOLDEN, hashOfAll } from '../support/exact-calls.ts';
import { codeOf, failure, SLOW_MACHINE } from '../support/faulty.ts';
import { randomFeeds, WHOLE_MODELS } from '../support/onnx.ts';
import { wholeProduct, wrongAsync, wrongSync } from '../support/products.ts';
import { madeUpMachine } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;

const make = async (options: RuntimeOptions = {}, salt?: number): Promise<Runtime> =>
  createRuntimeWith(
    { threads: 3, wisdom: false, ...options },
    { machine: salt === undefined ? SLOW_MACHINE : madeUpMachine(salt) },
  );

/** A runtime whose memory is taken up to an address, but for a MiB or two; or why it cannot be. */
async function takenUpTo(
  end: number,
  options: RuntimeOptions = {},
  salt?: number,
): Promise<Runtime | string> {
  const rt = await make({ ...options, memory: { maximum: 4 * GiB } }, salt);
  const { backend } = coreOf(rt);
  let reason: unknown;
  const take = (bytes: number): boolean => {
    try {
      const at = backend.allocate(bytes, 'scratch');
      if (at + bytes <= end) return true;
      backend.free(at);
    } catch (error) {
      reason = error;
    }
    return false;
  };
  for (let bytes = GiB / 2; bytes >= MiB; bytes /= 2) while (take(bytes));
  if (rt.memory().used > end - 4 * MiB) return rt;
  await rt.close();
  return String(reason);
}

const WHERE = { 'across 2 GiB': 2 * GiB, 'from 3 GiB on': 3 * GiB, 'at the end': 4 * GiB - 40 * MiB };

for (const [name, end] of Object.entries(WHERE)) {
  test(`4 GiB, ${name}: exact products, by one call and by the team`, async (t) => {
    const rt = await takenUpTo(end, { numerics: 'exact' });
    if (typeof rt === 'string') return t.skip(rt);
    const { byOwner } = rt.memory();
    t.equal(hashOfAll(await exactHashes(rt, true)), GOLDEN, 'blocking');
    t.equal(hashOfAll(await exactHashes(rt, false)), GOLDEN, 'awaited');
    // programs are kept
    t.deepEqual({ ...rt.memory().byOwner, runtime: 0 }, { ...byOwner, runtime: 0 }, 'and given back');
    await rt.close();
  });

  test(seeded(`4 GiB, ${name}: convolutions by every algorithm`), async (t) => {
    const rt = await takenUpTo(end, {}, 4401);
    if (typeof rt === 'string') return t.skip(rt);
    const random = new Random(4400);
    const faults: string[] = [];
    for (let turn = 0; turn < 60; turn++) {
      const plain = withEpilogue(random, randomConv(random));
      for (const algorithm of algorithmsOf(plain)) {
        const answer = answersTo(plain)(algorithm);
        const fault = await convFault(rt, random, { ...plain, algorithm }, { sync: turn % 2 === 0, answer });
        if (fault) faults.push(fault);
      }
    }
    t.deepEqual(faults, []);
    await rt.close();
  });

  test(seeded(`4 GiB, ${name}: all else gives the bytes that a small memory gives`), async (t) => {
    const rt = await takenUpTo(end);
    if (typeof rt === 'string') return t.skip(rt);
    const small = await make();
    const [there, here] = [await everything(rt), await everything(small)];
    const differing = [...here].flatMap(([call, hash]) => (there.get(call) === hash ? [] : [call]));
    t.deepEqual(differing, [], `${here.size} calls`);
    await Promise.all([rt.close(), small.close()]);
  });
}

/** Hashes of what other calls give. */
async function everything(rt: Runtime): Promise<Map<string, string>> {
  const random = new Random(4402, 1);
  const floats = (...shape: number[]) => ({ data: random.floats(shape.reduce((x, y) => x * y, 1)), shape });
  const bytes = (...shape: number[]) => ({
    data: Uint8Array.from({ length: shape.reduce((x, y) => x * y, 1) }, () => random.int(0, 255)),
    shape,
  });
  const [x, y, image] = [floats(37, 53), floats(37, 53), floats(2, 6, 19, 23)];
  const weights = { data: Int8Array.from(bytes(53, 29).data), shape: [53, 29] };
  const filters = { data: Int8Array.from(bytes(9, 6, 3, 3).data), shape: [9, 6, 3, 3] };
  const kept = rt.prepackInteger(weights);
  const scale = { scale: 0.02, zeroPoint: 3 };
  // from text: the linter would have it an arrow function, which has no name for its translation
  const gate = rt.kernel(new Function('return function (a, b) { return a * Math.max(0, b); }')());
  const calls: Record<string, () => unknown> = {
    exp: () => rt.unarySync('exp', x),
    add: () => rt.binarySync('add', x, floats(53)),
    where: () => rt.whereSync(rt.binarySync('less', x, y), x, y),
    softmax: () => rt.softmaxSync(x),
    norm: () => rt.layerNormSync(x, { scale: floats(53), bias: floats(53) }),
    reduce: () => rt.reduceSync('sum', image, { axes: [1, 3] }),
    transpose: () => rt.transposeSync(image, [3, 1, 0, 2]),
    'a transpose, awaited': () => rt.transpose(image, [3, 1, 0, 2]),
    'max pool': () => rt.maxPool2dSync(image, 3, { stride: 2, padding: 1 }),
    'average pool': () => rt.averagePool2d(image, 2),
    'global pool': () => rt.globalPool2dSync(image, 'average'),
    transposed: () => rt.convTranspose2dSync(image, floats(6, 4, 3, 3), { stride: 2, padding: 1 }),
    'transposed, nhwc': () => rt.convTranspose2d(floats(2, 9, 7, 6), floats(6, 4, 3, 3), { layout: 'nhwc' }),
    integers: () => rt.matmulIntegerSync(bytes(21, 53), kept),
    'plain integers': () => rt.matmulInteger(bytes(21, 53), weights),
    'a dynamic product': () => rt.matmulDynamicSync(x, kept, { wScale: 0.01 }),
    'integer convolution': () => rt.convIntegerSync(bytes(2, 6, 19, 23), filters, { padding: 1 }),
    'quantised convolution': () =>
      rt.qlinearConvSync(bytes(2, 6, 19, 23), filters, {
        x: scale,
        w: { scale: 0.01, zeroPoint: 0 },
        y: { scale: 0.5, zeroPoint: 100 },
      }),
    kernel: () => gate.runSync([x, y]),
    'a product into a tensor': () => {
      const out = rt.tensor(floats(37, 37).data, [37, 37]);
      return rt.matmulSync(x, y, { transposeB: true, out, beta: 0.5, bias: floats(37), activation: 'gelu' });
    },
    'no terms': () => rt.matmulSync(floats(5, 0), floats(0, 7), { bias: floats(7) }),
  };
  const hashes = new Map<string, string>();
  for (const [name, call] of Object.entries(calls)) {
    const tensor = (await call()) as Tensor;
    hashes.set(name, bytesHash(tensor.data as Float32Array));
    tensor.dispose();
  }
  const bands: string[] = [];
  for await (const { data } of rt.matmul.tiles(x, y, { transposeB: true, rows: 8 }))
    bands.push(bytesHash(data));
  hashes.set('bands', bands.join());
  return hashes;
}

test('4 GiB: to the last byte', async (t) => {
  const rt = await takenUpTo(4 * GiB - 40 * MiB);
  if (typeof rt === 'string') return t.skip(rt);
  // room for programs, below what follows
  const room = rt.zeros([MiB]);
  const { available } = ((await failure(() => rt.zeros([GiB / 4]))) as TesseraeError).values as {
    available: number;
  };
  const length = Math.floor(available / 4);
  t.ok(length > 2 * MiB, `${available} bytes are left`);
  const last = rt.tensor(new Float32Array(length).fill(2), [length]);
  t.equal(rt.memory().capacity, 4 * GiB, 'the memory is as large as it can be');
  t.equal(await codeOf(() => rt.zeros([64 * 1024])), 'E_MEMORY', 'and full');
  room.dispose();
  rt.unarySync('neg', last, { out: last });
  await rt.binary('mul', last, last, { out: last });
  t.ok(
    last.data.every((value) => value === 4),
    'computed in place up to its end',
  );
  last.dispose();
  const product = wholeProduct(300, 200, 260);
  t.equal(
    (await wrongAsync(rt, product)) ?? wrongSync(rt, product),
    undefined,
    'room that is given back is used',
  );
  t.ok(
    process.memoryUsage().rss < 1.5 * GiB,
    `${(process.memoryUsage().rss / MiB).toFixed(0)} MiB are touched`,
  );
  await rt.close();
});

for (const { name, file, from, inputs } of WHOLE_MODELS)
  test(seeded(`4 GiB: ${name} at the end`), { skip: !file && `no ${from}` }, async (t) => {
    const rt = await takenUpTo(4 * GiB - 256 * MiB);
    if (typeof rt === 'string') return t.skip(rt);
    const small = await make();
    const feeds = randomFeeds(new Random(4403), inputs);
    const [got, wanted] = await Promise.all(
      [rt, small].map(async (runtime) => {
        const session = await InferenceSession.create(file!, { runtime });
        await session.run(feeds);
        const results = await session.run(feeds);
        await session.release();
        return Object.values(results).map(({ data }) => bytesHash(data as Float32Array));
      }),
    );
    t.deepEqual(got, wanted);
    await Promise.all([rt.close(), small.close()]);
  });
