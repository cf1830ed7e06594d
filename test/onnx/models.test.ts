/** Whole networks that others trained, beside onnxruntime-node on the same inputs. */
import test from 'tape';
import { InferenceSession } from '../../src/onnx/session.ts';
import { departure, loadOrt, ORT_OPTIONS, randomFeeds, WHOLE_MODELS } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** Relative to the largest value of a result. */
const TOLERANCE = 1e-3;

for (const { name, file, from, inputs } of WHOLE_MODELS) {
  test(seeded(`${name}: as onnxruntime-node, with one thread and two`), async (t) => {
    const ort = loadOrt();
    if (file === undefined) return t.skip(`the model is not here: ${from}`);
    if (typeof ort === 'string') return t.skip(ort);
    const theirs = await ort.InferenceSession.create(file, ORT_OPTIONS);
    const random = new Random(601);
    for (const threads of [1, 2]) {
      const runtime = await makeRuntime({ threads });
      for (const graphOptimizationLevel of ['all', 'none'] as const) {
        if (graphOptimizationLevel === 'none' && threads === 2) continue;
        const ours = await InferenceSession.create(file, { runtime, graphOptimizationLevel });
        // the first run records, the second replays
        for (const turn of ['recorded', 'replayed']) {
          const off = await departure(ort, theirs, ours, randomFeeds(random, inputs));
          t.ok(
            off <= TOLERANCE,
            `${threads} threads, ${graphOptimizationLevel}, ${turn}: off by ${off.toExponential(1)}`,
          );
        }
        await ours.release();
      }
      const { tensors, byOwner } = runtime.memory();
      t.deepEqual([tensors, byOwner.prepacked], [0, 0], 'nothing is kept');
      await runtime.close();
    }
    await theirs.release();
  });
}

test(seeded('recognition: widths that change from run to run, and back'), async (t) => {
  const ort = loadOrt();
  const found = WHOLE_MODELS.find(({ name }) => name === 'PP-OCRv4 recognition')!;
  if (found.file === undefined) return t.skip(`the model is not here: ${found.from}`);
  if (typeof ort === 'string') return t.skip(ort);
  const theirs = await ort.InferenceSession.create(found.file, ORT_OPTIONS);
  const runtime = await makeRuntime();
  const ours = await InferenceSession.create(found.file, { runtime });
  const random = new Random(602);
  for (const [batch, width] of [
    [1, 160],
    [1, 320],
    [2, 731],
    [1, 160],
  ] as const) {
    const feeds = randomFeeds(random, { x: [batch, 3, 48, width] });
    const off = await departure(ort, theirs, ours, feeds);
    t.ok(off <= TOLERANCE, `${batch} of ${width}: off by ${off.toExponential(1)}`);
  }
  await ours.release();
  await theirs.release();
  await runtime.close();
});
