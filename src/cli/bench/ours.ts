/**
 * tesserae as a contestant: timed through `await rt.matmul(...)`, `await rt.conv2d(...)` or `await rt.matmulInteger(...)`, the call
 * that a user writes.
 * Operands and result are resident tensors and `out` is used again, so no copy is part of a call.
 */
import { type MatmulOptions, type ProblemSpec, printPlan, type Runtime, type Tensor } from '../../index.ts';
import {
  type ConvShape,
  convExtents,
  type MatmulShape,
  type QmatmulShape,
  type Shape,
} from '../shapes/index.ts';
import type { ConvOperands, MatmulOperands, Operands, QmatmulOperands } from './operands.ts';
import type { ContestantInfo, Peer, Prepared, Unsupported } from './types.ts';

export const OURS = 'tesserae';

type ConvOptions = NonNullable<Parameters<Runtime['conv2d']>[2]>;
type Spec = Exclude<ProblemSpec, string>;
type MatmulSpec = Exclude<Spec, { readonly op: 'conv' | 'matmulInteger' | 'convInteger' }>;

/** The problem as the library's planner is asked about it. */
export function problemOf(shape: Shape, isResident = false): Spec {
  const spec = specOf(shape);
  // weights that lie on the GPU are tensors as others
  return isResident ? ({ ...spec, prepacked: false } as Spec) : spec;
}

function specOf(shape: Shape): Spec {
  switch (shape.kind) {
    case 'conv':
      return convProblemOf(shape);
    case 'qmatmul':
      return qmatmulProblemOf(shape);
    case 'matmul':
    case undefined:
      return matmulProblemOf(shape);
    default:
      return shape satisfies never;
  }
}

function convProblemOf(shape: ConvShape): Spec {
  const { batch, inC, inH, inW, outC, kH, kW, groups, bias } = shape;
  return {
    op: 'conv',
    input: [batch, inC, inH, inW],
    weights: [outC, inC / groups, kH, kW],
    ...windowOptions(shape),
    prepacked: true,
    ...(bias && { bias }),
  };
}

function windowOptions({ stride, padding, dilation, groups, activation }: ConvShape) {
  return { stride, padding, dilation, groups, ...(activation !== undefined && { activation }) };
}

function qmatmulProblemOf({ m, k, n }: QmatmulShape): Spec {
  return { op: 'matmulInteger', m, k, n, aType: 'u8', bType: 'i8', output: 'i32', prepacked: true };
}

export function matmulProblemOf(shape: MatmulShape): MatmulSpec {
  const { m, k, n, batch, transposeB, bias, activation, half } = shape;
  const prepacked = shape.prepacked === true && canPrepack(shape);
  return {
    m,
    k,
    n,
    ...(batch !== undefined && { batch }),
    // Panels are the same however the matrix was stored before.
    ...(transposeB && !prepacked && { transposeB }),
    ...(prepacked && { prepacked }),
    ...(bias && { bias }),
    ...(activation !== undefined && { activation }),
    ...(half && { storage: 'f16' }),
  };
}

/** `rt.prepack` takes one matrix. */
function canPrepack({ batch = 1 }: MatmulShape): boolean {
  return batch === 1;
}

/** `isResident`: on the GPU, where operands and results stay. */
export function ours(runtime: Runtime, isResident = false): Peer {
  const { version, threads } = runtime.info;
  const info: ContestantInfo = {
    id: OURS,
    version,
    threads: threads.actual,
    includes: isResident
      ? 'await rt.matmul() or conv2d() on tensors that stay on the GPU; awaited together'
      : 'await rt.matmul(), conv2d() or matmulInteger(); resident tensors, weights prepacked, out reused',
  };
  const make = isResident ? prepareResident : prepare;
  return { info, prepare: async (operands) => make(runtime, operands), dispose: async () => undefined };
}

/** Takes note of what must be disposed of. */
type Own = <T extends { dispose(): void }>(value: T) => T;

type Ready = Omit<Prepared, 'dispose'>;

function prepare(runtime: Runtime, operands: Operands): Prepared {
  const owned: { dispose(): void }[] = [];
  const own: Own = (value) => {
    owned.push(value);
    return value;
  };
  const dispose = () => {
    for (const value of owned.splice(0)) value.dispose();
  };
  try {
    return { ...place(runtime, operands, own), dispose };
  } catch (error) {
    // Out of memory halfway: what is there already goes back.
    dispose();
    throw error;
  }
}

