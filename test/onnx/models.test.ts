/** Whole networks that others trained, beside onnxruntime-node on the same inputs. */
import test from 'tape';
import { pixelsOf, readPicture, resizePicture } from '../../src/cli/images.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
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

test(seeded('compare: every step of a network beside float64'), async (t) => {
  const found = WHOLE_MODELS.find(({ name }) => name === 'PP-OCR orientation')!;
  if (found.file === undefined) return t.skip(`the model is not here: ${found.from}`);
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(found.file, { runtime });
  const feeds = randomFeeds(new Random(603), found.inputs);
  const { steps, unchecked, worst, departs } = await session.compare(feeds);
  t.equal(
    departs,
    undefined,
    `${steps} steps, the worst off by ${worst!.off.toExponential(1)}: ${worst!.node}`,
  );
  t.equal(unchecked, 0, 'each has a reference');
  t.ok(steps > 60, 'and there are many');
  const strict = await session.compare(feeds, { tolerance: 0 });
  t.ok(
    strict.departs && strict.departs.off > 0 && strict.departs.op === 'Conv',
    `to the bit: ${strict.departs?.node}`,
  );
  await session.release();
  await runtime.close();
});

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

/** Score and class of the most certain box: cx cy w h, objectness, 80 classes. */
function bestOf(output: ArrayLike<number>): { readonly name: number; readonly score: number } {
  let best = { name: -1, score: 0 };
  for (let box = 0; box * 85 < output.length; box++)
    for (let name = 0; name < 80; name++) {
      const score = output[box * 85 + 4]! * output[box * 85 + 5 + name]!;
      if (score > best.score) best = { name, score };
    }
  return best;
}

/** Classes of COCO, and what a reference runtime saw. */
const SEEN = [
  { picture: 'astronaut.png', name: 0, what: 'a person', score: 0.74 },
  { picture: 'coffee.png', name: 41, what: 'a cup', score: 0.66 },
] as const;

test('FastestDet finds the person and the cup', async (t) => {
  const found = WHOLE_MODELS.find(({ name }) => name === 'FastestDet')!;
  if (found.file === undefined) return t.skip(`the model is not here: ${found.from}`);
  const runtime = await makeRuntime();
  const session = await InferenceSession.create(found.file, { runtime });
  const pixels = { scale: 255, mean: [0], deviation: [1], isBgr: false, layout: 'nchw' } as const;
  for (const { picture, name, what, score } of SEEN) {
    const file = found.file.replace(/models.FastestDet\.onnx$/, `images/${picture}`);
    const data = pixelsOf(resizePicture(readPicture(file), 352, 352), pixels);
    const { output } = await session.run({ input: new Tensor('float32', data, [1, 3, 352, 352]) });
    const best = bestOf(output!.data as Float32Array);
    t.equal(best.name, name, `${what} in ${picture}`);
    t.ok(Math.abs(best.score - score) < 0.06, `at ${best.score.toFixed(2)}, as seen before: ${score}`);
  }
  await session.release();
  await runtime.close();
});
