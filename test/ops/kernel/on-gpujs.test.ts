/** A user's kernel where there is gpu.js and no WebGPU: from memory to memory. On the processor, which answers as WebGL2 would. */
import test from 'tape';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { RuntimeEvent } from '../../../src/ops/types.ts';

test("a user's kernel through gpu.js, from memory to memory", async (t) => {
  const events: RuntimeEvent[] = [];
  const rt = await createRuntimeWith(
    { wisdom: false, threads: 1, backend: 'gpujs', onEvent: (event) => void events.push(event) },
    { gpujsMode: 'cpu', gatherProfile: { callMs: 5, gflops: 1000, moveGBs: 1 } },
  );
  const sum = rt.kernel(
    function (x, y) {
      let total = 0;
      for (let i = 0; i < 3000; i++) total += x;
      return total + y * this.constants.scale!;
    },
    { name: 'sum', constants: { scale: 2 } },
  );
  t.equal(sum.noGpu, undefined, 'it may go there');
  const [x, y] = [rt.tensor([1, 2, 3], [3]), rt.tensor([10], [1])];
  t.deepEqual(
    [...(await sum.run([x, y])).data],
    [3020, 6020, 9020],
    'right, beyond a thousand turns of a loop',
  );
  t.deepEqual(events, [], 'nothing to complain of');
  const twice = rt.kernel(function (x) {
    return x * 2;
  });
  t.deepEqual([...(await twice.run([x])).data], [2, 4, 6], 'two kernels are two');
  t.deepEqual([...(await sum.run([x, y])).data], [3020, 6020, 9020]);
  const odd = rt.kernel(function (x) {
    return x < 0.25 && x > -0.25 ? x : Math.sign(x);
  });
  t.deepEqual([...(await odd.run([rt.tensor([-3, 0.125, 3], [3])])).data], [-1, 0.125, 1]);
  await rt.close();
});
