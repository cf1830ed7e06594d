/** Calls side by side: what they touch is kept in order, and every step is claimed once, after what it needs. */
import test from 'tape';
import type { Program, Step } from '../../src/plan/program.ts';
import { inSequence, type LinkedStep, orderOf, type Touched, wavesOf } from '../../src/plan/waves.ts';
import { Random, seeded } from '../support/seed.ts';

const touched = (reads: readonly number[], write: number): Touched => ({ reads, writes: [write] });

test('waves: what is independent stands side by side', (t) => {
  t.deepEqual(wavesOf([]), []);
  t.deepEqual(wavesOf([touched([1], 2), touched([2], 3), touched([3], 4)]), [[0], [1], [2]], 'a chain');
  t.deepEqual(wavesOf([touched([1], 2), touched([1], 3), touched([2, 3], 4)]), [[0, 1], [2]], 'two branches');
  t.deepEqual(
    wavesOf([touched([1], 2), touched([2], 3), touched([1], 4), touched([4], 5), touched([3, 5], 6)]),
    [[0, 2], [1, 3], [4]],
    'branches of some length',
  );
  t.deepEqual(
    wavesOf([touched([1], 2), touched([3], 1)]),
    [[0], [1]],
    'memory is read before it is used again',
  );
  t.deepEqual(wavesOf([touched([1], 2), touched([3], 2)]), [[0], [1]], 'and written in order');
  t.deepEqual(wavesOf([touched([2], 2), touched([2], 3)]), [[0], [1]], 'in place');
  t.deepEqual(
    wavesOf([touched([1], 2), undefined, touched([1], 3), touched([1], 4)]),
    [[0], [1], [2, 3]],
    'nothing passes what is not known',
  );
  const many = wavesOf(Array.from({ length: 20 }, (_, i) => touched([1], 2 + i)));
  t.deepEqual(
    many.map((wave) => wave.length),
    [8, 8, 4],
    'as many as may have space of their own',
  );
  t.end();
});

/** A program of which only the phases matter. */
function programOf(phases: readonly number[]): Pick<Program, 'steps'> {
  let needs = 0;
  const steps = phases.flatMap((count) => {
    const phase = Array.from({ length: count }, () => ({ needs }) as Step);
    needs += count;
    return phase;
  });
  return { steps };
}

/** What is wrong with an order, or undefined. */
function faultOf(
  calls: readonly (Touched | undefined)[],
  programs: readonly Pick<Program, 'steps'>[],
  order: readonly LinkedStep[],
): string | undefined {
  const place = new Map(order.map(({ call, step }, at) => [`${call} ${step}`, at]));
  const total = programs.reduce((sum, { steps }) => sum + steps.length, 0);
  if (place.size !== total || order.length !== total) return 'not every step once';
  const meets = (x: readonly number[], y: readonly number[]) => x.some((one) => y.includes(one));
  const conflict = (i: number, j: number) => {
    const [a, b] = [calls[i], calls[j]];
    return !a || !b || meets(a.writes, [...b.reads, ...b.writes]) || meets(a.reads, b.writes);
  };
  const isDone = (call: number, count: number, needs: number) =>
    Array.from({ length: count }, (_, step) => place.get(`${call} ${step}`)!).every((at) => at < needs);
  for (const { call, step, needs } of order) {
    if (!isDone(call, programs[call]!.steps[step]!.needs, needs)) return 'a phase begins too early';
    for (let earlier = 0; earlier < call; earlier++)
      if (conflict(earlier, call) && !isDone(earlier, programs[earlier]!.steps.length, needs))
        return `call ${call} begins before ${earlier} is done`;
  }
  const isWhole = ({ needs, count }: LinkedStep, at: number) =>
    at < needs + count &&
    order.slice(needs, needs + count).every((other) => other.needs === needs && other.count === count);
  if (!order.every(isWhole)) return 'steps that need the same are not counted';
  // what waits for the first `needs` steps is not among them, nor does any of these wait for more
  const rises = order.every(({ needs }, at) => needs <= at && (at === 0 || needs >= order[at - 1]!.needs));
  return rises ? undefined : 'needs do not rise with the order';
}

test(seeded('waves: at random, every step once and after what it needs'), (t) => {
  const random = new Random(951);
  const faults: string[] = [];
  for (let turn = 0; turn < 200; turn++) {
    const calls = Array.from({ length: random.int(1, 24) }, () => {
      if (random.chance(0.05)) return undefined;
      return touched(
        Array.from({ length: random.int(0, 3) }, () => random.int(0, 7)),
        random.int(0, 7),
      );
    });
    const programs = calls.map(() =>
      programOf(Array.from({ length: random.int(1, 3) }, () => random.int(1, 4))),
    );
    const waves = random.chance(0.2) ? inSequence(calls.length) : wavesOf(calls);
    const fault = faultOf(calls, programs, orderOf(programs, waves));
    if (fault) faults.push(`turn ${turn}: ${fault}`);
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  t.end();
});
