/** Whole networks on a GPU, every step of them, beside onnxruntime-node. */
import test from 'tape';
import { InferenceSession } from '../../src/onnx/session.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { RuntimeEvent } from '../../src/ops/types.ts';
import { workingGpu } from '../support/gpu.ts';
import { ONE_ROW } from '../support/gpu-profile.ts';
import {
  departure,
  loadOrt,
  ORT_OPTIONS,
  randomFeeds,
  slicedConstant,
  WHOLE_MODELS,
} from '../support/onnx.ts';
import { madeUpMachine } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const TOLERANCE = 1e-3;

const MADE = {
  name: 'A constant that is read from the middle on',
  file: slicedConstant(new Random(605)),
  from: 'here',
  inputs: { x: [1, 8, 9, 10] },
};

for (const { name, file, from, inputs } of [MADE, ...WHOLE_MODELS]) {
  test(seeded(`${name}: on a GPU as onnxruntime-node`), async (t) => {
    const [ort, gpu] = [loadOrt(), await workingGpu()];
    if (file === undefined) return t.skip(`the model is not here: ${from}`);
    if (typeof ort === 'string') return t.skip(ort);
    if (typeof gpu === 'string') return t.skip(gpu);
    const events: RuntimeEvent[] = [];
    const runtime = await createRuntimeWith(
      {
        threads: 1,
        wisdom: false,
        gpu: { gpu },
        backend: 'webgpu',
        policy: 'strict',
        onEvent: (event) => events.push(event),
      },
      { machine: madeUpMachine(6), gpuProfile: ONE_ROW },
    );
    const theirs = await ort.InferenceSession.create(file, ORT_OPTIONS);
    const ours = await InferenceSession.create(file, { runtime });
    const random = new Random(604);
    await ours.run(randomFeeds(random, inputs));
    for (const turn of ['first there', 'again']) {
      const { result: off, spans } = await runtime.profile(() =>
        departure(ort, theirs, ours, randomFeeds(random, inputs)),
      );
      t.ok(off <= TOLERANCE, `${turn}: off by ${off.toExponential(1)}`);
      t.ok(
        spans.length > 0 && spans.every(({ backend }) => backend === 'webgpu'),
        `all ${spans.length} calls`,
      );
    }
    t.deepEqual(
      events.filter(({ type }) => type === 'quarantine'),
      [],
      'every shader was right',
    );
    await ours.release();
    t.equal(runtime.info.gpu?.memory.used, 0, 'nothing is kept');
    await theirs.release();
    await runtime.close();
  });
}
