/** Convolutions of 8-bit integers: equal to exact sums over geometries, layouts, groups, types and zero points. */
import test from 'tape';
import type { ByteTensor, Runtime, Tensor } from '../../../src/index.ts';
import { convProblem, type Layout, readImage } from '../../../src/problem/conv.ts';
import type { IntegerOutput, QconvProblem } from '../../../src/problem/quantized.ts';
import { windowOf } from '../../../src/problem/window.ts';
import { codeOf } from '../../support/faulty.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, SEED, seeded } from '../../support/seed.ts';
import {
  BYTE_TYPES,
  bytesOf,
  difference,
  exactAnswer,
  lowest,
  NO_SCALES,
  randomBytes,
  randomScales,
  randomZeros,
} from './support.ts';

const LAYOUTS: readonly Layout[] = ['nchw', 'nhwc'];

function size(shape: readonly number[]): number {
  return shape.reduce((x, y) => x * y, 1);
}

async function faultOf(rt: Runtime, random: Random): Promise<string | undefined> {
  const groups = random.pick([1, 1, 2, 3]);
  // a depth of one is depthwise, a deep one is beyond what floats hold
  const [inner, outer] = [random.pick([1, 2, 3, 5, 8, 40]), random.int(1, 9)];
  const [height, width] = [random.int(4, 13), random.int(4, 17)];
  const [kH, kW] = [random.int(1, 3), random.int(1, 3)];
  const batch = random.int(1, 2);
  const layout = random.pick(LAYOUTS);
  const [aType, bType] = [random.pick(BYTE_TYPES), random.pick(BYTE_TYPES)];
  const [inC, outC] = [inner * groups, outer * groups];
  const geometry = {
    stride: [random.int(1, 2), random.int(1, 3)] as const,
    padding: random.pick([0, 1, [0, 2, 1, 0] as const, 'same' as const]),
    dilation: random.int(1, 2),
  };
  if ((kH - 1) * geometry.dilation >= height || (kW - 1) * geometry.dilation >= width) return undefined;
  const shapeX = layout === 'nchw' ? [batch, inC, height, width] : [batch, height, width, inC];
  const shapeW = [outC, inner, kH, kW];
  const extreme = random.chance(0.3);
  const x = randomBytes(random, size(shapeX), aType, extreme);
  const w = randomBytes(random, size(shapeW), bType, extreme);
  const requantised = random.chance(0.5);
  const output: IntegerOutput = requantised ? random.pick(BYTE_TYPES) : 'i32';
  const zeroA = [lowest(aType) + random.int(0, 255)];
  const zeroB = randomZeros(random, bType, outC);
  const scaleB = randomScales(random, outC, 0.02);
  const zeroY = requantised ? lowest(output as 'u8') + random.int(0, 255) : 0;
  const scaleY = random.pick([0.001, 0.2, 3]);
  const biased = requantised && random.chance(0.5);
  const bias = biased ? Int32Array.from({ length: outC }, () => random.int(-50_000, 50_000)) : undefined;
  const options = { ...geometry, groups, layout };
  const [image, weights] = [bytesOf(x, shapeX), bytesOf(w, shapeW)];
  const quantised = {
    x: { scale: 0.02, zeroPoint: zeroA[0]! },
    w: { scale: scaleB, zeroPoint: zeroB },
    y: { scale: scaleY, zeroPoint: zeroY, dtype: output === 'i8' ? ('i8' as const) : ('u8' as const) },
    ...(bias ? { bias: { data: bias, shape: [outC] } } : {}),
    ...options,
  };
  const plain = { xZeroPoint: zeroA[0]!, wZeroPoint: zeroB, ...options };
  const kept = random.chance(0.5) ? rt.prepackInteger(weights, { op: 'conv', zeroPoint: zeroB }) : undefined;
  // kept filters have their zero points from their making
  const options1 = kept ? { ...quantised, w: { scale: scaleB } } : quantised;
  const options2 = kept ? { xZeroPoint: zeroA[0]!, ...options } : plain;
  const call = async (): Promise<Tensor<'i32'> | ByteTensor> => {
    const [sync, filters] = [random.chance(0.5), kept ?? weights];
    if (requantised)
      return sync ? rt.qlinearConvSync(image, filters, options1) : rt.qlinearConv(image, filters, options1);
    return sync ? rt.convIntegerSync(image, filters, options2) : rt.convInteger(image, filters, options2);
  };
  // a second call takes the form that the first has made
  if (kept) (await call()).dispose();
  const result = await call();
  kept?.dispose();
  const window = windowOf({ height, width }, { kH, kW }, geometry);
  const problem: QconvProblem = {
    op: 'qconv',
    plain: convProblem({ batch, inC, outC }, window, { groups, layout }),
    ...{ aType, bType, output, exact: false, aMost: 255, bMost: 255 },
  };
  const scales = requantised ? { scaleA: [0.02], scaleB, scaleY, zeroY } : NO_SCALES;
  const wanted = exactAnswer(problem, { a: x, b: w, zeroA, zeroB, bias, ...scales }, result.size);
  const got = readImage(result.shape, layout);
  const shaped = got.channels === outC && got.height === window.outH && got.width === window.outW;
  const reason = shaped ? difference(result.data, wanted) : `a result of ${result.shape}`;
  result.dispose();
  const said = `${kept ? 'kept ' : ''}${layout} ${shapeX} ${shapeW} g${groups} ${JSON.stringify(geometry)} ${aType} ${bType} ${output}`;
  return reason && `${said}: ${reason}`;
}

