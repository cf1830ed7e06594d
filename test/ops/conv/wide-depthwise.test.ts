/**
 * Depthwise rows long enough to be read in place but for their ends: every padding, stride and dilation, images lower than
 * the filter among them, and the same bits as the algorithm that copies.
 */
import test from 'tape';
import { bytesHash } from '../../support/compare.ts';
import { answersTo, askConv, convFault } from '../../support/conv-problems.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const WIDTHS = [50, 57, 64, 83];
const CHANNELS = 3;

for (const size of [3, 5] as const) {
  test(seeded(`conv2d: wide depthwise ${size}x${size}`), async (t) => {
    const rt = await makeRuntime({ threads: 2 }, 40 + size);
    const exact = await makeRuntime({ threads: 1, numerics: 'exact' }, 50 + size);
    const random = new Random(1700 + size);
    const faults: string[] = [];
    let count = 0;
    for (const height of [size - 2, size - 1, size, size + 1, 9]) {
      for (const strideH of [1, 2, 3]) {
        for (const dilation of [1, 2] as const) {
          const span = (size - 1) * dilation + 1;
          const [top, bottom] = [random.int(0, span - 1), random.int(0, span - 1)];
          if (height + top + bottom < span) continue;
          const padding = [top, random.int(0, 3), bottom, random.int(0, 3)] as const;
          const image = [height, random.pick(WIDTHS)] as const;
          const extents = { inC: CHANNELS, outC: CHANNELS, image, filter: [size, size] as const };
          const geometry = { groups: CHANNELS, stride: [strideH, 1] as const, dilation, padding };
          const asked = askConv(random, extents, { ...geometry, algorithm: 'depthwise' });
          const answer = answersTo(asked)('depthwise');
          const fault = await convFault(rt, random, asked, { sync: true, into: true, answer });
          if (fault) faults.push(fault);
          const hashes = (['depthwise', 'direct'] as const).map((algorithm) => {
            const out = exact.conv2dSync(asked.x, asked.w, { ...geometry, algorithm });
            const hash = bytesHash(out.data);
            out.dispose();
            return hash;
          });
          if (hashes[0] !== hashes[1]) faults.push(`other bits than direct: ${JSON.stringify(geometry)}`);
          count++;
        }
      }
    }
    t.ok(count > 20, `${count} geometries`);
    t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
    await rt.close();
    await exact.close();
    t.end();
  });
}
