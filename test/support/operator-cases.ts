/** Single operators at random, beside onnxruntime-node. */
import test from 'tape';
import { node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { inspectModel } from '../../src/onnx/inspect.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { edge, type Field, loadOrt, modelOf, ORT_OPTIONS } from './onnx.ts';
import { makeRuntime } from './runtime.ts';
import { Random, seeded } from './seed.ts';

export interface Case {
  readonly op: string;
  readonly opset: number;
  readonly attributes: readonly Field[];
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** The node's inputs where some are left out. */
  readonly names?: readonly string[];
  /** One for each output that is wanted. */
  readonly outputs: readonly ('float32' | 'int64' | 'int32')[];
}

export function floats(random: Random, ...dims: number[]): Tensor {
  return new Tensor('float32', random.floats(dims.reduce((x, y) => x * y, 1)), dims);
}

export function integers(values: readonly number[], dims: readonly number[] = [values.length]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
}

export type Cases = Readonly<Record<string, (random: Random) => Case>>;

export function modelFor({ op, opset, attributes, inputs, outputs, names: given }: Case): Uint8Array {
  const names = outputs.map((_, i) => `out${i}`);
  return modelOf(
    [node(op, given ?? Object.keys(inputs), names, attributes)],
    Object.entries(inputs).map(([name, { type, dims }]) => edge(name, dims, type as 'float32')),
    names.map((name, i) => edge(name, [], outputs[i] as 'float32')),
    [],
    opset,
  );
}

interface Result {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}

function fault(got: Result, wanted: Result): string | undefined {
  if (got.dims.join() !== wanted.dims.join()) return `[${got.dims}], not [${wanted.dims}]`;
  for (let i = 0; i < wanted.data.length; i++) {
    const [is, should] = [Number(got.data[i]!), Number(wanted.data[i]!)];
    if (Number.isNaN(is) && Number.isNaN(should)) continue;
    if (!(Math.abs(is - should) <= 2e-4 * Math.abs(should) + 1e-4))
      return `element ${i} is ${is}, not ${should}`;
  }
  return undefined;
}

/** Shapes of results are not said: both find them out. */
export function besideOrt(cases: Cases): void {
  for (const [name, make] of Object.entries(cases)) {
    test(seeded(`${name}: as onnxruntime-node`), async (t) => {
      const ort = loadOrt();
      if (typeof ort === 'string') return t.skip(ort);
      const random = new Random(931);
      const runtime = await makeRuntime({ threads: 1 });
      const faults: string[] = [];
      for (let turn = 0; turn < 24; turn++) {
        const one = make(random);
        const bytes = modelFor(one);
        const theirs = await ort.InferenceSession.create(bytes as never, ORT_OPTIONS);
        const feeds = Object.fromEntries(
          Object.entries(one.inputs).map(([key, { type, data, dims }]) => [
            key,
            new ort.Tensor(type, data, dims),
          ]),
        );
        const wanted = (await theirs.run(feeds)) as unknown as Record<string, Result>;
        const ours = await InferenceSession.create(bytes, { runtime });
        const got = (await ours.run(one.inputs)) as unknown as Record<string, Result>;
        const { shapes } = await inspectModel(bytes);
        for (const key of Object.keys(wanted)) {
          const guess = shapes[key];
          if (guess && guess.join() !== got[key]!.dims.join())
            faults.push(`turn ${turn}, ${key}: [${guess}] was inferred, it is [${got[key]!.dims}]`);
          const wrong = fault(got[key]!, wanted[key]!);
          if (wrong) faults.push(`turn ${turn}, ${key}: ${wrong}`);
        }
        await ours.release();
        await theirs.release();
      }
      t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
      t.equal(runtime.memory().tensors, 0, 'nothing is kept');
      await runtime.close();
    });
  }
}