/** Timestamps are rounded: many calls between two of them, unless one takes long. */
const DEVICE_MS = 50;
const DEVICE_RUNS_MOST = 20;

async function deviceMs(runtime: Runtime, run: () => Promise<Tensor>): Promise<number | undefined> {
  const timed = (runs: number) =>
    runtime.gpuTime(async () => {
      for (let i = 0; i < runs; i++) (await run()).dispose();
    });
  const one = await timed(1);
  if (one === undefined) return undefined;
  const runs = Math.min(DEVICE_RUNS_MOST, Math.ceil(DEVICE_MS / Math.max(one, 1)));
  return ((await timed(runs)) ?? 0) / runs;
}

/** Operands on the GPU before the clock starts; results stay there, and a row of calls is awaited at its end. */
async function prepareResident(runtime: Runtime, operands: Operands): Promise<Prepared | Unsupported> {
  if (operands.kind === 'qmatmul') return { unsupported: 'integers are not computed on the GPU' };
  const tensors: Tensor[] = [];
  const send: Send = async (data, shape, storage = 'f32') => {
    const tensor = runtime.tensor(data, shape);
    tensors.push(tensor);
    return tensor.to('gpu', { storage });
  };
  const run =
    operands.kind === 'conv'
      ? await residentConv(runtime, operands, send)
      : await residentMatmul(runtime, operands, send);
  let latest: Tensor | undefined;
  return {
    run: async () => {
      const made = await run();
      latest?.dispose();
      latest = made;
    },
    finish: () => runtime.settle(),
    deviceMs: () => deviceMs(runtime, run),
    result: async () => (await latest!.read()).slice(),
    plan: () => printPlan(runtime.explain(problemOf(operands.shape, true)).plan),
    dispose: () => {
      latest?.dispose();
      for (const tensor of tensors) tensor.dispose();
    },
  };
}

type Send = (data: Float32Array, shape: readonly number[], storage?: 'f32' | 'f16') => Promise<Tensor>;

async function residentMatmul(runtime: Runtime, { shape, batch, ...operands }: MatmulOperands, send: Send) {
  const { m, k, n, transposeB = false, bias, activation, half = false } = shape;
  const storage = half ? 'f16' : 'f32';
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const a = await send(operands.a, stacked(m, k), storage);
  const b = await send(operands.b, transposeB ? stacked(n, k) : stacked(k, n), storage);
  const options = {
    result: 'gpu',
    ...(transposeB && { transposeB }),
    ...(operands.bias && { bias: await send(operands.bias, bias === 'column' ? [m, 1] : [n]) }),
    ...(activation !== undefined && { activation }),
  } as const;
  const { chain = 1 } = shape;
  return () => chained(chain, a, (x) => runtime.matmul(x, b, options));
}

/** Products behind one another, without those in between. */
async function chained(length: number, a: Tensor, product: (x: Tensor) => Promise<Tensor>): Promise<Tensor> {
  let x = a;
  for (let step = 0; step < length; step++) {
    const next = await product(x);
    if (x !== a) x.dispose();
    x = next;
  }
  return x;
}

async function residentConv(runtime: Runtime, { shape, ...operands }: ConvOperands, send: Send) {
  const { batch, inC, inH, inW, outC, kH, kW, groups } = shape;
  const x = await send(operands.x, [batch, inC, inH, inW]);
  const w = await send(operands.w, [outC, inC / groups, kH, kW]);
  const bias = operands.bias && (await send(operands.bias, [outC]));
  const options = { ...windowOptions(shape), result: 'gpu', ...(bias && { bias }) } as const;
  return () => runtime.conv2d(x, w, options);
}

function place(runtime: Runtime, operands: Operands, own: Own): Ready {
  switch (operands.kind) {
    case 'matmul':
      return placeMatmul(runtime, operands, own);
    case 'conv':
      return placeConv(runtime, operands, own);
    case 'qmatmul':
      return placeQmatmul(runtime, operands, own);
    default:
      return operands satisfies never;
  }
}

function ready(runtime: Runtime, shape: Shape, out: Tensor, run: () => Promise<Tensor>): Ready {
  return {
    run,
    poison: () => void out.data.fill(Number.NaN),
    result: async () => out.data.slice(),
    plan: () => printPlan(runtime.explain(problemOf(shape)).plan),
  };
}

