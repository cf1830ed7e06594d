/** The same operators in onnxruntime-node, where it is installed: sums are equal, requantised values too but for ties. */
import { createRequire } from 'node:module';
import test from 'tape';
import {
  type Edge,
  type ElementType,
  initializer,
  intsAttribute,
  model,
  node,
  type Values,
} from '../../../src/cli/bench/peers/onnx-proto.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';
import { type ByteType, bytesOf, difference, lowest, randomBytes } from './support.ts';

interface OrtTensor {
  readonly data: ArrayLike<number>;
}

interface Ort {
  readonly Tensor: new (type: string, data: Values, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options?: object,
    ): Promise<{ run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>> }>;
  };
}

function findOrt(): Ort | undefined {
  try {
    return createRequire(import.meta.url)('onnxruntime-node') as Ort;
  } catch {
    return undefined;
  }
}

const ort = findOrt();
const skip = ort === undefined ? { skip: 'onnxruntime-node is not installed' } : {};
const NAMES = { u8: 'uint8', i8: 'int8' } as const;

interface Input {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly values: Values;
}

function scalar(name: string, type: ByteType, value: number): Input {
  const values = type === 'u8' ? Uint8Array.of(value) : Int8Array.of(value);
  return { name, type: NAMES[type], dims: [], values };
}

function scaleOf(name: string, value: number): Input {
  return { name, type: 'float32', dims: [], values: Float32Array.of(value) };
}

/** One operator: the first input is fed, the others are constants of the model. */
async function runOrt(
  op: string,
  inputs: readonly Input[],
  output: Edge,
  attributes: Parameters<typeof node>[3] = [],
): Promise<ArrayLike<number>> {
  const [fed, ...constants] = inputs as [Input, ...Input[]];
  const bytes = model({
    name: op,
    nodes: [
      node(
        op,
        inputs.map(({ name }) => name),
        output.name,
        attributes,
      ),
    ],
    constants: constants.map(({ name, type, dims, values }) => initializer({ name, type, dims }, values)),
    inputs: [{ name: fed.name, type: fed.type, dims: fed.dims }],
    output,
  });
  const session = await ort!.InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const result = await session.run({ [fed.name]: new ort!.Tensor(fed.type, fed.values, fed.dims) });
  return result[output.name]!.data;
}

/** Elements that differ, and the largest difference. */
function distance(got: ArrayLike<number>, wanted: ArrayLike<number>): { count: number; most: number } {
  let count = 0;
  let most = 0;
  for (let i = 0; i < wanted.length; i++) {
    const off = Math.abs(got[i]! - wanted[i]!);
    if (off > 0) count++;
    most = Math.max(most, off);
  }
  return { count, most };
}

test(seeded('MatMulInteger and ConvInteger of onnxruntime'), skip, async (t) => {
  const random = new Random(91);
  const rt = await makeRuntime({}, 91);
  for (let i = 0; i < 8; i++) {
    const bType = random.pick(['u8', 'i8'] as const);
    const [m, k, n] = [random.int(1, 20), random.int(1, 90), random.int(1, 30)];
    const a = randomBytes(random, m * k, 'u8', false);
    const b = randomBytes(random, k * n, bType, false);
    // without VNNI onnxruntime adds pairs of u8 x i8 in 16 bits, which saturate: exact for 7-bit weights only
    if (bType === 'i8') b.set(b.map((value) => value >> 1));
    const [zeroA, zeroB] = [random.int(0, 255), lowest(bType) + random.int(0, 255)];
    const wanted = await runOrt(
      'MatMulInteger',
      [
        { name: 'a', type: 'uint8', dims: [m, k], values: a },
        { name: 'b', type: NAMES[bType], dims: [k, n], values: b },
        scalar('za', 'u8', zeroA),
        scalar('zb', bType, zeroB),
      ],
      { name: 'y', type: 'int32', dims: [m, n] },
    );
    const got = rt.matmulIntegerSync(bytesOf(a, [m, k]), bytesOf(b, [k, n]), {
      aZeroPoint: zeroA,
      bZeroPoint: zeroB,
    });
    t.equal(difference(got.data, wanted), undefined, `${m}x${k}x${n} u8 ${bType}`);
  }
  for (let i = 0; i < 6; i++) {
    const [inC, outC, size] = [random.int(1, 9), random.int(1, 9), random.int(4, 11)];
    const x = randomBytes(random, inC * size * size, 'u8', false);
    const w = randomBytes(random, outC * inC * 9, 'u8', false);
    const [zeroX, zeroW] = [random.int(0, 255), random.int(0, 255)];
    const wanted = await runOrt(
      'ConvInteger',
      [
        { name: 'x', type: 'uint8', dims: [1, inC, size, size], values: x },
        { name: 'w', type: 'uint8', dims: [outC, inC, 3, 3], values: w },
        scalar('zx', 'u8', zeroX),
        scalar('zw', 'u8', zeroW),
      ],
      { name: 'y', type: 'int32', dims: [1, outC, size, size] },
      [intsAttribute('pads', [1, 1, 1, 1])],
    );
    const image = bytesOf(x, [1, inC, size, size]);
    const got = rt.convIntegerSync(image, bytesOf(w, [outC, inC, 3, 3]), {
      xZeroPoint: zeroX,
      wZeroPoint: zeroW,
      padding: 1,
    });
    t.equal(difference(got.data, wanted), undefined, `${inC}x${size}x${size} to ${outC}`);
  }
  await rt.close();
});

