/**
 * The standard's own cases, as Debian ships them (package libonnx-testdata): every case of an operator and of types that are run must pass.
 * What is not run is counted, and the number of those that are may only grow.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import test from 'tape';
import { TesseraeError } from '../../src/core/errors.ts';
import { noExternal } from '../../src/onnx/external.ts';
import { gapsOf, inOrder } from '../../src/onnx/graph/check.ts';
import { inferShapes } from '../../src/onnx/graph/shapes/infer.ts';
import { readModel } from '../../src/onnx/model/read.ts';
import { readTensor } from '../../src/onnx/model/tensor-proto.ts';
import type { ConstantArray } from '../../src/onnx/model/types.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { fromNumbers, Tensor, toNumbers } from '../../src/onnx/tensor.ts';
import { makeRuntime } from '../support/runtime.ts';

const FOLDERS = ['node', 'pytorch-converted', 'pytorch-operator', 'simple'].map(
  (name) => `/usr/share/libonnx-testdata/data/${name}`,
);
/** Cases that passed when this was written. */
const PASSED_BEFORE = 1007;
const [RELATIVE, ABSOLUTE] = [1e-3, 1e-5];
/** Cases whose values are drawn: each runtime draws its own. */
const DRAWN = /^test_(bernoulli|training_dropout)/;

/** A file that is one tensor: as if it were a part of a message. */
function tensorIn(path: string): ConstantArray {
  const bytes = readFileSync(path);
  const length: number[] = [];
  for (let rest = bytes.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest > 127 ? (rest % 128) | 128 : rest);
    if (rest <= 127) break;
  }
  return readTensor(new BinaryReader(Uint8Array.from([...length, ...bytes])), {
    external: noExternal,
    ownsBytes: false,
  }).array;
}

function fault(got: Tensor | undefined, wanted: ConstantArray, isDrawn: boolean): string | undefined {
  if (!got) return 'no such output';
  if (got.dims.join() !== wanted.shape.join()) return `[${got.dims}], not [${wanted.shape}]`;
  if (got.type !== wanted.type) return `${got.type}, not ${wanted.type}`;
  if (isDrawn) return undefined;
  const numbers = toNumbers(got);
  const at = wanted.data.findIndex((exact: number, i: number) => {
    // floats of 64 bits are computed in 32, where some cases' values are beyond all numbers
    const [is, value] = [numbers[i]!, wanted.type === 'float64' ? Math.fround(exact) : exact];
    if (is === value || (Number.isNaN(is) && Number.isNaN(value))) return false;
    return !(Math.abs(is - value) <= RELATIVE * Math.abs(value) + ABSOLUTE);
  });
  return at < 0 ? undefined : `element ${at} is ${numbers[at]}, not ${wanted.data[at]}`;
}

type Verdict = 'passed' | 'not run' | { readonly failed: string };

async function verdictOf(folder: string, runtime: Awaited<ReturnType<typeof makeRuntime>>): Promise<Verdict> {
  const bytes = new Uint8Array(readFileSync(join(folder, 'model.onnx')));
  let session: InferenceSession | undefined;
  try {
    const model = readModel(bytes, noExternal);
    if (gapsOf(model).length > 0) return 'not run';
    session = await InferenceSession.create(bytes, { runtime });
    const inferred = inferShapes({ ...model.graph, nodes: inOrder(model.graph) }, model.opsets.get('') ?? 1);
    for (const set of readdirSync(folder).filter((name) => name.startsWith('test_data_set')))
      for (const turn of ['recorded', 'replayed']) {
        const at = (kind: string, i: number) => join(folder, set, `${kind}_${i}.pb`);
        const feeds = session.inputNames.map((name, i) => {
          const { type, shape, data } = tensorIn(at('input', i));
          return [name, new Tensor(type, fromNumbers(type, data) as never, shape)] as const;
        });
        const results = await session.run(Object.fromEntries(feeds));
        for (const [i, name] of session.outputNames.entries()) {
          const guess = inferred.get(name);
          if (
            guess?.every((extent) => typeof extent === 'number') &&
            guess.join() !== results[name]!.dims.join()
          )
            return { failed: `${name} is [${results[name]!.dims}], and [${guess}] was inferred` };
          const wrong = fault(results[name], tensorIn(at('output', i)), DRAWN.test(basename(folder)));
          if (wrong) return { failed: `${turn}: ${name}: ${wrong}` };
        }
      }
    return 'passed';
  } catch (error) {
    // types and uses that are refused by name
    if (error instanceof TesseraeError && error.code === 'E_MODEL') return 'not run';
    return { failed: String(error) };
  } finally {
    await session?.release();
  }
}

test("the standard's own cases", async (t) => {
  const folders = FOLDERS.filter((folder) => existsSync(folder));
  if (folders.length === 0) return t.skip('not here: apt-get install libonnx-testdata');
  const runtime = await makeRuntime({ threads: 1 });
  const failed: string[] = [];
  const counts = { passed: 0, other: 0 };
  for (const folder of folders)
    for (const name of readdirSync(folder)) {
      const verdict = await verdictOf(join(folder, name), runtime);
      if (verdict === 'passed') counts.passed++;
      else if (verdict === 'not run') counts.other++;
      else failed.push(`${name}: ${verdict.failed}`);
    }
  t.deepEqual(failed.slice(0, 40), [], `${failed.length} fail`);
  t.comment(`${counts.passed} cases pass, ${counts.other} are not run`);
  t.ok(counts.passed >= PASSED_BEFORE, `${counts.passed} pass, ${PASSED_BEFORE} did before`);
  t.equal(runtime.memory().tensors, 0, 'nothing is kept');
  await runtime.close();
});