test(seeded('integer convolutions are exact, whatever plan is taken'), async (t) => {
  const random = new Random(82);
  const faults: string[] = [];
  for (let turn = 0; turn < 10; turn++) {
    const numerics = random.pick(['fast', 'exact'] as const);
    const rt = await makeRuntime({ threads: random.int(1, 2), numerics }, SEED + turn);
    for (let i = 0; i < 40; i++) {
      const fault = await faultOf(rt, random);
      if (fault) faults.push(fault);
    }
    await rt.close();
  }
  t.deepEqual(faults.slice(0, 5), [], 'every element equal');
});

test('kept filters: one form for many images, accounted for and given back', async (t) => {
  const rt = await makeRuntime();
  const random = new Random(83);
  const weights = bytesOf(randomBytes(random, 8 * 6 * 9, 'i8', false), [8, 6, 3, 3]);
  const kept = rt.prepackInteger(weights, { op: 'conv' });
  t.deepEqual([...kept.shape], [8, 6, 3, 3], 'the shape that was given');
  const run = (side: number) => {
    const image = bytesOf(randomBytes(random, 6 * side * side, 'u8', false), [1, 6, side, side]);
    const [once, again] = [kept, weights].map((filters) =>
      rt.convIntegerSync(image, filters, { padding: 1 }),
    );
    t.equal(difference(once!.data, again!.data), undefined, `${side}x${side}: as without`);
    once!.dispose();
    again!.dispose();
    return kept.bytes;
  };
  const first = run(9);
  t.equal(run(9), first, 'the same form for the same problem');
  t.ok(first > 8 * 6 * 9, 'more than the bytes that were given');
  t.ok(rt.memory().byOwner.prepacked >= first, 'in the account of prepacked memory');
  kept.dispose();
  t.equal(kept.bytes + rt.memory().byOwner.prepacked, 0, 'all given back');
  await rt.close();
});

test('kept filters: what is refused', async (t) => {
  const rt = await makeRuntime();
  const other = await makeRuntime();
  const image = { data: new Uint8Array(18), shape: [1, 2, 3, 3] };
  const weights = { data: new Int8Array(24), shape: [3, 2, 2, 2] };
  const kept = rt.prepackInteger(weights, { op: 'conv', zeroPoint: 3 });
  const conv = (runtime: Runtime, options = {}) => runtime.convIntegerSync(image, kept, options);
  t.equal(await codeOf(() => conv(rt, { wZeroPoint: 3 })), 'E_ARGUMENT', 'zero points are given once');
  t.equal(await codeOf(() => conv(other)), 'E_FOREIGN', 'filters of another runtime');
  const flat = { data: new Int8Array(6), shape: [3, 2] };
  t.equal(await codeOf(() => rt.prepackInteger(flat, { op: 'conv' })), 'E_SHAPE', 'a matrix');
  const floats = { data: new Float32Array(24), shape: [3, 2, 2, 2] } as never;
  t.equal(await codeOf(() => rt.prepackInteger(floats, { op: 'conv' })), 'E_DTYPE', 'floats');
  t.equal(
    await codeOf(() => rt.prepackInteger(weights, { op: 'conv', zeroPoint: 128 })),
    'E_ARGUMENT',
    'a zero point',
  );
  const odd = { op: 'conv', transposeB: true } as never;
  t.equal(await codeOf(() => rt.prepackInteger(weights, odd)), 'E_ARGUMENT', 'an option of matrices');
  t.equal(
    await codeOf(() => rt.prepackInteger(weights, { op: 'pool' } as never)),
    'E_ARGUMENT',
    'an unknown op',
  );
  kept.dispose();
  t.equal(await codeOf(() => conv(rt)), 'E_DISPOSED', 'after its end');
  t.equal(rt.memory().byOwner.prepacked, 0, 'nothing is kept by what was refused');
  await rt.close();
  await other.close();
});

test('the examples of ONNX ConvInteger', async (t) => {
  const rt = await makeRuntime();
  const x = rt.tensor(Uint8Array.of(2, 3, 4, 5, 6, 7, 8, 9, 10), [1, 1, 3, 3]);
  const w = rt.tensor(Uint8Array.of(1, 1, 1, 1), [1, 1, 2, 2]);
  const plain = await rt.convInteger(x, w, { xZeroPoint: 1 });
  t.deepEqual([...plain.data], [12, 16, 24, 28], 'without padding');
  const padded = rt.convIntegerSync(x, w, { xZeroPoint: 1, padding: 1 });
  const wanted = [1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9];
  t.deepEqual([...padded.data], wanted, 'padding is the zero point');
  await rt.close();
});

test('shallow sums may be made in floats, and the plan says so; deep ones never', async (t) => {
  const rt = await makeRuntime();
  const kernels = (spec: Parameters<Runtime['explain']>[0]) =>
    new Set(rt.explain(spec).candidates.map(({ plan }) => plan.kernel.split('_')[0]));
  const depthwise = kernels({
    op: 'convInteger',
    input: [1, 32, 20, 20],
    weights: [32, 1, 3, 3],
    groups: 32,
  });
  t.ok(depthwise.has('f32'), 'depthwise: floats are among the candidates');
  const deep = kernels({ op: 'convInteger', input: [1, 64, 20, 20], weights: [32, 64, 3, 3] });
  t.deepEqual([...deep], ['i16'], 'deep: words only');
  await rt.close();
});