/** A chain from memory to memory: where it runs on a GPU, operands go there once, and one result comes back. */
function placeChain(
  runtime: Runtime,
  { shape, ...operands }: MatmulOperands,
  length: number,
  own: Own,
): Ready {
  const { m, k, n } = shape;
  const a = own(runtime.tensor(operands.a, [m, k]));
  const b = own(runtime.tensor(operands.b, [k, n]));
  const out: Tensor = own(runtime.zeros([m, n]));
  const run = async () => {
    if (runtime.explain(problemOf(shape)).plan.backend !== 'webgpu') {
      const before = await chained(length - 1, a, (x) => runtime.matmul(x, b));
      await runtime.matmul(before, b, { out });
      if (before !== a) before.dispose();
      return out;
    }
    const [x, w] = [runtime.tensor(operands.a, [m, k]), runtime.tensor(operands.b, [k, n])];
    await Promise.all([x.to('gpu'), w.to('gpu')]);
    const last = await chained(length, x, (y) => runtime.matmul(y, w, { result: 'gpu' }));
    out.data.set(await last.read());
    for (const tensor of [x, w, last]) tensor.dispose();
    return out;
  };
  return ready(runtime, shape, out, run);
}

function placeMatmul(runtime: Runtime, operands: MatmulOperands, own: Own): Ready {
  if (operands.shape.chain) return placeChain(runtime, operands, operands.shape.chain, own);
  const { shape, batch } = operands;
  const { m, k, n, transposeB = false } = shape;
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const a = own(runtime.tensor(operands.a, stacked(m, k)));
  const matrix = own(runtime.tensor(operands.b, transposeB ? stacked(n, k) : stacked(k, n)));
  const packed = shape.prepacked === true && canPrepack(shape);
  const b = packed ? own(runtime.prepack(matrix, { transposeB, m })) : matrix;
  if (packed) matrix.dispose();
  const out: Tensor = own(runtime.zeros(stacked(m, n)));
  const bias = operands.bias && own(runtime.tensor(operands.bias, shape.bias === 'column' ? [m, 1] : [n]));
  const options: MatmulOptions = {
    out,
    ...(transposeB && !packed && { transposeB }),
    ...(bias && { bias }),
    ...(shape.activation !== undefined && { activation: shape.activation }),
  };
  return ready(runtime, shape, out, () => runtime.matmul(a, b, options));
}

function placeConv(runtime: Runtime, { shape, ...operands }: ConvOperands, own: Own): Ready {
  const { batch, inC, inH, inW, outC, kH, kW, groups } = shape;
  const { outH, outW } = convExtents(shape);
  const x = own(runtime.tensor(operands.x, [batch, inC, inH, inW]));
  const weights = own(runtime.tensor(operands.w, [outC, inC / groups, kH, kW]));
  const w = own(runtime.prepack(weights, { op: 'conv' }));
  weights.dispose();
  const out: Tensor = own(runtime.zeros([batch, outC, outH, outW]));
  const bias = operands.bias && own(runtime.tensor(operands.bias, [outC]));
  const options: ConvOptions = { ...windowOptions(shape), out, ...(bias && { bias }) };
  return ready(runtime, shape, out, () => runtime.conv2d(x, w, options));
}

/** No sum of the shapes here comes near it. */
const NO_SUM = -(2 ** 31);

function placeQmatmul(runtime: Runtime, { shape, ...operands }: QmatmulOperands, own: Own): Ready {
  const { m, k, n, aZeroPoint, bZeroPoint } = shape;
  const a = own(runtime.tensor(operands.a, [m, k]));
  const matrix = own(runtime.tensor(operands.b, [k, n]));
  const b = own(runtime.prepackInteger(matrix, { zeroPoint: bZeroPoint, m }));
  matrix.dispose();
  const out = own(runtime.tensor(new Int32Array(m * n), [m, n]));
  return {
    run: () => runtime.matmulInteger(a, b, { aZeroPoint, out }),
    poison: () => void out.data.fill(NO_SUM),
    result: async () => out.data.slice(),
    plan: () => printPlan(runtime.explain(qmatmulProblemOf(shape)).plan),
  };
}
