/** Networks at random, rewritten and as they are, beside onnxruntime-node. */
import test from 'tape';
import { InferenceSession } from '../../src/onnx/session.ts';
import { departure, loadOrt, ORT_OPTIONS, randomFeeds } from '../support/onnx.ts';
import { LARGE, randomNetwork, SMALL } from '../support/random-network.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** Relative to the largest value of a result: of some 15,000 networks the worst was off by 4e-4, but for one that divided noise by its own size. */
const TOLERANCE = 2e-3;
/** Its rewrites have faults of their own, as of paddings before means. */
const AS_IT_IS = { ...ORT_OPTIONS, graphOptimizationLevel: 'disabled' };

for (const { threads, size, count, longest } of [
  { threads: 1, size: SMALL, count: 120, longest: 25 },
  { threads: 2, size: SMALL, count: 20, longest: 40 },
  { threads: 2, size: LARGE, count: 15, longest: 20 },
]) {
  const title = `${count} networks of images of up to ${size.channels} x ${size.extent} x ${size.extent}, ${threads} threads`;
  test(seeded(title), async (t) => {
    const ort = loadOrt();
    if (typeof ort === 'string') return t.skip(ort);
    const runtime = await makeRuntime({ threads });
    const [faults, names]: [string[], Set<string>] = [[], new Set()];
    for (let i = 0; i < count; i++) {
      const random = new Random(6200 + 100 * threads + i);
      const { bytes, inputs, lines } = randomNetwork(random, random.int(3, longest), size);
      const theirs = await ort.InferenceSession.create(bytes, AS_IT_IS);
      for (const level of ['all', 'none'] as const) {
        const ours = await InferenceSession.create(bytes, { runtime, graphOptimizationLevel: level });
        // the first run records, the second replays
        for (const turn of ['recorded', 'replayed']) {
          const off = await departure(ort, theirs, ours, randomFeeds(random, inputs));
          if (off > TOLERANCE)
            faults.push(`network ${i}, ${level}, ${turn}: off by ${off}\n${lines.join('\n')}`);
        }
        await ours.release();
      }
      await theirs.release();
      for (const line of lines) names.add(/= (\w+)/.exec(line)![1]!);
    }
    t.deepEqual(faults, []);
    t.ok(names.size > 25, `${names.size} operators`);
    const { tensors, byOwner } = runtime.memory();
    t.deepEqual([tensors, byOwner.prepacked], [0, 0], 'nothing is kept');
    await runtime.close();
  });
}
