/** What is moved between two memories: everything that is needed, once, and nothing else. */
import test from 'tape';
import { type Leg, legsOf, type Traveller } from '../../src/plan/travel.ts';
import { Random, seeded } from '../support/seed.ts';

function step(isThere: boolean, reads: number[], writes: number, keeps = false): Traveller {
  return { isThere, reads, writes, keeps };
}

const none = () => false;

test('travel: a chain there goes there once and comes back once', (t) => {
  const steps = [step(true, [1], 2), step(true, [2, 1], 3), step(true, [3], 4)];
  t.deepEqual(legsOf(steps, [1], [4], none), [
    { kind: 'there', up: [1], step: 0 },
    { kind: 'there', up: [], step: 1 },
    { kind: 'there', up: [], step: 2 },
    { kind: 'here', down: [4], steps: [] },
  ]);
  t.end();
});

test('travel: what lasts is never moved, and what nobody has written neither', (t) => {
  const steps = [step(true, [1, 7], 2), step(false, [2, 7], 3), step(true, [3], 5, true)];
  t.deepEqual(
    legsOf(steps, [1], [5], (block) => block === 7),
    [
      { kind: 'there', up: [1], step: 0 },
      { kind: 'here', down: [2], steps: [1] },
      { kind: 'there', up: [3], step: 2 },
      { kind: 'here', down: [5], steps: [] },
    ],
  );
  t.end();
});

test('travel: parts of a block written on both sides meet', (t) => {
  const steps = [step(true, [1], 9, true), step(false, [1], 9, true), step(true, [9], 4)];
  t.deepEqual(legsOf(steps, [1], [4], none), [
    { kind: 'there', up: [1], step: 0 },
    { kind: 'here', down: [9], steps: [1] },
    { kind: 'there', up: [9], step: 2 },
    { kind: 'here', down: [4], steps: [] },
  ]);
  t.end();
});

/** Runs legs over two memories; a block's value says which step wrote it last and what that had read. */
function simulate(steps: readonly Traveller[], legs: readonly Leg[], given: readonly number[]) {
  const memories = {
    here: new Map(given.map((block) => [block, `given ${block}`])),
    there: new Map<number, string>(),
  };
  const move = (blocks: readonly number[], from: 'here' | 'there', to: 'here' | 'there') => {
    for (const block of blocks) memories[to].set(block, memories[from].get(block)!);
  };
  const run = (index: number, at: 'here' | 'there') => {
    const { reads, writes, keeps } = steps[index]!;
    const read = [...reads, ...(keeps ? [writes] : [])].map((block) => memories[at].get(block) ?? 'nothing');
    memories[at].set(writes, `step ${index} of (${read.join(', ')})`);
  };
  for (const leg of legs) {
    if (leg.kind === 'here') {
      move(leg.down, 'there', 'here');
      for (const index of leg.steps) run(index, 'here');
    } else {
      move(leg.up, 'here', 'there');
      run(leg.step, 'there');
    }
  }
  return memories.here;
}

test(seeded('travel: any mixture of places gives what one place gives'), (t) => {
  const random = new Random(910);
  const faults: string[] = [];
  for (let turn = 0; turn < 400; turn++) {
    const block = () => random.int(1, 6);
    const steps = Array.from({ length: random.int(1, 14) }, () =>
      step(random.chance(0.5), Array.from({ length: random.int(0, 3) }, block), block(), random.chance(0.3)),
    );
    const [given, wanted] = [
      [1, 2],
      [3, 4],
    ];
    const alone = steps.map((one) => ({ ...one, isThere: false }));
    const right = simulate(alone, legsOf(alone, given, wanted, none), given);
    const mixed = simulate(steps, legsOf(steps, given, wanted, none), given);
    for (const one of wanted)
      if (right.get(one) !== mixed.get(one))
        faults.push(`turn ${turn}: ${mixed.get(one)} for ${right.get(one)}`);
  }
  t.deepEqual(faults.slice(0, 3), []);
  t.end();
});
