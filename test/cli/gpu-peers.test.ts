/** The peers that compute on a GPU, each in a process of its own, on a software adapter where there is no other. */
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { PEERS } from '../../src/cli/bench/peers/index.ts';
import { race } from '../../src/cli/bench/race.ts';
import { startPeer } from '../../src/cli/bench/remote.ts';
import { parseShape } from '../../src/cli/shapes/index.ts';
import { workingGpu } from '../support/gpu.ts';
import { QUICK_RACE, SELF } from './support.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Each takes a second to compile on a software adapter. */
const CONV = 'conv 1x4x10x10 6 3x3 p1 bias relu';
const CHAIN = '12x28x28 chain=3';
const SHAPES = ['17x36x28', CONV, CHAIN];

/** What each does not compare, by what it says it includes. */
const REFUSES: Readonly<Record<string, readonly string[]>> = {
  'resident gpu.js': SHAPES,
  'whole gpu.js': [CONV, CHAIN],
  'resident jax-js-webgpu': [CONV],
  'whole jax-js-webgpu': [CONV],
  'whole tfjs-webgpu': [CONV],
};

test('gpu peers: right answers from memory to memory and on the GPU, or why not', async (t) => {
  const gpu = await workingGpu();
  if (typeof gpu === 'string') return t.skip(gpu);
  const ids = PEERS.filter(({ onGpu }) => onGpu).map(({ id }) => id);
  t.deepEqual([...ids].sort(), ['gpu.js', 'jax-js-webgpu', 'onnxruntime-webgpu', 'tfjs-webgpu']);
  for (const resident of [false, true]) {
    for (const id of ids) {
      const peer = await startPeer(id, { threads: 1, searchFrom: [ROOT], resident }, { self: SELF });
      if ('absent' in peer) {
        t.comment(`SKIP ${id}: ${peer.absent}`);
        continue;
      }
      const refused: string[] = [];
      for (const text of SHAPES) {
        const { outcomes } = await race([peer], parseShape(text), QUICK_RACE);
        const [outcome] = outcomes;
        if (outcome?.status === 'unsupported') refused.push(text);
        else t.equal(outcome?.status, 'timed', `${id} ${text} ${resident ? 'resident' : 'whole'}`);
      }
      t.deepEqual(
        refused,
        REFUSES[`${resident ? 'resident' : 'whole'} ${id}`] ?? [],
        `${id}: what is not compared`,
      );
      await peer.close();
    }
  }
});
