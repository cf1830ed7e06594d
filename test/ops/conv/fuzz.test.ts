/** Public conv2d against float64: whatever chance finds, awaited or not, into tensors of the caller's or new ones. */
import test from 'tape';
import { algorithmsOf, answersTo, convFault, randomConv, withEpilogue } from '../../support/conv-problems.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

for (const [salt, threads, numerics] of [
  [1, 1, 'fast'],
  [2, 2, 'fast'],
  [3, 3, 'exact'],
] as const) {
  test(seeded(`conv2d: 250 random calls on ${threads} threads, ${numerics}`), async (t) => {
    const rt = await makeRuntime({ threads, numerics }, 90 + salt);
    const random = new Random(1300 + salt);
    const faults: string[] = [];
    const before = rt.memory();
    for (let turn = 0; turn < 250; turn++) {
      const plain = withEpilogue(random, randomConv(random));
      const algorithms = algorithmsOf(plain, numerics === 'exact');
      const algorithm = random.chance(0.7) ? random.pick(algorithms) : undefined;
      const asked = algorithm ? { ...plain, algorithm } : plain;
      const answer = answersTo(plain)(algorithm);
      const manner = { sync: turn % 2 === 0, into: random.chance(0.5), answer };
      const fault = await convFault(rt, random, asked, manner);
      if (fault) faults.push(fault);
    }
    t.deepEqual(faults.slice(0, 3), [], `all within their bounds, ${faults.length} are not`);
    const after = rt.memory();
    t.equal(after.tensors, before.tensors, 'no tensor is left behind');
    t.equal(after.byOwner.scratch, before.byOwner.scratch, 'no scratch either');
    await rt.close();
    t.end();
  });
}