test(seeded('QLinearMatMul and QLinearConv of onnxruntime'), skip, async (t) => {
  const random = new Random(92);
  const rt = await makeRuntime({}, 92);
  let elements = 0;
  let off = 0;
  for (let i = 0; i < 12; i++) {
    const [m, k, n] = [random.int(1, 20), random.int(1, 90), random.int(1, 30)];
    const [a, b] = [randomBytes(random, m * k, 'u8', false), randomBytes(random, k * n, 'u8', false)];
    const zeros = [random.int(0, 255), random.int(0, 255), random.int(0, 255)] as const;
    const scales = [0.01 + random.next(), 0.01 + random.next(), 50 * (0.1 + random.next())] as const;
    const wanted = await runOrt(
      'QLinearMatMul',
      [
        { name: 'a', type: 'uint8', dims: [m, k], values: a },
        scaleOf('sa', scales[0]),
        scalar('za', 'u8', zeros[0]),
        { name: 'b', type: 'uint8', dims: [k, n], values: b },
        scaleOf('sb', scales[1]),
        scalar('zb', 'u8', zeros[1]),
        scaleOf('sy', scales[2]),
        scalar('zy', 'u8', zeros[2]),
      ],
      { name: 'y', type: 'uint8', dims: [m, n] },
    );
    const got = rt.qlinearMatmulSync(bytesOf(a, [m, k]), bytesOf(b, [k, n]), {
      a: { scale: scales[0], zeroPoint: zeros[0] },
      b: { scale: scales[1], zeroPoint: zeros[1] },
      y: { scale: scales[2], zeroPoint: zeros[2] },
    });
    const { count, most } = distance(got.data, wanted);
    elements += got.size;
    off += count;
    t.ok(most <= 1, `${m}x${k}x${n}: ${count} of ${got.size} off, at most by ${most}`);
  }
  for (let i = 0; i < 8; i++) {
    const [inC, outC, size] = [random.int(1, 9), random.int(1, 9), random.int(4, 11)];
    const x = randomBytes(random, inC * size * size, 'u8', false);
    const w = randomBytes(random, outC * inC * 9, 'u8', false);
    const zeros = [random.int(0, 255), random.int(0, 255), random.int(0, 255)] as const;
    const scales = [0.01 + random.next(), 0.01 + random.next(), 50 * (0.1 + random.next())] as const;
    const bias = Int32Array.from({ length: outC }, () => random.int(-20_000, 20_000));
    const wanted = await runOrt(
      'QLinearConv',
      [
        { name: 'x', type: 'uint8', dims: [1, inC, size, size], values: x },
        scaleOf('sx', scales[0]),
        scalar('zx', 'u8', zeros[0]),
        { name: 'w', type: 'uint8', dims: [outC, inC, 3, 3], values: w },
        scaleOf('sw', scales[1]),
        scalar('zw', 'u8', zeros[1]),
        scaleOf('sy', scales[2]),
        scalar('zy', 'u8', zeros[2]),
        { name: 'bias', type: 'int32', dims: [outC], values: bias },
      ],
      { name: 'y', type: 'uint8', dims: [1, outC, size, size] },
      [intsAttribute('pads', [1, 1, 1, 1])],
    );
    const got = rt.qlinearConvSync(bytesOf(x, [1, inC, size, size]), bytesOf(w, [outC, inC, 3, 3]), {
      x: { scale: scales[0], zeroPoint: zeros[0] },
      w: { scale: scales[1], zeroPoint: zeros[1] },
      y: { scale: scales[2], zeroPoint: zeros[2] },
      bias: { data: bias, shape: [outC] },
      padding: 1,
    });
    const { count, most } = distance(got.data, wanted);
    elements += got.size;
    off += count;
    t.ok(most <= 1, `${inC}x${size}x${size} to ${outC}: ${count} of ${got.size} off, at most by ${most}`);
  }
  t.ok(off <= elements / 1000, `${off} of ${elements} elements differ`);
  await rt.close();
});
